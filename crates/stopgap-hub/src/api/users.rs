//! Accounts.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::extract::{Asked, At, Body, Page, Part};
use super::once::Once;
use crate::db::people::{User, page};
use crate::people::accounts::{self, Update};
use crate::people::{Principal, Right, Role};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// Accounts, by name.
#[utoipa::path(get, path = "/v1/users", tag = "people", params(Part), responses((status = 200, body = Page<User>)))]
pub async fn list(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
) -> Answer<Json<Page<User>>> {
    by.may(Right::Audit)?;
    let limit = part.limit();
    let found = page(state.db.reader(), part.after(), limit + 1).await?;
    Ok(Page::of(found, limit, |user| user.name.clone()))
}

/// What an account is to be.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// Its name.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Its password.
    #[schema(min_length = 12, max_length = 1024)]
    pub password: String,
}

/// What a repeated request is recognized by; the password plays no part.
#[derive(Serialize)]
struct Recognized<'a> {
    name: &'a str,
    role: Role,
}

/// Make an account.
#[utoipa::path(post, path = "/v1/users", tag = "people", request_body = NewUser,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = User), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn create(
    State(state): State<AppState>,
    by: Principal,
    once: Once,
    Body(new): Body<NewUser>,
) -> Answer<Response> {
    by.may(Right::Administer)?;
    let kept = state.passwords.hash(&new.password).await?;
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    let recognized = Recognized { name: &new.name, role: new.role };
    if let Some(answered) = once.begin(&mut change, &by, &recognized, now).await? {
        return Ok(answered);
    }
    let user = accounts::add(&mut change, &by.user, &new.name, new.role, &kept, now).await?;
    once.keep(&mut change, &by, StatusCode::CREATED, &user).await?;
    change.commit().await?;
    Ok((StatusCode::CREATED, Json(user)).into_response())
}

/// A change of an account; what is missing stays.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    /// Another role.
    #[serde(default)]
    pub role: Option<Role>,
    /// Whether they may no longer sign in; their sessions end.
    #[serde(default)]
    pub disabled: Option<bool>,
    /// Another password; their sessions end. Anybody may change their own.
    #[serde(default)]
    #[schema(min_length = 12, max_length = 1024)]
    pub password: Option<String>,
    /// The present password; who changes their own tells it.
    #[serde(default)]
    pub present: Option<String>,
}

/// Change an account. The last administrator stays one.
#[utoipa::path(patch, path = "/v1/users/{name}", tag = "people", params(("name" = String, Path)),
    request_body = UserPatch,
    responses((status = 200, body = User), (status = 404, body = Problem), (status = 409, body = Problem), (status = 429, body = Problem)))]
pub async fn patch(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Body(patch): Body<UserPatch>,
) -> Answer<Json<User>> {
    let UserPatch { role, disabled, password, present } = patch;
    Ok(Json(accounts::update(&state, &by, &name, Update { role, disabled, password, present }).await?))
}

/// Remove an account; its sessions end. The last administrator stays.
#[utoipa::path(delete, path = "/v1/users/{name}", tag = "people", params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub async fn remove(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
) -> Answer<StatusCode> {
    accounts::remove(&state, &by, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
