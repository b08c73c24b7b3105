//! Removing what is ours and needed no more, and moving aside what somebody edited.

use std::io;
use std::path::Path;

use super::inspect::{Contents, contents, is_id};
use super::{NEW_LINK, NEW_SET, SETS, Sets, kind, rename};
use crate::driver::{DriverError, io_error};
use crate::host::{Host, Kind, remove_if_there};

pub(super) const BEFORE: &str = ".before";
const EDITED: &str = ".edited-";

impl Sets {
    /// Leaves the set `keep` alone of what is ours. An edited set is moved aside; a name that is
    /// none of ours stays.
    pub(super) fn tidy(&self, host: &dyn Host, keep: Option<&str>) -> Result<(), DriverError> {
        self.unstage(host)?;
        let link = self.folder.join(NEW_LINK);
        remove_if_there(host, &link).map_err(io_error("cannot remove", &link))?;
        let sets = self.folder.join(SETS);
        if kind(host, &sets)? == Some(Kind::Folder) {
            for name in host.list(&sets).map_err(io_error("cannot list", &sets))? {
                match name.strip_suffix(BEFORE) {
                    _ if name == NEW_SET => self.remove_new(host)?,
                    Some(id) if is_id(id) => self.tidy_aside(host, id)?,
                    None if is_id(&name) && keep != Some(&name) => self.remove_or_move(host, &name, &name)?,
                    _ => (),
                }
            }
        }
        if keep.is_none() {
            remove_if_empty(host, &sets)?;
            if !self.keep_folder {
                remove_if_empty(host, &self.folder)?;
            }
        }
        Ok(())
    }

    /// Clears the name `<id>.before`.
    pub(super) fn tidy_aside(&self, host: &dyn Host, id: &str) -> Result<(), DriverError> {
        self.remove_or_move(host, &format!("{id}{BEFORE}"), id)
    }

    /// Moves the set `id`, which somebody edited, out of the way under a name of its own.
    pub(super) fn move_aside(&self, host: &dyn Host, id: &str) -> Result<(), DriverError> {
        self.give_free_name(host, &self.set(id), id)
    }

    /// Removes a folder of ours, if it is there.
    pub(super) fn remove_ours(&self, host: &dyn Host, path: &Path) -> Result<(), DriverError> {
        if kind(host, path)?.is_none() {
            return Ok(());
        }
        host.remove_tree(&self.folder, path).map_err(io_error("cannot remove", path))
    }

    /// Removes a set of ours. It loses its name first: one that is removed by half must not be
    /// taken for one that somebody edited, nor after a power cut.
    pub(super) fn discard(&self, host: &dyn Host, set: &Path) -> Result<(), DriverError> {
        self.remove_new(host)?;
        rename(host, set, &self.set(NEW_SET))?;
        self.remove_new(host)
    }

    /// Removes the set that was on its way in or out, whatever of it is there. That it has this name is on the disk
    /// first: it may be one that lost its own.
    pub(super) fn remove_new(&self, host: &dyn Host) -> Result<(), DriverError> {
        let new = self.set(NEW_SET);
        if kind(host, &new)?.is_none() {
            return Ok(());
        }
        self.sync(host)?;
        self.remove_ours(host, &new)
    }

    /// Removes `name` where it is as we wrote the set `id`, or empty; else moves it aside.
    fn remove_or_move(&self, host: &dyn Host, name: &str, id: &str) -> Result<(), DriverError> {
        let path = self.set(name);
        match contents(host, &path, id)? {
            Contents::Missing => Ok(()),
            Contents::Intact(_) => self.discard(host, &path),
            Contents::Differs(_)
                if kind(host, &path)? == Some(Kind::Folder) && remove_if_empty(host, &path)? =>
            {
                Ok(())
            }
            Contents::Differs(_) => self.give_free_name(host, &path, id),
        }
    }

    fn give_free_name(&self, host: &dyn Host, path: &Path, id: &str) -> Result<(), DriverError> {
        for n in 1..=u32::MAX {
            let aside = self.set(&format!("{id}{EDITED}{n}"));
            if kind(host, &aside)?.is_none() {
                tracing::warn!(from = %path.display(), to = %aside.display(), "an edited set was moved aside");
                return rename(host, path, &aside);
            }
        }
        Ok(())
    }
}

/// Removes a folder if it is empty. Whether it is gone.
pub(super) fn remove_if_empty(host: &dyn Host, folder: &Path) -> Result<bool, DriverError> {
    match host.remove_dir(folder) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        Err(e) => Err(io_error("cannot remove", folder)(e)),
    }
}
