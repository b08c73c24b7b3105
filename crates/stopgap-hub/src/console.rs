//! The console: pages for people.

use axum::Router;

use crate::state::AppState;

/// What the console's requests share on this hub.
#[derive(Debug, Default)]
pub struct Shared {}

/// The routes, from `/` on.
pub fn router() -> Router<AppState> {
    Router::new()
}
