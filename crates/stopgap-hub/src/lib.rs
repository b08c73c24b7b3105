//! The hub: one place that knows an organization's servers, holds back, and never stands in the way.
//!
//! ```text
//! people, scripts ──> api/ ──┐                      ┌── agents/ <── agents: reports, settings, events
//! people          ──> console/ ──> people/ (who) ──> db/ (SQLite, PostgreSQL) ──> tell/ ──> mail, webhooks
//! ```
//!
//! Every change is one transaction that also writes the audit log; an answer is given after its commit. A
//! replica keeps nothing that another could miss: any number of them may share one PostgreSQL. Nothing here
//! can put a mitigation on a server, and a server whose hub is away changes nothing: agents verify the
//! publisher's signature themselves.
//!
//! Not in this crate: what an agent does with the settings (`stopgap-agent`), what they mean
//! (`stopgap_core::organization`), and the JSON between the two (`stopgap_core::wire`).

pub mod agents;
pub mod api;
pub mod approvals;
pub mod audit;
pub mod backup;
pub mod console;
pub mod db;
pub mod events;
mod past;
pub mod people;
pub mod problem;
pub mod secret;
pub mod serve;
pub mod settings;
pub mod state;
pub mod tell;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use stopgap_tell::log;

pub use serve::{Hub, HubError, TlsFiles};
pub use state::AppState;

/// What a hub needs to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder: the database, the authority that the hub makes for itself.
    pub data: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// A `postgres://` URL; `None`: the SQLite file `hub.db` in the data folder.
    pub database: Option<String>,
    /// Certificate and key; `None`: plain HTTP on a loopback address, and anywhere else TLS by an authority
    /// of the hub's own, in the data folder.
    pub tls: Option<TlsFiles>,
    /// Names under which the hub is reached, for a certificate of its own authority. With one, a loopback address is
    /// served over TLS too.
    pub names: Vec<String>,
    /// How many may come in.
    pub bounds: Bounds,
}

/// How many may come in at a time, and how long one that does not read is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections; each takes a file descriptor, and some KiB. Further ones wait in the system's queue.
    pub connections: usize,
    /// Connections of one address, of IPv6 one /64: behind a load balancer as many as there are. Further ones are
    /// closed.
    pub per_address: usize,
    /// A reader takes something within this time, or its connection is closed.
    pub write_timeout: Duration,
}

impl Bounds {
    /// Event streams: the rest is for people, who could not get in any more to see why.
    pub fn streams(&self) -> usize {
        self.connections - self.connections / 10
    }
}

/// For a fleet of 16,000 servers, of which one site or proxy has no more than a quarter.
impl Default for Bounds {
    fn default() -> Self {
        Bounds { connections: 18_000, per_address: 4_500, write_timeout: Duration::from_secs(30) }
    }
}

/// Serves until `shutdown` resolves.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), HubError> {
    Hub::bind(settings).await?.run(shutdown).await;
    Ok(())
}
