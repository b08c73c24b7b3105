//! Enrollment: tokens with which servers join.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, State};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::csv;
use super::form::Sent;
use super::marks::Time;
use super::people::Told;
use super::visit::{Shell, Shown, Visit, page, see};
use crate::api::NewEnrollment;
use crate::api::enrollments as api;
use crate::api::extract::{Asked, At, Why};
use crate::db::enrollments::{self, Enrollment};
use crate::people::{Right, issue};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// Tokens of a page; old ones are removed.
const MOST: u32 = 1000;

#[derive(Template)]
#[template(path = "enrollments.html")]
struct Page {
    shell: Shell,
    all: Vec<Enrollment>,
    csv: String,
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::Audit)?;
    let mut all = enrollments::page(state.db.reader(), "", MOST).await?;
    all.sort_by_key(|one| std::cmp::Reverse(one.created_at));
    if visit.wants_csv() {
        let rows = all.iter().map(|one| {
            let (ends, made) = (one.expires_at.to_string(), one.created_at.to_string());
            vec![one.id.clone(), one.uses_left.to_string(), ends, labels(one), one.created_by.clone(), made]
        });
        return Ok(csv::file(
            "enrollments",
            &["ID", "UsesLeft", "ExpiresAt", "Labels", "CreatedBy", "CreatedAt"],
            rows,
        ));
    }
    let csv = visit.address_with(&[("format", "csv")]);
    visit.page(&Page { shell: visit.shell("Enrollment", "enrollments"), all, csv })
}

fn labels(one: &Enrollment) -> String {
    one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

impl Page {
    fn labels(&self, one: &Enrollment) -> String {
        labels(one)
    }

    fn time(&self, at: &Timestamp) -> Time {
        Time(*at)
    }

    fn ended(&self, one: &Enrollment) -> bool {
        one.uses_left == 0 || one.expires_at <= self.shell.now.0
    }
}

/// `key=value`, one on a line or between spaces.
pub(super) fn labels_of(text: &str) -> Answer<BTreeMap<String, String>> {
    let pair = |word: &str| {
        let pair = word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Problem::unprocessable(format_args!("{word:?} is no label; expected KEY=VALUE")))
    };
    text.split_whitespace().map(pair).collect()
}

/// `POST /enrollments`. The answer is the page that tells the secret, once.
pub(super) async fn make(State(state): State<AppState>, sent: Sent) -> Shown {
    sent.by.may(Right::Administer)?;
    let number = |name: &str| {
        let wrong = || Problem::unprocessable(format_args!("{name} is a number"));
        sent.fields.get(name).parse().map_err(|_| wrong())
    };
    let new = NewEnrollment {
        uses: number("uses")?,
        hours: number("hours")?,
        labels: labels_of(sent.fields.get("labels"))?,
    };
    api::check(&new)?;
    let now = Timestamp::now();
    let expires = now + SignedDuration::from_hours(new.hours.into());
    let wanted = issue::Enrolling { uses: new.uses, expires, labels: new.labels, pin: state.pin.clone() };
    let mut change = state.db.begin_alone().await?;
    let (_, secret) =
        issue::enrollment(&mut change, &sent.by.user, wanted, now).await.map_err(Problem::from)?;
    change.commit().await?;
    let told = Told {
        heading: "Enrollment token".into(),
        secret,
        next: "/enrollments".into(),
        command: "stopgap agent enroll --hub https://… --token-file FILE".into(),
    };
    Ok(page(StatusCode::OK, &told))
}

/// `POST /enrollments/{id}/remove`.
pub(super) async fn remove(State(state): State<AppState>, Path(id): Path<String>, sent: Sent) -> Shown {
    let reason = sent.fields.filled("reason").map(str::to_owned);
    api::remove(State(state), sent.by, At(id), Asked(Why { reason })).await?;
    Ok(see("/enrollments?done=removed"))
}
