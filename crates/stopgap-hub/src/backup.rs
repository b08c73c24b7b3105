//! A backup of a hub on SQLite: its database as of one moment, while it runs, and the keys of its own authority.
//!
//! ```text
//! BACKUP/hub.db     `VACUUM INTO`: whole, without a write-ahead log
//! BACKUP/ca/...     as in the data folder; without it every agent would have to join anew
//! ```
//!
//! A hub on PostgreSQL is backed up with PostgreSQL's own means.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::db::{Db, DbError, FILE};

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no database file.
    #[error("{} holds no hub: expected the file {FILE}", folder.display())]
    Nothing {
        /// Where one was looked for.
        folder: PathBuf,
    },
    /// There is something already.
    #[error("{} is there already; nothing was written over it", path.display())]
    There {
        /// What is there.
        path: PathBuf,
    },
    /// The database.
    #[error("the database")]
    Db(#[from] DbError),
    /// A file.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Writes a backup into the new folder `to`.
pub async fn backup(data: &Path, to: &Path) -> Result<(), BackupError> {
    if !data.join(FILE).is_file() {
        return Err(BackupError::Nothing { folder: data.to_owned() });
    }
    if to.exists() {
        return Err(BackupError::There { path: to.to_owned() });
    }
    make(to)?;
    let db = Db::open(data, None).await?;
    db.copy_into(&to.join(FILE)).await?;
    db.close().await;
    copy_authority(data, to)
}

/// Brings a backup into a data folder that holds no hub.
pub async fn restore(from: &Path, data: &Path) -> Result<(), BackupError> {
    if !from.join(FILE).is_file() {
        return Err(BackupError::Nothing { folder: from.to_owned() });
    }
    for name in [FILE, "ca"] {
        let path = data.join(name);
        if path.exists() {
            return Err(BackupError::There { path });
        }
    }
    make(data)?;
    copy_authority(from, data)?;
    // The database last: where it is, all is. Opening it shows that it is whole, and of a version that is known.
    let (new, path) = (data.join("restored.db"), data.join(FILE));
    copy(&from.join(FILE), &new)?;
    fs::rename(&new, &path).map_err(|source| BackupError::File { path, source })?;
    Db::open(data, None).await?.close().await;
    Ok(())
}

fn copy_authority(from: &Path, to: &Path) -> Result<(), BackupError> {
    let folder = from.join("ca");
    if !folder.is_dir() {
        return Ok(());
    }
    let failed = |source| BackupError::File { path: folder.clone(), source };
    make(&to.join("ca"))?;
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Copying keeps the mode: keys stay their owner's.
        copy(&entry.path(), &to.join("ca").join(entry.file_name()))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::File { path: to.to_owned(), source };
    fs::copy(from, to).map_err(failed)?;
    fs::File::open(to).and_then(|file| file.sync_all()).map_err(failed)
}

fn make(folder: &Path) -> Result<(), BackupError> {
    crate::db::make_folder(folder).map_err(|source| BackupError::File { path: folder.to_owned(), source })
}
