//! Files of a feed: bounded when read, never overwritten when new, replaced as a whole.

use std::fs;
use std::io::{self, Read as _, Write as _};
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

pub(crate) fn create_dir(path: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(path).map_err(|source| FolderError::Io {
        doing: "create",
        path: path.to_owned(),
        source,
    })
}

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Owner,
    Everyone,
}

/// Never overwrites. On Windows a file has its folder's access list; keys there belong into a folder
/// of the publisher's own.
pub(crate) fn create_file(path: &Path, octets: &[u8], access: Access) -> Result<(), FolderError> {
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
    // Whatever the umask: another user's web server may serve it.
    #[cfg(unix)]
    if access == Access::Everyone {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.set_permissions(mode).map_err(create)?;
    }
    file.write_all(octets).and_then(|()| file.sync_all()).map_err(create)
}

/// Replaces a file as a whole: a reader finds the old octets or the new ones, also after a crash.
pub(crate) fn replace_file(path: &Path, octets: &[u8]) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { doing: "replace", path: path.to_owned(), source };
    let staged = path.with_extension("staged");
    // What a crash left there may have another mode.
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    create_file(&staged, octets, Access::Everyone)?;
    fs::rename(&staged, path).map_err(failed)?;
    sync_folder(path).map_err(failed)
}

/// A rename is on disk only once its folder is.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        // `F.tosign` is in the present folder, and its parent has no name.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Gives a file another name; its folder is made where it is missing.
pub(crate) fn move_file(from: &Path, to: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Io { doing: "move", path: from.to_owned(), source };
    if let Some(folder) = to.parent() {
        create_dir(folder)?;
    }
    fs::rename(from, to).map_err(failed)?;
    sync_folder(to).and_then(|()| sync_folder(from)).map_err(failed)
}

/// A file of at most `limit` octets; `None` where there is none.
pub(crate) fn read_octets(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FolderError> {
    let read = |source| FolderError::Io { doing: "read", path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(read)?,
    };
    let mut octets = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut octets).map_err(read)?;
    if octets.len() as u64 > limit {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        return Err(FolderError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(octets))
}
