//! Asking a hub: one HTTP client that believes the CA of the enrollment, sends the credential to that hub
//! alone, follows no redirect, and takes no answer beyond its bounds.
//!
//! The hub is asked directly: a proxy to the internet is no way to a server of one's own network, and a wrong
//! one that the organization set must not cut off the word that corrects it.

use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER,
};
use reqwest::{Certificate, ClientBuilder, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stopgap_core::wire::{
    Accepted, Enroll, Enrolled, MAX_BODY, Renewed, Reports, Settings, Turn, TurnAnswer,
};

use super::address::{Address, AddressError, Token};
use super::enrollment::Enrollment;
use super::pinned::{Found, pinned};
use crate::config::NetworkConfig;
use crate::cycle::words;

const CONNECT: Duration = Duration::from_secs(10);
/// From the request to the last octet of an answer.
const ANSWER: Duration = Duration::from_secs(60);
/// Characters of a reason.
const MAX_WORDS: usize = 500;
/// A problem (RFC 9457) in words has no need of more.
const MAX_PROBLEM: usize = 16 << 10;

/// Why a hub gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Its address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No client could be made.
    #[error("no TLS client can be made for the hub: {0}")]
    Client(String),
    /// Nobody answered, or not to its end.
    #[error("the hub does not answer: {0}")]
    Unreachable(String),
    /// It said no.
    #[error("the hub refuses ({status}): {detail}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// Its words.
        detail: String,
        /// When it wants to be asked again (`Retry-After`, seconds).
        retry_after: Option<Duration>,
    },
    /// An answer that is none.
    #[error("the hub's answer cannot be read: {0}")]
    Unreadable(String),
}

impl HubError {
    /// It does not know this server, or its credential, any more.
    pub fn is_of_credential(&self) -> bool {
        matches!(self, HubError::Refused { status: 401 | 403, .. })
    }

    /// When the hub wants to be asked again, where it said so and no later than `most`: whoever answers in its place
    /// must not silence this server.
    pub(super) fn retry_after(&self, most: Duration) -> Option<Duration> {
        match self {
            HubError::Refused { retry_after, .. } => retry_after.map(|after| after.min(most)),
            _ => None,
        }
    }
}

/// Asks one hub in one server's name.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    address: Address,
    bearer: Option<HeaderValue>,
}

impl Client {
    /// For a server that joined.
    pub fn new(enrollment: &Enrollment, network: &NetworkConfig) -> Result<Client, HubError> {
        let address: Address = enrollment.hub.parse()?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", enrollment.credential))
            .map_err(|_| HubError::Client("the credential is no text of a header".into()))?;
        bearer.set_sensitive(true);
        let builder = match &enrollment.ca {
            Some(ca) => base().tls_certs_only(certificates(ca.as_bytes())?),
            None => with_roots(base(), network)?,
        };
        let http = builder.build().map_err(|error| HubError::Client(words(&error)))?;
        Ok(Client { http, address, bearer: Some(bearer) })
    }

    /// For a server that would join. The second: where the CA that the token names is found.
    pub(super) fn joining(
        address: Address,
        token: &Token,
        network: &NetworkConfig,
    ) -> Result<(Client, Option<Found>), HubError> {
        let (builder, found) = match &token.pin {
            Some(pin) if address.is_tls() => {
                let (config, found) = pinned(pin).map_err(|error| HubError::Client(error.to_string()))?;
                (base().tls_backend_preconfigured(config), Some(found))
            }
            _ => (with_roots(base(), network)?, None),
        };
        let http = builder.build().map_err(|error| HubError::Client(words(&error)))?;
        Ok((Client { http, address, bearer: None }, found))
    }

    /// Joins.
    pub(super) async fn enroll(&self, enroll: &Enroll) -> Result<Enrolled, HubError> {
        let enrolled: Enrolled = read(self.post("v1/agent/enroll", enroll)?).await?;
        // One is shown on terminals, the other goes into a header.
        let is_word =
            |text: &str| (1..=MAX_WORDS).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
        if !is_word(&enrolled.server) || !is_word(&enrolled.credential) {
            return Err(HubError::Unreadable("expected an identity and a credential, each one word".into()));
        }
        Ok(enrolled)
    }

    /// What the organization wants; `None`: what `version` stands for.
    pub async fn settings(&self, version: Option<&str>) -> Result<Option<Settings>, HubError> {
        let mut request = self.request(Method::GET, "v1/agent/settings")?;
        let tag = version.and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok());
        if let Some(tag) = &tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let response = sent(request.timeout(ANSWER)).await?;
        if response.status() == StatusCode::NOT_MODIFIED && tag.is_some() {
            return Ok(None);
        }
        let mut settings: Settings = json(accepted(response).await?).await?;
        // These words are shown on terminals.
        let blocks = settings.blocks.iter_mut().filter_map(|block| block.reason.as_mut());
        let approvals = settings.approvals.iter_mut();
        let said = approvals.flat_map(|one| [Some(&mut one.by), one.reason.as_mut()]).flatten();
        blocks.chain(said).for_each(|words| *words = plain(words));
        Ok(Some(settings))
    }

    /// Tells what happened. The answer comes after it is kept.
    pub async fn report(&self, reports: &Reports) -> Result<Accepted, HubError> {
        // By this the hub sees whether this server's clock is right.
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
        let request = self.post("v1/agent/reports", reports)?;
        let date = date.ok().and_then(|date| HeaderValue::from_str(&date).ok());
        read(match date {
            Some(date) => request.header(DATE, date),
            None => request,
        })
        .await
    }

    /// Another credential.
    pub async fn renew(&self) -> Result<Renewed, HubError> {
        read(self.request(Method::POST, "v1/agent/credential")?).await
    }

    /// Whether it is this server's turn.
    pub async fn turn(&self, turn: &Turn) -> Result<TurnAnswer, HubError> {
        let answer: TurnAnswer = read(self.post("v1/agent/turn", turn)?).await?;
        let (reason, held) = (answer.reason.as_deref().map(plain), answer.stops_held.as_deref().map(plain));
        Ok(TurnAnswer { reason, stops_held: held, ..answer })
    }

    /// Opens the event stream; `after`: the id of the last event that was heard.
    pub async fn events(&self, after: Option<&str>) -> Result<Response, HubError> {
        let stream = HeaderValue::from_static("text/event-stream");
        let mut request = self.request(Method::GET, "v1/agent/events")?.header(ACCEPT, stream);
        if let Some(id) = after.and_then(|id| HeaderValue::from_str(id).ok()) {
            request = request.header(HeaderName::from_static("last-event-id"), id);
        }
        accepted(sent(request).await?).await
    }

    /// Where the hub is.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The client and the credential, for addresses of this hub alone.
    pub(super) fn parts(&self) -> (&reqwest::Client, Option<&HeaderValue>) {
        (&self.http, self.bearer.as_ref())
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, HubError> {
        let url = self.address.below(path).ok_or_else(|| HubError::Client(format!("no address {path}")))?;
        let mut headers = HeaderMap::new();
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        Ok(self.http.request(method, url).headers(headers))
    }

    fn post<T: Serialize>(&self, path: &str, value: &T) -> Result<RequestBuilder, HubError> {
        let body = serde_json::to_vec(value).map_err(|error| HubError::Client(error.to_string()))?;
        Ok(self
            .request(Method::POST, path)?
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body))
    }
}

fn base() -> ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("stopgap/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
}

fn with_roots(builder: ClientBuilder, network: &NetworkConfig) -> Result<ClientBuilder, HubError> {
    let Some(path) = &network.ca_bundle else { return Ok(builder) };
    let read = std::fs::read(path);
    let bundle = read.map_err(|error| HubError::Client(format!("ca_bundle {}: {error}", path.display())))?;
    Ok(builder.tls_certs_only(certificates(&bundle)?))
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, HubError> {
    let found = Certificate::from_pem_bundle(pem).map_err(|error| HubError::Client(words(&error)))?;
    if found.is_empty() {
        return Err(HubError::Client("expected certificates in PEM, found none".into()));
    }
    Ok(found)
}

async fn sent(request: RequestBuilder) -> Result<Response, HubError> {
    request.send().await.map_err(|error| HubError::Unreachable(words(&error.without_url())))
}

async fn read<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, HubError> {
    json(accepted(sent(request.timeout(ANSWER)).await?).await?).await
}

/// The answer, where it is one of success.
async fn accepted(response: Response) -> Result<Response, HubError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    let problem = body(response, MAX_PROBLEM).await.unwrap_or_default();
    Err(HubError::Refused { status: status.as_u16(), detail: told(&problem, status), retry_after })
}

/// A problem's own words, without what a terminal would take for more than words.
fn told(problem: &[u8], status: StatusCode) -> String {
    let problem: serde_json::Value = serde_json::from_slice(problem).unwrap_or_default();
    let word = |name: &str| problem.get(name).and_then(|word| word.as_str()).filter(|word| !word.is_empty());
    let words =
        word("detail").or(word("title")).or(status.canonical_reason()).unwrap_or("no reason is given");
    plain(words)
}

/// Words without what a terminal would take for more than words, and no more of them than anybody reads.
fn plain(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}

async fn json<T: DeserializeOwned>(response: Response) -> Result<T, HubError> {
    let body = body(response, MAX_BODY).await?;
    serde_json::from_slice(&body).map_err(|error| HubError::Unreadable(error.to_string()))
}

async fn body(response: Response, limit: usize) -> Result<Vec<u8>, HubError> {
    let mut octets = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| HubError::Unreachable(words(&error.without_url())))?;
        if octets.len() + chunk.len() > limit {
            return Err(HubError::Unreadable(format!("expected at most {limit} octets, found more")));
        }
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_says_when_it_is_asked_again_and_silences_nobody() {
        let said = |seconds: u64| HubError::Refused {
            status: 503,
            detail: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let most = Duration::from_secs(300);
        assert_eq!(said(40).retry_after(most), Some(Duration::from_secs(40)));
        assert_eq!(said(u64::MAX).retry_after(most), Some(most));
        assert_eq!(HubError::Unreachable(String::new()).retry_after(most), None);
    }

    #[test]
    fn a_hubs_words_are_words_on_a_terminal_too() {
        assert_eq!(plain("\u{1b}[2Jall is well\r\n\u{9b}31m"), "[2Jall is well31m");
        assert_eq!(plain(&"x".repeat(10_000)).len(), MAX_WORDS);
        let problem = br#"{"title":"Unauthorized","detail":"no server\u0007 has it"}"#;
        assert_eq!(told(problem, StatusCode::UNAUTHORIZED), "no server has it");
        assert_eq!(told(b"<html>", StatusCode::BAD_GATEWAY), "Bad Gateway");
    }
}
