//! What went wrong, told as RFC 9457 has it: `application/problem+json`.
//!
//! `type` ends in a stable code, which is API; `detail` is for people. Nothing of a database's or the system's
//! own words reaches a client: those go to the log.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::db::DbError;
use crate::events::{DATABASE_AWAY, DISK_FULL, REQUEST_FAILED};
use crate::people::issue::IssueError;
use crate::secret::NoRandomness;

/// A refusal or failure, ready to be sent.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// `/problems/CODE`, a stable name of what is wrong.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was expected and found, and what to do.
    pub detail: String,
    /// Seconds to wait before another attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// A mark on an answer: the database ended the change for another's sake, and nothing of it was kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contended;

const CONTENDED: &str = "contended";

/// What handlers return.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// With a status, a code and what to tell.
    pub fn new(status: StatusCode, code: &str, detail: impl std::fmt::Display) -> Problem {
        Problem {
            kind: format!("/problems/{code}"),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.to_string(),
            retry_after: None,
        }
    }

    /// 400: the request is not well formed.
    pub fn bad_request(detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// 401: nobody is signed in, or not with what was sent.
    pub fn unauthorized(detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// 403: signed in, and not allowed.
    pub fn forbidden(detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: no such thing.
    pub fn not_found(what: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", format_args!("there is no {what}"))
    }

    /// 409: something else is there already.
    pub fn conflict(detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 412: the version that was named is not the present one.
    pub fn stale(detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::PRECONDITION_FAILED, "stale", detail)
    }

    /// 422: well formed, and not to be done.
    pub fn unprocessable(detail: impl std::fmt::Display) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", detail)
    }

    /// 428: a change must name the version that it changes.
    pub fn precondition_required() -> Problem {
        let detail = "a change names the version that it changes: send If-Match with the ETag of a GET";
        Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match-required", detail)
    }

    /// 429: later.
    pub fn too_many(seconds: u64) -> Problem {
        let detail = format_args!("too many attempts; try again in {seconds} s");
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-attempts", detail);
        Problem { retry_after: Some(seconds), ..problem }
    }

    /// 503: the database is away; the same request may succeed later.
    pub fn unavailable() -> Problem {
        let detail = "the database does not answer; try again";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        Problem { retry_after: Some(5), ..problem }
    }

    /// 503: another change stood in the way; the same request succeeds a moment later.
    pub fn contended() -> Problem {
        let detail = "another change stood in the way of this one; try again";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, CONTENDED, detail);
        Problem { retry_after: Some(1), ..problem }
    }

    /// 507: the disk is full. What was acknowledged is kept, and can be read.
    pub fn no_room() -> Problem {
        let detail = "the hub's disk is full: nothing can be changed until there is room; what was acknowledged is kept";
        let problem = Problem::new(StatusCode::INSUFFICIENT_STORAGE, "no-room", detail);
        Problem { retry_after: Some(60), ..problem }
    }

    /// 503: as many agents listen as may. Each is told another time to come back: they came in one moment.
    pub fn crowded() -> Problem {
        let detail = "as many agents listen as this hub has places for; try again";
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "crowded", detail);
        Problem { retry_after: Some(fastrand::u64(5..=60)), ..problem }
    }

    /// Puts [`Contended`] on an answer that tells of it, whatever its form.
    pub(crate) fn mark(&self, answer: &mut Response) {
        if self.kind.strip_prefix("/problems/") == Some(CONTENDED) {
            answer.extensions_mut().insert(Contended);
        }
    }

    fn internal() -> Problem {
        let detail = "the hub's log says what went wrong";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        self.mark(&mut response);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Problem {
        if error.is_contended() {
            tracing::debug!(error = %Causes(&error), "two changes stood in each other's way");
            return Problem::contended();
        }
        if error.is_full() {
            tracing::error!(event = DISK_FULL, error = %Causes(&error), "the disk is full");
            return Problem::no_room();
        }
        if error.is_away() {
            tracing::warn!(event = DATABASE_AWAY, error = %Causes(&error), "the database does not answer");
            return Problem::unavailable();
        }
        if error.is_zero() {
            return Problem::bad_request("a text holds the character U+0000, which cannot be kept");
        }
        if let DbError::Taken(_) = &error {
            return Problem::conflict(error);
        }
        tracing::error!(event = REQUEST_FAILED, error = %Causes(&error), "a request failed");
        Problem::internal()
    }
}

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Problem {
        match error {
            IssueError::Db(error) => error.into(),
            IssueError::NoRandomness(error) => error.into(),
        }
    }
}

impl From<NoRandomness> for Problem {
    fn from(error: NoRandomness) -> Problem {
        tracing::error!(event = REQUEST_FAILED, %error, "a request failed");
        Problem::internal()
    }
}

/// An error with its causes, on one line.
pub(crate) struct Causes<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}
