//! Approvals: what waits for somebody's word, and what was decided.

use askama::Template;
use axum::extract::{Path, State};
use jiff::Timestamp;

use super::blocks::key;
use super::csv;
use super::form::Sent;
use super::marks::{Kind, Mark, Maybe, Time};
use super::mitigations::address;
use super::visit::{Shell, Shown, Visit, see};
use crate::approvals::{self, Wanted};
use crate::db::approvals as db;
use crate::db::approvals::{Approval, Scope, State as Decision};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// Requests of a page; older ones are in the audit log.
const PAGE: u32 = 200;

/// A request as a page shows it.
pub(super) struct Asked {
    pub(super) approval: Approval,
    /// Whether who looks at it asked for it, and so cannot approve it.
    pub(super) own: bool,
}

impl Asked {
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.approval.feed, self.approval.mitigation)
    }

    pub(super) fn address(&self) -> String {
        address(&self.approval.feed, &self.approval.mitigation)
    }

    pub(super) fn revision(&self) -> &str {
        self.approval.digest.get(..12).unwrap_or(&self.approval.digest)
    }

    pub(super) fn scope(&self) -> String {
        match self.approval.level {
            Scope::Organization => "organization".into(),
            Scope::Group => format!("group {}", self.approval.name),
            Scope::Server => format!("server {}", self.approval.name),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        match self.approval.state {
            Decision::Requested => Mark::new(Kind::Waiting, "Asked for"),
            Decision::Approved => Mark::new(Kind::Good, "Approved"),
            Decision::Rejected => Mark::new(Kind::Held, "Rejected"),
            Decision::Withdrawn => Mark::new(Kind::Idle, "Withdrawn"),
        }
    }

    pub(super) fn requested(&self) -> Time {
        Time(self.approval.requested_at)
    }

    pub(super) fn decided(&self) -> Maybe {
        Maybe(self.approval.decided_at)
    }

    pub(super) fn is_open(&self) -> bool {
        self.approval.state == Decision::Requested
    }

    pub(super) fn is_approved(&self) -> bool {
        self.approval.state == Decision::Approved
    }
}

/// Requests for one mitigation.
pub(super) async fn of(state: &AppState, by: &Principal, feed: &str, id: &str) -> Answer<Vec<Asked>> {
    let all = db::page(state.db.reader(), None, None, PAGE).await?;
    let of = all.into_iter().filter(|approval| approval.feed == feed && approval.mitigation == id);
    Ok(of.map(|approval| asked(approval, by)).collect())
}

fn asked(approval: Approval, by: &Principal) -> Asked {
    let own = approval.requested_by == by.user;
    Asked { approval, own }
}

#[derive(Template)]
#[template(path = "approvals.html")]
struct Page {
    shell: Shell,
    open: Vec<Asked>,
    decided: Vec<Asked>,
    csv: String,
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::See)?;
    let all = db::page(state.db.reader(), None, None, PAGE).await?;
    let all = all.into_iter().map(|approval| asked(approval, &visit.by));
    if visit.wants_csv() {
        return Ok(file(all));
    }
    let (open, decided) = all.partition(Asked::is_open);
    let csv = visit.address_with(&[("format", "csv")]);
    visit.page(&Page { shell: visit.shell("Approvals", "approvals"), open, decided, csv })
}

fn file(all: impl Iterator<Item = Asked>) -> axum::response::Response {
    let header = [
        "Mitigation",
        "Revision",
        "For",
        "State",
        "RequestedBy",
        "RequestedAt",
        "Reason",
        "DecidedBy",
        "DecidedAt",
    ];
    let rows = all.map(|one| {
        let (name, scope, state) = (one.name(), one.scope(), one.mark().text);
        let Approval { digest, requested_by, requested_at, reason, decided_by, decided_at, .. } =
            one.approval;
        vec![
            name,
            digest,
            scope,
            state,
            requested_by,
            requested_at.to_string(),
            reason.unwrap_or_default(),
            decided_by.unwrap_or_default(),
            decided_at.map(|at| at.to_string()).unwrap_or_default(),
        ]
    });
    csv::file("approvals", &header, rows)
}

/// `POST /mitigations/{feed}/{id}/approvals`.
pub(super) async fn request(
    State(state): State<AppState>,
    Path((feed, id)): Path<(String, String)>,
    sent: Sent,
) -> Shown {
    let place = sent.fields.get("place");
    let (level, name) = match place.split_once(' ').unwrap_or((place, "")) {
        ("organization", "") => (Scope::Organization, ""),
        ("group", name) => (Scope::Group, name),
        ("server", name) => (Scope::Server, name),
        _ => {
            return Err(Problem::unprocessable(
                "for which servers? Choose the organization, a group or a server",
            )
            .into());
        }
    };
    let wanted = Wanted {
        key: key(&feed, &id)?,
        digest: sent.fields.filled("digest").map(str::to_owned),
        level,
        name: name.to_owned(),
        reason: Some(sent.fields.reason()?),
    };
    let mut change = state.db.begin_alone().await?;
    approvals::request(&mut change, &sent.by, wanted, Timestamp::now()).await?;
    change.commit().await?;
    Ok(see(&format!("{}?done=requested", address(&feed, &id))))
}

/// `POST /approvals/{id}`.
pub(super) async fn decide(State(state): State<AppState>, Path(id): Path<String>, sent: Sent) -> Shown {
    let (to, done) = match sent.fields.get("decision") {
        "approve" => (Decision::Approved, "approved"),
        "reject" => (Decision::Rejected, "rejected"),
        "withdraw" => (Decision::Withdrawn, "withdrawn"),
        _ => return Err(Problem::unprocessable("expected approve, reject or withdraw").into()),
    };
    let reason = sent.fields.filled("reason").map(|reason| reason.chars().take(2000).collect());
    approvals::decide(&state, &sent.by, &id, to, reason).await?;
    Ok(see(&format!("/approvals?done={done}")))
}
