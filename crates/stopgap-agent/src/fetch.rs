//! Fetching: the octets of a feed, over HTTP or from a file, within limits.
//!
//! Nothing here is trusted. What comes back is verified elsewhere, so a hostile network can only
//! withhold.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{ETAG, HeaderMap, IF_NONE_MATCH, LINK};
use reqwest::{Client, StatusCode, Url};

use crate::config::FeedConfig;

/// The largest document that is read; the same limit as the verifier's.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// From the request to the last octet.
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REDIRECTS: usize = 5;

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// A document, not yet verified.
    Document {
        /// Its octets.
        bytes: Vec<u8>,
        /// The validator for the next request.
        etag: Option<String>,
    },
    /// The server says that it is the one we have.
    Unchanged,
    /// Nobody answered with a document: each address and its failure.
    Failed(String),
    /// Nobody was asked.
    Skipped,
}

/// A document and where its changes are announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What came.
    pub fetched: Fetched,
    /// The event stream that the feed's own server announces.
    pub events: Option<Url>,
}

/// The HTTP client of this agent.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
}

impl Fetcher {
    /// A client with the system's roots.
    pub fn new() -> Result<Fetcher, reqwest::Error> {
        let client = Client::builder()
            .user_agent(concat!("stopgap/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirects())
            .build()?;
        Ok(Fetcher { client })
    }

    /// The client, for the event stream.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks the feed's addresses in order until one answers.
    pub async fn fetch(&self, feed: &FeedConfig, etag: Option<&str>) -> Answer {
        let mut failures = Vec::new();
        for address in std::iter::once(&feed.url).chain(&feed.mirrors) {
            match self.fetch_one(address, etag).await {
                Ok(answer) => return answer,
                Err(why) => failures.push(format!("{}: {why}", without_secrets(address))),
            }
        }
        Answer { fetched: Fetched::Failed(failures.join("; ")), events: None }
    }

    async fn fetch_one(&self, address: &str, etag: Option<&str>) -> Result<Answer, String> {
        let url = Url::parse(address).map_err(|error| format!("not an address: {error}"))?;
        let asked = async {
            match url.scheme() {
                "file" => read_file(&url).await,
                "http" | "https" => self.get(url, etag).await,
                other => Err(format!("`{other}` is not supported: expected https, http or file")),
            }
        };
        tokio::time::timeout(TIMEOUT, asked)
            .await
            .map_err(|_| format!("no complete answer within {} s", TIMEOUT.as_secs()))?
    }

    async fn get(&self, url: Url, etag: Option<&str>) -> Result<Answer, String> {
        let mut request = self.client.get(url);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|error| causes(&error.without_url()))?;
        let events = monitor(response.url(), response.headers());
        let fetched = match response.status() {
            StatusCode::NOT_MODIFIED if etag.is_some() => Fetched::Unchanged,
            StatusCode::OK => {
                let etag =
                    response.headers().get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
                Fetched::Document { bytes: read_bounded(response).await?, etag }
            }
            status => return Err(format!("the answer is {status}: expected 200 OK")),
        };
        Ok(Answer { fetched, events })
    }
}

/// At most five, and never from https to http: a redirect must not take the privacy of the request
/// away. (Authenticity never rests on the transport.)
fn redirects() -> reqwest::redirect::Policy {
    reqwest::redirect::Policy::custom(|attempt| {
        let downgraded =
            attempt.url().scheme() != "https" && attempt.previous().iter().any(|url| url.scheme() == "https");
        if downgraded {
            attempt.error("redirected from https to http")
        } else if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("too many redirects")
        } else {
            attempt.follow()
        }
    })
}

async fn read_bounded(response: reqwest::Response) -> Result<Vec<u8>, String> {
    let too_large = || format!("the document is larger than {MAX_DOCUMENT_BYTES} bytes");
    if response.content_length().is_some_and(|length| length > MAX_DOCUMENT_BYTES as u64) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| causes(&error.without_url()))?;
        if bytes.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn read_file(url: &Url) -> Result<Answer, String> {
    use tokio::io::AsyncReadExt;
    let path = url.to_file_path().map_err(|()| "not a path on this machine".to_owned())?;
    let file = tokio::fs::File::open(&path).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(format!("the document is larger than {MAX_DOCUMENT_BYTES} bytes"));
    }
    Ok(Answer { fetched: Fetched::Document { bytes, etag: None }, events: None })
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

/// An address as it may be logged: a password in it is nobody's business.
fn without_secrets(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return "an address that cannot be read".to_owned() };
    if url.username().is_empty() && url.password().is_none() {
        return address.to_owned();
    }
    // Only addresses that cannot have a user refuse to lose one.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// An error with its causes: the outermost alone says only that sending failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_not_logged() {
        let shown = without_secrets("https://me:secret@feed.example.org/feed.xml");
        assert_eq!(shown, "https://feed.example.org/feed.xml");
        assert_eq!(without_secrets("http://127.0.0.1:1/x"), "http://127.0.0.1:1/x");
    }

    #[test]
    fn only_the_same_origin_may_announce_a_stream() {
        let base: Url = "https://feed.example.org/feed.xml".parse().unwrap();
        let link = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, reqwest::header::HeaderValue::from_static(value));
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
