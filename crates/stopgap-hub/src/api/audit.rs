//! The audit log: searched, and checked.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Deserialize;

use super::extract::{Asked, Page, Part};
use crate::audit::{Entry, Verified};
use crate::db::audit::{self, Search};
use crate::people::{Principal, Right};
use crate::problem::Answer;
use crate::state::AppState;

/// What is looked for; what is missing is everything.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// What was done: `settings.set`, or all of `settings`.
    pub action: Option<String>,
    /// Who.
    pub user: Option<String>,
    /// To what: `server Server1`.
    pub object: Option<String>,
    /// At this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// Entries, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(Part, Which), responses((status = 200, body = Page<Entry>)))]
pub async fn search(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
    Asked(which): Asked<Which>,
) -> Answer<Json<Page<Entry>>> {
    by.may(Right::Audit)?;
    let Which { action, user, object, since, until } = which;
    let (action, user, object) =
        (action.unwrap_or_default(), user.unwrap_or_default(), object.unwrap_or_default());
    let limit = part.limit();
    let search = Search { action, user, object, since, until };
    let found = audit::search(state.db.reader(), &search, part.after_number()?, limit + 1).await?;
    Ok(Page::of(found, limit, |entry| entry.seq.to_string()))
}

/// Whether the log is whole: every entry follows the one before.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit", responses((status = 200, body = Verified)))]
pub async fn verify(State(state): State<AppState>, by: Principal) -> Answer<Json<Verified>> {
    by.may(Right::Audit)?;
    Ok(Json(audit::verify(&state.db).await?))
}
