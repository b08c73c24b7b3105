//! What was read once and is read again only when the files change that it was made of: a cycle that finds
//! nothing new costs some `stat`s.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// What tells one state of some files from another: which file it is, its size, and when it changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stamp(Vec<(PathBuf, u64, u64, Option<SystemTime>)>);

impl Stamp {
    /// The stamp of those of `paths` that exist and are not empty.
    pub(super) fn of(paths: impl IntoIterator<Item = PathBuf>) -> Stamp {
        let one = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok()?;
            let changed = metadata.modified().ok();
            (metadata.len() > 0).then(|| (path, identity(&metadata), metadata.len(), changed))
        };
        Stamp(paths.into_iter().filter_map(one).collect())
    }
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> u64 {
    0
}

/// The last value, and of what.
pub(super) struct Cached<T>(Mutex<Option<(PathBuf, Stamp, T)>>);

impl<T: Clone> Cached<T> {
    pub(super) const fn new() -> Self {
        Cached(Mutex::new(None))
    }

    /// The value for the system at `root` whose files have this stamp.
    pub(super) fn get(&self, root: &Path, stamp: Stamp, make: impl FnOnce() -> T) -> T {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, when, value)) if of == root && *when == stamp => value.clone(),
            _ => {
                let value = make();
                *last = Some((root.to_owned(), stamp, value.clone()));
                value
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_again_when_a_file_changes_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("status");
        let stamp = || Stamp::of([file.clone(), folder.path().join("none")]);
        let cached = Cached::new();
        let made = std::cell::Cell::new(0);
        let get = || {
            cached.get(folder.path(), stamp(), || {
                made.set(made.get() + 1);
                made.get()
            })
        };
        assert_eq!((get(), get()), (1, 1));
        fs::write(&file, "a").unwrap();
        assert_eq!((get(), get()), (2, 2));
        // Another file under the same name, of the same size, in the same instant: only Unix's files have numbers.
        if !cfg!(unix) {
            return;
        }
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(folder.path().join("new"), "b").unwrap();
        fs::File::open(folder.path().join("new")).unwrap().set_modified(time).unwrap();
        fs::rename(folder.path().join("new"), &file).unwrap();
        assert_eq!((get(), get()), (3, 3));
    }
}
