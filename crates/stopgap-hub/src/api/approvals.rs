//! Approvals: asked for, given by somebody else, refused, taken back.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_feed::Key;

use super::extract::{Asked, At, Body, Page, Part, short};
use super::once::Once;
use crate::approvals::{self, Wanted};
use crate::db::approvals::{Approval, Scope, State as Decision, page};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// Which approvals.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// In this state; any, where it is missing.
    pub state: Option<Decision>,
}

/// Approvals, newest first.
#[utoipa::path(get, path = "/v1/approvals", tag = "approvals", params(Part, Which),
    responses((status = 200, body = Page<Approval>)))]
pub async fn list(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
    Asked(which): Asked<Which>,
) -> Answer<Json<Page<Approval>>> {
    by.may(Right::See)?;
    let limit = part.limit();
    let cursor = part.after.as_deref().filter(|text| !text.is_empty()).map(cursor).transpose()?;
    let found = page(state.db.reader(), which.state, cursor, limit + 1).await?;
    Ok(Page::of(found, limit, |one| format!("{}_{}", one.requested_at, one.id)))
}

fn cursor(text: &str) -> Answer<(Timestamp, &str)> {
    let parts = text.split_once('_').and_then(|(at, id)| Some((at.parse().ok()?, id)));
    parts.ok_or_else(|| Problem::unprocessable(format_args!("after={text:?} is no `next` of a page")))
}

/// What is asked for.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// `feed:id`.
    #[schema(pattern = "^[a-z0-9-]+:[A-Za-z0-9.]+$", max_length = 200)]
    pub mitigation: String,
    /// SHA-256 of the revision's octets, in hex; missing: the only one that servers report.
    #[serde(default)]
    pub digest: Option<String>,
    /// For whom.
    pub level: Scope,
    /// The group's or server's name; empty for the organization.
    #[serde(default)]
    pub name: String,
    /// Why.
    #[serde(default, deserialize_with = "short")]
    #[schema(max_length = 2000)]
    pub reason: Option<String>,
}

/// Ask for an approval; one that was given is not asked for again.
#[utoipa::path(post, path = "/v1/approvals", tag = "approvals", request_body = Request,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = Approval), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn request(
    State(state): State<AppState>,
    by: Principal,
    once: Once,
    Body(request): Body<Request>,
) -> Answer<Response> {
    by.may(Right::Operate)?;
    let key: Key = request.mitigation.parse().map_err(Problem::unprocessable)?;
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    if let Some(answered) = once.begin(&mut change, &by, &request, now).await? {
        return Ok(answered);
    }
    let Request { digest, level, name, reason, .. } = request;
    let approval =
        approvals::request(&mut change, &by, Wanted { key, digest, level, name, reason }, now).await?;
    once.keep(&mut change, &by, StatusCode::CREATED, &approval).await?;
    change.commit().await?;
    Ok((StatusCode::CREATED, Json(approval)).into_response())
}

/// A decision.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// `approved` (by somebody else than who asked), `rejected`, or `withdrawn` of what was approved.
    pub state: Decision,
    /// Why.
    #[serde(default, deserialize_with = "short")]
    #[schema(max_length = 2000)]
    pub reason: Option<String>,
}

/// Decide.
#[utoipa::path(put, path = "/v1/approvals/{id}", tag = "approvals", params(("id" = String, Path)),
    request_body = Decided,
    responses((status = 200, body = Approval), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn decide(
    State(state): State<AppState>,
    by: Principal,
    At(id): At<String>,
    Body(decided): Body<Decided>,
) -> Answer<Json<Approval>> {
    Ok(Json(approvals::decide(&state, &by, &id, decided.state, decided.reason).await?))
}
