//! What people were told, what waits, and what could not be delivered; and what is wrong with servers as a whole.

use askama::Template;
use axum::extract::State;
use jiff::Timestamp;

use super::csv;
use super::form::Sent;
use super::marks::{Kind, Mark, Maybe, Time, spaced};
use super::visit::{Shell, Shown, Visit, see};
use crate::db::telling::{self, Delivery, Kept};
use crate::db::troubles::{self, Trouble};
use crate::people::Right;
use crate::state::AppState;
use crate::tell;

/// Messages of a page, and of a file.
const PAGE: u32 = 50;
const FILE: u32 = 10_000;
/// Servers in trouble that the page names; the API has all.
const TROUBLES: u32 = 200;

#[derive(Template)]
#[template(path = "notifications.html")]
struct Page {
    shell: Shell,
    receivers: Vec<String>,
    troubles: Vec<Trouble>,
    messages: Vec<Kept>,
    next: Option<String>,
    first: Option<String>,
    csv: String,
}

impl Page {
    fn time(&self, at: &Timestamp) -> Time {
        Time(*at)
    }

    fn maybe(&self, at: &Option<Timestamp>) -> Maybe {
        Maybe(*at)
    }

    fn words(&self, word: &str) -> String {
        word.replace('-', " ")
    }

    fn trouble(&self, one: &Trouble) -> Mark {
        Mark::new(Kind::Bad, spaced(&one.kind).replace('-', " "))
    }

    fn mark(&self, delivery: &Delivery) -> Mark {
        match delivery.state.as_str() {
            "sent" => Mark::new(Kind::Good, "sent"),
            "waits" if delivery.tries == 0 => Mark::new(Kind::Waiting, "waits"),
            "waits" if delivery.tries == 1 => Mark::new(Kind::Waiting, "waits, after one try"),
            "waits" => Mark::new(Kind::Waiting, format!("waits, after {} tries", delivery.tries)),
            "given-up" => Mark::new(Kind::Bad, "given up"),
            other => Mark::new(Kind::Bad, other),
        }
    }
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::See)?;
    if visit.wants_csv() {
        return Ok(file(telling::page(&state.db, None, FILE).await?));
    }
    let before = visit.query.get("before").parse().ok();
    let mut messages = telling::page(&state.db, before, PAGE + 1).await?;
    let more = messages.len() > PAGE as usize;
    messages.truncate(PAGE as usize);
    let next = messages
        .last()
        .filter(|_| more)
        .map(|message| visit.address_with(&[("before", &message.seq.to_string())]));
    visit.page(&Page {
        shell: visit.shell("Notifications", "notifications"),
        receivers: state.tell.receivers().all().map(|receiver| receiver.name()).collect(),
        troubles: troubles::page(state.db.reader(), "", TROUBLES).await?,
        messages,
        next,
        first: before.map(|_| visit.address_with(&[("before", "")])),
        csv: visit.address_with(&[("format", "csv"), ("before", "")]),
    })
}

/// `POST /notifications`: a test message.
pub(super) async fn test(State(state): State<AppState>, sent: Sent) -> Shown {
    tell::send_test(&state, &sent.by).await?;
    Ok(see("/notifications?done=test-sent"))
}

fn file(messages: Vec<Kept>) -> axum::response::Response {
    let header =
        ["Number", "Event", "Mitigation", "At", "Servers", "Title", "Receiver", "State", "Tries", "Error"];
    let rows = messages.into_iter().flat_map(|kept| {
        let message = kept.message;
        let told = [
            kept.seq.to_string(),
            message.kind.word().to_owned(),
            message.object,
            message.at.to_string(),
            message.count.to_string(),
            message.title,
        ];
        kept.deliveries.into_iter().map(move |one| {
            let error = one.error.unwrap_or_default();
            told.iter().cloned().chain([one.receiver, one.state, one.tries.to_string(), error]).collect()
        })
    });
    csv::file("notifications", &header, rows)
}
