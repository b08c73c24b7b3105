//! Services of Windows: stopped, and kept from starting.
//!
//! A service is disabled and then stopped, after what needs it, in order. What starts it again when it stops (Exchange's
//! own health manager) is taken out of service before it. What each was before is in the record, the one file of the set,
//! with a copy beside the sets; what is out of service is the union of what all mitigations need, so a service comes back
//! with the last of them. It gets the start type that it had, unless somebody has given it another one since.
//!
//! There is nothing to probe: in force is what the service control manager says. One that somebody starts or enables
//! again is repaired like an edited file. Dependents are known from the control manager's book in the registry; groups
//! of services are not followed.

mod act;
mod ask;
mod decide;
mod protect;
mod record;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use stopgap_core::observed::{Hook, Live, Observed, Site};
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_feed::document::ActionKind;

use crate::driver::{Checked, Driver, DriverError, io_error};
use crate::host::{Host, remove_if_there};
use crate::set::{LIVE, Sets};
use act::{backward, forward};
use decide::Seen;
use record::{RECORD, Record};

/// What the service control manager answered stands under this name in [`Observed::files`].
const ANSWERED: &str = "service control manager";

/// The record beside the sets: what is live may be removed or edited by hand, and then nothing else would tell
/// what we disabled from what somebody else did. Written once a change stays.
const COPY: &str = ".record.json";

/// So many services may be out of service at once, where nobody says otherwise. Watchdogs do not count.
pub const MAX_STOPPED: usize = 5;

/// What of this server's services is ours to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The target's name.
    pub name: String,
    /// The folder of its sets: `data/<target>`.
    pub folder: PathBuf,
    /// Services that are never stopped, beside those that no server can do without: short names, `*` at the end for
    /// all that begin so.
    pub never_touch: Vec<String>,
    /// How many services may be out of service at once because of mitigations.
    pub max_stopped: usize,
}

/// The driver of this server's services.
#[derive(Debug, Clone)]
pub struct WinService {
    settings: Settings,
    sets: Sets,
}

impl WinService {
    /// A driver of the services of `settings`.
    pub fn new(settings: Settings) -> WinService {
        let folder = settings.folder.clone();
        WinService {
            settings,
            sets: Sets { folder, files: &[RECORD], keep_folder: false, at_all_times: false },
        }
    }

    /// The record that counts: the live one as it was written, else its copy, else what of the live one can
    /// still be read. A guess in its place would take what we disabled for somebody's, and leave it for ever.
    fn read_record(&self, host: &dyn Host, live: &Live) -> Result<Record, DriverError> {
        let path = self.settings.folder.join(LIVE).join(RECORD);
        let (stands, copy) = (read_one(host, &path)?, read_one(host, &self.copy())?);
        let intact = live.foreign.is_empty();
        match (stands, copy) {
            (Some(Ok(record)), _) if intact => Ok(record),
            (_, Some(Ok(copy))) => Ok(copy),
            (Some(Ok(record)), _) => Ok(record),
            (None, _) if intact => Ok(Record::default()),
            (stands, _) => {
                let why = stands.and_then(Result::err).unwrap_or_else(|| "it is not there".to_owned());
                Err(self.settings_error(format!(
                    "which services are out of service by our hand, and what they were before, is not known: {} \
                     cannot be read ({why}), and neither can its copy. Put them back by hand, then remove {}",
                    path.display(),
                    self.settings.folder.join(LIVE).display()
                )))
            }
        }
    }

    fn copy(&self) -> PathBuf {
        self.settings.folder.join(COPY)
    }

    fn settings_error(&self, message: String) -> DriverError {
        DriverError::Settings { target: self.settings.name.clone(), message }
    }

    fn silent(&self, error: &io::Error) -> DriverError {
        self.settings_error(silent(error))
    }
}

fn silent(error: &io::Error) -> String {
    format!("the service control manager does not answer: {error}")
}

/// The record at `path`; `None`: there is none; the inner error: what stands there is none.
fn read_one(host: &dyn Host, path: &Path) -> Result<Option<Result<Record, String>>, DriverError> {
    match host.read(path, 1 << 20) {
        Ok(octets) => Ok(Some(serde_json::from_slice(&octets).map_err(|error| error.to_string()))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(io_error("cannot read", path)(error)),
    }
}

/// What rendering knows of the services.
fn facts(observed: &Observed) -> Seen {
    let octets = observed.files.get(Path::new(ANSWERED)).and_then(|read| read.as_ref().ok());
    octets.and_then(|octets| serde_json::from_slice(octets).ok()).unwrap_or_default()
}

fn keep(observed: &mut Observed, seen: &Seen) {
    observed.files.insert(PathBuf::from(ANSWERED), serde_json::to_vec(seen).map_err(|e| e.to_string()));
}

/// Adds `names` to what is seen, with what watches them and what needs them.
fn add(host: &dyn Host, seen: &mut Seen, names: Vec<String>) -> io::Result<()> {
    let mut asked: Vec<String> = Vec::new();
    let mut left = names;
    while !left.is_empty() {
        left.extend(
            left.clone().iter().flat_map(|name| protect::watchdogs(name)).map(|&name| name.to_owned()),
        );
        left.retain(|name| !asked.iter().any(|known| known.eq_ignore_ascii_case(name)));
        left.sort();
        left.dedup();
        asked.extend(left.iter().cloned());
        if asked.len() > ask::SERVICES_MAX {
            return Err(io::Error::other(format!(
                "more than {} services depend on these",
                ask::SERVICES_MAX
            )));
        }
        let shown = ask::show(host, &left)?;
        left = shown.iter().flat_map(|service| service.dependents.clone()).collect();
        for service in shown {
            seen.services.retain(|known| !known.name.eq_ignore_ascii_case(&service.name));
            seen.services.push(service);
        }
    }
    Ok(())
}

impl Driver for WinService {
    fn target(&self) -> &str {
        &self.settings.name
    }

    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError> {
        let mut live = self.sets.observe(host)?;
        let record = self.read_record(host, &live)?;
        let mut seen = Seen { record, services: Vec::new() };
        // Our own service may not be installed here; the question alone tells whether anybody answers.
        let mut held: Vec<String> = vec![protect::OWN.to_owned()];
        held.extend(seen.record.services.iter().map(|entry| entry.service.clone()));
        let hook = match add(host, &mut seen, held) {
            Ok(()) => Hook::Present,
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Hook::Missing("no service control manager runs this server: it is not Windows".to_owned())
            }
            Err(error) => return Err(self.silent(&error)),
        };
        if hook == Hook::Present {
            if live.set.is_none() {
                // A copy that is left over says what we did, and not that it still stands.
                seen.forget_what_is_back();
            }
            let found = decide::foreign(&seen);
            live.active = live.set.is_some().then_some(found.is_empty());
            live.foreign.extend(found);
        }
        let site = Site { name: self.settings.name.clone(), hook, listeners: Vec::new() };
        let mut observed = Observed {
            target: self.settings.name.clone(),
            live,
            sites: vec![site],
            warnings: Vec::new(),
            lacks: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        keep(&mut observed, &seen);
        Ok(observed)
    }

    fn look(&self, host: &dyn Host, wanted: &[Wanted], observed: &Observed) -> Option<Observed> {
        if observed.sites.iter().any(|site| site.hook != Hook::Present) {
            return None;
        }
        let mut observed = observed.clone();
        let mut seen = facts(&observed);
        let names = wanted.iter().flat_map(|wanted| match &wanted.action.kind {
            ActionKind::Service { names } => names.clone(),
            _ => Vec::new(),
        });
        let valid =
            |name: &String| !name.is_empty() && name.len() <= 256 && !name.contains(['/', '\\', '\0']);
        match add(host, &mut seen, names.filter(valid).collect()) {
            Ok(()) => keep(&mut observed, &seen),
            Err(error) => drop(observed.files.insert(PathBuf::from(ANSWERED), Err(silent(&error)))),
        }
        Some(observed)
    }

    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered {
        let missing = observed.sites.iter().find_map(|site| match &site.hook {
            Hook::Missing(why) => Some(why),
            Hook::Present => None,
        });
        let silent = observed.files.get(Path::new(ANSWERED)).and_then(|read| read.as_ref().err());
        match missing.or(silent) {
            // Nothing is put on and nothing taken off.
            Some(why) => Rendered {
                change: None,
                placements: Vec::new(),
                refused: wanted.iter().map(|one| (crate::render::action_ref(one), why.clone())).collect(),
            },
            None => decide::render(&self.settings, wanted, observed),
        }
    }

    fn check(&self, host: &dyn Host, change: &Change) -> Result<Checked, DriverError> {
        let names: Vec<String> = change.switches.iter().map(|switch| switch.name.clone()).collect();
        let services = ask::show(host, &names).map_err(|e| self.silent(&e))?;
        for switch in &change.switches {
            let now = services.iter().find(|service| service.name.eq_ignore_ascii_case(&switch.name));
            let planned = record::start(&switch.before);
            if now.map(|service| service.start) != planned {
                let words = |start: Option<String>| start.unwrap_or_else(|| "not there".to_owned());
                return Err(DriverError::ChangedUnderUs {
                    path: PathBuf::from(&switch.name),
                    expected: words(planned.map(|start| start.to_string())),
                    found: words(now.map(|service| service.start.to_string())),
                });
            }
        }
        Ok(Checked::ByServer)
    }

    fn apply(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.swap(host, change)?;
        forward(host, &self.settings.name, &change.switches)?;
        // No later: one that outlives what it speaks of claims services that are ours no more.
        if change.after.is_none() {
            let copy = self.copy();
            remove_if_there(host, &copy).map_err(io_error("cannot remove", &copy))?;
        }
        Ok(())
    }

    fn revert(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        backward(host, &self.settings.name, &change.switches)?;
        self.sets.restore(host, change)
    }

    fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        if let Some(record) = change.after.as_ref().and_then(|after| after.files.get(RECORD)) {
            let copy = self.copy();
            crate::host::replace(host, &copy, record.as_bytes(), 0o644)
                .map_err(io_error("cannot write", &copy))?;
        }
        self.sets.settle(host, change)
    }
}
