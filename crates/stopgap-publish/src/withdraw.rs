//! Recalls a mitigation: it leaves the folder, the settings name it as withdrawn, and a release says so. All of it, or
//! none: what was not released is not half recalled.

use std::path::Path;

use jiff::Timestamp;
use stopgap_feed::Id;
use stopgap_feed::document::Document;
use stopgap_feed::limits::Limits;

use crate::folder::{FeedFolder, MITIGATIONS, SETTINGS, move_file, read_text, replace_file};
use crate::key::Ask;
use crate::release::{Published, ReleaseError, last_released, open_with_key, publish_locked};

/// Why nothing was recalled.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    /// It says why to the people whose servers had it.
    #[error("a recall needs a reason: it is what the people read whose servers had it")]
    NoReason,
    /// It is recalled.
    #[error("{id} is withdrawn already: {reason}")]
    Already {
        /// The mitigation.
        id: Id,
        /// The reason that was given.
        reason: String,
    },
    /// It is no mitigation of this feed.
    #[error("{id}: expected a mitigation of this feed (a folder in {MITIGATIONS}), found none")]
    Unknown {
        /// The mitigation.
        id: Id,
    },
    /// The release.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

impl WithdrawError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoReason => "no-reason",
            Self::Already { .. } => "already-withdrawn",
            Self::Unknown { .. } => "unknown-mitigation",
            Self::Release(error) => error.code(),
        }
    }
}

impl From<crate::folder::FolderError> for WithdrawError {
    fn from(error: crate::folder::FolderError) -> Self {
        Self::Release(error.into())
    }
}

/// Recalls `id` and releases the folder.
pub fn withdraw(
    dir: &Path,
    id: &Id,
    reason: &str,
    ask: Ask<'_>,
    now: Timestamp,
) -> Result<Published, WithdrawError> {
    if reason.trim().is_empty() {
        return Err(WithdrawError::NoReason);
    }
    let (folder, _lock, key, chain) = open_with_key(dir, ask, now)?;
    let here = folder.mitigation_folder(id)?;
    let away = folder.retired(&format!("{MITIGATIONS}/{id}-{}", now.as_second()));
    if let Some(earlier) = folder.settings().withdrawn.iter().find(|withdrawn| withdrawn.id == *id) {
        if here.is_none() && is_out(&folder, id)? {
            return Err(WithdrawError::Already { id: id.clone(), reason: earlier.reason.clone() });
        }
        // It was cut off before anybody heard of it.
        if let Some(here) = here {
            move_file(&here, &away)?;
        }
        return Ok(publish_locked(&folder, &key, &chain, now)?);
    }
    let here = here.ok_or_else(|| WithdrawError::Unknown { id: id.clone() })?;

    let settings = folder.path(SETTINGS);
    let before = read_text(&settings)?;
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let entry = format!("\n[[withdrawn]]\nid = {}\nreason = {}\n", text(id.as_str()), text(reason));
    replace_file(&settings, format!("{}\n{entry}", before.trim_end()).as_bytes())?;
    let released = move_file(&here, &away).map_err(ReleaseError::from).and_then(|()| {
        // Read again: the settings must be what they were, with one line more.
        publish_locked(&FeedFolder::open(dir)?, &key, &chain, now)
    });
    released.map_err(|error| {
        let back = if away.exists() { move_file(&away, &here) } else { Ok(()) };
        match back.and_then(|()| replace_file(&settings, before.as_bytes())) {
            Ok(()) => error.into(),
            // The folder is what has to be mended first.
            Err(worse) => worse.into(),
        }
    })
}

/// Whether the last release says that it is withdrawn.
fn is_out(folder: &FeedFolder, id: &Id) -> Result<bool, ReleaseError> {
    let last = last_released(folder)?;
    let last = last.and_then(|last| Document::from_unsigned(&last, &Limits::default()).ok());
    Ok(last.is_some_and(|last| last.withdrawn.iter().any(|withdrawn| withdrawn.id == *id)))
}
