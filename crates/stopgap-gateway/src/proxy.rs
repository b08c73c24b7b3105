//! One request: judged, then refused, answered or forwarded.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::header::{HeaderValue, LOCATION, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper::ext::ReasonPhrase;

use crate::answer::{Answer, Relay, Source, closing, text};
use crate::connection::Serves;
use crate::counters::Counters;
use crate::framing::Refusal;
use crate::headers::{self, PROBE, asks_for_websocket};
use crate::log::printable;
use crate::review::Review;
use crate::rules::Rules;
use crate::state::{ConnectionState, Flight};
use crate::tunnel::Tunnel;
use crate::upstream::{OriginError, Pool, Upload};
use crate::verdict::{self, Asked, Change, Decision, Withheld};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) rules: Rules,
    pub(crate) counters: Counters,
    pub(crate) pool: Arc<Pool>,
    pub(crate) via: bool,
}

impl Serves for Shared {
    async fn handle(client: Arc<Client>, request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        handle(client, request).await
    }
}

/// One client connection.
pub(crate) struct Client<S = Shared> {
    pub(crate) shared: Arc<S>,
    pub(crate) state: Arc<ConnectionState>,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// The peer's address, as a field value.
    pub(crate) address: HeaderValue,
}

/// Answers one request. Never returns for one that is aborted: the guard ends the connection.
async fn handle(client: Arc<Client>, mut request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
    let (mut flight, refusal) = client.state.begin();
    if let Some(refusal) = refusal {
        client.shared.counters.malformed();
        tracing::info!(peer = %client.peer, code = refusal.code(), "malformed request refused");
        return Ok(closing(text(refusal.status(), format!("{refusal}\n"))));
    }
    if request.uri().scheme().is_some() {
        // The guard has checked that the authority is that of Host.
        match origin_form(request.uri()) {
            Some(uri) => *request.uri_mut() = uri,
            None => return Ok(closing(text(StatusCode::BAD_REQUEST, format!("{}\n", Refusal::Target)))),
        }
    }
    let websocket = asks_for_websocket(request.headers())
        && request.version() == Version::HTTP_11
        && request.body().is_end_stream();
    let upgrade = websocket.then(|| UpgradeRequest {
        client: hyper::upgrade::on(&mut request),
        undecided: Undecided(Some(client.state.clone())),
    });
    let counters = &client.shared.counters;
    counters.request();
    let probe = request.headers().contains_key(PROBE);
    if probe {
        counters.probe();
    }
    let log = |rule: &str, over_limit: bool, what: &str| {
        tracing::info!(
            peer = %client.peer,
            rule = %printable(rule),
            method = %printable(request.method().as_str()),
            target = %printable(target(request.uri())),
            probe,
            over_limit,
            "{what}"
        );
    };
    let refused = |rule: &str, over_limit: bool| {
        if !probe {
            counters.refused(rule, over_limit);
        }
        log(rule, over_limit, "refused");
    };
    let (decision, review) = {
        let book = client.shared.rules.book();
        flight.judged(book.era.pass());
        let decision = book.judge(Asked {
            method: request.method(),
            target: target(request.uri()),
            headers: request.headers(),
            peer: client.peer,
            local: client.local,
        });
        match decision {
            Decision::Forward(Change { inbound: Some(inbound), target, fields, observed }) => {
                let review = Review::new(book.clone(), inbound, &request);
                (Decision::Forward(Change { inbound: None, target, fields, observed }), Some(review))
            }
            decision => (decision, None),
        }
    };
    match decision {
        Decision::Abort { rule, over_limit } => {
            refused(&rule, over_limit);
            client.state.abort();
            std::future::pending().await
        }
        Decision::Respond { rule, response } => {
            refused(&rule, false);
            Ok(respond(response))
        }
        Decision::Impossible { rule, problem } => {
            tracing::error!(rule = %printable(&rule), problem, "a rule cannot be carried out");
            Ok(text(StatusCode::INTERNAL_SERVER_ERROR, "a rewrite rule cannot be carried out\n"))
        }
        Decision::Forward(mut change) => {
            if let Some(rule) = change.observed.take() {
                if !probe {
                    counters.observed(&rule);
                }
                log(&rule, false, "observed: it would have been refused");
            }
            Ok(forward(&client, request, upgrade, change, review, flight).await)
        }
    }
}

pub(crate) fn respond(answer: verdict::Response) -> Response<Answer> {
    let mut response = text(answer.status, answer.body);
    if let Some(location) = answer.location {
        response.headers_mut().insert(LOCATION, location);
    }
    if let Ok(reason) = ReasonPhrase::try_from(answer.reason.as_bytes())
        && !answer.reason.is_empty()
    {
        response.extensions_mut().insert(reason);
    }
    response
}

async fn forward(
    client: &Client,
    request: Request<Incoming>,
    upgrade: Option<UpgradeRequest>,
    change: Change,
    review: Option<Box<Review>>,
    flight: Flight,
) -> Response<Answer> {
    let (mut parts, body) = request.into_parts();
    if let Some(target) = change.target {
        parts.uri = Uri::from(target);
    }
    parts.version = Version::HTTP_11;
    headers::toward_origin(&mut parts.headers, &client.address, upgrade.is_some(), client.shared.via);
    for (name, value) in change.fields {
        parts.headers.insert(name, value);
    }
    let sent = match (upgrade, Upload::from(body)) {
        (Some(upgrade), body) => {
            send_upgrade(client, Request::from_parts(parts, body), upgrade, review, flight).await
        }
        (None, Upload::Empty) => send(client, &parts, review, flight).await,
        (None, body) => {
            if body.size_hint().exact().is_none() {
                // Without it the library drops the body of a GET.
                parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            upload(client, Request::from_parts(parts, body), review, flight).await
        }
    };
    sent.unwrap_or_else(|error| {
        tracing::warn!(code = error.code(), error = %error, cause = ?std::error::Error::source(&error), "no response");
        text(error.status(), format!("{}\n", error.code()))
    })
}

async fn send(
    client: &Client,
    request: &http::request::Parts,
    review: Option<Box<Review>>,
    flight: Flight,
) -> Result<Response<Answer>, OriginError> {
    let response = in_time(&client.state, client.shared.pool.send(request)).await?;
    let (parts, body) = response.into_parts();
    relay(client, parts, Source::Wire(body), review, flight)
}

async fn upload(
    client: &Client,
    request: Request<Upload>,
    review: Option<Box<Review>>,
    flight: Flight,
) -> Result<Response<Answer>, OriginError> {
    let (response, uploader) = in_time(&client.state, client.shared.pool.upload(request)).await?;
    let (parts, incoming) = response.into_parts();
    relay(client, parts, Source::Library(incoming, Some(uploader)), review, flight)
}

/// A final response, made ready for the client.
fn relay(
    client: &Client,
    mut parts: http::response::Parts,
    source: Source,
    review: Option<Box<Review>>,
    flight: Flight,
) -> Result<Response<Answer>, OriginError> {
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(OriginError::Switched);
    }
    receive(&mut parts, false)?;
    reviewed(client, review.as_deref(), &mut parts)?;
    let relay = Relay::new(source, client.shared.pool.clone(), flight);
    Ok(Response::from_parts(parts, Answer::Relay(relay)))
}

/// A request to become a WebSocket. The guard holds back what follows it until it is decided.
struct UpgradeRequest {
    client: hyper::upgrade::OnUpgrade,
    undecided: Undecided,
}

/// Declines the upgrade when dropped, whatever else became of the request.
struct Undecided(Option<Arc<ConnectionState>>);

impl Undecided {
    fn accept(mut self) {
        if let Some(state) = self.0.take() {
            state.upgrade.decide(true);
        }
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            state.upgrade.decide(false);
        }
    }
}

async fn send_upgrade(
    client: &Client,
    request: Request<Upload>,
    upgrade: UpgradeRequest,
    review: Option<Box<Review>>,
    flight: Flight,
) -> Result<Response<Answer>, OriginError> {
    let mut response = in_time(&client.state, client.shared.pool.send_upgrade(request)).await?;
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switched {
        let origin = hyper::upgrade::on(&mut response);
        let (mut parts, _) = response.into_parts();
        // Before the guard opens: what is answered 502 is no tunnel.
        receive(&mut parts, true)?;
        client.state.set_tunnel(Tunnel { client: upgrade.client, origin, pass: flight.into_tunnel() });
        upgrade.undecided.accept();
        return Ok(Response::from_parts(parts, Answer::Text(bytes::Bytes::new())));
    }
    let (parts, incoming) = response.into_parts();
    relay(client, parts, Source::Library(incoming, None), review, flight)
}

/// Waits for a response head as long as the watchdog allows.
async fn in_time<T>(
    state: &ConnectionState,
    response: impl Future<Output = Result<T, OriginError>>,
) -> Result<T, OriginError> {
    let mut response = pin!(response);
    std::future::poll_fn(|cx| {
        if state.is_origin_expired() {
            return Poll::Ready(Err(OriginError::Silent));
        }
        response.as_mut().poll(cx)
    })
    .await
}

/// Makes a response head from the origin one for the client.
fn receive(parts: &mut http::response::Parts, switched: bool) -> Result<(), OriginError> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(OriginError::Coding);
    }
    headers::toward_client(&mut parts.headers, switched);
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Lets the rules for responses change the head.
fn reviewed(
    client: &Client,
    review: Option<&Review>,
    parts: &mut http::response::Parts,
) -> Result<(), OriginError> {
    let Some(review) = review else { return Ok(()) };
    match review.apply(client, parts) {
        Ok(changed) => {
            if changed {
                client.shared.counters.changed();
            }
            Ok(())
        }
        Err(Withheld { rule, over_limit }) => {
            client.shared.counters.refused(&rule, over_limit);
            Err(OriginError::Withheld { rule, over_limit })
        }
    }
}

/// The request target as the rules and the origin see it.
pub(crate) fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}

/// The target of a request in absolute-form (RFC 9112, 3.2.2), as it goes to the origin.
pub(crate) fn origin_form(uri: &Uri) -> Option<Uri> {
    match target(uri) {
        target if target.starts_with('/') => target.parse().ok(),
        // `http://host?query`: the path is empty there, and cannot be here.
        query => format!("/{query}").parse().ok(),
    }
}
