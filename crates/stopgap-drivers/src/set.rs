//! A folder with sets of generated files, and a link to the live one.
//!
//! ```text
//!   data/<target>/live -> sets/<id>       what the server reads; swapped by one rename
//!                 sets/<id>/              files and manifest.json; <id> is their digest
//!                 sets/<id>.before/       the live set as somebody edited it, while its repair
//!                                         may still be reverted
//!                 sets/.new/              a set on its way in or out: never pointed at
//!                 sets/<id>.edited-<n>/   an edited set that was in the way: moved aside for its
//!                                         editor, never removed
//!                 staged/                 the same layout, for the server's own test
//!                 none/                   for a server that needs the files at all times: they are empty
//!                                         there, and where there is no set, `live` points here
//! ```
//!
//! A set is recognized as ours by its digest, which is its name. What is live is valid at every
//! moment: a set is complete on the disk before anything points at it. Nothing here knows what the
//! files say, or how a server is told.

mod inspect;
pub(crate) mod record;
mod tidy;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use stopgap_core::observed::Live;
use stopgap_core::plan::{Change, GeneratedSet};

use crate::driver::{DriverError, io_error};
use crate::host::{Host, Kind, make_durable_folder, remove_if_there};
use inspect::{Contents, Pointer};

/// The sets of one target.
#[derive(Debug, Clone)]
pub struct Sets {
    /// `data/<target>`. Ours alone, but for what `keep_folder` says.
    pub folder: PathBuf,
    /// The files of a set, beside its manifest.
    pub files: &'static [&'static str],
    /// Whether the folder stays when nothing of ours is in it, since somebody else relies on it.
    pub keep_folder: bool,
    /// Whether the server needs the files at all times, also where there is no set.
    pub at_all_times: bool,
}

/// Folders and files are readable for all: a server's workers and the gateway run without
/// privileges, and there is nothing secret in a rule that was published.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// The link's name.
pub const LIVE: &str = "live";
const SETS: &str = "sets";
const STAGED: &str = "staged";
pub(crate) const NONE: &str = "none";
const NEW_LINK: &str = ".live-new";
const NEW_SET: &str = ".new";

impl Sets {
    /// What is live, read from the disk.
    pub fn observe(&self, host: &dyn Host) -> Result<Live, DriverError> {
        inspect::live(self, host)
    }

    /// The files of the live set while each is as it was written, whatever somebody put beside them.
    pub fn written(&self, host: &dyn Host) -> Result<Option<BTreeMap<String, Vec<u8>>>, DriverError> {
        inspect::written(self, host)
    }

    /// Lays out `after` as it would be live, in a folder that can be laid over [`Sets::folder`],
    /// and returns that folder. Nothing that is live is touched.
    pub fn stage(&self, host: &dyn Host, after: Option<&GeneratedSet>) -> Result<PathBuf, DriverError> {
        self.unstage(host)?;
        let staged = self.folder.join(STAGED);
        make_folder(host, &staged)?;
        let to = match after {
            Some(set) => {
                write_set(host, &staged.join(SETS).join(&set.id), set)?;
                link_text(&set.id)
            }
            None if self.at_all_times => {
                self.write_none(host, &staged)?;
                PathBuf::from(NONE)
            }
            None => return Ok(staged),
        };
        let link = staged.join(LIVE);
        host.symlink(&to, &link).map_err(io_error("cannot make the link", &link))?;
        Ok(staged)
    }

    /// For a server that needs the files at all times: has `live` point at empty ones where there is no set. Before
    /// the server's hook names them.
    pub fn prepare(&self, host: &dyn Host) -> Result<(), DriverError> {
        let found = inspect::pointer(self, host)?;
        if self.at_all_times && found == Pointer::Absent {
            make_folder(host, &self.folder)?;
            self.point(host, None)?;
        }
        Ok(())
    }

    /// Takes back what [`Sets::prepare`] made, where there is no set. After the server's hook is gone.
    pub fn unprepare(&self, host: &dyn Host) -> Result<(), DriverError> {
        if inspect::pointer(self, host)? == Pointer::Absent {
            let live = self.folder.join(LIVE);
            remove_if_there(host, &live).map_err(io_error("cannot remove", &live))?;
            self.remove_ours(host, &self.folder.join(NONE))?;
            tidy::remove_if_empty(host, &self.folder)?;
        }
        Ok(())
    }

    fn write_none(&self, host: &dyn Host, folder: &Path) -> Result<(), DriverError> {
        let none = folder.join(NONE);
        make_folder(host, &none)?;
        for path in self.files.iter().map(|name| none.join(name)) {
            if kind(host, &path)?.is_none() {
                host.write_new(&path, b"", FILE_MODE).map_err(io_error("cannot write", &path))?;
            }
        }
        host.sync_dir(&none).map_err(io_error("cannot write through", &none))
    }

    /// Removes what [`Sets::stage`] laid out.
    pub fn unstage(&self, host: &dyn Host) -> Result<(), DriverError> {
        self.remove_ours(host, &self.folder.join(STAGED))
    }

    /// Makes `change.after` live. Compare and swap: what is live must be `change.before` (or, where
    /// this was done before and cut short, `change.after`).
    pub fn swap(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        let after = change.after.as_ref().map(|set| set.id.as_str());
        let found = self.require(host, &[change.before.as_deref(), after])?;
        make_durable_folder(host, &self.folder, FOLDER_MODE)
            .map_err(io_error("cannot make the folder", &self.folder))?;
        if let Some(set) = &change.after {
            self.place(host, set, found.as_deref() == Some(&set.id))?;
        }
        if found.as_deref() == after { self.keep_pointing(host) } else { self.point(host, after) }
    }

    /// Puts back what was live before `change`, whatever part of [`Sets::swap`] happened, and
    /// removes what only the change needed.
    pub fn restore(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        let after = change.after.as_ref().map(|set| set.id.as_str());
        let found = self.require(host, &[change.before.as_deref(), after])?;
        if found == change.before {
            self.keep_pointing(host)?;
        } else {
            self.point(host, change.before.as_deref())?;
        }
        match (&change.before, after) {
            (Some(id), Some(after)) if id == after => self.unrepair(host, id)?,
            _ => (),
        }
        self.tidy(host, change.before.as_deref())
    }

    /// The change stays: removes what only [`Sets::restore`] needed. After the last take-off
    /// nothing of ours is left.
    pub fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        let after = change.after.as_ref().map(|set| set.id.as_str());
        self.require(host, &[after])?;
        self.keep_pointing(host)?;
        self.tidy(host, after)
    }

    /// What is live now, which must be one of `allowed`.
    fn require(&self, host: &dyn Host, allowed: &[Option<&str>]) -> Result<Option<String>, DriverError> {
        let found = inspect::pointer(self, host)?;
        let path = self.folder.join(LIVE);
        if found == Pointer::NotALink {
            let source = io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it is not the link that belongs there; move it away",
            );
            return Err(DriverError::Io { what: "cannot replace", path, source });
        }
        let found = found.label();
        if allowed.contains(&found.as_deref()) {
            return Ok(found);
        }
        let words = |label: Option<&str>| label.unwrap_or("no set").to_owned();
        let expected = words(allowed.first().copied().flatten());
        Err(DriverError::ChangedUnderUs { path, expected, found: words(found.as_deref()) })
    }

    /// Has `set` stand complete under its name. `live`: it is what the link points at, so that the
    /// name must not be without a set for a moment.
    fn place(&self, host: &dyn Host, set: &GeneratedSet, live: bool) -> Result<(), DriverError> {
        let (place, new) = (self.set(&set.id), self.set(NEW_SET));
        let contents = inspect::contents(host, &place, &set.id)?;
        if matches!(contents, Contents::Intact(_)) {
            // By whom is not known; he may have been stopped before he could wait for the disk.
            return self.sync(host);
        }
        self.tidy_aside(host, &set.id)?;
        self.remove_new(host)?;
        write_set(host, &new, set)?;
        let before = self.before(&set.id);
        match (contents, live) {
            (Contents::Missing, false) => (),
            // To the server a missing set is an empty one: that is what a revert puts back.
            (Contents::Missing, true) => make_folder(host, &before)?,
            (_, false) => self.move_aside(host, &set.id)?,
            (_, true) => {
                rename(host, &new, &before)?;
                if exchanged(host, &before, &place)? {
                    return self.sync(host);
                }
                // The edited set never has the name `.new`, whose bearer is removed unseen.
                rename(host, &before, &new)?;
                rename(host, &place, &before)?;
            }
        }
        rename(host, &new, &place)?;
        self.sync(host)
    }

    /// Takes a repair back: what somebody had edited stands under the set's name again.
    fn unrepair(&self, host: &dyn Host, id: &str) -> Result<(), DriverError> {
        let (place, before) = (self.set(id), self.before(id));
        match inspect::contents(host, &before, id)? {
            // No repair, or one whose exchange did not happen.
            Contents::Missing | Contents::Intact(_) => return Ok(()),
            Contents::Differs(_) if is_empty_folder(host, &before)? => {
                // The set was missing. The empty folder that says so goes last.
                if matches!(inspect::contents(host, &place, id)?, Contents::Intact(_)) {
                    self.discard(host, &place)?;
                }
                host.remove_dir(&before).map_err(io_error("cannot remove", &before))?;
            }
            Contents::Differs(_) if kind(host, &place)?.is_none() => rename(host, &before, &place)?,
            Contents::Differs(_) => {
                if !exchanged(host, &before, &place)? {
                    match inspect::contents(host, &place, id)? {
                        Contents::Intact(_) => self.discard(host, &place)?,
                        _ => self.move_aside(host, id)?,
                    }
                    rename(host, &before, &place)?;
                }
            }
        }
        self.sync(host)
    }

    /// Points the link at a set (by its label), or removes it.
    fn point(&self, host: &dyn Host, label: Option<&str>) -> Result<(), DriverError> {
        let live = self.folder.join(LIVE);
        let to = match label {
            Some(label) => Some(link_text(label)),
            None if self.at_all_times => {
                self.write_none(host, &self.folder)?;
                Some(PathBuf::from(NONE))
            }
            None => None,
        };
        match to {
            Some(to) => {
                let new = self.folder.join(NEW_LINK);
                remove_if_there(host, &new).map_err(io_error("cannot remove", &new))?;
                host.symlink(&to, &new).map_err(io_error("cannot make the link", &new))?;
                rename(host, &new, &live)?;
            }
            None => remove_if_there(host, &live).map_err(io_error("cannot remove", &live))?,
        }
        host.sync_dir(&self.folder).map_err(io_error("cannot write through", &self.folder))
    }

    /// The link is as it should be. That is waited for, since what it pointed at may go next: whoever put it there may
    /// have been stopped before he could.
    fn keep_pointing(&self, host: &dyn Host) -> Result<(), DriverError> {
        if kind(host, &self.folder)?.is_none() {
            return Ok(());
        }
        host.sync_dir(&self.folder).map_err(io_error("cannot write through", &self.folder))
    }

    fn sync(&self, host: &dyn Host) -> Result<(), DriverError> {
        let sets = self.folder.join(SETS);
        host.sync_dir(&sets).map_err(io_error("cannot write through", &sets))
    }

    fn set(&self, name: &str) -> PathBuf {
        self.folder.join(SETS).join(name)
    }

    fn before(&self, id: &str) -> PathBuf {
        self.set(&format!("{id}{}", tidy::BEFORE))
    }
}

/// A link's text for a label: relative, so that the folder can be laid over another.
fn link_text(label: &str) -> PathBuf {
    if inspect::is_id(label) { Path::new(SETS).join(label) } else { PathBuf::from(label) }
}

fn write_set(host: &dyn Host, folder: &Path, set: &GeneratedSet) -> Result<(), DriverError> {
    make_folder(host, folder)?;
    for (name, content) in &set.files {
        let path = folder.join(name);
        host.write_new(&path, content.as_bytes(), FILE_MODE).map_err(io_error("cannot write", &path))?;
    }
    host.sync_dir(folder).map_err(io_error("cannot write through", folder))
}

fn make_folder(host: &dyn Host, folder: &Path) -> Result<(), DriverError> {
    host.create_dir_all(folder, FOLDER_MODE).map_err(io_error("cannot make the folder", folder))
}

fn rename(host: &dyn Host, from: &Path, to: &Path) -> Result<(), DriverError> {
    host.rename(from, to).map_err(io_error("cannot put in place", to))
}

/// Exchanges two sets in one step. `false`: the file system cannot; a server that reads its
/// configuration between two renames would then find none.
fn exchanged(host: &dyn Host, a: &Path, b: &Path) -> Result<bool, DriverError> {
    match host.exchange_names(a, b) {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(false),
        other => other.map(|()| true).map_err(io_error("cannot put in place", b)),
    }
}

fn is_empty_folder(host: &dyn Host, path: &Path) -> Result<bool, DriverError> {
    Ok(kind(host, path)? == Some(Kind::Folder)
        && host.list(path).map_err(io_error("cannot list", path))?.is_empty())
}

fn kind(host: &dyn Host, path: &Path) -> Result<Option<Kind>, DriverError> {
    host.kind(path).map_err(io_error("cannot look at", path))
}
