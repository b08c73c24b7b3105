//! One mitigation: what it is, where it is in force, where it waits or fails, and who holds it back.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, State};
use jiff::{SignedDuration, Timestamp};
use stopgap_core::wire;

use super::approvals::Asked;
use super::blocks::{self, Listed};
use super::chart::Steps;
use super::content::{self, Content};
use super::csv;
use super::form::escaped;
use super::marks::{Kind, Mark, Maybe, servers as so_many, span};
use super::mitigations::{Row, address};
use super::visit::{Live, Shell, Shown, Visit};
use crate::api::mitigations::{describe, summaries};
use crate::db::fleet::{self, Course};
use crate::db::history;
use crate::db::layers::Group;
use crate::db::servers::{self, OnServer};
use crate::people::Right;
use crate::problem::Problem;
use crate::state::AppState;

/// Servers of a page, and of a file.
const PAGE: u32 = 100;
const CHUNK: u32 = 5_000;
const MOST: usize = 1_000_000;

#[derive(Template)]
#[template(path = "mitigation.html")]
struct Page {
    shell: Shell,
    live: Live,
    name: String,
    address: String,
    action_type: String,
    description: String,
    groups: Vec<Group>,
    digests: Vec<String>,
    content: Option<Content>,
    csv: String,
    past: String,
}

#[derive(Template)]
#[template(path = "mitigation_live.html")]
struct Part {
    row: Row,
    marks: Vec<(Mark, u64, String)>,
    steps: Option<Steps>,
    blocks: Vec<Listed>,
    approvals: Vec<Asked>,
    servers: Vec<OnServer>,
    next: Option<String>,
    first: Option<String>,
    csrf: String,
    operates: bool,
    address: String,
}

pub(super) async fn show(
    State(state): State<AppState>,
    Path((feed, id)): Path<(String, String)>,
    visit: Visit,
) -> Shown {
    visit.may(Right::See)?;
    let db = state.db.reader();
    let key = blocks::key(&feed, &id)?;
    let (feed, id) = (key.feed.to_string(), key.id.to_string());
    let mut found = summaries(&state).await?;
    found.retain(|summary| summary.feed == feed && summary.id == id);
    let Some(mut summary) = found.pop() else {
        return Err(Problem::not_found(format_args!("mitigation {feed}:{id} on any server")).into());
    };
    if visit.wants_csv() {
        return file(&state, &feed, &id).await;
    }
    describe(&state, &mut summary).await?;
    let status = visit.query.get("status").to_owned();
    let after = visit.query.get("after");
    let mut on = fleet::with_mitigation(db, &feed, &id, &status, after, PAGE + 1).await?;
    let more = on.len() > PAGE as usize;
    on.truncate(PAGE as usize);
    let course = fleet::course(db, &feed, &id).await?;
    let shell = visit.shell(format!("{feed}:{id}"), "mitigations").with_live();
    let (action_type, description) = (summary.action_type.clone(), summary.description.clone());
    let part = Part {
        marks: marks(&visit, &summary.statuses, summary.servers),
        steps: steps(&state, &feed, &id, course, summary.servers, visit.now).await?,
        blocks: blocks::listed(&state, &key, visit.now).await?,
        approvals: super::approvals::of(&state, &visit.by, &feed, &id).await?,
        next: on.last().filter(|_| more).map(|one| visit.address_with(&[("after", &one.server)])),
        first: (!after.is_empty()).then(|| visit.address_with(&[("after", "")])),
        servers: on,
        csrf: shell.csrf.clone(),
        operates: shell.operates,
        address: address(&feed, &id),
        row: Row { summary, course },
    };
    let groups = state.organization().await?.groups.iter().map(|(group, _)| group.clone()).collect();
    let digests = servers::digests(db, &feed, &id).await?;
    visit.live_page(&part, |live| Page {
        shell,
        live,
        name: format!("{feed}:{id}"),
        address: address(&feed, &id),
        action_type,
        description,
        groups,
        content: content::of(&state, &key, &digests),
        digests,
        csv: visit.address_with(&[("format", "csv"), ("after", "")]),
        past: format!("/past?mitigation={}", escaped(&format!("{feed}:{id}"))),
    })
}

fn marks(visit: &Visit, statuses: &BTreeMap<String, u64>, all: u64) -> Vec<(Mark, u64, String)> {
    let mut marks: Vec<(Mark, u64, String)> = statuses
        .iter()
        .map(|(status, count)| {
            let address = visit.address_with(&[("status", status), ("after", "")]);
            (Mark::status(status, false), *count, address)
        })
        .collect();
    marks.sort_by_key(|(mark, _, _)| mark.kind);
    if visit.query.filled("status").is_some() {
        let address = visit.address_with(&[("status", ""), ("after", "")]);
        marks.push((Mark::new(Kind::Idle, "All"), all, address));
    }
    marks
}

/// From an hour before it first came into force anywhere.
async fn steps(
    state: &AppState,
    feed: &str,
    id: &str,
    course: Course,
    of: u64,
    now: Timestamp,
) -> Result<Option<Steps>, Problem> {
    let Some(first) = course.first else { return Ok(None) };
    let length = now.duration_since(first).max(SignedDuration::from_mins(30));
    let from = now - length - length / 20;
    let spans = history::spans(state.db.reader(), feed, id, None, from, now).await?;
    let spans = spans.into_iter().map(|span| (span.from, span.until)).collect();
    Ok(Some(Steps { spans, from, now, of }))
}

impl Part {
    fn status(&self, one: &wire::Mitigation) -> Mark {
        Mark::status(&one.status, one.in_force)
    }

    fn server(&self, one: &OnServer) -> String {
        format!("/servers/{}", escaped(&one.server))
    }

    fn applied(&self, one: &wire::Mitigation) -> Maybe {
        Maybe(one.applied_at.filter(|_| one.in_force))
    }

    fn proven(&self, one: &wire::Mitigation) -> Maybe {
        Maybe(one.proven_at)
    }

    fn since(&self) -> String {
        let (Some(first), None) = (self.row.course.first, self.row.course.ended) else {
            return String::new();
        };
        span(Timestamp::now().duration_since(first))
    }

    fn servers_in_force(&self) -> String {
        so_many(self.row.summary.in_force)
    }
}

async fn file(state: &AppState, feed: &str, id: &str) -> Shown {
    let mut all: Vec<OnServer> = Vec::new();
    loop {
        let after = all.last().map(|one| one.server.clone()).unwrap_or_default();
        let more = servers::with_mitigation(state.db.reader(), feed, id, &after, CHUNK).await?;
        let full = more.len() == CHUNK as usize;
        all.extend(more);
        if !full || all.len() >= MOST {
            break;
        }
    }
    let header =
        ["Server", "ID", "Type", "Description", "Status", "InForce", "AppliedAt", "ProvenAt", "Reason"];
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let rows = all.into_iter().map(|one| {
        let OnServer { server, mitigation: m, .. } = one;
        vec![
            server,
            m.id.to_string(),
            m.action_type,
            m.description,
            m.status,
            m.in_force.to_string(),
            time(m.applied_at),
            time(m.proven_at),
            m.reason.unwrap_or_default(),
        ]
    });
    Ok(csv::file(&format!("{feed}-{id}"), &header, rows))
}
