//! What mitigations would have refused in this server's own past, and which one refuses a request.
//!
//! ```text
//!   log ─► lines ─► format (combined, LogFormat, log_format, httplog, W3C) ─► Request, and what the log holds of it
//!                                                                               │ judge: each action's rules
//!                                                                               ▼
//!                                      passes, refuses, or not decided by what the log holds ─► ReplayReport
//! ```
//!
//! A log holds a part of each request. Rules that read something else are judged by what the rest of them says
//! (`relax`): a request that they cannot refuse whatever the log leaves out is not refused, and what only the part
//! that is left out decides is counted as undecided. A log is read as a stream, with memory of its own bounds.
//!
//! Not here: which mitigations those are (`rules` reads them out of a cycle's outcome), printing.

mod compiled;
mod configured;
mod format;
mod haproxy;
mod holds;
mod judge;
mod line;
mod lines;
mod question;
mod relax;
mod report;
mod rules;
mod run;
mod template;
mod w3c;

pub use configured::formats_of;
pub use format::{Format, FormatError};
pub use haproxy::Captures;
pub use holds::Holds;
pub use judge::{Candidate, Finding, Judge, Unjudged};
pub use question::{Question, QuestionError};
pub use report::{JudgedMitigation, OddLine, ReplayReport, Sample};
pub use rules::{Held, in_force, planned};
pub use run::{Reading, ReplayError, replay};
