//! All servers.

use askama::Template;
use axum::extract::State;

use super::csv;
use super::form::escaped;
use super::marks::{Mark, Maybe};
use super::overview::mark;
use super::visit::{Live, Shell, Shown, Visit};
use crate::db::fleet::{self, Filter, Line, State as ServerState};
use crate::db::layers::{self, Group};
use crate::people::Right;
use crate::problem::Problem;
use crate::state::AppState;

/// Servers of a page; and of a file, which is the whole organization as long as it has less than a million.
const PAGE: u32 = 100;
const CHUNK: u32 = 5_000;
const MOST: usize = 1_000_000;

#[derive(Template)]
#[template(path = "servers.html")]
struct Page {
    shell: Shell,
    live: Live,
    csv: String,
    name: String,
    group: String,
    state: String,
    groups: Vec<Group>,
    states: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "servers_table.html")]
struct Part {
    lines: Vec<Line>,
    filtered: bool,
    next: Option<String>,
    first: Option<String>,
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::See)?;
    let db = state.db.reader();
    let groups: Vec<Group> = layers::groups(db).await?.into_iter().map(|(group, _)| group).collect();
    let filter = filter(&visit, &groups)?;
    if visit.wants_csv() {
        let mut lines: Vec<Line> = Vec::new();
        loop {
            let after = lines.last().map(|line| line.name.clone()).unwrap_or_default();
            let more = fleet::page(db, &filter, &after, CHUNK, visit.now).await?;
            let full = more.len() == CHUNK as usize;
            lines.extend(more);
            if !full || lines.len() >= MOST {
                break;
            }
        }
        return Ok(file(lines));
    }
    let after = visit.query.get("after");
    let mut lines = fleet::page(db, &filter, after, PAGE + 1, visit.now).await?;
    let more = lines.len() > PAGE as usize;
    lines.truncate(PAGE as usize);
    let next = lines.last().filter(|_| more).map(|line| visit.address_with(&[("after", &line.name)]));
    let first = (!after.is_empty()).then(|| visit.address_with(&[("after", "")]));
    let filtered = filter.state.is_some() || filter.label.is_some() || !filter.name.is_empty();
    visit.live_page(&Part { lines, filtered, next, first }, |live| Page {
        shell: visit.shell("Servers", "servers").with_live(),
        live,
        csv: visit.address_with(&[("format", "csv"), ("after", "")]),
        name: filter.name,
        group: visit.query.get("group").to_owned(),
        state: visit.query.get("state").to_owned(),
        groups,
        states: ServerState::ALL.map(|state| (state.word(), mark(state).text)).into(),
    })
}

fn filter(visit: &Visit, groups: &[Group]) -> Result<Filter, Problem> {
    let state = visit.query.filled("state").map(str::parse).transpose().map_err(Problem::bad_request)?;
    let label = match visit.query.filled("group") {
        Some(name) => {
            let group = groups.iter().find(|group| group.name == name);
            let group = group.ok_or_else(|| Problem::not_found(format_args!("group {name:?}")))?;
            Some((group.label_key.clone(), group.label_value.clone()))
        }
        None => None,
    };
    Ok(Filter { state, label, name: visit.query.get("name").to_owned() })
}

fn file(lines: Vec<Line>) -> axum::response::Response {
    let header = ["Server", "State", "InForce", "LastContact", "AgentVersion", "System", "Labels"];
    let rows = lines.into_iter().map(|line| {
        let labels: Vec<String> = line.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        vec![
            line.name,
            mark(line.state).text,
            line.in_force.to_string(),
            line.last_contact.map(|at| at.to_string()).unwrap_or_default(),
            line.agent_version,
            line.system,
            labels.join(" "),
        ]
    });
    csv::file("servers", &header, rows)
}

impl Part {
    fn mark(&self, line: &Line) -> Mark {
        mark(line.state)
    }

    fn address(&self, line: &Line) -> String {
        format!("/servers/{}", escaped(&line.name))
    }

    fn heard(&self, line: &Line) -> Maybe {
        Maybe(line.last_contact)
    }
}
