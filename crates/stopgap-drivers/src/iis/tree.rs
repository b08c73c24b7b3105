//! The server's configuration files: as they are on the machine, and as they were read.
//!
//! ```text
//!   Disk (a Host)  --what is asked of it--> files by path --Snapshot--> the same answers, and edits over them
//! ```
//!
//! Windows finds names ignoring case; a copy of its drive on another system does not, so folders are listed.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use stopgap_iis::Tree;

use crate::host::{Host, Kind};

/// One octet more than is read of a file at all, so that a larger one is told.
const READ_MAX: u64 = stopgap_iis::document::MAX_BYTES as u64 + 1;

/// Files by their path, or why one cannot be read: [`stopgap_core::observed::Observed::files`].
pub(super) type Files = BTreeMap<PathBuf, Result<Vec<u8>, String>>;

/// A folder of the machine that is the server's drive C:.
pub(super) struct Disk<'h> {
    host: &'h dyn Host,
    root: &'h Path,
    /// The names in each folder that was looked into, in lowercase, and as they are; nothing where it cannot be listed.
    listed: RefCell<HashMap<PathBuf, Option<HashMap<String, PathBuf>>>>,
    read: RefCell<Files>,
    /// What was asked for and could not be looked at.
    unseen: RefCell<BTreeSet<String>>,
}

impl<'h> Disk<'h> {
    pub(super) fn new(host: &'h dyn Host, root: &'h Path) -> Disk<'h> {
        let (listed, read, unseen) = (RefCell::default(), RefCell::default(), RefCell::default());
        Disk { host, root, listed, read, unseen }
    }

    /// What was asked for and could not be looked at, as sentences: what IIS finds there, nobody here knows.
    pub(super) fn unseen(&self) -> Vec<String> {
        self.unseen.borrow().iter().cloned().collect()
    }

    /// Every file that was read.
    pub(super) fn into_files(self) -> Files {
        self.read.into_inner()
    }

    /// Where a Windows path is; nothing where it is not.
    pub(super) fn find(&self, path: &str) -> Option<PathBuf> {
        let (drive, path) = path.split_once('\\')?;
        if !drive.eq_ignore_ascii_case("C:") {
            let drive = drive.to_uppercase();
            self.unseen.borrow_mut().insert(format!(
                "{drive} is not looked at: what the files in its folders say, such as a <clear/>, is not known"
            ));
            return None;
        }
        let mut at = self.root.to_owned();
        for name in path.split('\\') {
            let mut listed = self.listed.borrow_mut();
            let names = listed.entry(at.clone()).or_insert_with_key(|folder| self.names(folder));
            at = match names {
                Some(names) => names.get(&name.to_lowercase())?.clone(),
                // A file in it is found by its name as it is.
                None => at.join(name),
            };
        }
        Some(at)
    }

    fn names(&self, folder: &Path) -> Option<HashMap<String, PathBuf>> {
        let names = match self.host.list(folder) {
            Ok(names) => names,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
            Err(e) => {
                self.unseen.borrow_mut().insert(format!("{} cannot be listed: {e}", folder.display()));
                return None;
            }
        };
        Some(names.into_iter().map(|name| (name.to_lowercase(), folder.join(name))).collect())
    }
}

impl Tree for Disk<'_> {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, [u8]>>, String> {
        let Some(found) = self.find(path) else { return Ok(None) };
        if let Some(read) = self.read.borrow().get(&found) {
            return read.clone().map(|octets| Some(Cow::Owned(octets)));
        }
        let read = match self.host.kind(&found) {
            Ok(None | Some(Kind::Folder)) => return Ok(None),
            // Whoever reads a pipe waits for its writer.
            Ok(Some(Kind::Other)) => Err("is not a file".to_owned()),
            Ok(Some(Kind::File | Kind::Link)) => {
                self.host.read(&found, READ_MAX).map_err(|e| format!("cannot be read: {e}"))
            }
            Err(e) => Err(format!("cannot be looked at: {e}")),
        };
        self.read.borrow_mut().insert(found, read.clone());
        read.map(|octets| Some(Cow::Owned(octets)))
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let Some(found) = self.find(path) else { return Vec::new() };
        let mut listed = self.listed.borrow_mut();
        let names = listed.entry(found).or_insert_with_key(|folder| self.names(folder));
        // A link could lead back up.
        let folder = |path: &&PathBuf| matches!(self.host.kind(path), Ok(Some(Kind::Folder)));
        let folders = names.iter().flat_map(HashMap::values).filter(folder);
        let mut names: Vec<String> =
            folders.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort();
        names
    }
}

/// Where a file is on the machine, and its octets or why they cannot be read.
type Found<'o> = (&'o Path, Result<Cow<'o, [u8]>, &'o str>);

/// The files as they were read, and in place of some what they become.
pub(super) struct Snapshot<'o> {
    /// By their Windows path in lowercase.
    files: BTreeMap<String, Found<'o>>,
    /// The folders that lead to files: all that a check asks for.
    folders: BTreeMap<String, BTreeSet<&'o str>>,
}

impl<'o> Snapshot<'o> {
    /// Of the files below `root`.
    pub(super) fn of(root: &Path, files: &'o Files) -> Snapshot<'o> {
        let mut snapshot = Snapshot { files: BTreeMap::new(), folders: BTreeMap::new() };
        for (path, octets) in files {
            let Some(names) = below(root, path) else { continue };
            let mut at = "c:".to_owned();
            for (nth, name) in names.iter().enumerate() {
                if nth + 1 < names.len() {
                    snapshot.folders.entry(at.clone()).or_default().insert(name);
                }
                at = format!("{at}\\{}", name.to_lowercase());
            }
            let octets =
                octets.as_ref().map(|octets| Cow::Borrowed(octets.as_slice())).map_err(String::as_str);
            snapshot.files.insert(at, (path, octets));
        }
        snapshot
    }

    /// Where a file of a Windows path is on the machine.
    pub(super) fn place(&self, path: &str) -> Option<&'o Path> {
        self.files.get(&path.to_lowercase()).map(|(place, _)| *place)
    }

    /// A file's octets; nothing where it is not there or cannot be read.
    pub(super) fn octets(&self, path: &str) -> Option<&[u8]> {
        self.files.get(&path.to_lowercase())?.1.as_deref().ok()
    }

    /// Puts octets in place of those of a file that is there.
    pub(super) fn change(&mut self, path: &str, octets: Vec<u8>) {
        if let Some((_, found)) = self.files.get_mut(&path.to_lowercase()) {
            *found = Ok(Cow::Owned(octets));
        }
    }
}

impl Tree for Snapshot<'_> {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, [u8]>>, String> {
        match self.files.get(&path.to_lowercase()) {
            None => Ok(None),
            Some((_, Ok(octets))) => Ok(Some(Cow::Borrowed(octets))),
            Some((_, Err(why))) => Err((*why).to_owned()),
        }
    }

    fn folders(&self, path: &str) -> Vec<String> {
        self.folders.get(&path.to_lowercase()).into_iter().flatten().map(|name| (*name).to_owned()).collect()
    }
}

/// The Windows path of a file below `root`.
pub(super) fn windows(root: &Path, path: &Path) -> Option<String> {
    Some(format!("C:\\{}", below(root, path)?.join("\\")))
}

fn below<'p>(root: &Path, path: &'p Path) -> Option<Vec<&'p str>> {
    let rest = path.strip_prefix(root).ok()?;
    rest.components().map(|part| part.as_os_str().to_str()).collect()
}
