//! A server with IIS's configuration, to try on: sites by their bindings, applications by path, each request judged by
//! the rules that `stopgap-iis` computes for its level, and an error where IIS would give one.
//!
//! ```text
//!   drive C: --Files--> check, pools --> Model (swapped whole when a file changes)
//!                                          | door: which socket, which site
//!   client ==> Guard: framing ==> hyper ==> answer: 503, 500.19, the rules, or a stand-in's page
//! ```
//!
//! *Modeled, not run on IIS.* What is not here: the applications themselves (a stand-in answers 200 and says for whom),
//! everything in a configuration but sites, bindings, pools that do not start and rewrite rules; TLS; opening files,
//! which is the caller's.

mod answer;
mod door;
mod fresh;
mod model;
mod stand_in;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use stopgap_iis::{CheckError, Environment, Tree};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::server;
use crate::settings::Limits;
use answer::Entrance;
use door::{Door, Wanted};
use fresh::Watch;
use model::Model;

/// Opens the files of the drive, for one reading: a new one sees what has changed.
pub type Files = Arc<dyn Fn() -> Box<dyn Tree> + Send + Sync>;

/// Everything that [`Iis::bind`] needs.
#[derive(Clone)]
pub struct IisSettings {
    /// The files.
    pub files: Files,
    /// What `%Name%` stands for in their paths.
    pub environment: Environment,
    /// The folder to watch for changes; a change anywhere in it has the files read again.
    pub folder: PathBuf,
    /// Where a site is served, by its name. Port 0 takes a free one. Without any, each site is served by its
    /// HTTP bindings as they stand; with some, those sites alone.
    pub listen: Vec<(String, SocketAddr)>,
    /// Bounds of sizes, counts and waits.
    pub limits: Limits,
}

/// Where a site is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its name.
    pub site: String,
    /// The address of its socket.
    pub address: SocketAddr,
    /// The name that a request's `Host` must have; empty: any.
    pub host: String,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IisError {
    /// There is no server's configuration.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Nothing says where to listen.
    #[error("applicationHost.config cannot be used, so it says no bindings: {0}")]
    Dead(String),
    /// A name that no site has.
    #[error("there is no site {name:?}; there are: {}", .known.join(", "))]
    NoSite {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// No site has an HTTP binding.
    #[error("no site has an http binding, and TLS is not spoken here; expected a place to listen for one of: {}", .sites.join(", "))]
    NoBinding {
        /// The sites.
        sites: Vec<String>,
    },
    /// An address cannot be had.
    #[error("site {sites}: cannot listen on {address}")]
    Listen {
        /// Whom it is for.
        sites: String,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The reading broke off.
    #[error("reading the configuration was interrupted")]
    Interrupted,
}

impl IisError {
    /// Stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            IisError::Check(_) => "iis-no-server",
            IisError::Dead(_) => "iis-unusable",
            IisError::NoSite { .. } => "iis-no-site",
            IisError::NoBinding { .. } => "iis-no-binding",
            IisError::Listen { .. } => "listen",
            IisError::Interrupted => "iis-interrupted",
        }
    }
}

/// The model of a server with its sockets open, ready to run.
pub struct Iis {
    doors: Vec<(TcpListener, Arc<Entrance>)>,
    model: Arc<ArcSwap<Model>>,
    settings: IisSettings,
    watch: Watch,
}

impl Iis {
    /// Reads the configuration and opens the sockets. Nothing is accepted before [`Iis::run`].
    ///
    /// # Errors
    /// [`IisError`]. Faults within the configuration are none: they are answered.
    pub async fn bind(settings: IisSettings) -> Result<Iis, IisError> {
        let watch = Watch::new(&settings.folder);
        let model = read(&settings).await??;
        let mut doors = Vec::new();
        let model = Arc::new(ArcSwap::from_pointee(model));
        for Wanted { address, sites, door } in door::wanted(&model.load(), &settings.listen)? {
            let bound = TcpListener::bind(address).await;
            let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
            let (address, listener) = bound.map_err(|source| IisError::Listen { sites, address, source })?;
            doors.push((listener, Arc::new(Entrance { model: model.clone(), door, address })));
        }
        Ok(Iis { doors, model, settings, watch })
    }

    /// Where the sites are served, in the order of `applicationHost.config`; those with several bindings more than
    /// once.
    pub fn served(&self) -> Vec<Served> {
        let model = self.model.load();
        let doors: Vec<(&Door, SocketAddr)> =
            self.doors.iter().map(|(_, entrance)| (&entrance.door, entrance.address)).collect();
        door::served(&model, &doors)
    }

    /// What a person should know, in words: what is not modeled of this server.
    pub fn notes(&self) -> Vec<String> {
        self.model.load().notes.clone()
    }

    /// Serves until `shutdown` completes; then accepts nothing more, gives requests in progress
    /// [`Limits::drain`] to finish, and returns. Needs a tokio runtime with time and I/O.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut beside = JoinSet::new();
        let limits = Arc::new(self.settings.limits.clone());
        beside.spawn(fresh::keep(self.model, self.settings, self.watch));
        server::serve(self.doors, limits, beside, shutdown).await;
    }
}

/// Reads the whole configuration, beside the requests.
async fn read(settings: &IisSettings) -> Result<Result<Model, CheckError>, IisError> {
    let (files, environment) = (settings.files.clone(), settings.environment.clone());
    let read = move || Model::read(&*files(), &environment);
    tokio::task::spawn_blocking(read).await.map_err(|_| IisError::Interrupted)
}
