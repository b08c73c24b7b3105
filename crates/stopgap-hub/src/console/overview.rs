//! The first page: what is in force where, and what somebody has to look at.

use askama::Template;
use axum::extract::State;

use super::chart::{Lane, Lanes};
use super::marks::{Kind, Mark, Maybe, servers as so_many};
use super::mitigations::{Row, rows};
use super::visit::{Live, Shell, Shown, Visit};
use crate::db::approvals;
use crate::db::fleet::{self, Filter, Line, State as ServerState};
use crate::people::Right;
use crate::state::AppState;

/// Lanes of the chart, and servers that are named.
const LANES: usize = 12;
const NAMED: u32 = 8;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    shell: Shell,
    live: Live,
}

#[derive(Template)]
#[template(path = "overview_live.html")]
struct Part {
    total: u64,
    states: Vec<(Mark, u64, &'static str)>,
    waiting: usize,
    failing: Vec<Line>,
    lanes: Lanes,
    rows: Vec<Row>,
}

/// A server's state as a page shows it.
pub(super) fn mark(state: ServerState) -> Mark {
    let (kind, words) = match state {
        ServerState::Cloned => (Kind::Bad, "Cloned"),
        ServerState::Failing => (Kind::Bad, "Needs attention"),
        ServerState::Quiet => (Kind::Bad, "Quiet"),
        ServerState::Warning => (Kind::Partly, "Warns"),
        ServerState::Paused => (Kind::Held, "Paused"),
        ServerState::Disabled => (Kind::Held, "Mitigations off"),
        ServerState::Waiting => (Kind::Waiting, "Waiting"),
        ServerState::Fine => (Kind::Good, "In order"),
    };
    Mark::new(kind, words)
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::See)?;
    let db = state.db.reader();
    let counts = fleet::states(db, visit.now).await?;
    let rows = rows(&state).await?;
    let mut failing = Vec::new();
    for wanted in [ServerState::Cloned, ServerState::Failing, ServerState::Quiet] {
        if counts.contains_key(&wanted) {
            let filter = Filter { state: Some(wanted), ..Filter::default() };
            failing.extend(fleet::page(db, &filter, "", NAMED, visit.now).await?);
        }
    }
    failing.truncate(NAMED as usize);
    let waiting = approvals::page(db, Some(approvals::State::Requested), None, 100).await?.len();
    let lane = |row: &Row| Lane {
        name: row.name(),
        exposed: row.exposed().0,
        first: row.first().0,
        complete: row.complete().0,
        ended: row.ended().0,
    };
    let mut drawn: Vec<&Row> =
        rows.iter().filter(|row| row.first().0.or(row.exposed().0).is_some()).collect();
    drawn.sort_by_key(|row| std::cmp::Reverse(row.exposed().0.or(row.first().0)));
    let lanes = Lanes { lanes: drawn.into_iter().take(LANES).map(lane).collect(), now: visit.now };
    let part = Part {
        total: counts.values().sum(),
        states: counts.iter().map(|(state, count)| (mark(*state), *count, state.word())).collect(),
        waiting,
        failing,
        lanes,
        rows,
    };
    visit.live_page(&part, |live| Page { shell: visit.shell("Overview", "overview").with_live(), live })
}

impl Part {
    fn servers(&self) -> String {
        so_many(self.total)
    }

    fn heard(&self, line: &Line) -> Maybe {
        Maybe(line.last_contact)
    }

    fn server_mark(&self, line: &Line) -> Mark {
        mark(line.state)
    }
}
