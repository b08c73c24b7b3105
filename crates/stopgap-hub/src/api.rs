//! `/v1` for people and scripts. Each file has the handlers of one kind of thing, and their documents.
//!
//! What a request may do is decided by the roles (`people/`), what it changes by the functions beside them
//! (`settings/`, `approvals`, `people/accounts`), which the console calls as well.

mod approvals;
mod audit;
pub(crate) mod enrollments;
pub mod extract;
pub(crate) mod groups;
mod history;
mod me;
pub mod mitigations;
pub(crate) mod once;
mod openapi;
pub mod servers;
mod session;
mod settings;
pub(crate) mod tokens;
mod users;

use axum::Router;
use axum::routing::{delete, get, patch, post, put};

use crate::problem::Problem;
use crate::state::AppState;

pub use approvals::{Decided, Request as ApprovalRequest};
pub use enrollments::{MadeEnrollment, NewEnrollment};
pub use groups::GroupDocument;
pub use me::Me;
pub use tokens::{MadeToken, NewToken};

/// The routes, below `/v1`.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/me", get(me::get))
        .route("/session", post(session::sign_in).delete(session::sign_out))
        .route("/openapi.json", get(openapi::get))
        .route(
            "/organization/settings",
            get(settings::organization)
                .put(settings::replace_organization)
                .patch(settings::patch_organization),
        )
        .route("/groups", get(groups::list))
        .route("/groups/{name}", put(groups::put).delete(groups::remove))
        .route(
            "/groups/{name}/settings",
            get(settings::group).put(settings::replace_group).patch(settings::patch_group),
        )
        .route("/servers", get(servers::list))
        .route("/servers/{name}", get(servers::get).patch(servers::patch).delete(servers::remove))
        .route(
            "/servers/{name}/settings",
            get(settings::server).put(settings::replace_server).patch(settings::patch_server),
        )
        .route("/servers/{name}/effective", get(settings::effective))
        .route("/servers/{name}/mitigations", get(servers::mitigations))
        .route("/servers/{name}/events", get(servers::events))
        .route("/mitigations", get(mitigations::list))
        .route("/mitigations/by-server", get(mitigations::by_server))
        .route("/mitigations/{feed}/{id}", get(mitigations::get))
        .route("/approvals", get(approvals::list).post(approvals::request))
        .route("/approvals/{id}", put(approvals::decide))
        .route("/history", get(history::get))
        .route("/audit", get(audit::search))
        .route("/audit/verify", get(audit::verify))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{id}", delete(tokens::remove))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{name}", patch(users::patch).delete(users::remove))
        .route("/enrollments", get(enrollments::list).post(enrollments::create))
        .route("/enrollments/{id}", delete(enrollments::remove))
}

/// What is not there.
pub async fn nothing() -> Problem {
    Problem::not_found("such page")
}

/// What is there, and does not do that.
pub async fn other_method() -> Problem {
    Problem::new(http::StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this address has other methods")
}
