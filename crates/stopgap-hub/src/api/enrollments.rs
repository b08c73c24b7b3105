//! Enrollment tokens: with one of these a server joins.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::extract::{Asked, At, Body, Page, Part, Why};
use super::once::Once;
use super::servers::labels;
use crate::db::enrollments::{self, Enrollment};
use crate::people::{Principal, Right, issue};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// Enrollment tokens.
#[utoipa::path(get, path = "/v1/enrollments", tag = "servers", params(Part),
    responses((status = 200, body = Page<Enrollment>)))]
pub async fn list(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
) -> Answer<Json<Page<Enrollment>>> {
    by.may(Right::Audit)?;
    let limit = part.limit();
    let found = enrollments::page(state.db.reader(), part.after(), limit + 1).await?;
    Ok(Page::of(found, limit, |one| one.id.clone()))
}

/// What an enrollment token is to be.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnrollment {
    /// How many servers may join with it.
    #[schema(minimum = 1, maximum = 100000)]
    pub uses: u32,
    /// How many hours it works.
    #[schema(minimum = 1, maximum = 8760)]
    pub hours: u32,
    /// What they are labeled with.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// An enrollment token with its secret, told once.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MadeEnrollment {
    /// The token.
    #[serde(flatten)]
    pub enrollment: Enrollment,
    /// What `stopgap agent enroll` reads from its file; missing in an answer that is given again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Make an enrollment token. Where the hub has an authority of its own, the token pins it.
#[utoipa::path(post, path = "/v1/enrollments", tag = "servers", request_body = NewEnrollment,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = MadeEnrollment), (status = 422, body = Problem)))]
pub async fn create(
    State(state): State<AppState>,
    by: Principal,
    once: Once,
    Body(new): Body<NewEnrollment>,
) -> Answer<Response> {
    by.may(Right::Administer)?;
    check(&new)?;
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    if let Some(answered) = once.begin(&mut change, &by, &new, now).await? {
        return Ok(answered);
    }
    let expires = now + SignedDuration::from_hours(new.hours.into());
    let wanted = issue::Enrolling { uses: new.uses, expires, labels: new.labels, pin: state.pin.clone() };
    let (enrollment, secret) = issue::enrollment(&mut change, &by.user, wanted, now).await?;
    let mut made = MadeEnrollment { enrollment, secret: None };
    once.keep(&mut change, &by, StatusCode::CREATED, &made).await?;
    change.commit().await?;
    made.secret = Some(secret);
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// What an enrollment token may be.
pub(crate) fn check(new: &NewEnrollment) -> Answer<()> {
    labels(&new.labels)?;
    if !(1..=100_000).contains(&new.uses) || !(1..=8760).contains(&new.hours) {
        return Err(Problem::unprocessable("expected uses from 1 to 100000, and hours from 1 to 8760"));
    }
    Ok(())
}

/// Remove an enrollment token. Servers that joined with it stay.
#[utoipa::path(delete, path = "/v1/enrollments/{id}", tag = "servers", params(("id" = String, Path), Why),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn remove(
    State(state): State<AppState>,
    by: Principal,
    At(id): At<String>,
    Asked(why): Asked<Why>,
) -> Answer<StatusCode> {
    by.may(Right::Administer)?;
    let mut change = state.db.begin_alone().await?;
    if !enrollments::remove(&mut change, &id).await? {
        return Err(Problem::not_found(format_args!("enrollment {id:?}")));
    }
    let said = by.said("enrollment.remove", &format!("enrollment {id}"));
    change.audit(Timestamp::now(), &said.because(why.reason)).await?;
    change.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
