//! One request, in the order in which IIS would find something to say: no site starts (503), no site has this name
//! (400), the application's pool does not run (503), the configuration of the level is broken (500.19), the rules, the
//! application.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use stopgap_rules::{Connection, Request as Judged};

use super::door::{self, Door, Found};
use super::model::{Level, Model};
use super::stand_in;
use crate::answer::{Answer, closing, text};
use crate::connection::Serves;
use crate::framing::Refusal;
use crate::headers::asks_for_websocket;
use crate::log::printable;
use crate::proxy::{Client, origin_form, respond, target};
use crate::verdict::{Decision, RuleBook};

/// What the connections of one socket share.
pub(super) struct Entrance {
    pub(super) model: Arc<ArcSwap<Model>>,
    pub(super) door: Door,
    pub(super) address: SocketAddr,
}

/// A rule ends the connection without an answer.
struct Aborted {
    rule: String,
}

impl Serves for Entrance {
    async fn handle(
        client: Arc<Client<Self>>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let (_flight, refusal) = client.state.begin();
        if let Some(refusal) = refusal {
            return Ok(closing(text(refusal.status(), format!("{refusal}\n"))));
        }
        if asks_for_websocket(request.headers())
            && request.version() == Version::HTTP_11
            && request.body().is_end_stream()
        {
            // No stand-in speaks it; the guard waits to be told.
            client.state.upgrade.decide(false);
        }
        if request.uri().scheme().is_some() {
            match origin_form(request.uri()) {
                Some(uri) => *request.uri_mut() = uri,
                None => {
                    return Ok(closing(text(StatusCode::BAD_REQUEST, format!("{}\n", Refusal::Target))));
                }
            }
        }
        let (head, mut body) = request.into_parts();
        // One model for the whole request, whatever changes meanwhile.
        let model = client.shared.model.load_full();
        let connection = (client.peer, client.local);
        let fate = fate(&model, &client.shared.door, connection, &head);
        match fate {
            Err(Aborted { rule }) => {
                tracing::info!(peer = %client.peer, rule = %printable(&rule), target = %printable(target(&head.uri)), "refused");
                client.state.abort();
                std::future::pending().await
            }
            Ok(response) => {
                // The application would take the body in.
                while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
                Ok(response)
            }
        }
    }
}

fn fate(
    model: &Model,
    door: &Door,
    (peer, local): (SocketAddr, SocketAddr),
    head: &http::request::Parts,
) -> Result<Response<Answer>, Aborted> {
    let say = |status: StatusCode, why: &str| Ok(text(status, format!("{why}\n(modeled, not run on IIS)\n")));
    if let Some(why) = &model.dead {
        return say(StatusCode::SERVICE_UNAVAILABLE, &format!("503: no site starts\n{why}"));
    }
    let Some(Found { site, port, https }) = door::find(model, door, local, host(&head.headers)) else {
        return say(StatusCode::BAD_REQUEST, "400: no site has a binding for this host name");
    };
    let asked = target(&head.uri);
    let connection = Connection {
        remote_addr: peer.ip().to_canonical(),
        server_port: port,
        https,
        ..Connection::default()
    };
    let request = judged(head, asked, connection);
    let level = format!("{}{}", site.name, request.path());
    let Some(application) = model.server.application(&level) else {
        return say(StatusCode::NOT_FOUND, "404: the site has no application for this path");
    };
    let request = {
        let pool = application.pool.as_deref().unwrap_or_default();
        judged(head, asked, Connection { app_pool_id: pool, ..request.connection().clone() })
    };
    let book = match served(model, &level) {
        Ok(book) => book,
        Err((status, why)) => return say(status, &why),
    };
    match book.judge_request(&request) {
        Decision::Abort { rule, .. } => Err(Aborted { rule }),
        Decision::Respond { response, .. } => Ok(respond(response)),
        Decision::Impossible { rule, problem } => say(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("500: the rule {rule:?} cannot be carried out: {problem}"),
        ),
        Decision::Forward(change) => {
            // A rewritten address can lie in another application, with its own pool and its own faults; its rules are
            // not asked again.
            let to = change.target.as_ref().map_or(asked, PathAndQuery::as_str);
            let level = format!("{}{}", site.name, judged(head, to, Connection::default()).path());
            if change.target.is_some()
                && let Err((status, why)) = served(model, &level)
            {
                return say(status, &why);
            }
            let application = model.server.application(&level).map_or("", |found| found.path.as_str());
            let mut response = stand_in::page(&head.method, application, to);
            if let Some(inbound) = &change.inbound {
                let changes =
                    book.judge_response_to(&request, inbound, response.status(), response.headers());
                match changes {
                    Ok(changes) => {
                        for (name, values) in changes {
                            response.headers_mut().remove(&name);
                            for value in values {
                                response.headers_mut().append(name.clone(), value);
                            }
                        }
                    }
                    Err(withheld) => {
                        let why = format!("500.52: the response rule {:?} cannot be applied", withheld.rule);
                        return say(StatusCode::INTERNAL_SERVER_ERROR, &why);
                    }
                }
            }
            Ok(response)
        }
    }
}

/// The rules of a level that is served, or what is answered instead.
fn served<'m>(model: &'m Model, level: &str) -> Result<&'m RuleBook, (StatusCode, String)> {
    let application = model.server.application(level).map_or("", |found| found.path.as_str());
    if let Some(pool) = model.stopped_pool(application) {
        let why = format!("503: the application pool {pool:?} does not run (autoStart=\"false\")");
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    }
    match model.level(level) {
        None => Err((StatusCode::NOT_FOUND, "404: the site has no application for this path".to_owned())),
        Some(Level::Broken(why)) => Err((StatusCode::INTERNAL_SERVER_ERROR, why.clone())),
        Some(Level::Unknown(why)) => {
            Err((StatusCode::NOT_IMPLEMENTED, format!("501: a rule of this level is not modeled: {why}")))
        }
        Some(Level::Serves(book)) => Ok(book),
    }
}

fn judged<'a>(head: &'a http::request::Parts, target: &'a str, connection: Connection<'a>) -> Judged<'a> {
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Judged::new(head.method.as_str(), target.as_bytes(), fields, connection)
}

/// The name in `Host`, without the port.
fn host(headers: &HeaderMap) -> &str {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => name,
        _ => host,
    }
}
