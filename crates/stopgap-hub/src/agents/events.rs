//! `GET /v1/agent/events`: one stream for each agent, which says that there is something to ask, and never what.
//!
//! An event's id names all that it and those before said. Who comes back with the newest one is told nothing: after
//! an outage ten thousand agents come back, and nobody of them has to ask anything.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::json;
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

/// Agents take a stream without an octet for dead after 90 seconds, and some proxies after 60.
const HEARTBEAT: Duration = Duration::from_secs(25);
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
        stopping: state.stopping.subscribe(),
        seen_at: Instant::now(),
        server: agent.server,
        seat,
        told,
        told_of: None,
        waiting: VecDeque::new(),
        state,
        due: true,
    };
    let events = stream::unfold(line, |line| Box::pin(next(line)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// One agent that listens. It is kept small: there are as many as servers.
struct Line {
    state: AppState,
    server: Arc<Known>,
    seat: Seat,
    settings: watch::Receiver<u64>,
    mirrored: watch::Receiver<Arc<Mirrored>>,
    stopping: watch::Receiver<bool>,
    /// The id of what was said last.
    told: String,
    /// The mirror as it was then.
    told_of: Option<Arc<Mirrored>>,
    waiting: VecDeque<Event>,
    seen_at: Instant,
    /// There may be something to say.
    due: bool,
}

async fn next(mut line: Line) -> Option<(Result<Event, Infallible>, Line)> {
    loop {
        if let Some(event) = line.waiting.pop_front() {
            return Some((Ok(event), line));
        }
        if std::mem::take(&mut line.due) {
            match look(&mut line).await {
                Ok(true) => continue,
                // The server was removed.
                Ok(false) => return None,
                Err(error) => {
                    tracing::debug!(%error, "what an agent is to be told cannot be read");
                    tokio::time::sleep(AGAIN).await;
                    line.due = true;
                    continue;
                }
            }
        }
        tokio::select! {
            _ = line.stopping.wait_for(|stopping| *stopping) => return None,
            () = line.seat.taken() => return None,
            changed = line.settings.changed() => {
                changed.ok()?;
                line.due = true;
            }
            changed = line.mirrored.changed() => {
                changed.ok()?;
                line.due = true;
            }
            () = sleep_until(line.seen_at + IN_CONTACT) => {
                line.seen_at = Instant::now();
                line.state.agents.saw(&line.server.id, Timestamp::now());
            }
        }
    }
}

/// Puts into the queue what is another than what was told; whether there is such a server.
async fn look(line: &mut Line) -> Result<bool, DbError> {
    line.settings.mark_unchanged();
    let mirrored = Arc::clone(&line.mirrored.borrow_and_update());
    let roster = line.state.agents.roster.get(&line.state).await?;
    let settings = roster.settings(&line.state, &line.server.id, &mirrored).await?;
    let Some(settings) = settings else { return Ok(false) };
    let id = format!("{}.{}", settings.version, mirrored.version());
    let told = std::mem::replace(&mut line.told, id.clone());
    let before = line.told_of.replace(Arc::clone(&mirrored));
    if told == id {
        return Ok(true);
    }
    if told.split('.').next() != Some(settings.version.as_str()) {
        let data = json!({ "version": settings.version }).to_string();
        line.waiting.push_back(Event::default().event(event::SETTINGS).id(id.clone()).data(data));
    }
    let is_old = |feed: &FeedName, hash: &str| {
        before.as_ref().is_some_and(|before| before.serials().any(|(f, _, h)| f == feed && h == hash))
    };
    for (feed, serial, _) in mirrored.serials().filter(|(feed, _, hash)| !is_old(feed, hash)) {
        let data = json!({ "feed": feed, "serial": serial }).to_string();
        line.waiting.push_back(Event::default().event(event::FEED).id(id.clone()).data(data));
    }
    Ok(true)
}
