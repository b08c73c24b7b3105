//! What a replay found. Field names are API.

use std::collections::BTreeMap;

use serde::Serialize;
use stopgap_feed::{FeedName, Id};

/// Samples of one mitigation, of either kind, that are kept.
pub(super) const SAMPLES: usize = 10;
/// Lines that are not understood, of which the beginning is kept.
pub(super) const SHOWN_LINES: usize = 3;

/// `plan --replay LOG --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReplayReport {
    /// Requests in the log.
    pub requests: u64,
    /// Those that at least one mitigation refuses.
    pub refused: u64,
    /// Those of them that the server answered with 2xx or 3xx: they may be legitimate.
    pub look_legitimate: u64,
    /// Refused requests: the first ten of each mitigation that look legitimate, and the first ten that do not.
    pub samples: Vec<Sample>,
    /// By mitigation: what it reads and the log does not hold, or why its rules cannot be evaluated.
    pub not_judged: BTreeMap<String, String>,
    /// By mitigation that is in `not_judged`: the requests that its other conditions do not decide. All others it
    /// lets pass or refuses, whatever the log leaves out.
    pub undecided: BTreeMap<String, u64>,
    /// What was judged by.
    pub mitigations: Vec<JudgedMitigation>,
    /// The format that the log has, or was said to have.
    pub format: String,
    /// Server variables that the log holds.
    pub holds: Vec<String>,
    /// What whoever reads this should know about the log.
    pub notes: Vec<String>,
    /// Lines, empty ones and comments among them.
    pub lines: u64,
    /// Connections that sent no request, or none that the server could read.
    pub without_request: u64,
    /// Requests that the server cut off before it wrote them down. They are not judged.
    pub cut_off: u64,
    /// Lines that are not of the format.
    pub not_understood: u64,
    /// The first of them.
    pub not_understood_lines: Vec<OddLine>,
}

/// One mitigation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgedMitigation {
    /// The feed.
    pub feed: FeedName,
    /// Its id in that feed.
    pub id: Id,
    /// Requests that it refuses.
    pub refused: u64,
    /// Those of them that the server answered with 2xx or 3xx.
    pub look_legitimate: u64,
}

/// One refused request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The feed of the mitigation that refuses it.
    pub feed: FeedName,
    /// The mitigation.
    pub id: Id,
    /// The action.
    pub action: Id,
    /// The rule.
    pub rule: String,
    /// The line of the log, from 1.
    pub line: u64,
    /// Method and target; its beginning where it is long.
    pub request: String,
    /// What the server answered, where the log says so.
    pub status: Option<u16>,
    /// That was 2xx or 3xx.
    pub looks_legitimate: bool,
}

/// A line that is not of the log's format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OddLine {
    /// From 1.
    pub line: u64,
    /// Its beginning.
    pub text: String,
    /// What was expected.
    pub why: String,
}

/// Whether a server that answers so had something to give: 2xx or 3xx.
pub(super) fn looks_legitimate(status: Option<u16>) -> bool {
    matches!(status, Some(200..=399))
}
