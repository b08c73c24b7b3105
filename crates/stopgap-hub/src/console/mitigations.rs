//! All mitigations, counted over all servers.

use askama::Template;
use axum::extract::State;

use super::chart::Bar;
use super::csv;
use super::form::escaped;
use super::marks::{Kind, Mark, Maybe};
use super::visit::{Live, Shell, Shown, Visit};
use crate::api::mitigations::{Summary, summaries};
use crate::db::fleet::{self, Course};
use crate::people::Right;
use crate::problem::Answer;
use crate::state::AppState;

/// Mitigations on one page. Exchange has had twenty in its whole life; a feed's bound is 10,000.
const MOST: usize = 500;

/// One mitigation over all servers.
pub(super) struct Row {
    pub(super) summary: Summary,
    pub(super) course: Course,
}

impl Row {
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.summary.feed, self.summary.id)
    }

    pub(super) fn address(&self) -> String {
        address(&self.summary.feed, &self.summary.id)
    }

    /// Servers of one kind.
    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.summary
            .statuses
            .iter()
            .filter(|(status, _)| Kind::of_status(status) == kind)
            .map(|(_, n)| n)
            .sum()
    }

    /// Servers that need it, or have it.
    pub(super) fn needed(&self) -> u64 {
        self.summary.servers - self.of(Kind::Idle)
    }

    pub(super) fn bar(&self) -> Bar {
        let kinds = [Kind::Good, Kind::Partly, Kind::Waiting, Kind::Held, Kind::Bad];
        Bar(kinds.into_iter().map(|kind| (kind, self.of(kind))).collect())
    }

    pub(super) fn good(&self) -> u64 {
        self.of(Kind::Good)
    }

    pub(super) fn waiting(&self) -> u64 {
        self.of(Kind::Waiting)
    }

    pub(super) fn held(&self) -> u64 {
        self.of(Kind::Held)
    }

    pub(super) fn bad(&self) -> u64 {
        self.of(Kind::Bad)
    }

    pub(super) fn exposed(&self) -> Maybe {
        Maybe(self.course.exposed)
    }

    pub(super) fn first(&self) -> Maybe {
        Maybe(self.course.first)
    }

    /// Since when every server that needs it has it in force.
    pub(super) fn complete(&self) -> Maybe {
        let everywhere = self.needed() > 0 && self.good() + self.of(Kind::Partly) == self.needed();
        Maybe(self.course.last.filter(|_| everywhere || self.course.ended.is_some()))
    }

    pub(super) fn proven(&self) -> Maybe {
        Maybe(self.course.proven)
    }

    pub(super) fn ended(&self) -> Maybe {
        Maybe(self.course.ended)
    }
}

/// The address of a mitigation's page.
pub(super) fn address(feed: &str, id: &str) -> String {
    format!("/mitigations/{}/{}", escaped(feed), escaped(id))
}

/// All of them: first those that somebody has to look at, then by name.
pub(super) async fn rows(state: &AppState) -> Answer<Vec<Row>> {
    let mut found = summaries(state).await?;
    found.truncate(MOST);
    let mut examples = std::collections::HashMap::new();
    for example in fleet::mitigations(state.db.reader(), u32::try_from(MOST).unwrap_or(u32::MAX)).await? {
        examples.insert((example.feed.to_string(), example.id.to_string()), example);
    }
    let mut rows = Vec::with_capacity(found.len());
    for mut summary in found {
        if let Some(example) = examples.remove(&(summary.feed.clone(), summary.id.clone())) {
            summary.action_type = example.action_type;
            summary.description = example.description;
        }
        let course = fleet::course(state.db.reader(), &summary.feed, &summary.id).await?;
        rows.push(Row { summary, course });
    }
    rows.sort_by_key(|row| row.bad() == 0);
    Ok(rows)
}

#[derive(Template)]
#[template(path = "mitigations.html")]
struct Page {
    shell: Shell,
    live: Live,
    csv: String,
}

#[derive(Template)]
#[template(path = "mitigations_table.html")]
pub(super) struct Table<'a> {
    pub(super) rows: &'a [Row],
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::See)?;
    let rows = rows(&state).await?;
    if visit.wants_csv() {
        let header = [
            "Feed",
            "ID",
            "Type",
            "Description",
            "Servers",
            "Needed",
            "InForce",
            "Proven",
            "Waiting",
            "HeldBack",
            "Attention",
            "ExposedSince",
            "FirstInForce",
            "InForceEverywhere",
            "LastProven",
            "OffEverywhere",
        ];
        let time = |at: Maybe| at.0.map(|at| at.to_string()).unwrap_or_default();
        let cells = rows.iter().map(|row| {
            let s = &row.summary;
            let counts =
                [s.servers, row.needed(), s.in_force, row.good(), row.waiting(), row.held(), row.bad()];
            [s.feed.clone(), s.id.clone(), s.action_type.clone(), s.description.clone()]
                .into_iter()
                .chain(counts.map(|count| count.to_string()))
                .chain([row.exposed(), row.first(), row.complete(), row.proven(), row.ended()].map(time))
                .collect()
        });
        return Ok(csv::file("mitigations", &header, cells));
    }
    visit.live_page(&Table { rows: &rows }, |live| Page {
        shell: visit.shell("Mitigations", "mitigations").with_live(),
        live,
        csv: visit.address_with(&[("format", "csv")]),
    })
}
