//! A folder that stands for a server's drive C:, on a system whose file names may have their case.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use stopgap_iis::Tree;

/// One more than is read at all, so that a larger file is told.
const READ: u64 = stopgap_iis::document::MAX_BYTES as u64 + 1;

pub struct Disk {
    root: PathBuf,
    /// The names in each folder that was looked into, in lowercase, and as they are.
    listed: RefCell<HashMap<PathBuf, HashMap<String, PathBuf>>>,
    absent: RefCell<BTreeSet<String>>,
}

impl Disk {
    pub fn new(root: &Path) -> Disk {
        Disk { root: root.to_owned(), listed: RefCell::default(), absent: RefCell::default() }
    }

    /// The drives that files were looked for on and that are not here.
    pub fn absent_drives(&self) -> Vec<String> {
        self.absent.borrow().iter().cloned().collect()
    }

    /// Where a Windows path is; nothing where it is not.
    fn find(&self, path: &str) -> Option<PathBuf> {
        let (drive, path) = path.split_once('\\')?;
        if !drive.eq_ignore_ascii_case("C:") {
            self.absent.borrow_mut().insert(drive.to_uppercase());
            return None;
        }
        let mut at = self.root.clone();
        for name in path.split('\\') {
            let mut listed = self.listed.borrow_mut();
            let names = listed.entry(at).or_insert_with_key(|folder| names(folder));
            at = names.get(&name.to_lowercase())?.clone();
        }
        Some(at)
    }
}

fn names(folder: &Path) -> HashMap<String, PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().to_lowercase(), entry.path())).collect()
}

impl Tree for Disk {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, [u8]>>, String> {
        let Some(found) = self.find(path).filter(|found| !found.is_dir()) else { return Ok(None) };
        // To open a pipe is to wait for its writer, for ever.
        if fs::metadata(&found).is_ok_and(|found| !found.is_file()) {
            return Err("is not a file".to_owned());
        }
        let mut bytes = Vec::new();
        let read = fs::File::open(found).and_then(|file| file.take(READ).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(Cow::Owned(bytes))),
            Err(error) => Err(format!("cannot be read: {error}")),
        }
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let Some(found) = self.find(path) else { return Vec::new() };
        let entries = fs::read_dir(found).into_iter().flatten().flatten();
        // A link could lead back up.
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut names: Vec<String> =
            folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}
