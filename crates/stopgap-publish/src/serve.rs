//! Serves one feed file over HTTP/1.1: `/feed.xml` and the event stream beside it, `/events`.
//!
//! ```text
//! file renamed ──> watch ──> read, checked, swapped in memory ──> event to every subscriber
//!                                       │
//!                                       └──> GET /feed.xml: 200, or 304 where the ETag is known
//! ```
//!
//! The server serves octets and judges nothing that an agent must judge: no signature is verified
//! here. A file that is no signed feed at all (half written, a wrong file) is not taken over; the one
//! before stays. Plain HTTP: integrity is the signature's, and TLS is a front server's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use stopgap_feed::dsig;
use stopgap_feed::limits::Limits;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::events::{Announcement, Events};
use crate::watch::{FileWatch, Wake};

/// Where the document is.
pub const FEED_PATH: &str = "/feed.xml";
/// Where the event stream is; the feed's `Link` header names it.
pub const EVENTS_PATH: &str = "/events";

/// `rel="monitor"` (RFC 5989, section 4): a resource that tells of changes of this one.
const LINK: HeaderValue = HeaderValue::from_static("</events>; rel=\"monitor\"; type=\"text/event-stream\"");
const XML: HeaderValue = HeaderValue::from_static("application/xml; charset=utf-8");
/// A cache may keep the document and must ask each time: a stale feed is a server unprotected.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// A request head comes within this time, or the connection is closed; it also ends idle ones.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Octets of a request head.
const HEAD_MAX: usize = 16 * 1024;
/// How long open answers may take to end after a shutdown began.
const DRAIN: Duration = Duration::from_secs(5);
/// After a failed `accept` (no file descriptors left) the loop must not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The signed feed. It may appear later; its folder must exist.
    pub file: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Connections at a time, subscribers included. Further ones wait in the system's queue.
    pub connections: usize,
    /// Subscribers of the event stream at a time. Further ones get 503.
    pub subscribers: usize,
}

impl Settings {
    /// With limits for one small machine: 2048 connections, 1024 of them subscribers.
    pub fn new(file: PathBuf, listen: SocketAddr) -> Self {
        Self { file, listen, connections: 2048, subscribers: 1024 }
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
}

/// A bound server: it accepts from now on and answers once [`Server::run`] runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    connections: Arc<Semaphore>,
    source: Source,
    watch: FileWatch,
}

impl Server {
    /// Takes the address, reads the file if it is there, and starts to watch it.
    pub async fn bind(settings: Settings) -> Result<Self, ServeError> {
        let listen = |source| ServeError::Listen { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        // Watching begins before the first read, so that no replacement falls between the two.
        let watch = FileWatch::start(&settings.file);
        let mut source = Source {
            file: settings.file,
            current: Arc::new(Current {
                feed: ArcSwapOption::empty(),
                events: Events::new(settings.subscribers),
            }),
            seen: None,
        };
        source.look(Wake::Event).await;
        let connections = Arc::new(Semaphore::new(settings.connections.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { listener, address, connections, source, watch })
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` ends, then ends the event streams and lets open answers finish.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, connections, mut source, mut watch, .. } = self;
        let current = Arc::clone(&source.current);
        let follow = async {
            loop {
                let wake = watch.next().await;
                source.look(wake).await;
            }
        };
        let graceful = GracefulShutdown::new();
        tokio::select! {
            () = shutdown => {}
            () = follow => {}
            () = accept(&listener, &connections, &current, &graceful) => {}
        }
        drop(listener);
        current.events.close();
        if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
            tracing::debug!("open answers did not end within {DRAIN:?}");
        }
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
    current: &Arc<Current>,
    graceful: &GracefulShutdown,
) {
    let router = router(Arc::clone(current));
    // The semaphore is never closed, so the loop has no other end than its caller's.
    while let Ok(place) = Arc::clone(connections).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // An event is one small segment that must not wait for the next.
        let _ = stream.set_nodelay(true);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

/// What is served now.
struct Current {
    feed: ArcSwapOption<Feed>,
    events: Events,
}

struct Feed {
    octets: Bytes,
    /// Strong (RFC 9110, section 8.8.3): the SHA-256 of the octets.
    etag: HeaderValue,
}

fn router(current: Arc<Current>) -> Router {
    Router::new()
        .route(FEED_PATH, get(feed))
        .route(EVENTS_PATH, get(async |State(current): State<Arc<Current>>| current.events.respond()))
        .with_state(current)
}

/// `HEAD` comes here too; the router cuts the body and keeps its length.
async fn feed(State(current): State<Arc<Current>>, headers: HeaderMap) -> Response {
    let common = [(header::CACHE_CONTROL, NO_CACHE), (header::LINK, LINK)];
    let Some(feed) = current.feed.load_full() else {
        return (StatusCode::NOT_FOUND, common, "no feed has been published here yet\n").into_response();
    };
    let etag: (HeaderName, HeaderValue) = (header::ETAG, feed.etag.clone());
    if is_known(&headers, &feed.etag) {
        return (StatusCode::NOT_MODIFIED, common, [etag]).into_response();
    }
    (common, [etag, (header::CONTENT_TYPE, XML)], feed.octets.clone()).into_response()
}

/// `If-None-Match` (RFC 9110, section 13.1.2): weak comparison, a list, or `*`.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|known| {
            known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == etag.as_bytes()
        })
    })
}

/// The file behind it.
struct Source {
    file: PathBuf,
    current: Arc<Current>,
    /// What the last look saw, whether it was taken over or not.
    seen: Option<Seen>,
}

/// What a poll compares. File times have the resolution of the system's timer, so a file that was
/// replaced at once by another of the same length differs in its inode only.
#[derive(PartialEq, Eq)]
struct Seen {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Seen {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(metadata),
        }
    }
}

/// Why a file was not taken over.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Scan(#[from] stopgap_feed::scan::ScanError),
    #[error("expected one EOCS element whose last child is a Signature")]
    NotSigned,
}

impl Source {
    /// Takes the file over if it changed and is a signed feed.
    async fn look(&mut self, wake: Wake) {
        let file = self.file.display().to_string();
        match self.read(wake).await {
            Ok(None) => {}
            Ok(Some(octets)) => match inspect(octets).await {
                Ok((feed, announcement)) => self.publish(feed, announcement),
                Err(error) => tracing::warn!(file, %error, "not served; the feed before it stays"),
            },
            // Absent at the start, or between the two steps of somebody's replacement.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.seen = None,
            Err(error) => tracing::warn!(file, %error, "cannot be read; the feed before it stays"),
        }
    }

    /// The file's octets; `None` where a poll finds the file that was seen before.
    async fn read(&mut self, wake: Wake) -> Result<Option<Vec<u8>>, std::io::Error> {
        let file = tokio::fs::File::open(&self.file).await?;
        let metadata = file.metadata().await?;
        let seen = Seen::of(&metadata);
        if wake == Wake::Poll && self.seen.as_ref() == Some(&seen) {
            return Ok(None);
        }
        self.seen = Some(seen);
        // One octet more than allowed is enough for the scan to refuse it.
        let limit = Limits::default().bytes as u64 + 1;
        let mut octets = Vec::new();
        file.take(limit).read_to_end(&mut octets).await?;
        Ok(Some(octets))
    }

    fn publish(&self, feed: Feed, announcement: Announcement) {
        if self.current.feed.load().as_ref().is_some_and(|now| now.etag == feed.etag) {
            return;
        }
        tracing::info!(serial = announcement.serial, sha256 = announcement.sha256, "serving");
        // The document first: who fetches because of the event must find it.
        self.current.feed.store(Some(Arc::new(feed)));
        self.current.events.announce(announcement);
    }
}

/// Digest and scan of a large feed take tens of milliseconds, which connections must not wait for.
async fn inspect(octets: Vec<u8>) -> Result<(Feed, Announcement), Unfit> {
    let work = move || {
        let sha256 = crate::sha256_hex(&octets);
        let etag = HeaderValue::try_from(format!("\"{sha256}\"")).map_err(std::io::Error::other)?;
        let announcement = announcement(&octets, sha256)?;
        Ok((Feed { octets: octets.into(), etag }, announcement))
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Reads name and serial leniently: agents take neither from the event.
fn announcement(octets: &[u8], sha256: String) -> Result<Announcement, Unfit> {
    let scanned = stopgap_feed::scan::scan(octets, &Limits::default())?;
    let tree = scanned.parse()?;
    let root = tree.root_element();
    let signed = root.has_tag_name("EOCS")
        && root.last_element_child().is_some_and(|last| last.has_tag_name((dsig::NAMESPACE, "Signature")));
    if !signed {
        return Err(Unfit::NotSigned);
    }
    Ok(Announcement {
        feed: root.attribute("feed").map(ToOwned::to_owned),
        serial: root.attribute("serial").and_then(|serial| serial.parse().ok()),
        sha256,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_signed_feed_is_announced() {
        let signature = format!("<Signature xmlns=\"{}\"/>", dsig::NAMESPACE);
        let signed = format!("<EOCS feed=\"example\" serial=\"3\"><Config id=\"A\"/>{signature}</EOCS>");
        let announced = announcement(signed.as_bytes(), "00".into()).unwrap();
        assert_eq!((announced.feed.as_deref(), announced.serial), (Some("example"), Some(3)));
        // Microsoft's grammar.
        let plain = format!("<EOCS version=\"1.0.4\">{signature}</EOCS>");
        assert_eq!(announcement(plain.as_bytes(), "00".into()).unwrap().serial, None);

        let unsigned = signed.replace(&signature, "");
        let misplaced = format!("<EOCS serial=\"3\">{signature}<Config id=\"A\"/></EOCS>");
        let foreign = signed.replace("EOCS", "feed");
        for unfit in [&signed[..60], &unsigned, &misplaced, &foreign, ""] {
            assert!(announcement(unfit.as_bytes(), "00".into()).is_err(), "{unfit}");
        }
    }
}
