//! Serves one feed over HTTP/1.1, with or without TLS: the document, what stands beside it, and the event stream.
//!
//! ```text
//! file renamed ──> watch ──> read, checked, swapped in memory as one ──> event to every subscriber
//!                                       │
//!                                       └──> GET /feed.xml, /feed.xml.cosignature-1.xml, /crl/*.crl
//! ```
//!
//! The server serves octets and judges nothing that an agent must judge: no signature is verified
//! here. A file that is no signed feed at all (half written, a wrong file) is not taken over; the one
//! before stays. A co-signature of another release than the one that is served is not offered. Integrity is the
//! signature's; TLS adds that nobody on the way knows who asks.

mod adoption;
mod offer;
mod source;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use stopgap_door::{Door, Limits, Patience, TlsError};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::key::read_private;
use crate::watch::{FileWatch, Wake};
use adoption::Book;
use offer::Offers;
use source::Source;

pub use adoption::{ADOPTION_FILE, read_adoption};
pub use offer::{DIAGNOSTICS_PATH, EVENTS_PATH, FEED_PATH};
pub use stopgap_door::TlsFiles;

/// A request head comes within this time, or the connection is closed; it also ends idle ones.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A reader takes something within this time, or the connection is closed. The event stream sends a comment sooner.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A reader has an answer whole within this time: the largest document at 256 kbit/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Octets of a request head.
const HEAD_MAX: usize = 16 * 1024;
/// How long open answers may take to end after a shutdown began.
const DRAIN: Duration = Duration::from_secs(5);
/// What was counted is written so often; a crash loses no more.
const KEEP: Duration = Duration::from_secs(10);

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The signed feed. It may appear later; its folder must exist. Co-signatures are looked for beside it, and
    /// revocation lists in the folder `crl` there.
    pub file: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections at a time, subscribers included. Further ones wait in the system's queue.
    pub connections: usize,
    /// Subscribers of the event stream at a time. Further ones get 503.
    pub subscribers: usize,
    /// How long a reader may take nothing before its connection is closed.
    pub write_timeout: Duration,
    /// How long a reader may take for one answer.
    pub answer_timeout: Duration,
    /// Certificate and key for TLS; `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// How long before its end a release is called for.
    pub warn_before: SignedDuration,
    /// Where what servers tell of the feed is counted; `None`: nobody may tell.
    pub adoption: Option<PathBuf>,
}

impl Settings {
    /// With limits for one small machine: 2048 connections, 1024 of them subscribers.
    pub fn new(file: PathBuf, listen: SocketAddr) -> Self {
        Self {
            file,
            listen,
            connections: 2048,
            subscribers: 1024,
            write_timeout: WRITE_TIMEOUT,
            answer_timeout: ANSWER_TIMEOUT,
            tls: None,
            warn_before: SignedDuration::from_hours(4 * 24),
            adoption: None,
        }
    }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, not this machine's, or not allowed.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or key for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A bound server: it accepts from now on and answers once [`Server::run`] runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    source: Source,
    watch: FileWatch,
    door: Arc<Door>,
    limits: Limits,
    warn_before: SignedDuration,
    warning: watch::Sender<Option<String>>,
}

impl Server {
    /// Takes the address, reads the file if it is there, and starts to watch it.
    pub async fn bind(settings: Settings) -> Result<Self, ServeError> {
        let listen = |source| ServeError::Listen { address: settings.listen, source };
        let door = Arc::new(Door::new(settings.tls, read_key)?);
        let listener = TcpListener::bind(settings.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // Watching begins before the first read, so that no replacement falls between the two.
        let watch = FileWatch::start(&settings.file);
        let book = settings.adoption.map(Book::open);
        let mut source = Source::new(settings.file, Arc::new(Offers::new(settings.subscribers, book)));
        source.look(Wake::Event).await;
        let limits = Limits {
            connections: settings.connections,
            // A feed is public: a whole site behind one address may ask for it.
            per_address: settings.connections,
            head: HEAD_TIMEOUT,
            head_max: HEAD_MAX,
            patience: Patience { nothing: settings.write_timeout, answer: settings.answer_timeout },
        };
        let server = Self {
            listener,
            address,
            source,
            watch,
            door,
            limits,
            warn_before: settings.warn_before,
            warning: watch::Sender::new(None),
        };
        say(&server.warning, warnings(&server.source, server.warn_before, Timestamp::now()));
        Ok(server)
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What the publisher has to be told, now and whenever it changes: that the release or a revocation
    /// list ends soon, or has ended.
    pub fn warnings(&self) -> watch::Receiver<Option<String>> {
        self.warning.subscribe()
    }

    /// Serves until `shutdown` ends, then ends the event streams and lets open answers finish.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let offers = Arc::clone(self.source.offers());
        let graceful = GracefulShutdown::new();
        let service = TowerToHyperService::new(offer::router(Arc::clone(&offers)));
        let accept =
            stopgap_door::accept(&self.listener, &self.door, self.limits, &graceful, |_| service.clone());
        let follow = async {
            loop {
                let wake = self.watch.next().await;
                self.source.look(wake).await;
                self.door.look();
                say(&self.warning, warnings(&self.source, self.warn_before, Timestamp::now()));
            }
        };
        let keeping = async {
            loop {
                tokio::time::sleep(KEEP).await;
                keep(&offers).await;
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = follow => {}
            () = accept => {}
            () = keeping => {}
        }
        drop(self.listener);
        offers.events.close();
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::debug!("open answers did not end within {DRAIN:?}");
        }
        keep(&offers).await;
    }
}

/// Writes what was counted.
async fn keep(offers: &Arc<Offers>) {
    let offers = Arc::clone(offers);
    let save = move || {
        if let Some(book) = &offers.book {
            book.save();
        }
    };
    // A panic in there loses the counts of some seconds.
    let _ = tokio::task::spawn_blocking(save).await;
}

/// Says a warning once, for as long as it is the same.
fn say(said: &watch::Sender<Option<String>>, warning: Option<String>) {
    said.send_if_modified(|said| {
        let new = *said != warning;
        if let Some(warning) = warning.as_ref().filter(|_| new) {
            tracing::warn!("{warning}");
        }
        *said = warning;
        new
    });
}

fn warnings(source: &Source, before: SignedDuration, now: Timestamp) -> Option<String> {
    let list = source.list_due().and_then(|(path, due, ends)| list_warning(&path, due, ends, now));
    match (warning(source.expires(), before, now), list) {
        (Some(release), Some(list)) => Some(format!("{release}; {list}")),
        (release, list) => release.or(list),
    }
}

/// What is to be said of a revocation list.
fn list_warning(path: &str, due: Timestamp, ends: Timestamp, now: Timestamp) -> Option<String> {
    let what_to_do = "`feed renew` makes it again where its authority's key is";
    if ends <= now {
        return Some(format!(
            "the revocation list {path} ended at {ends}: who requires one refuses the feed; {what_to_do}"
        ));
    }
    (due <= now).then(|| format!("the revocation list {path} ends at {ends}: {what_to_do}"))
}

/// What is to be said of a release that ends at `expires`.
fn warning(expires: Option<Timestamp>, before: SignedDuration, now: Timestamp) -> Option<String> {
    let expires = expires?;
    if expires <= now {
        return Some(format!("the release ended at {expires}: agents take nothing new; `feed renew`"));
    }
    (expires.duration_since(now) < before).then(|| format!("the release ends at {expires}: `feed renew`"))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let key = read_private(path).map_err(|error| error.to_string())?;
    if key.contains("ENCRYPTED PRIVATE KEY") {
        let reason = "a passphrase protects it, and nobody is there to ask when it is renewed: expected a key in the clear, mode 600";
        return Err(reason.to_owned());
    }
    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_called_for_before_it_ends() {
        let [due, ends] = ["2026-11-22T03:00:00Z", "2026-12-07T03:00:00Z"].map(|t| t.parse().unwrap());
        let said = |now: &str| list_warning("/crl/a.crl", due, ends, now.parse().unwrap());
        assert_eq!(said("2026-11-22T02:59:59Z"), None);
        assert!(said("2026-11-22T03:00:00Z").unwrap().contains("/crl/a.crl ends at 2026-12-07"));
        assert!(said("2026-12-07T03:00:00Z").unwrap().contains("ended at"));
    }

    #[test]
    fn a_release_is_called_for_before_it_ends() {
        let before = SignedDuration::from_hours(4 * 24);
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let said = |expires: &str| warning(Some(expires.parse().unwrap()), before, now);
        assert_eq!(said("2026-11-26T03:00:00Z"), None);
        assert!(said("2026-11-26T02:59:59Z").unwrap().contains("ends at 2026-11-26"));
        assert!(said("2026-11-22T03:00:00Z").unwrap().contains("ended at"));
        assert_eq!(warning(None, before, now), None, "a document of the first grammar has no end");
    }
}
