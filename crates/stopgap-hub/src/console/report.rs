//! A report to print: what is in force where, and what is not, on one day.

use askama::Template;
use axum::extract::State;

use super::marks::{Kind, Mark, Maybe, servers as so_many};
use super::mitigations::{Row, rows};
use super::overview::mark;
use super::visit::{Shell, Shown, Visit};
use crate::db::fleet::{self, Filter, Line, State as ServerState};
use crate::people::Right;
use crate::state::AppState;

/// Servers that a report names for each state; how many more there are is said.
const NAMED: u32 = 100;

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    shell: Shell,
    total: String,
    states: Vec<(Mark, u64)>,
    rows: Vec<Row>,
    named: Vec<Named>,
}

struct Named {
    mark: Mark,
    lines: Vec<Line>,
    more: u64,
}

impl Page {
    fn heard(&self, line: &Line) -> Maybe {
        Maybe(line.last_contact)
    }
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::See)?;
    let counts = fleet::states(state.db.reader(), visit.now).await?;
    let mut named = Vec::new();
    for (wanted, count) in counts.iter().filter(|(wanted, _)| **wanted != ServerState::Fine) {
        let filter = Filter { state: Some(*wanted), ..Filter::default() };
        let lines = fleet::page(state.db.reader(), &filter, "", NAMED, visit.now).await?;
        let more = count.saturating_sub(lines.len().try_into().unwrap_or(u64::MAX));
        named.push(Named { mark: mark(*wanted), lines, more });
    }
    visit.page(&Page {
        shell: visit.shell("Report", "report"),
        total: so_many(counts.values().sum()),
        states: counts.iter().map(|(state, count)| (mark(*state), *count)).collect(),
        rows: rows(&state).await?,
        named,
    })
}
