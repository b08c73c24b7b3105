//! `/livez`: the process answers. `/readyz`: it can serve, so a load balancer may send requests.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;

use crate::problem::{Answer, Problem};
use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/livez", get(async || "alive\n")).route("/readyz", get(ready))
}

async fn ready(State(state): State<AppState>) -> Answer<&'static str> {
    if *state.stopping.borrow() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the hub is about to stop"));
    }
    state.db.ping().await?;
    Ok("ready\n")
}
