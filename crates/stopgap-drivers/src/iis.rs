//! IIS: rules put into its own files with care, and application pools taken out of service.
//!
//! ```text
//!   files of the server --observe--> octets, sites, what of ours is there      (look, tree, sites)
//!      | render           what is wanted, placed in memory; the octets that differ   (change, splice, pool)
//!      v
//!   Change { set: record.json, edits, switches }
//!      | check            the files as they would be: no level gets a new fault
//!      | apply, revert    compare and swap, file by file; back to the byte            (write)
//! ```
//!
//! IIS needs no hook and no reload: it watches its files. A set holds no rules that it reads but the record of what was
//! put into which file, live before the first file changes: so our own work is known whatever happens. Where rules go,
//! and what would break, is computed by `stopgap_iis`; *modeled, not run on IIS*.
//!
//! Not in here: access control lists of Windows ([`Host::write_like`] is their place), shared configuration, other drives
//! than C:.

mod change;
mod look;
mod pool;
mod record;
mod sites;
mod splice;
mod tree;
mod write;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use stopgap_core::observed::{Listener, Live, Observed};
use stopgap_core::plan::{Change, FileEdit, Rendered, Wanted};
use stopgap_iis::{CheckError, Document, Environment, Report, Violation, check, pools};

use crate::driver::{Checked, Driver, DriverError, io_error};
use crate::host::Host;
use crate::set::Sets;
use record::{RECORD, Record};
use tree::{Disk, Files, Snapshot, windows};

pub use sites::{roles, watched};

/// IIS reads a changed file when the notification of the change comes, and says nothing of it: whoever asks at once is
/// answered by the rules of before, and takes the new ones for harmless. The notification takes milliseconds.
const NOTICE: Duration = Duration::from_secs(2);

/// No record comes near: the longest feed is smaller.
const RECORD_MAX: u64 = 32 << 20;

/// Where an IIS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The target's name.
    pub name: String,
    /// The folder of its sets: `data/<target>`.
    pub folder: PathBuf,
    /// What stands for the server's drive C:.
    pub root: PathBuf,
    /// Where probes go; none: as the sites are bound.
    pub listeners: Vec<Listener>,
    /// The sites whose listeners these are; none: every site's.
    pub probed: Vec<String>,
}

impl Settings {
    fn error(&self, message: String) -> DriverError {
        DriverError::Settings { target: self.name.clone(), message }
    }

    fn not_taken(&self, message: String) -> DriverError {
        DriverError::NotTaken { target: self.name.clone(), message }
    }
}

/// The driver of one IIS.
#[derive(Debug, Clone)]
pub struct Iis {
    settings: Settings,
    sets: Sets,
}

impl Iis {
    /// A driver for the IIS of `settings`.
    pub fn new(settings: Settings) -> Iis {
        let folder = settings.folder.clone();
        Iis { settings, sets: Sets { folder, files: &[RECORD], keep_folder: false, at_all_times: false } }
    }

    /// The record of the set that was live before a change.
    fn before(&self, host: &dyn Host, change: &Change) -> Result<Record, DriverError> {
        let Some(id) = &change.before else { return Ok(Record::default()) };
        let path = self.settings.folder.join("sets").join(id).join(RECORD);
        match host.read(&path, RECORD_MAX) {
            Ok(octets) => Ok(Record::parse(&octets)),
            // Somebody took it away, or has `live` point elsewhere.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(Record::default())
            }
            // Taken for empty, it would have the rules of before cut as well.
            Err(e) => Err(io_error("cannot read", &path)(e)),
        }
    }

    /// The pools that a change took out of service, put back in a file that somebody edited since.
    fn pools_back(before: &Record, after: &Record, octets: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut ours = after
            .pools
            .iter()
            .filter(|pool| !before.pools.iter().any(|old| old.pool == pool.pool))
            .peekable();
        if ours.peek().is_none() {
            return Ok(octets);
        }
        let by_hand = |pool: &str, why: &dyn std::fmt::Display| {
            format!("autoStart and startMode of application pool {pool}, as they were before ({why})")
        };
        let names: Vec<&str> = after.pools.iter().map(|pool| pool.pool.as_str()).collect();
        let mut document = Document::parse(&octets).map_err(|e| by_hand(&names.join(", "), &e))?;
        for pool in ours {
            let back = pools::put_back(&document, &pool.before()).map_err(|e| by_hand(&pool.pool, &e))?;
            document = document.with(&back.edits).map_err(|e| by_hand(&pool.pool, &e))?;
        }
        Ok(document.to_bytes())
    }

    /// Whether the files as they would be have a fault that they have not now.
    fn new_fault(&self, host: &dyn Host, edits: &[FileEdit]) -> Result<Option<Violation>, DriverError> {
        let environment = Environment::windows();
        let disk = Disk::new(host, &self.settings.root);
        let error = |e: CheckError| self.settings.error(e.to_string());
        let before = check(&disk, &environment).map_err(error)?;
        let files: Files = disk.into_files();
        let mut snapshot = Snapshot::of(&self.settings.root, &files);
        for edit in edits {
            let path = windows(&self.settings.root, &edit.path);
            let path = path.ok_or_else(|| {
                self.settings.error(format!("{} is not below its root", edit.path.display()))
            })?;
            snapshot.change(&path, write::planned(host, edit)?);
        }
        let after = check(&snapshot, &environment).map_err(error)?;
        Ok(added(&before, after))
    }
}

/// A violation that is in `after` alone. Lines move, so it is known by everything else.
fn added(before: &Report, after: Report) -> Option<Violation> {
    let identity = |v: &Violation| (v.code, v.level.to_lowercase(), v.file.to_lowercase(), v.key.clone());
    let mut known: Vec<_> = before.violations.iter().map(identity).collect();
    after.violations.into_iter().find(|violation| {
        match known.iter().position(|one| *one == identity(violation)) {
            Some(nth) => {
                known.swap_remove(nth);
                false
            }
            None => true,
        }
    })
}

impl Driver for Iis {
    fn target(&self) -> &str {
        &self.settings.name
    }

    fn cannot_observe(&self) -> Option<&'static str> {
        Some(
            "IIS has no rule that logs without refusing; `stopgap plan --replay` shows over its logs what it would \
             have refused, and `observe = false` for its feed puts it on",
        )
    }

    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError> {
        let record = self.sets.written(host)?.and_then(|mut files| files.remove(RECORD));
        look::observe(&self.settings, host, self.sets.observe(host)?, record)
    }

    fn live(&self, host: &dyn Host) -> Option<Live> {
        self.sets.observe(host).ok()
    }

    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered {
        change::render(&self.settings, wanted, observed)
    }

    fn check(&self, host: &dyn Host, change: &Change) -> Result<Checked, DriverError> {
        if !change.edits.is_empty()
            && let Some(fault) = self.new_fault(host, &change.edits)?
        {
            let message = format!(
                "{} would answer with {} ({}): {}:{}: {}",
                fault.level,
                fault.status,
                fault.code.word(),
                fault.file,
                fault.place,
                fault.message
            );
            return Err(DriverError::Rejected { target: self.settings.name.clone(), message });
        }
        Ok(Checked::Staged)
    }

    fn apply(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        // All of them before any: one that somebody has edited leaves the others alone.
        for edit in &change.edits {
            write::planned(host, edit)?;
        }
        self.sets.swap(host, change)?;
        change.edits.iter().try_for_each(|edit| write::make(host, edit))?;
        if !change.edits.is_empty() {
            host.pause(NOTICE);
        }
        change.switches.iter().try_for_each(|switch| pool::turn(&self.settings, host, switch))
    }

    fn revert(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        let before = self.before(host, change)?;
        let after = change.after.as_ref().and_then(|set| set.files.get(RECORD));
        let after = after.map(|text| Record::parse(text.as_bytes())).unwrap_or_default();
        // Each as far as it goes, so that one that a person has to see to does not keep the others.
        let files = change.edits.iter().rev().map(|edit| {
            write::take_back(host, edit, &before, &after, |octets| Iis::pools_back(&before, &after, octets))
        });
        let switches = change.switches.iter().rev();
        let done: Vec<Result<(), DriverError>> =
            files.chain(switches.map(|switch| pool::turn_back(&self.settings, host, switch))).collect();
        self.sets.restore(host, change)?;
        done.into_iter().collect()
    }

    fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.settle(host, change)
    }
}
