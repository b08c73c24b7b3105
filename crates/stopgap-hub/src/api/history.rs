//! The past: which servers were protected by what on a day. The console's page asks the same function.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_feed::Key;

use super::extract::{Asked, Page, Part};
use crate::db::history;
use crate::past::{self, Day, How};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// Which day, and of what.
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// The day, in UTC: `2026-11-22`.
    #[param(format = Date)]
    pub on: String,
    /// This mitigation, `feed:id`; without it every one that was in force on some server that day.
    #[param(pattern = "^[a-z0-9-]+:[A-Za-z0-9.]+$")]
    pub mitigation: Option<String>,
    /// This server alone.
    pub server: Option<String>,
}

/// How a server was protected on the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protected {
    /// All the time that it was there.
    Whole,
    /// At the times that are named.
    Part,
    /// Never.
    Not,
}

/// A stretch of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Stretch {
    /// From then on.
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    /// Until then: the end of the day at the latest, and now where the day is not over.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}

/// A mitigation on a server on the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Past {
    /// The feed.
    pub feed: String,
    /// Its id in that feed.
    pub id: String,
    /// The server's name; its identity where it is no longer there.
    pub server: String,
    /// How it was protected.
    pub protected: Protected,
    /// When it was in force there.
    pub times: Vec<Stretch>,
}

/// Which servers were protected on a day: by mitigation and server, every server that was there.
#[utoipa::path(get, path = "/v1/history", tag = "history", params(Part, Which),
    responses((status = 200, body = Page<Past>)))]
pub async fn get(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
    Asked(which): Asked<Which>,
) -> Answer<Json<Page<Past>>> {
    by.may(Right::See)?;
    let day = Day::of(&which.on, Timestamp::now())?;
    let keys = match &which.mitigation {
        Some(mitigation) => vec![mitigation.parse().map_err(Problem::unprocessable)?],
        None => keys(&state, day).await?,
    };
    let (begin, after) = cursor(part.after())?;
    let limit = part.limit();
    let there = past::there(&state, day).await?;
    let mut found = Vec::new();
    for key in keys.iter().filter(|key| key.to_string().as_str() >= begin) {
        let lines = past::servers_on(&state, key, which.server.as_deref(), &there, day).await?;
        let old = |server: &str| key.to_string() == begin && server <= after;
        let lines = lines.into_iter().filter(|line| !old(&line.server));
        found.extend(lines.map(|line| past(key, line.server, line.how)));
        if found.len() > limit as usize {
            break;
        }
    }
    Ok(Page::of(found, limit, |one| format!("{}:{}/{}", one.feed, one.id, one.server)))
}

/// What was in force that day, in the order of the names.
async fn keys(state: &AppState, day: Day) -> Answer<Vec<Key>> {
    let found = history::mitigations(state.db.reader(), day.from, day.until).await?;
    let mut keys: Vec<Key> = found.iter().filter_map(|name| name.parse().ok()).collect();
    keys.sort_by_key(Key::to_string);
    Ok(keys)
}

/// Mitigation and server of the last item before.
fn cursor(after: &str) -> Answer<(&str, &str)> {
    match after {
        "" => Ok(("", "")),
        text => text
            .split_once('/')
            .ok_or_else(|| Problem::unprocessable(format_args!("after={text:?} is no `next` of a page"))),
    }
}

fn past(key: &Key, server: String, how: How) -> Past {
    let (protected, times) = match how {
        How::Whole(from, until) => (Protected::Whole, vec![(from, until)]),
        How::Part(times) => (Protected::Part, times),
        How::Not => (Protected::Not, Vec::new()),
    };
    let times = times.into_iter().map(|(from, until)| Stretch { from, until }).collect();
    Past { feed: key.feed.to_string(), id: key.id.to_string(), server, protected, times }
}
