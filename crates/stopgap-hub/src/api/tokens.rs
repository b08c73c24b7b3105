//! API tokens: listed, made, removed.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::extract::{Asked, At, Body, Page, Part, Why};
use super::once::Once;
use super::servers::MAX_WORD;
use crate::db::tokens::{self, Token};
use crate::people::issue::{self, Maker};
use crate::people::{Principal, Right, Role, Scope, scope};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// Tokens.
#[utoipa::path(get, path = "/v1/tokens", tag = "people", params(Part), responses((status = 200, body = Page<Token>)))]
pub async fn list(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
) -> Answer<Json<Page<Token>>> {
    by.may(Right::Audit)?;
    let limit = part.limit();
    let found = tokens::page(state.db.reader(), part.after(), limit + 1).await?;
    Ok(Page::of(found, limit, |token| token.id.clone()))
}

/// What a token is to be.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for.
    #[schema(min_length = 1, max_length = 128)]
    pub label: String,
    /// What it may do.
    pub role: Role,
    /// What of the API it reaches; missing or empty: all that its role may.
    #[serde(default)]
    #[schema(value_type = Vec<String>, max_items = 24)]
    pub scopes: Vec<Scope>,
    /// How many hours it works; missing: until it is removed.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 87600)]
    pub hours: Option<u32>,
}

impl NewToken {
    pub(crate) fn wanted(self, now: Timestamp) -> issue::Wanted {
        let expires_at = self.hours.map(|hours| now + SignedDuration::from_hours(hours.into()));
        issue::Wanted { label: self.label, role: self.role, scopes: self.scopes, expires_at }
    }
}

/// A token with its secret, told once.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MadeToken {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// What is sent as `Authorization: Bearer`; missing in an answer that is given again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Make a token.
#[utoipa::path(post, path = "/v1/tokens", tag = "people", request_body = NewToken,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = MadeToken), (status = 422, body = Problem)))]
pub async fn create(
    State(state): State<AppState>,
    by: Principal,
    once: Once,
    Body(new): Body<NewToken>,
) -> Answer<Response> {
    by.may(Right::Administer)?;
    check(&by, &new)?;
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    if let Some(answered) = once.begin(&mut change, &by, &new, now).await? {
        return Ok(answered);
    }
    let (token, secret) = issue::token(&mut change, &Maker::from(&by), new.wanted(now), now).await?;
    let mut made = MadeToken { token, secret: None };
    once.keep(&mut change, &by, StatusCode::CREATED, &made).await?;
    change.commit().await?;
    made.secret = Some(secret);
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// What a token may be.
pub(crate) fn check(by: &Principal, new: &NewToken) -> Answer<()> {
    if !scope::cover(by.scopes(), &new.scopes) {
        return Err(Problem::forbidden("a token with scopes makes none that reaches more than it does"));
    }
    if new.scopes.len() > 2 * scope::AREAS.len() {
        return Err(Problem::unprocessable("there are fewer scopes than that"));
    }
    let letters = new.label.chars().count();
    if letters == 0 || letters > MAX_WORD || new.label.chars().any(char::is_control) {
        return Err(Problem::unprocessable(format_args!("a label has 1 to {MAX_WORD} letters")));
    }
    if new.hours.is_some_and(|hours| hours == 0 || hours > 87_600) {
        return Err(Problem::unprocessable("hours is 1 to 87600, which is ten years"));
    }
    Ok(())
}

/// Remove a token: it works no longer.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "people", params(("id" = String, Path), Why),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn remove(
    State(state): State<AppState>,
    by: Principal,
    At(id): At<String>,
    Asked(why): Asked<Why>,
) -> Answer<StatusCode> {
    by.may(Right::Administer)?;
    let mut change = state.db.begin_alone().await?;
    let found = tokens::by_id(change.on(), &id).await?;
    let token = found.ok_or_else(|| Problem::not_found(format_args!("token {id:?}")))?;
    tokens::remove(&mut change, &id).await?;
    let before = serde_json::json!({"id": token.id, "role": token.role, "scopes": token.scopes});
    let said = by.said("token.remove", &format!("token {}", token.label)).from(before);
    change.audit(Timestamp::now(), &said.because(why.reason)).await?;
    change.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
