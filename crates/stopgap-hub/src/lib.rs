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
pub mod people;
pub mod problem;
pub mod secret;
pub mod serve;
pub mod settings;
pub mod state;
pub mod tell;

use std::net::SocketAddr;
use std::path::PathBuf;

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
}

/// Serves until `shutdown` resolves.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), HubError> {
    Hub::bind(settings).await?.run(shutdown).await;
    Ok(())
}
