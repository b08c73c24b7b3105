//! `GET /v1/agent/events`: one stream for each agent, which says that there is something to ask, and never what.
//!
//! An event's id names all that it and those before said. Who comes back with the newest one is told nothing: after
//! an outage ten thousand agents come back, and nobody of them has to ask anything.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::stream;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use jiff::Timestamp;
use serde_json::{Value, json};
use stopgap_core::wire::event;
use stopgap_feed::FeedName;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Agent;
use super::lines::Seat;
use super::mirror::Mirrored;
use crate::db::DbError;
use crate::db::agents::Known;
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// Agents take a stream without an octet for dead after 90 seconds, and some proxies after 60. Whoever was told
/// something at one moment has the next octet at another: between half of this time and all of it later.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// A comment, which every client reads over.
const BEAT: &[u8] = b":\n\n";
/// [`event::PLACE`]. It has no id: what was said of settings and feeds stays the last that is named.
const PLACE: &[u8] = b"event: place\ndata: {}\n\n";
/// A server that listens is in contact; that is written so often.
const IN_CONTACT: Duration = Duration::from_secs(300);
/// After the store did not answer, the stream asks it again.
const AGAIN: Duration = Duration::from_secs(2);

/// Opens the stream.
pub async fn get(
    State(state): State<AppState>,
    agent: Agent,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    let seat = state.agents.lines.seat(&agent.server.id).ok_or_else(Problem::crowded)?;
    let told = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let line = Line {
        settings: state.settings.subscribe(),
        mirrored: state.agents.mirrored.subscribe(),
        places: state.agents.places.heard(),
        stopping: state.stopping.subscribe(),
        seen_at: Instant::now(),
        server: agent.server,
        seat,
        told: told.into(),
        told_of: None,
        state,
        due: true,
    };
    let events = stream::unfold(line, |line| Box::pin(next(line)));
    let kind = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
    Ok((kind, Body::from_stream(events)))
}

/// An event as it goes over the wire. Nothing of it has a line's end.
pub(super) fn text(event: &str, id: &str, data: &Value) -> String {
    format!("event: {event}\nid: {id}\ndata: {data}\n\n")
}

/// One agent that listens. It is kept small: there are as many as servers.
struct Line {
    state: AppState,
    server: Arc<Known>,
    seat: Seat,
    settings: watch::Receiver<u64>,
    mirrored: watch::Receiver<Arc<Mirrored>>,
    places: watch::Receiver<Arc<HashSet<String>>>,
    stopping: watch::Receiver<bool>,
    /// The id of what was said last.
    told: Arc<str>,
    /// The mirror as it was then.
    told_of: Option<Arc<Mirrored>>,
    seen_at: Instant,
    /// There may be something to say.
    due: bool,
}

async fn next(mut line: Line) -> Option<(Result<Bytes, Infallible>, Line)> {
    let beat_at = Instant::now() + HEARTBEAT.mul_f64(fastrand::f64().mul_add(0.5, 0.5));
    loop {
        if std::mem::take(&mut line.due) {
            match look(&mut line).await {
                Ok(Some(said)) if said.is_empty() => {}
                Ok(Some(said)) => return Some((Ok(said), line)),
                // The server was removed.
                Ok(None) => return None,
                Err(error) => {
                    tracing::debug!(%error, "what an agent is to be told cannot be read");
                    tokio::time::sleep(AGAIN).await;
                    line.due = true;
                    continue;
                }
            }
        }
        let said = tokio::select! {
            _ = line.stopping.wait_for(|stopping| *stopping) => return None,
            () = line.seat.taken() => return None,
            changed = line.settings.changed() => {
                changed.ok()?;
                line.due = true;
                None
            }
            changed = line.mirrored.changed() => {
                changed.ok()?;
                line.due = true;
                None
            }
            changed = line.places.changed() => {
                changed.ok()?;
                let waits = line.places.borrow_and_update().contains(line.server.id.as_str());
                waits.then_some(PLACE)
            }
            () = sleep_until(beat_at) => {
                if line.seen_at.elapsed() >= IN_CONTACT {
                    line.seen_at = Instant::now();
                    line.state.agents.saw(&line.server.id, Timestamp::now());
                }
                Some(BEAT)
            }
        };
        if let Some(said) = said {
            return Some((Ok(Bytes::from_static(said)), line));
        }
    }
}

/// The events of what is another than what was told, maybe none; `None`: there is no such server.
async fn look(line: &mut Line) -> Result<Option<Bytes>, DbError> {
    line.settings.mark_unchanged();
    let mirrored = Arc::clone(&line.mirrored.borrow_and_update());
    let roster = line.state.agents.roster.get(&line.state).await?;
    let settings = roster.settings(&line.state, &line.server.id, &mirrored).await?;
    let Some(settings) = settings else { return Ok(None) };
    let told = std::mem::replace(&mut line.told, Arc::clone(&settings.id));
    let before = line.told_of.replace(Arc::clone(&mirrored));
    if told == settings.id {
        return Ok(Some(Bytes::new()));
    }
    let is_old = |feed: &FeedName, hash: &str| {
        before.as_ref().is_some_and(|before| before.serials().any(|(f, _, h)| f == feed && h == hash))
    };
    let feeds: String = mirrored
        .serials()
        .filter(|(feed, _, hash)| !is_old(feed, hash))
        .map(|(feed, serial, _)| text(event::FEED, &settings.id, &json!({ "feed": feed, "serial": serial })))
        .collect();
    let has_settings = told.split('.').next() == Some(settings.version.as_str());
    Ok(Some(match (has_settings, feeds.is_empty()) {
        (true, _) => feeds.into(),
        // The same octets for all who are told the same.
        (false, true) => settings.event.clone(),
        (false, false) => [settings.event.as_ref(), feeds.as_bytes()].concat().into(),
    }))
}
