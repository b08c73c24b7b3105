//! What a cycle looks up because its mitigations ask for it: the places that they name, and what still runs of
//! packages that were updated.
//!
//! Looking at every process costs some tenths of a second where there are thousands, so it is done when the
//! package database has changed, or other packages are asked for, or one of those that ran old files has ended;
//! else only these few are looked at again. A process that begins later has the new files, but for a child of
//! one that has the old.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use stopgap_core::facts::{Asked, Facts, Installed, Looked, Packages, Running};
use stopgap_drivers::Host;

use super::cache::Stamp;
use super::files::Files;
use super::memory::{Memory, Moment};
use super::processes::{Proc, Scan, Stale};
use super::{database_stamp, detect};
use crate::home::{Home, HomeError};

/// The file of what was seen before.
const MEMORY: &str = "packages.json";

/// Where to look.
pub struct Place<'a> {
    /// The root of the system.
    pub root: &'a Path,
    /// The only door to the machine.
    pub host: &'a dyn Host,
    /// The data folder, which remembers versions.
    pub home: &'a Home,
    /// Whether anything may be written there.
    pub write: bool,
}

/// Looks up what is asked for. The second value is what went wrong with the memory, without which processes that
/// run old files are of unknown version.
pub fn look(place: &Place<'_>, facts: &Facts, asked: &Asked) -> (Looked, Option<HomeError>) {
    let detected =
        asked.detect.iter().map(|detect| (detect.clone(), detect::look(place.root, detect))).collect();
    let mut looked = Looked { detected, running: BTreeMap::new() };
    let Packages::Installed(installed) = facts.packages() else { return (looked, None) };
    let names: BTreeSet<String> =
        asked.packages.iter().filter(|name| installed.versions(name).next().is_some()).cloned().collect();
    if !cfg!(target_os = "linux") || names.is_empty() {
        return (looked, None);
    }
    match running(place, installed, &names) {
        Ok(found) => {
            looked.running = found.0;
            (looked, found.1)
        }
        Err(why) => {
            let unknown = Running { old: Vec::new(), unread: Some(why) };
            looked.running = names.into_iter().map(|name| (name, unknown.clone())).collect();
            (looked, None)
        }
    }
}

type Found = (BTreeMap<String, Running>, Option<HomeError>);

fn running(place: &Place<'_>, installed: &Installed, names: &BTreeSet<String>) -> Result<Found, String> {
    let proc = Proc::at(place.root);
    let now = proc.boot().zip(proc.uptime()).map(|(boot, at)| Moment { boot, at });
    let now = now.ok_or("the clock of this system cannot be read in /proc")?;
    let seen = scan(place, &proc, installed, names)?;

    let (before, mut wrong) = match place.home.load::<Memory>(place.host, MEMORY) {
        Ok(memory) => (memory.unwrap_or_default(), None),
        Err(error) => (Memory::default(), Some(error)),
    };
    let mut memory = before.clone();
    memory.keep(names);
    let mut all = BTreeMap::new();
    for name in names {
        let stale: Vec<&Stale> = seen.of(name).collect();
        let versions = installed.versions(name).map(str::to_owned).collect();
        memory.note(name, versions, &stale, &now);
        let old = stale.into_iter().map(|stale| memory.old(name, stale, &now)).collect();
        all.insert(name.clone(), Running { old, unread: seen.unread() });
    }
    // A memory that cannot be read is not replaced by one that knows nothing.
    if place.write && memory != before && wrong.is_none() {
        wrong = place.home.save(place.host, MEMORY, &memory).err();
    }
    Ok((all, wrong))
}

/// The last look at all processes, and for which state of which packages it holds.
static LAST: Mutex<Option<Last>> = Mutex::new(None);

#[derive(Clone)]
struct Last {
    of: (std::path::PathBuf, Stamp, BTreeSet<String>),
    scan: Scan,
    names: BTreeMap<String, BTreeSet<String>>,
}

impl Last {
    fn of(&self, name: &str) -> impl Iterator<Item = &Stale> {
        let concerns = move |file: &String| self.names.get(file).is_some_and(|names| names.contains(name));
        self.scan.stale.iter().filter(move |stale| stale.files.iter().any(concerns))
    }

    fn unread(&self) -> Option<String> {
        let Scan { all, unread, .. } = self.scan;
        (unread > 0).then(|| format!("{unread} of {all} processes could not be looked at"))
    }
}

fn scan(
    place: &Place<'_>,
    proc: &Proc,
    installed: &Installed,
    names: &BTreeSet<String>,
) -> Result<Last, String> {
    let of = (place.root.to_owned(), database_stamp(place.root), names.clone());
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(last) = last.as_ref().filter(|last| last.of == of && last.scan.unread == 0)
        && last.scan.stale.iter().all(|stale| proc.still(stale))
    {
        return Ok(last.clone());
    }
    let files = Files::of(place.root, place.host, installed, names)?;
    let scan = proc.scan(|file| files.hold(file)).map_err(|error| format!("/proc: {error}"))?;
    let found = scan.stale.iter().flat_map(|stale| &stale.files);
    let names = found.map(|file| (file.clone(), files.names(file).cloned().collect())).collect();
    let new = Last { of, scan, names };
    *last = Some(new.clone());
    Ok(new)
}
