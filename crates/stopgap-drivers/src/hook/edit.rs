//! Edits of the operator's files, which can be shown before they are made.

use std::path::{Path, PathBuf};

use super::markers::{insert, remove};
use crate::driver::{DriverError, io_error};
use crate::host::{Host, Kind, remove_if_there, replace};
use crate::server::{Server, Settings};

/// One file before and after; `None`: there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The file, links followed.
    pub path: PathBuf,
    /// What it holds now.
    pub before: Option<String>,
    /// What it will hold.
    pub after: Option<String>,
}

/// A configuration file above this is none.
const FILE_MAX: u64 = 4 << 20;

/// As many links as Linux itself follows.
const LINKS_MAX: usize = 40;

/// The edits that cut out of `files` what stands between our markers. A file that holds `own` and nothing else
/// is removed; what lies in `ours` is not looked at.
pub(crate) fn cut<'a>(
    host: &dyn Host,
    files: impl Iterator<Item = &'a str>,
    own: &str,
    ours: &Path,
) -> Result<Vec<Edit>, DriverError> {
    let mut edits: Vec<Edit> = Vec::new();
    for file in files.map(Path::new).filter(|file| !file.starts_with(ours)) {
        let path = follow(host, file)?;
        let Some(before) = read(host, &path)? else { continue };
        let after = if before == own { None } else { Some(remove(&before)) };
        if after.as_ref() != Some(&before) && !edits.iter().any(|edit| edit.path == path) {
            edits.push(Edit { path, before: Some(before), after });
        }
    }
    Ok(edits)
}

/// Lines to insert in one file, and the text that the places were found in.
pub(crate) struct Insertion<'a> {
    pub path: &'a str,
    pub text: &'a str,
    /// Offsets as [`insert`] takes them, and what goes there.
    pub places: Vec<(usize, String)>,
}

impl Insertion<'_> {
    /// The edit that makes it. An error where the file is not as it was read.
    pub(crate) fn edit(mut self, settings: &Settings, host: &dyn Host) -> Result<Edit, DriverError> {
        let path = follow(host, Path::new(self.path))?;
        let before = read(host, &path)?.unwrap_or_default();
        if before.trim_end() != self.text.trim_end() {
            return Err(
                settings.error(format!("{} changed while it was read, or is not UTF-8", path.display()))
            );
        }
        self.places.sort();
        self.places.dedup();
        // From the last: an insertion moves what stands behind it.
        let places = self.places.iter().rev();
        let after = places.fold(before.clone(), |text, (at, line)| insert(&text, line, &[*at]));
        Ok(Edit { path, before: Some(before), after: Some(after) })
    }
}

/// Makes the edits and has the server test the result; where it is rejected, every file is put back.
pub(crate) fn make(server: &impl Server, host: &dyn Host, edits: &[Edit]) -> Result<(), DriverError> {
    for edit in edits {
        let found = read(host, &edit.path)?;
        if found != edit.before {
            return Err(DriverError::ChangedUnderUs {
                path: edit.path.clone(),
                expected: "what it held when the edit was made".into(),
                found: "something else".into(),
            });
        }
    }
    let made = edits.iter().try_for_each(|edit| write(host, &edit.path, edit.after.as_deref()));
    let tested = made.and_then(|()| {
        let tested = server.test(host, None).map_err(|e| server.settings().test_failed(e))?;
        tested.map_err(|message| DriverError::Rejected { target: server.settings().name.clone(), message })
    });
    if tested.is_err() {
        // Every one of them, even where one cannot be put back.
        let back: Vec<_> = edits.iter().map(|edit| write(host, &edit.path, edit.before.as_deref())).collect();
        back.into_iter().collect::<Result<(), DriverError>>()?;
    }
    tested
}

fn write(host: &dyn Host, path: &Path, text: Option<&str>) -> Result<(), DriverError> {
    match text {
        Some(text) => {
            let mode = host.mode(path).unwrap_or(0o644);
            replace(host, path, text.as_bytes(), mode).map_err(io_error("cannot write", path))
        }
        None => remove_if_there(host, path).map_err(io_error("cannot remove", path)),
    }
}

/// The text of a file; `None`: there is none.
pub(crate) fn read(host: &dyn Host, path: &Path) -> Result<Option<String>, DriverError> {
    if host.kind(path).map_err(io_error("cannot look at", path))?.is_none() {
        return Ok(None);
    }
    let bytes = host.read(path, FILE_MAX).map_err(io_error("cannot read", path))?;
    let text = String::from_utf8(bytes).map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e));
    text.map(Some).map_err(io_error("not UTF-8, and not edited:", path))
}

/// Where a path that may be a link (sites-enabled) ends: the file, not the link, is edited.
pub(crate) fn follow(host: &dyn Host, path: &Path) -> Result<PathBuf, DriverError> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if host.kind(&path).map_err(io_error("cannot look at", &path))? != Some(Kind::Link) {
            break;
        }
        let to = host.read_link(&path).map_err(io_error("cannot read the link", &path))?;
        path = path.parent().map(|folder| folder.join(&to)).unwrap_or(to);
    }
    Ok(path)
}
