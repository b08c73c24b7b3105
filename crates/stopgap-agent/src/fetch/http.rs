//! One question over HTTP: redirects, the head of the answer and its body, all within limits.
//!
//! Redirects are followed here and not by the client, since each step is judged: where it leads, and
//! which way out may be taken for it.

use futures_util::StreamExt;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, LOCATION,
};
use reqwest::{Response, StatusCode};
use url::Url;

use super::clients::Way;
use super::failure::{Failure, Fault};
use super::{Fetcher, Limits, Validators, monitor};

/// What a question brought.
pub(super) enum Brought {
    /// Octets, and what to say of them the next time.
    Octets(Vec<u8>, Validators),
    /// What the validators stand for is what is there.
    Unchanged,
}

/// How far a question may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Anywhere: the operator says so, or the feed itself stands in a private network.
    Anywhere,
    /// To where the operator sent it, and from the internet to nowhere but the internet.
    FromOperator,
    /// Somebody on the internet named the address: to the internet alone.
    Internet,
}

impl Leave {
    /// For an address of the operator's. `to_private`: redirects may lead anywhere.
    pub(super) fn of(to_private: bool) -> Leave {
        if to_private { Leave::Anywhere } else { Leave::FromOperator }
    }
}

/// An answer, and what is known of who gave it.
pub(super) struct Came {
    pub(super) brought: Brought,
    /// The event stream that the address itself announces.
    pub(super) events: Option<Url>,
    /// What it names may be anywhere, too.
    pub(super) anywhere: bool,
}

impl Fetcher {
    /// Asks for at most `limit` octets.
    pub(super) async fn get(
        &self,
        url: Url,
        leave: Leave,
        validators: Option<&Validators>,
        limit: usize,
    ) -> Result<Came, Failure> {
        let total = self.limits.answer;
        let asked = self.get_without_end(url, leave, validators, limit);
        tokio::time::timeout(total, asked).await.unwrap_or_else(|_| {
            Err(Failure::new(Fault::TooSlow, format!("no complete answer within {} s", total.as_secs_f64())))
        })
    }

    async fn get_without_end(
        &self,
        url: Url,
        leave: Leave,
        validators: Option<&Validators>,
        limit: usize,
    ) -> Result<Came, Failure> {
        // Octets as they are: what is signed is never unpacked first.
        let mut headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        let conditions = validators.map(|validators| validators.conditions()).unwrap_or_default();
        let conditional = !conditions.is_empty();
        headers.extend(conditions);
        let asked = url.origin();
        let (response, anywhere) = self.open(url, leave, headers).await?;
        // A stream is opened as an address of the operator's is: one of whoever a redirect led to is none.
        let events = monitor(response.url(), response.headers()).filter(|events| events.origin() == asked);
        let brought = match response.status() {
            StatusCode::NOT_MODIFIED if conditional => Brought::Unchanged,
            StatusCode::NOT_MODIFIED => {
                let message = "the answer is 304 Not Modified, though nothing was said of what is here: \
                               expected 200 OK";
                return Err(Failure::new(Fault::UnchangedOfNothing, message));
            }
            StatusCode::OK => {
                let validators = Validators::of(response.headers());
                Brought::Octets(body(response, limit, &self.limits).await?, validators)
            }
            status => {
                let message = format!("the answer is {status}: expected 200 OK");
                let busy = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                return Err(Failure { passing: busy, ..Failure::new(Fault::HttpStatus, message) });
            }
        };
        Ok(Came { brought, events, anywhere })
    }

    /// The head of the answer at the end of the redirects, and whether it came from where anything may be
    /// named.
    pub(super) async fn open(
        &self,
        start: Url,
        leave: Leave,
        headers: HeaderMap,
    ) -> Result<(Response, bool), Failure> {
        let mut anywhere = match leave {
            Leave::Anywhere => true,
            Leave::FromOperator => self.reach.is_private(&start),
            Leave::Internet => false,
        };
        let mut url = start;
        let mut steps = 0;
        loop {
            let elsewhere = !anywhere && (steps > 0 || leave == Leave::Internet);
            if elsewhere && self.reach.is_private(&url) {
                let message = format!(
                    "sent to {}: expected an address of the internet, as it is one of the internet that sends \
                     there; `redirects_to_private = true` in its [[feed]] allows it",
                    shown(&url)
                );
                return Err(Failure::new(Fault::RedirectPrivate, message));
            }
            let of_hub = self.mirror.as_ref().filter(|_| !elsewhere).and_then(|mirror| mirror.way(&url));
            let mut headers = headers.clone();
            let way = match of_hub {
                Some((client, bearer)) => {
                    headers.extend(bearer.map(|bearer| (AUTHORIZATION, bearer.clone())));
                    Way { client, by_proxy: false }
                }
                None => self.clients.way(&url, elsewhere)?,
            };
            let sent = way.client.get(url.clone()).headers(headers).send().await;
            let response = sent.map_err(|error| Failure::of_request(error, way.by_proxy))?;
            // Of an address with https the proxy says so before the way is open.
            let of_proxy = way.by_proxy && url.scheme() == "http";
            if of_proxy && response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                let message = "the proxy asks for credentials (407): expected it to take those of \
                               `internet_web_proxy_credentials`";
                return Err(Failure::new(Fault::ProxyAuth, message));
            }
            // A feed in a private network may point into it. Who really answered says where it is.
            let from = response.remote_addr().filter(|_| steps == 0 && !elsewhere && !way.by_proxy);
            anywhere |= from.is_some_and(|from| !(self.reach.is_public)(from.ip()));
            let Some(next) = redirect(&response)? else { return Ok((response, anywhere)) };
            if url.scheme() == "https" && next.scheme() != "https" {
                let message = format!("redirected from https to {}: expected https", shown(&next));
                return Err(Failure::new(Fault::RedirectDowngrade, message));
            }
            steps += 1;
            if steps > self.limits.redirects {
                let message = format!(
                    "redirected again to {}: expected at most {} times",
                    shown(&next),
                    self.limits.redirects
                );
                return Err(Failure::new(Fault::RedirectLoop, message));
            }
            url = next;
        }
    }
}

/// Where the answer sends us, if anywhere.
fn redirect(response: &Response) -> Result<Option<Url>, Failure> {
    let status = response.status();
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let next = location.and_then(|location| response.url().join(location).ok());
    let next = next.filter(|next| matches!(next.scheme(), "http" | "https") && next.has_host());
    next.map(Some).ok_or_else(|| {
        let message =
            format!("redirected ({status}) to no address of http or https: expected one in `Location`");
        Failure::new(Fault::BadAnswer, message)
    })
}

async fn body(response: Response, limit: usize, limits: &Limits) -> Result<Vec<u8>, Failure> {
    for encoding in response.headers().get_all(CONTENT_ENCODING) {
        if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") {
            let message = format!(
                "the answer is encoded ({}): expected plain octets, as asked",
                String::from_utf8_lossy(encoding.as_bytes()).chars().take(40).collect::<String>()
            );
            return Err(Failure::new(Fault::ContentEncoding, message));
        }
    }
    let too_large = || Failure::new(Fault::TooLarge, format!("the answer is larger than {limit} bytes"));
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut octets = Vec::new();
    let mut stream = response.bytes_stream();
    // Each window of time must bring its share.
    loop {
        let before = octets.len();
        let window = async {
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(Failure::of_body)?;
                if octets.len() + chunk.len() > limit {
                    return Err(too_large());
                }
                octets.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match tokio::time::timeout(limits.window, window).await {
            Ok(ended) => return ended.map(|()| octets),
            Err(_) if octets.len() - before < limits.window_bytes => {
                let message = format!(
                    "{} bytes came within {} s: expected {} at least",
                    octets.len() - before,
                    limits.window.as_secs_f64(),
                    limits.window_bytes
                );
                return Err(Failure::new(Fault::TooSlow, message));
            }
            Err(_) => {}
        }
    }
}

impl Validators {
    fn of(headers: &HeaderMap) -> Validators {
        let text = |name| {
            let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            value.filter(|value| value.len() <= MAX_VALIDATOR).map(str::to_owned)
        };
        Validators { etag: text(ETAG), last_modified: text(LAST_MODIFIED), from: String::new() }
    }

    fn conditions(&self) -> HeaderMap {
        let pairs = [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.last_modified)];
        let value = |text: &String| HeaderValue::from_str(text).ok();
        pairs.into_iter().filter_map(|(name, text)| Some((name, text.as_ref().and_then(value)?))).collect()
    }
}

/// What a server says of its document is kept and sent back; it need not be long.
const MAX_VALIDATOR: usize = 1024;

/// An address as it may be told: a password or token in it is nobody's business, and one of a megabyte
/// no reader's.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if !url.username().is_empty() || url.password().is_some() {
        // Only addresses that cannot have a user refuse to lose one.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    let had_query = url.query().is_some();
    url.set_query(None);
    url.set_fragment(None);
    let text: String = url.as_str().chars().take(200).collect();
    if had_query { text + "?…" } else { text }
}
