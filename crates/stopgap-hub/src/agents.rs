//! `/v1/agent/*`: what agents ask and report. An agent's credential opens this and nothing else.

use axum::Router;

use crate::state::AppState;

/// What the requests of agents share on this hub.
#[derive(Debug, Default)]
pub struct Shared {}

/// The routes, below `/v1/agent`.
pub fn router() -> Router<AppState> {
    Router::new()
}

/// What goes on in the background until the hub stops.
pub async fn run(state: AppState) {
    let mut stopping = state.stopping.subscribe();
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
