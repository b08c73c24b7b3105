//! Exit codes, and how a command fails.

use std::fmt;
use std::process::ExitCode;

/// What scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done, or the server matches the plan.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Changes are pending (`plan --check`).
    #[cfg_attr(not(feature = "agent"), allow(dead_code))]
    Pending = 3,
    /// Not trusted (no feed of several was).
    NotTrusted = 4,
    /// Reverted after a failed probe.
    #[cfg_attr(not(feature = "agent"), allow(dead_code))]
    Reverted = 5,
    /// Checked and found wanting.
    Wanting = 6,
    /// A bug.
    Bug = 70,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

/// Why a command failed, what to do about it, and its exit code.
#[derive(Debug)]
pub struct Failure {
    /// What was tried, with its causes.
    pub error: anyhow::Error,
    /// What to do.
    pub hint: Option<String>,
    /// The exit code.
    pub code: Code,
}

impl Failure {
    /// A failure that no special code describes.
    pub fn new(error: impl Into<anyhow::Error>) -> Failure {
        Failure { error: error.into(), hint: None, code: Code::Failed }
    }

    /// A usage error that the parser of arguments cannot see.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure { error: anyhow::anyhow!("{message}"), hint: None, code: Code::Usage }
    }

    /// With something to do about it.
    pub fn hint(mut self, hint: impl fmt::Display) -> Failure {
        self.hint = Some(hint.to_string());
        self
    }

    /// With another exit code.
    #[cfg_attr(not(feature = "publish"), allow(dead_code))]
    pub fn code(mut self, code: Code) -> Failure {
        self.code = code;
        self
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::new(error)
    }
}

/// What a command returns.
pub type Outcome = Result<Code, Failure>;
