//! `/v1` for people and scripts.

mod me;

use axum::Router;
use axum::routing::get;

use crate::problem::Problem;
use crate::state::AppState;

/// The routes, below `/v1`.
pub fn router() -> Router<AppState> {
    Router::new().route("/me", get(me::get))
}

/// What is not there.
pub async fn nothing() -> Problem {
    Problem::not_found("such page")
}

/// What is there, and does not do that.
pub async fn other_method() -> Problem {
    Problem::new(http::StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this address has other methods")
}
