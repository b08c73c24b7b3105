//! How long a request may take until its answer begins. A stream begins at once, and may last.

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::problem::Problem;

/// The largest body at 1 Mbit/s, and a database that is slow, fit into it.
const ANSWER: Duration = Duration::from_secs(60);

/// Answers 408 in the place of a handler that waits: mostly for a body that does not come.
pub(super) async fn bounded(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format_args!("no answer within {} s; was the body sent whole?", ANSWER.as_secs());
            Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail).into_response()
        }
    }
}
