//! Reading: where the link points, and whether a set is as it was written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stopgap_core::observed::{Hold, Live};
use stopgap_core::plan::{MANIFEST, set_digest};

use super::{LIVE, NONE, SETS, Sets, kind};
use crate::driver::{DriverError, io_error};
use crate::host::{Host, Kind};

/// A set is a handful of files; more was put there by somebody else.
const FILES_MAX: usize = 64;

/// No generated file comes near: the longest feed is smaller.
const FILE_MAX: u64 = 32 << 20;

/// Where `live` points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pointer {
    /// There is none, or it points where there is no set.
    Absent,
    /// At a set, by its id.
    Set(String),
    /// Somewhere else.
    Elsewhere(PathBuf),
    /// It is a file or a folder.
    NotALink,
}

impl Pointer {
    /// How [`Live::set`] and `Change::before` name it.
    pub(super) fn label(&self) -> Option<String> {
        match self {
            Pointer::Absent => None,
            Pointer::Set(id) => Some(id.clone()),
            Pointer::Elsewhere(path) => Some(path.to_string_lossy().into_owned()),
            Pointer::NotALink => Some("not a link".to_owned()),
        }
    }
}

/// What a set's folder holds, against the digest that is its name.
#[derive(Debug)]
pub(super) enum Contents {
    Missing,
    Intact(BTreeMap<String, Vec<u8>>),
    /// Names that are there and hold nothing readable are left out; what is wrong, as sentences.
    Differs(Vec<String>),
}

/// An id is a SHA-256 in lower-case hex.
pub(super) fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

pub(super) fn pointer(sets: &Sets, host: &dyn Host) -> Result<Pointer, DriverError> {
    let live = sets.folder.join(LIVE);
    match kind(host, &live)? {
        None => Ok(Pointer::Absent),
        Some(Kind::Link) => {
            let to = host.read_link(&live).map_err(io_error("cannot read the link", &live))?;
            if sets.at_all_times && to == Path::new(NONE) {
                return Ok(Pointer::Absent);
            }
            let id = to.strip_prefix(SETS).ok().and_then(Path::to_str).filter(|name| is_id(name));
            Ok(id.map_or(Pointer::Elsewhere(to.clone()), |id| Pointer::Set(id.to_owned())))
        }
        Some(_) => Ok(Pointer::NotALink),
    }
}

pub(super) fn live(sets: &Sets, host: &dyn Host) -> Result<Live, DriverError> {
    let pointer = pointer(sets, host)?;
    let mut live = Live { set: pointer.label(), ..Live::default() };
    let link = sets.folder.join(LIVE);
    match pointer {
        Pointer::Absent => (),
        Pointer::NotALink => {
            live.foreign.push(format!("{} is not the link that belongs there", link.display()))
        }
        Pointer::Elsewhere(to) => {
            live.foreign.push(format!(
                "{} points to {}, which is no set of ours",
                link.display(),
                to.display()
            ));
        }
        Pointer::Set(id) => match contents(host, &sets.set(&id), &id)? {
            Contents::Intact(files) => live.holds = manifest(&files),
            Contents::Missing => live.foreign.push(format!("{} is missing", sets.set(&id).display())),
            Contents::Differs(found) => {
                live.foreign = missing(sets, host, &id)?;
                live.foreign.extend(found);
            }
        },
    }
    Ok(live)
}

/// See [`Sets::written`].
pub(super) fn written(
    sets: &Sets,
    host: &dyn Host,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, DriverError> {
    let Pointer::Set(id) = pointer(sets, host)? else { return Ok(None) };
    let mut files = BTreeMap::new();
    for name in sets.files.iter().chain([&MANIFEST]) {
        let path = sets.set(&id).join(name);
        if kind(host, &path)? != Some(Kind::File) {
            return Ok(None);
        }
        let bytes = host.read(&path, FILE_MAX).map_err(io_error("cannot read", &path))?;
        files.insert((*name).to_owned(), bytes);
    }
    Ok((set_digest(&files) == id).then_some(files))
}

/// Reads a set's folder and compares it with `id`.
pub(super) fn contents(host: &dyn Host, folder: &Path, id: &str) -> Result<Contents, DriverError> {
    match kind(host, folder)? {
        None => return Ok(Contents::Missing),
        Some(Kind::Folder) => (),
        Some(_) => return Ok(Contents::Differs(vec![format!("{} is not a folder", folder.display())])),
    }
    let names = host.list(folder).map_err(io_error("cannot list", folder))?;
    if names.len() > FILES_MAX {
        return Ok(Contents::Differs(vec![format!("{} holds {} names", folder.display(), names.len())]));
    }
    let mut files = BTreeMap::new();
    for name in names {
        let path = folder.join(&name);
        if kind(host, &path)? != Some(Kind::File) {
            return Ok(Contents::Differs(vec![format!("{} is not a file", path.display())]));
        }
        let bytes = host.read(&path, FILE_MAX).map_err(io_error("cannot read", &path))?;
        files.insert(name, bytes);
    }
    if set_digest(&files) == id {
        return Ok(Contents::Intact(files));
    }
    Ok(Contents::Differs(vec![format!(
        "{} is not as it was written: a file in it was changed, added or removed",
        folder.display()
    )]))
}

/// The files of a set that are not there, by name: what can be said exactly of an edited set.
fn missing(sets: &Sets, host: &dyn Host, id: &str) -> Result<Vec<String>, DriverError> {
    let mut found = Vec::new();
    for name in sets.files.iter().chain([&MANIFEST]) {
        let path = sets.set(id).join(name);
        if kind(host, &path)?.is_none() {
            found.push(format!("{} is missing", path.display()));
        }
    }
    Ok(found)
}

/// What an intact set holds. Its digest covers the manifest, so one that cannot be read was
/// written by another version of this program: it holds nothing that this one can name.
fn manifest(files: &BTreeMap<String, Vec<u8>>) -> Vec<Hold> {
    files.get(MANIFEST).and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default()
}
