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

use std::io;
use std::path::PathBuf;

use stopgap_core::observed::{Hook, Observed};
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_feed::document::ActionKind;

use crate::driver::{Checked, Driver, DriverError};
use crate::host::Host;
use crate::set::Sets;
use crate::set::record::RECORD;
use crate::switched;
use act::{backward, forward};
use decide::Seen;

/// What the service control manager answered stands under this name in [`Observed::files`].
const ANSWERED: &str = "service control manager";

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

/// What rendering knows of the services.
fn facts(observed: &Observed) -> Seen {
    switched::seen(observed, ANSWERED)
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
        let record = self.sets.record(host, &live, (&self.settings.name, "services"))?;
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
        Ok(switched::observed(&self.settings.name, live, hook, ANSWERED, &seen))
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
            Ok(()) => switched::keep(&mut observed, ANSWERED, &seen),
            Err(error) => drop(observed.files.insert(PathBuf::from(ANSWERED), Err(silent(&error)))),
        }
        Some(observed)
    }

    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered {
        let render = || decide::render(&self.settings, wanted, observed);
        switched::hindered(wanted, observed, ANSWERED).unwrap_or_else(render)
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
        if change.after.is_none() {
            self.sets.forget_record(host)?;
        }
        Ok(())
    }

    fn revert(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        backward(host, &self.settings.name, &change.switches)?;
        self.sets.restore(host, change)
    }

    fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.keep_record(host, change)?;
        self.sets.settle(host, change)
    }
}
