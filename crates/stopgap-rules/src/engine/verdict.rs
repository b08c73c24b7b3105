//! What the engine answers.

use serde::Serialize;
use std::collections::BTreeMap;

/// What becomes of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Outcome {
    /// It goes on as it is.
    #[default]
    None,
    /// It goes on to `url`.
    Rewrite,
    /// The client is sent to `url`.
    Redirect,
    /// It is answered with `status`.
    CustomResponse,
    /// The connection is closed with no answer.
    AbortRequest,
}

/// The engine's answer. As JSON it is what `stopgap rules test --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verdict {
    /// What becomes of the request.
    pub action: Outcome,
    /// The deciding rule: the one that ended the evaluation, else the last that rewrote.
    pub rule: Option<String>,
    /// The status of a Redirect or CustomResponse.
    pub status: Option<u16>,
    /// IIS's second number, of a CustomResponse.
    pub substatus: Option<u16>,
    /// The rewritten or redirected address, safe to put on the wire: whatever is not visible ASCII is
    /// percent-encoded.
    pub url: Option<String>,
    /// The server variables that rules set, by the name under which they were set (`HTTP_X_NAME` is the
    /// request header `X-Name`).
    pub headers: BTreeMap<String, String>,
    /// The words of a CustomResponse's status line; empty: the usual ones.
    #[serde(skip)]
    pub reason: String,
    /// The body of a CustomResponse.
    #[serde(skip)]
    pub description: String,
    /// The step limit was reached while `rule` was being matched: the request is refused (AbortRequest), and
    /// whoever asked counts it.
    #[serde(skip)]
    pub over_limit: bool,
}

impl Verdict {
    /// Whether the request does not reach the application.
    pub fn is_refusal(&self) -> bool {
        matches!(self.action, Outcome::Redirect | Outcome::CustomResponse | Outcome::AbortRequest)
    }
}
