//! Files of a feed: bounded when read, never overwritten when new, replaced as a whole.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::FolderError;
use crate::requests;

/// A UTF-8 file of bounded size.
pub(crate) fn read_text(path: &Path) -> Result<String, FolderError> {
    let read = |source| FolderError::Io { doing: "read", path: path.to_owned(), source };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(read)?;
    file.take(requests::FILE_MAX as u64 + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() > requests::FILE_MAX {
        return Err(FolderError::TooLarge { path: path.to_owned(), limit: requests::FILE_MAX });
    }
    Ok(text)
}

pub(super) fn create_dir(path: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(path).map_err(|source| FolderError::Io {
        doing: "create",
        path: path.to_owned(),
        source,
    })
}

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Owner,
    Everyone,
}

/// Never overwrites. On Windows a file has its folder's access list; keys there belong into a folder
/// of the publisher's own.
pub(super) fn create_file(path: &Path, octets: &[u8], access: Access) -> Result<(), FolderError> {
    let create = |source| FolderError::Io { doing: "create", path: path.to_owned(), source };
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    let mut file = options.open(path).map_err(create)?;
    file.write_all(octets).and_then(|()| file.sync_all()).map_err(create)
}

/// Replaces a file as a whole: a reader finds the old octets or the new ones, also after a crash.
pub(crate) fn replace_file(path: &Path, octets: &[u8]) -> Result<(), FolderError> {
    let replace = |source| FolderError::Io { doing: "replace", path: path.to_owned(), source };
    let staged = path.with_extension("staged");
    let mut file = fs::File::create(&staged).map_err(replace)?;
    // Whatever the umask: another user's web server may serve it.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).map_err(replace)?;
    file.write_all(octets).and_then(|()| file.sync_all()).map_err(replace)?;
    drop(file);
    fs::rename(&staged, path).map_err(replace)?;
    // The rename itself is on disk only once its folder is.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(replace)?;
    }
    Ok(())
}
