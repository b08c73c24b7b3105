//! `/v1/notifications`: what was told, to whom, and what waits; `/v1/troubles`: what is wrong with servers as a whole.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_tell::{Kind, Message};

use super::gather;
use crate::api::extract::{Asked, Page, Part};
use crate::api::once::Once;
use crate::db::Change;
use crate::db::telling::{self, Delivery, Kept};
use crate::db::troubles::{self, Trouble};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// A message, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Notification {
    /// Its number.
    pub id: u64,
    /// `applied`, `failed`, `quiet`, ... docs/notifications.md has them all.
    pub event: String,
    /// The mitigation, as `feed:id`, where it is about one.
    pub mitigation: Option<String>,
    /// When it happened first.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// And last.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// On how many servers.
    pub count: u64,
    /// The first of them.
    pub servers: Vec<String>,
    /// In one line.
    pub title: String,
    /// In lines.
    pub text: String,
    /// One for each receiver.
    pub deliveries: Vec<Delivery>,
}

impl From<Kept> for Notification {
    fn from(kept: Kept) -> Notification {
        let Message { kind, object, at, until, count, servers, title, text, .. } = kept.message;
        Notification {
            id: kept.seq,
            event: kind.word().to_owned(),
            mitigation: Some(object).filter(|object| !object.is_empty()),
            at,
            until,
            count,
            servers,
            title,
            text,
            deliveries: kept.deliveries,
        }
    }
}

/// Messages, newest first.
#[utoipa::path(get, path = "/v1/notifications", tag = "notifications", params(Part),
    responses((status = 200, body = Page<Notification>)))]
pub async fn list(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
) -> Answer<Json<Page<Notification>>> {
    by.may(Right::See)?;
    let limit = part.limit();
    let kept = telling::page(&state.db, part.after_number()?, limit + 1).await?;
    let all: Vec<Notification> = kept.into_iter().map(Notification::from).collect();
    Ok(Page::of(all, limit, |one| one.id.to_string()))
}

/// Send a test message to every receiver.
#[utoipa::path(post, path = "/v1/notifications/test", tag = "notifications",
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = Notification), (status = 409, body = Problem)))]
pub async fn test(State(state): State<AppState>, by: Principal, once: Once) -> Answer<Response> {
    by.may(Right::Administer)?;
    let now = Timestamp::now();
    let mut change = state.db.begin().await?;
    if let Some(answered) = once.begin(&mut change, &by, &"test", now).await? {
        return Ok(answered);
    }
    let made = make_test(&state, &mut change, &by, now).await?;
    once.keep(&mut change, &by, StatusCode::ACCEPTED, &made).await?;
    change.commit().await?;
    state.tell.made();
    Ok((StatusCode::ACCEPTED, Json(made)).into_response())
}

/// The same for the console.
pub(crate) async fn send_test(state: &AppState, by: &Principal) -> Answer<()> {
    let mut change = state.db.begin().await?;
    make_test(state, &mut change, by, Timestamp::now()).await?;
    change.commit().await?;
    state.tell.made();
    Ok(())
}

async fn make_test(
    state: &AppState,
    change: &mut Change,
    by: &Principal,
    now: Timestamp,
) -> Answer<Notification> {
    by.may(Right::Administer)?;
    if state.tell.receivers().is_empty() {
        return Err(Problem::conflict("nobody is told: hub.toml has neither [mail] nor [[webhook]]"));
    }
    change.audit(now, &by.said("notification.test", "notifications")).await?;
    let message = |id| test_message(id, &by.user, now);
    let seq = gather::make(state, change, Kind::Test, message, now).await?;
    let message = test_message(seq.to_string(), &by.user, now);
    Ok(Notification::from(Kept { seq: u64::try_from(seq).unwrap_or(0), message, deliveries: Vec::new() }))
}

/// What somebody sends who tries.
pub fn test_message(id: String, who: &str, now: Timestamp) -> Message {
    Message {
        id,
        kind: Kind::Test,
        object: String::new(),
        at: now,
        until: now,
        count: 0,
        servers: Vec::new(),
        title: "a test: messages arrive here".to_owned(),
        text: format!("{who} asked for this message. Nothing happened to any server."),
        attachment: None,
    }
}

/// What is wrong with servers as a whole, as the hub judges it.
#[utoipa::path(get, path = "/v1/troubles", tag = "notifications", params(Part),
    responses((status = 200, body = Page<Trouble>)))]
pub async fn troubles(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
) -> Answer<Json<Page<Trouble>>> {
    by.may(Right::See)?;
    let limit = part.limit();
    let all = troubles::page(state.db.reader(), part.after(), limit + 1).await?;
    Ok(Page::of(all, limit, |one| format!("{} {}", one.server.to_lowercase(), one.kind)))
}
