//! Writing into files that are somebody else's: compare and swap, and back.
//!
//! A file is replaced by one beside it, written through and renamed, so that IIS reads the old one or the new one. Its
//! owner and its permissions stay.

use std::io;
use std::path::{Path, PathBuf};

use stopgap_core::plan::{FileEdit, sha256_hex};
use stopgap_iis::place::{Remains, take_off};

use super::record::{Inserted, Record};
use super::splice::{spliced, unspliced};
use crate::driver::{DriverError, NotWritten, io_error};
use crate::host::{Host, Kind, remove_if_there};

/// One octet more than is read of a file at all.
const READ_MAX: u64 = stopgap_iis::document::MAX_BYTES as u64 + 1;

/// What may be written to, and is the file that an edit was planned for: the file after the edit.
pub(super) fn planned(host: &dyn Host, edit: &FileEdit) -> Result<Vec<u8>, DriverError> {
    writable(host, &edit.path)?;
    let octets = host.read(&edit.path, READ_MAX).map_err(io_error("cannot read", &edit.path))?;
    let found = sha256_hex(&octets);
    if found == edit.after {
        return Ok(octets);
    }
    let after = spliced(&octets, &edit.splices).filter(|after| sha256_hex(after) == edit.after);
    after.filter(|_| found == edit.before).ok_or_else(|| changed(&edit.path, &edit.before, found))
}

fn changed(path: &Path, expected: &str, found: String) -> DriverError {
    let words = |digest: &str| format!("SHA-256 {digest}");
    DriverError::ChangedUnderUs { path: path.to_owned(), expected: words(expected), found: words(&found) }
}

fn writable(host: &dyn Host, path: &Path) -> Result<(), DriverError> {
    let not = |why| Err(DriverError::NotWritten { path: path.to_owned(), why });
    match host.kind(path).map_err(io_error("cannot look at", path))? {
        Some(Kind::File) => (),
        Some(Kind::Link) => return not(NotWritten::Link(host.read_link(path).unwrap_or_default())),
        Some(Kind::Folder | Kind::Other) => return not(NotWritten::NoFile),
        None => return Err(changed(path, "of a file", "of none: it is gone".to_owned())),
    }
    // Its folder could be written to all the same; whoever made it read-only meant it.
    match host.mode(path).map_err(io_error("cannot look at", path))? & 0o222 {
        0 => not(NotWritten::ReadOnly("no permission to write".to_owned())),
        _ => Ok(()),
    }
}

/// Makes an edit; one that is made already stays.
pub(super) fn make(host: &dyn Host, edit: &FileEdit) -> Result<(), DriverError> {
    let after = planned(host, edit)?;
    put(host, &edit.path, &edit.before, &edit.after, &after)
}

/// Puts `octets` there, in place of a file that is the one that was `read`. One that has the digest of `octets`
/// already is left.
fn put(host: &dyn Host, path: &Path, read: &str, digest: &str, octets: &[u8]) -> Result<(), DriverError> {
    let is_there = || -> Result<bool, DriverError> {
        let found = sha256_hex(&host.read(path, READ_MAX).map_err(io_error("cannot read", path))?);
        match found == digest {
            false if found != read => Err(changed(path, read, found)),
            is_there => Ok(is_there),
        }
    };
    if is_there()? {
        return write_through(host, path);
    }
    let temporary = temporary(path);
    let put = remove_if_there(host, &temporary)
        .and_then(|()| host.write_like(&temporary, octets, path))
        .map_err(|e| refused(path, e))
        // Writing through takes its time, and somebody may have saved the file meanwhile.
        .and_then(|()| is_there())
        .and_then(|is_there| match is_there {
            true => remove_if_there(host, &temporary).map_err(|e| refused(&temporary, e)),
            false => host.rename(&temporary, path).map_err(|e| refused(path, e)),
        });
    if let Err(e) = put {
        // What is left of it is removed by the revert, too.
        let _ = remove_if_there(host, &temporary);
        return Err(e);
    }
    write_through(host, path)
}

/// The file's name is on the disk with these octets: also one that is found so, since whoever made it may have been
/// stopped before he could wait for that.
fn write_through(host: &dyn Host, path: &Path) -> Result<(), DriverError> {
    let folder = path.parent().unwrap_or(path);
    host.sync_dir(folder).map_err(io_error("cannot write through", folder))
}

/// Beside it, so that a rename puts it in place; nobody else uses the name.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.stopgap-new"))
}

fn refused(path: &Path, error: io::Error) -> DriverError {
    /// ERROR_SHARING_VIOLATION and ERROR_LOCK_VIOLATION.
    const LOCKED_ON_WINDOWS: [i32; 2] = [32, 33];
    let locked = cfg!(windows) && error.raw_os_error().is_some_and(|code| LOCKED_ON_WINDOWS.contains(&code));
    let why = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NotWritten::Full(error),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem if !locked => {
            NotWritten::ReadOnly(error.to_string())
        }
        io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => NotWritten::Locked(error),
        _ if locked => NotWritten::Locked(error),
        _ => return io_error("cannot write", path)(error),
    };
    DriverError::NotWritten { path: path.to_owned(), why }
}

/// Takes an edit back: to the byte while the file is ours, else exactly what was put in. `after` and `before` are the
/// records of the change's two sets; `pools` takes the settings of pools back where the file was edited since.
pub(super) fn take_back(
    host: &dyn Host,
    edit: &FileEdit,
    before: &Record,
    after: &Record,
    pools: impl Fn(Vec<u8>) -> Result<Vec<u8>, String>,
) -> Result<(), DriverError> {
    let path = &edit.path;
    let temporary = temporary(path);
    remove_if_there(host, &temporary).map_err(io_error("cannot remove", &temporary))?;
    match host.kind(path).map_err(io_error("cannot look at", path))? {
        None => return Ok(()),
        Some(Kind::File | Kind::Link) => {}
        Some(Kind::Folder | Kind::Other) => {
            return Err(DriverError::NotWritten { path: path.clone(), why: NotWritten::NoFile });
        }
    }
    let octets = host.read(path, READ_MAX).map_err(io_error("cannot read", path))?;
    let found = sha256_hex(&octets);
    if found == edit.before {
        return write_through(host, path);
    }
    if found == edit.after {
        let back = unspliced(&octets, &edit.splices).filter(|back| sha256_hex(back) == edit.before);
        let back = back.ok_or_else(|| changed(path, &edit.after, found.clone()))?;
        writable(host, path)?;
        return put(host, path, &edit.after, &edit.before, &back);
    }
    // Somebody edited it since. What was there before the change stays.
    let mut old: Vec<&Inserted> = before.insertions(path).collect();
    let mut ours = Vec::new();
    for one in after.insertions(path) {
        match old.iter().position(|other| *other == one) {
            Some(nth) => drop(old.swap_remove(nth)),
            None => ours.push(one.insertion()),
        }
    }
    let taken = take_off(&octets, &ours);
    let mut what: Vec<String> = taken
        .by_hand
        .iter()
        .map(|left| match left.why {
            Remains::Changed => format!("\"{}\", written as {}", left.name, left.text),
            Remains::TooOften { found, written } => {
                format!("\"{}\", {found} times there and written {written} times: {}", left.name, left.text)
            }
        })
        .collect();
    let rest = match pools(taken.octets.clone()) {
        Ok(rest) => rest,
        Err(why) => {
            what.push(why);
            taken.octets
        }
    };
    if rest != octets {
        writable(host, path)?;
        put(host, path, &found, &sha256_hex(&rest), &rest)?;
    }
    if what.is_empty() { Ok(()) } else { Err(DriverError::ByHand { path: path.clone(), what }) }
}
