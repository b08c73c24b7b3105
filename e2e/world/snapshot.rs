//! A folder as it is, to the byte, for before and after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every file, link and folder below a folder, by relative path.
pub type Snapshot = BTreeMap<PathBuf, Entry>;

/// One of them, with its mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    File(u32, Vec<u8>),
    Link(PathBuf),
    Folder(u32),
    Socket,
}

/// Reads it all; `except` names relative paths that are not of interest (with what is below them).
pub fn snapshot(folder: &Path, except: &[&str]) -> Snapshot {
    let mut found = Snapshot::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        // The folder itself may be missing: that is a state, too.
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_owned();
            if except.iter().any(|except| name.starts_with(except)) {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            let mode = meta.permissions().mode();
            let entry = if meta.is_symlink() {
                Entry::Link(fs::read_link(&path).unwrap())
            } else if meta.is_dir() {
                folders.push(path);
                Entry::Folder(mode)
            } else if meta.is_file() {
                Entry::File(mode, fs::read(&path).unwrap())
            } else {
                Entry::Socket
            };
            found.insert(name, entry);
        }
    }
    found
}

/// The paths at which two snapshots differ.
pub fn differences(before: &Snapshot, after: &Snapshot) -> Vec<PathBuf> {
    let mut names: Vec<&PathBuf> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}
