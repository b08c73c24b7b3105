//! Why a feed's folder could not be made, read or added to.

use std::io;
use std::path::PathBuf;

use stopgap_feed::IdError;
use stopgap_feed::card::CardError;

use super::SETTINGS;
use crate::key::KeyError;
use crate::pki::PkiError;
use crate::requests::RequestsError;
use crate::responses::ResponsesError;
use crate::revoke::RevokeError;

/// Why a folder could not be made, read or added to.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is a feed in it, whose keys must not be lost.
    #[error("{} holds a feed already ({file}): choose another folder", dir.display())]
    AlreadyAFeed {
        /// The folder.
        dir: PathBuf,
        /// What of a feed was found.
        file: &'static str,
    },
    /// No `feed.toml` in it.
    #[error("{} holds no feed: expected {SETTINGS} in it (`stopgap feed init` makes one)", dir.display())]
    NotAFeed {
        /// The folder.
        dir: PathBuf,
    },
    /// A mitigation of that id is there.
    #[error("{} exists already", path.display())]
    Exists {
        /// Its folder.
        path: PathBuf,
    },
    /// A folder's name is no id.
    #[error("{}: a mitigation's folder is named after its id", path.display())]
    NotAnId {
        /// The folder.
        path: PathBuf,
        /// What is wrong with the name.
        #[source]
        source: IdError,
    },
    /// A file is larger than any of its kind needs to be.
    #[error("{} is too large: expected at most {limit} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// More mitigations than a feed holds.
    #[error("{} holds too many mitigations: expected at most {limit}", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// `feed.toml` or a `mutations.toml` does not say what it should.
    #[error("{} cannot be understood", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// The cause, with its line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// `attack.http` or `benign.http` is no list of request heads.
    #[error("{} cannot be understood", path.display())]
    Requests {
        /// The file.
        path: PathBuf,
        /// The cause, with its line.
        #[source]
        source: RequestsError,
    },
    /// `responses.http` is no list of requests with answers.
    #[error("{} cannot be understood", path.display())]
    Responses {
        /// The file.
        path: PathBuf,
        /// The cause, with its line.
        #[source]
        source: ResponsesError,
    },
    /// The system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// "read", "create", "replace", "move", "remove" or "lock".
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The card.
    #[error("no card could be made for the feed")]
    Card(#[from] CardError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The revocation lists.
    #[error("no revocation list could be made for the feed")]
    Lists(#[source] Box<RevokeError>),
    /// The certificates.
    #[error("no certificates could be made for the feed")]
    Pki(#[from] PkiError),
}

impl FolderError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadyAFeed { .. } => "already-a-feed",
            Self::NotAFeed { .. } => "not-a-feed",
            Self::Exists { .. } => "mitigation-exists",
            Self::NotAnId { .. } => "not-an-id",
            Self::TooLarge { .. } => "file-too-large",
            Self::TooMany { .. } => "too-many-mitigations",
            Self::Settings { .. } => "bad-settings",
            Self::Requests { .. } => "bad-requests",
            Self::Responses { .. } => "bad-responses",
            Self::Io { .. } => "io",
            Self::Card(_) => "card",
            Self::Key(error) => error.code(),
            Self::Pki(_) => "pki",
            Self::Lists(error) => error.code(),
        }
    }
}

impl From<RevokeError> for FolderError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Folder(error) => error,
            RevokeError::Key(error) => error.into(),
            RevokeError::Pki(error) => error.into(),
            other => Self::Lists(Box::new(other)),
        }
    }
}
