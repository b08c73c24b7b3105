//! The contract that every driver keeps.

use std::io;
use std::path::{Path, PathBuf};

use stopgap_core::observed::{Live, Observed};
use stopgap_core::plan::{Change, Rendered, Wanted};

use crate::host::Host;

/// One kind of server, on one target.
pub trait Driver: Send + Sync {
    /// The target's name, unique on this server.
    fn target(&self) -> &str;

    /// Why rules cannot be observed there: asked, counted and logged without refusing. `None`: they can.
    fn cannot_observe(&self) -> Option<&'static str> {
        Some("what it does there cannot be tried without doing it; `observe = false` for its feed puts it on")
    }

    /// Every file's bytes, versions, listeners, and what of ours is in force. Changes nothing.
    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError>;

    /// What of ours is on the disk, where [`Driver::observe`] fails since the server's own
    /// configuration is broken: it goes on with what it has read before. `None`: not known either.
    fn live(&self, _host: &dyn Host) -> Option<Live> {
        None
    }

    /// `observed`, with what rendering has to know of the wanted actions alone: what the units that they name are.
    /// Changes nothing. `None`: it is as it was.
    fn look(&self, _host: &dyn Host, _wanted: &[Wanted], _observed: &Observed) -> Option<Observed> {
        None
    }

    /// One target as a whole: what the wanted actions become. Pure.
    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered;

    /// The server's own test over the staged files, before the swap. Leaves the live files alone
    /// where the system lets it; what it did instead is in the answer. Because of that case the
    /// change is journaled before: a crash within it is answered by [`Driver::revert`].
    fn check(&self, host: &dyn Host, change: &Change) -> Result<Checked, DriverError>;

    /// Swaps the set and has the server take it. Called after the change was journaled. On an error
    /// the caller reverts; a server that does not run is none, since it reads the set when it starts.
    fn apply(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError>;

    /// Puts back what was before, whatever part of `apply` happened; also after a crash, and also
    /// where the server's configuration is broken.
    fn revert(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError>;

    /// The change stays: removes what only [`Driver::revert`] needed, such as the set before. A
    /// change that is not settled can still be reverted.
    fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError>;
}

/// How the server's own test was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Over the staged files, in a private mount namespace or on a copy.
    Staged,
    /// The system forbids a private mount namespace: swapped, tested and restored.
    SwappedAndRestored,
    /// The server tests a set itself before it takes it.
    ByServer,
}

/// What went wrong, with the thing, the place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The machine refused.
    #[error("{what} {path}")]
    Io {
        /// What was tried, such as `cannot write`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The server's present configuration is broken, and not by us: nothing was changed.
    #[error("{target} rejects its present configuration, without our change: {message}")]
    BrokenBefore {
        /// The target.
        target: String,
        /// The server's own words.
        message: String,
    },
    /// The server rejected the staged files.
    #[error("{target} rejects the staged rules: {message}")]
    Rejected {
        /// The target.
        target: String,
        /// The server's own words.
        message: String,
    },
    /// The server did not take the new set.
    #[error("{target} did not take the new rules: {message}")]
    NotTaken {
        /// The target.
        target: String,
        /// What was seen instead.
        message: String,
    },
    /// The files changed between plan and apply.
    #[error("{path} changed since it was read: expected {expected}, found {found}; it is planned anew")]
    ChangedUnderUs {
        /// The file or link.
        path: PathBuf,
        /// What the plan saw.
        expected: String,
        /// What is there now.
        found: String,
    },
    /// A file of somebody else's is left as it is.
    #[error("{path} was not written: {why}")]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Why.
        why: NotWritten,
    },
    /// What was written is not there as it was written any more, so a person has to take it out.
    #[error("{path} was edited since; delete by hand: {}", .what.join("; "))]
    ByHand {
        /// The file.
        path: PathBuf,
        /// Each thing to delete, with its text.
        what: Vec<String>,
    },
    /// The target's settings do not fit the machine.
    #[error("target {target}: {message}")]
    Settings {
        /// The target.
        target: String,
        /// What is wrong and what to do.
        message: String,
    },
}

impl DriverError {
    /// A word for it that does not change.
    pub fn code(&self) -> &'static str {
        match self {
            DriverError::Io { .. } => "io",
            DriverError::BrokenBefore { .. } => "broken-before",
            DriverError::Rejected { .. } => "rejected",
            DriverError::NotTaken { .. } => "not-taken",
            DriverError::ChangedUnderUs { .. } => "changed-under-us",
            DriverError::NotWritten { why, .. } => why.code(),
            DriverError::ByHand { .. } => "by-hand",
            DriverError::Settings { .. } => "settings",
        }
    }
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// No room.
    #[error("the disk is full: make room ({0})")]
    Full(io::Error),
    /// Its permissions or its file system.
    #[error("it is read-only: allow writing, or take the file out of the mitigation's way ({0})")]
    ReadOnly(String),
    /// Another process.
    #[error("another process holds it: it is tried again in the next cycle ({0})")]
    Locked(io::Error),
    /// A link, which a new file would replace while what it points to stays as it is.
    #[error("it is a link to {0}: put the file itself there")]
    Link(PathBuf),
    /// Neither a file nor a link.
    #[error("it is no file")]
    NoFile,
}

impl NotWritten {
    /// A word for it that does not change.
    pub fn code(&self) -> &'static str {
        match self {
            NotWritten::Full(_) => "disk-full",
            NotWritten::ReadOnly(_) => "read-only",
            NotWritten::Locked(_) => "locked",
            NotWritten::Link(_) => "link",
            NotWritten::NoFile => "no-file",
        }
    }
}

/// For `map_err`: what was tried, and where.
pub(crate) fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DriverError + use<> {
    let path = path.to_owned();
    move |source| DriverError::Io { what, path, source }
}
