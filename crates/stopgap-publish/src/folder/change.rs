//! Several files that change as one, whatever happens in between.
//!
//! ```text
//! pending.new/  every new file, on disk  ── renamed ──>  pending/  ── each file moved into place ──> gone
//!   until here nothing has happened                        from here on it is done: the next command that takes
//!                                                          the folder's lock moves what is left
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{Access, create_dir, create_file, move_file, read_text, sync_folder};
use super::{FeedFolder, FolderError};

const BEGUN: &str = "pending.new";
const PENDING: &str = "pending";
/// What the command has to say when it is through; it goes last.
const NOTE: &str = ".note";
/// Stands for the slash in the staged files' names; no file of a feed that is changed so has it.
const SLASH: &str = "+";

/// New contents of files, by their path in the folder.
pub(crate) struct Change<'a> {
    folder: &'a FeedFolder,
    files: BTreeMap<PathBuf, (Vec<u8>, Access)>,
}

impl<'a> Change<'a> {
    pub(crate) fn new(folder: &'a FeedFolder) -> Self {
        Self { folder, files: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, file: impl AsRef<Path>, octets: impl Into<Vec<u8>>, access: Access) {
        self.files.insert(file.as_ref().to_owned(), (octets.into(), access));
    }

    pub(crate) fn has(&self, file: &Path) -> bool {
        self.files.contains_key(file)
    }

    /// A text as it will be after the change.
    pub(crate) fn read(&self, file: &Path) -> Result<String, FolderError> {
        match self.files.get(file) {
            Some((octets, _)) => Ok(String::from_utf8_lossy(octets).into_owned()),
            None => read_text(&self.folder.path(file)),
        }
    }

    /// Carries it out. The folder's lock is held. After a crash `note` is what [`super::Lock::finished`] says.
    pub(crate) fn commit(self, note: &str) -> Result<(), FolderError> {
        let begun = self.folder.path(BEGUN);
        create_dir(&begun)?;
        // Keys are in it; each has its own mode, too.
        #[cfg(unix)]
        fs::set_permissions(&begun, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .map_err(|source| FolderError::Io { doing: "create", path: begun.clone(), source })?;
        for (file, (octets, access)) in &self.files {
            may_stop()?;
            let name = file.to_string_lossy().replace(['/', '\\'], SLASH);
            create_file(&begun.join(name), octets, *access)?;
        }
        create_file(&begun.join(NOTE), note.as_bytes(), Access::Everyone)?;
        sync_folder(&begun.join(NOTE)).map_err(|source| FolderError::Io {
            doing: "create",
            path: begun.clone(),
            source,
        })?;
        may_stop()?;
        move_file(&begun, &self.folder.path(PENDING))?;
        finish(self.folder).map(drop)
    }
}

/// Forgets a change that had not begun, and ends one that had, whose note it returns. The folder's lock is held.
pub(super) fn finish(folder: &FeedFolder) -> Result<Option<String>, FolderError> {
    let (begun, pending) = (folder.path(BEGUN), folder.path(PENDING));
    let failed = |doing, path: &Path, source| FolderError::Io { doing, path: path.to_owned(), source };
    remove(&begun)?;
    let entries = match fs::read_dir(&pending) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| failed("read", &pending, error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("read", &pending, error))?;
        if entry.file_name() == NOTE {
            continue;
        }
        may_stop()?;
        let file = entry.file_name().to_string_lossy().replace(SLASH, "/");
        move_file(&entry.path(), &folder.path(file))?;
    }
    let note = read_text(&pending.join(NOTE))?;
    may_stop()?;
    move_file(&pending, &begun)?;
    remove(&begun)?;
    Ok(Some(note))
}

fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FolderError::Io { doing: "remove", path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "in tests the power fails here")]
fn may_stop() -> Result<(), FolderError> {
    Ok(())
}

#[cfg(test)]
use power::may_stop;

/// A power cut at each step.
#[cfg(test)]
pub(crate) mod power {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static STEPS: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// The power fails after so many steps; `None`: it does not.
    pub(crate) fn lasts(steps: Option<usize>) {
        STEPS.set(steps);
    }

    pub(super) fn may_stop() -> Result<(), FolderError> {
        match STEPS.get() {
            Some(0) => Err(FolderError::Io {
                doing: "write",
                path: PathBuf::new(),
                source: io::Error::other("the power failed"),
            }),
            left => {
                STEPS.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}
