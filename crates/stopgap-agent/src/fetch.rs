//! Fetching: the octets of a feed and what stands beside it, over HTTP or from a file, within limits.
//!
//! ```text
//!   each address in order:  document ─► co-signatures ─► revocation lists ─► judged: good? done
//!        http.rs  redirects, limits, codes       file.rs  a file or a folder
//!        clients.rs  direct, internet only, by proxy       address.rs  what is of the internet
//! ```
//!
//! Nothing here is trusted. What comes back is verified again by the cycle, which alone decides; here a
//! document is only judged to know whether the next address must be asked. A hostile network can
//! withhold, and no more.

mod address;
mod clients;
mod failure;
mod file;
mod gather;
mod http;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use serde::{Deserialize, Serialize};
use stopgap_core::plan::sha256_hex;
use stopgap_feed::chain::MAX_CRL_BYTES;
use url::Url;

use crate::config::NetworkConfig;
use crate::hub::{Enrollment, Mirror};
use crate::trust::List;
pub use address::{Lookup, is_public};
use address::{Reach, system_lookup};
pub use clients::FetcherError;
pub(crate) use clients::proxy_credentials;
use clients::{Clients, Network};
pub use failure::{Failure, Fault};
use http::{Brought, Leave};

/// How much an answer may cost. [`Limits::default`] is what the service uses; tests set them small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a document: the verifier's own limit.
    pub document: usize,
    /// Octets of a revocation list: the verifier's own limit.
    pub list: usize,
    /// Redirects of one question. Browsers follow twenty; a feed with more than five is in a loop.
    pub redirects: usize,
    /// Until a connection stands.
    pub connect: Duration,
    /// From the request to the last octet.
    pub answer: Duration,
    /// Each time of this length must bring...
    pub window: Duration,
    /// ...so many octets: a line that is slower than this is held open, not used.
    pub window_bytes: usize,
    /// For all that stands beside a document: co-signatures, and again lists. What is not here by then
    /// counts as not there.
    pub beside: Duration,
    /// For one feed with all its addresses and attempts.
    pub feed: Duration,
    /// How often an address is asked, where the fault may pass.
    pub attempts: usize,
    /// The first wait between two attempts is a random part of this; each further one of three times as much.
    pub first_wait: Duration,
    /// Documents of a folder that are looked at.
    pub folder: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            document: 16 << 20,
            list: MAX_CRL_BYTES,
            redirects: 5,
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            window: Duration::from_secs(10),
            window_bytes: 10 << 10,
            beside: Duration::from_secs(30),
            feed: Duration::from_secs(180),
            attempts: 3,
            first_wait: Duration::from_millis(250),
            folder: 256,
        }
    }
}

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// A document, not yet verified.
    Document {
        /// Its octets.
        bytes: Vec<u8>,
        /// What to say of it in the next request.
        validators: Validators,
    },
    /// The server says that it is the one we have.
    Unchanged,
    /// Nobody answered with a document.
    Failed(Failure),
    /// Nobody was asked.
    Skipped,
}

/// What a server said of its document, to be sent back when it is asked again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validators {
    /// `ETag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Last-Modified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// SHA-256 of the address that said so, in hex. Another server's tag may mean another document,
    /// and an address may hold a password.
    #[serde(default)]
    pub from: String,
}

impl Validators {
    /// The same, as said by this address.
    #[must_use]
    fn by(self, address: &str) -> Validators {
        Validators { from: sha256_hex(address.as_bytes()), ..self }
    }

    fn are_of(&self, address: &str) -> bool {
        (self.etag.is_some() || self.last_modified.is_some()) && self.from == sha256_hex(address.as_bytes())
    }
}

/// All that a feed's addresses brought, for the cycle to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The document, or why there is none.
    pub fetched: Fetched,
    /// The co-signatures beside the document that was brought, or that is unchanged.
    pub cosignatures: Vec<Vec<u8>>,
    /// Revocation lists, new or looked at again; those with the source of a list that is kept take its
    /// place.
    pub lists: Vec<List>,
    /// What else was asked, and why that was no better: for the message of a refusal.
    pub notes: Vec<String>,
    /// The event stream that the feed's own server announces.
    pub events: Option<Url>,
}

impl From<Fetched> for Delivery {
    fn from(fetched: Fetched) -> Delivery {
        Delivery { fetched, cosignatures: Vec::new(), lists: Vec::new(), notes: Vec::new(), events: None }
    }
}

/// One answer of one address, judged by nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The octets.
    pub bytes: Vec<u8>,
    /// The event stream that the address announces.
    pub events: Option<Url>,
}

/// Asks, for this agent.
#[derive(Debug, Clone)]
pub struct Fetcher {
    clients: Arc<Clients>,
    limits: Limits,
    reach: Reach,
    mirror: Option<Arc<Mirror>>,
}

impl Fetcher {
    /// Reads what the network keys name.
    pub fn new(config: &NetworkConfig) -> Result<Fetcher, FetcherError> {
        Fetcher::with(config, Limits::default(), is_public, system_lookup())
    }

    /// The same with other limits, another idea of what is of the internet, and another resolver.
    pub fn with(
        config: &NetworkConfig,
        limits: Limits,
        is_public: fn(std::net::IpAddr) -> bool,
        lookup: Lookup,
    ) -> Result<Fetcher, FetcherError> {
        let network = Network::read(config)?;
        let reach = Reach { is_public, lookup };
        let clients = Arc::new(Clients::new(network, reach.clone(), limits.connect)?);
        Ok(Fetcher { clients, limits, reach, mirror: None })
    }

    /// Sends JSON to an address that stands in the configuration, or beside one. Of the answer the status alone is read.
    pub async fn post(&self, url: &Url, json: Vec<u8>) -> Result<(), Failure> {
        let way = self.clients.way(url, false)?;
        let request = way.client.post(url.clone()).timeout(self.limits.answer);
        let request = request.header(CONTENT_TYPE, "application/json").body(json);
        let answer = request.send().await.map_err(|error| Failure::of_request(error, way.by_proxy))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Failure::new(Fault::Network, format!("the answer is {status}: expected one of 200 to 299")))
    }

    /// A fetcher for these keys where they, or the files that they name, are others than this one's.
    pub fn renewed(&self, config: &NetworkConfig) -> Result<Option<Fetcher>, FetcherError> {
        if Network::read(config)? == *self.clients.network() {
            return Ok(None);
        }
        let other = Fetcher::with(config, self.limits, self.reach.is_public, self.reach.lookup.clone())?;
        Ok(Some(Fetcher { mirror: self.mirror.clone(), ..other }))
    }

    /// Asks the mirror of the hub that this server is enrolled with, where an address is one of its.
    pub fn by_hub(&mut self, enrollment: Option<Enrollment>, config: &NetworkConfig) {
        let Some(enrollment) = enrollment else {
            self.mirror = None;
            return;
        };
        if self.mirror.as_ref().is_none_or(|mirror| !mirror.is_of(&enrollment)) {
            // The hub's own client says what is wrong with it.
            self.mirror = Mirror::new(enrollment, config).ok().map(Arc::new);
        }
    }

    /// Asks one address (https, http or a file) once, for at most `limit` octets. `to_private`: a
    /// redirect may lead to a private network.
    pub async fn octets(&self, address: &str, limit: usize, to_private: bool) -> Result<Answer, Failure> {
        let url = parsed(address)?;
        if url.scheme() == "file" {
            return Ok(Answer { bytes: file::read(&url, limit).await?, events: None });
        }
        let came = self.get(url, Leave::of(to_private), None, limit).await?;
        match came.brought {
            Brought::Octets(bytes, _) => Ok(Answer { bytes, events: came.events }),
            Brought::Unchanged => Err(Failure::new(Fault::UnchangedOfNothing, "nothing was brought")),
        }
    }

    /// Opens an event stream: the head of its answer, which is 200.
    pub async fn stream(&self, url: &Url, to_private: bool) -> Result<Response, Failure> {
        let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        let (response, _) = self.open(url.clone(), Leave::of(to_private), accept).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(Failure::new(Fault::HttpStatus, format!("the answer is {}: expected 200 OK", response.status())))
    }

    /// What it costs at most.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

fn parsed(address: &str) -> Result<Url, Failure> {
    let url: Url =
        address.parse().map_err(|error| Failure::new(Fault::Address, format!("not an address: {error}")))?;
    if matches!(url.scheme(), "http" | "https" | "file") {
        return Ok(url);
    }
    let message = format!("`{}` is not supported: expected https, http or file", url.scheme());
    Err(Failure::new(Fault::Address, message))
}

/// An address as it may be logged: neither a password nor a token in its query is anybody's business.
pub fn without_secrets(address: &str) -> String {
    address.parse().map_or_else(|_| "an address that cannot be read".to_owned(), |url| http::shown(&url))
}

/// `Link: </events>; rel="monitor"` (RFC 8288, relation of RFC 5989), at the same origin only: a
/// mirror must not point agents at somebody else's server.
fn monitor(base: &Url, headers: &HeaderMap) -> Option<Url> {
    headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|link| {
            let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_monitor = parameters.split(';').any(|parameter| {
                let parameter = parameter.trim();
                parameter.eq_ignore_ascii_case("rel=\"monitor\"")
                    || parameter.eq_ignore_ascii_case("rel=monitor")
            });
            is_monitor.then_some(target)
        })
        .filter_map(|target| base.join(target).ok())
        .find(|url| url.origin() == base.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_logged() {
        let shown = without_secrets("https://me:secret@feed.example.org/feed.xml?key=secret");
        assert_eq!(shown, "https://feed.example.org/feed.xml?…");
        assert_eq!(without_secrets("http://127.0.0.1:1/x"), "http://127.0.0.1:1/x");
    }

    #[test]
    fn only_the_same_origin_may_announce_a_stream() {
        let base: Url = "https://feed.example.org/feed.xml".parse().unwrap();
        let link = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, HeaderValue::from_static(value));
            monitor(&base, &headers).map(|url| url.to_string())
        };
        let here = Some("https://feed.example.org/events".to_owned());
        assert_eq!(link("</events>; rel=\"monitor\"; type=\"text/event-stream\""), here);
        assert_eq!(link("</style.css>; rel=preload, </events>; rel=monitor"), here);
        assert_eq!(link("<https://evil.example/events>; rel=\"monitor\""), None);
        assert_eq!(link("<http://feed.example.org/events>; rel=\"monitor\""), None);
        assert_eq!(link("</events>; rel=\"next\""), None);
    }
}
