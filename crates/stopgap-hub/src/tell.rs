//! Telling people: mail, webhooks, the digest.

use axum::Router;

use crate::state::AppState;

/// What notifications share on this hub.
#[derive(Debug, Default)]
pub struct Shared {}

/// The routes, below `/v1`.
pub fn router() -> Router<AppState> {
    Router::new()
}

/// What goes on in the background until the hub stops.
pub async fn run(state: AppState) {
    let mut stopping = state.stopping.subscribe();
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
