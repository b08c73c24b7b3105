//! What is answered in front of the routes: that an agent has the settings of now. A fleet asks it all day, and the
//! layers around a route cost several times what the answer does. Whatever else a request may be is the routes'.

use std::time::Instant;

use axum::response::Response;
use http::{Method, Request};

use super::headers;
use crate::agents;
use crate::state::AppState;

const SETTINGS: &str = "/v1/agent/settings";

/// The answer that the route would give, headers and count included; `None`: ask the route.
pub(super) fn answer<B>(state: &AppState, request: &Request<B>) -> Option<Response> {
    let began = Instant::now();
    if request.uri().path() != SETTINGS || request.method() != Method::GET {
        return None;
    }
    let mut response = agents::unchanged(state, request.headers())?;
    headers::complete(&mut response, state.secure);
    state.metrics.unchanged(SETTINGS, began);
    Some(response)
}
