//! Events: what the agent tells its log, with the numbers that Exchange administrators know.
//!
//! 1005 a mitigation is in force; 1006 a mitigation was taken off; 1008 an error. Ours begin at
//! 1010. The words are for people, the numbers for their tools.

use std::fmt;
use std::path::Path;

use stopgap_feed::Key;
use tracing::{error, info, warn};

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// 1005: a mitigation is in force.
    Applied {
        /// Which.
        key: Key,
        /// Where, and how it was proven.
        detail: String,
    },
    /// 1006: a mitigation was taken off.
    TakenOff {
        /// Which.
        key: Key,
        /// Why.
        detail: String,
    },
    /// 1008: something failed.
    Failed {
        /// What and why.
        detail: String,
    },
    /// 1010: a mitigation applies and is held back.
    HeldBack {
        /// Which.
        key: Key,
        /// Why.
        detail: String,
    },
    /// 1011: a change was taken back.
    Reverted {
        /// Where and why.
        detail: String,
    },
    /// 1012: somebody else undid our work.
    Undone {
        /// Where and what was found.
        detail: String,
    },
    /// 1013: the service started or stopped.
    Service {
        /// Which of the two.
        detail: String,
    },
    /// 1014: the organization's hub does not answer, or answers again.
    Hub {
        /// Which of the two, and why.
        detail: String,
    },
}

impl Event {
    /// Its number.
    pub fn id(&self) -> u16 {
        match self {
            Event::Applied { .. } => 1005,
            Event::TakenOff { .. } => 1006,
            Event::Failed { .. } => 1008,
            Event::HeldBack { .. } => 1010,
            Event::Reverted { .. } => 1011,
            Event::Undone { .. } => 1012,
            Event::Service { .. } => 1013,
            Event::Hub { .. } => 1014,
        }
    }

    /// Writes it to the log.
    pub fn log(&self) {
        let (event, text) = (self.id(), self.to_string());
        match self {
            Event::Applied { .. }
            | Event::TakenOff { .. }
            | Event::HeldBack { .. }
            | Event::Service { .. } => {
                info!(event, "{text}");
            }
            Event::Undone { .. } | Event::Hub { .. } => warn!(event, "{text}"),
            Event::Failed { .. } | Event::Reverted { .. } => error!(event, "{text}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Applied { key, detail } => write!(f, "{key} is in force: {detail}"),
            Event::TakenOff { key, detail } => write!(f, "{key} was taken off: {detail}"),
            Event::Failed { detail } => f.write_str(detail),
            Event::HeldBack { key, detail } => write!(f, "{key} is held back: {detail}"),
            Event::Reverted { detail } => write!(f, "reverted: {detail}"),
            Event::Undone { detail } => write!(f, "undone from outside: {detail}"),
            Event::Service { detail } | Event::Hub { detail } => f.write_str(detail),
        }
    }
}

/// How many daily log files are kept.
const LOG_FILES: usize = 30;

/// The daily log in `folder`: `stopgap.YYYY-MM-DD.log`, the newest thirty.
pub fn daily_log(folder: &Path) -> Result<tracing_appender::rolling::RollingFileAppender, String> {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    tracing_appender::rolling::Builder::new()
        .rotation(tracing_appender::rolling::Rotation::DAILY)
        .filename_prefix("stopgap")
        .filename_suffix("log")
        .max_log_files(LOG_FILES)
        .build(folder)
        .map_err(|error| format!("cannot open a log file in {}: {error}", folder.display()))
}
