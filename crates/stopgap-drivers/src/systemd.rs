//! Services under systemd: stopped, and kept from starting.
//!
//! A service is stopped with the sockets, timers and paths that would start it again, these first, and each is
//! masked; one whose own file is where the mask would be gets a drop-in with a condition that never holds
//! instead. Neither touches its enablement, so that comes back as it was. What each unit was before is in
//! the record, the one file of the set, with a copy beside the sets; what is out of service is the union of what all mitigations need, so
//! a unit comes back with the last of them.
//!
//! There is nothing to probe: in force is what systemd says, that the unit is inactive and kept off. One
//! that somebody starts again is repaired like an edited file. Applications' own watchdogs are not known
//! here; a mitigation names them before the service that they watch.

mod act;
mod bus;
mod decide;
mod protect;
mod record;
mod unit;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stopgap_core::observed::{Hook, Observed};
use stopgap_core::plan::{Change, Rendered, Switch, Wanted};
use stopgap_feed::document::ActionKind;

use crate::driver::{Checked, Driver, DriverError, io_error};
use crate::host::{Host, Kind};
use crate::set::Sets;
use crate::set::record::RECORD;
use crate::switched;
pub(crate) use act::{backward, forward};
pub use bus::JOB;
use decide::Seen;
use record::How;
use unit::full_name;

/// Where systemd runs, this folder is (sd_booted(3)). What it answered stands under its name in
/// [`Observed::files`].
const BOOTED: &str = "/run/systemd/system";

/// So many services may be out of service at once, where nobody says otherwise.
pub const MAX_STOPPED: usize = 5;

/// What of this server's units is ours to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The target's name.
    pub name: String,
    /// The folder of its sets: `data/<target>`.
    pub folder: PathBuf,
    /// Units that are never stopped, beside those that no server can do without: names with or without
    /// their type, `*` at the end for all that begin so.
    pub never_touch: Vec<String>,
    /// How many services may be out of service at once because of mitigations.
    pub max_stopped: usize,
    /// How long a unit may take to stop or to start: [`JOB`] where nobody says otherwise. One that takes longer takes
    /// the change back.
    pub stop_within: Duration,
}

/// The driver of this server's services.
#[derive(Debug, Clone)]
pub struct Systemd {
    settings: Settings,
    sets: Sets,
}

impl Systemd {
    /// A driver of the services of `settings`.
    pub fn new(settings: Settings) -> Systemd {
        let sets = Sets {
            folder: settings.folder.clone(),
            files: &[RECORD],
            keep_folder: false,
            at_all_times: false,
        };
        Systemd { settings, sets }
    }

    fn settings_error(&self, message: String) -> DriverError {
        DriverError::Settings { target: self.settings.name.clone(), message }
    }
}

/// What rendering knows of the units.
fn facts(observed: &Observed) -> Seen {
    switched::seen(observed, BOOTED)
}

/// Adds `names` to what is seen, and the units that they lead to.
fn add(host: &dyn Host, seen: &mut Seen, names: Vec<String>) -> io::Result<()> {
    let mut asked: Vec<String> = Vec::new();
    let mut left = names;
    while !left.is_empty() {
        left.sort();
        left.dedup();
        asked.extend(left.iter().cloned());
        if asked.len() > bus::UNITS_MAX {
            return Err(io::Error::other(format!("more than {} units depend on these", bus::UNITS_MAX)));
        }
        let shown = bus::show(host, &left)?;
        let next = shown.iter().flat_map(|unit| unit.triggered_by.iter().chain(&unit.dependents));
        left = next.filter(|name| !asked.contains(name)).cloned().collect();
        for unit in shown {
            seen.units.retain(|known| known.id != unit.id);
            seen.units.push(unit);
        }
    }
    Ok(())
}

/// The unit that this process runs in, from its control group (systemd.io/CGROUP_DELEGATION).
fn own_unit(host: &dyn Host) -> Option<String> {
    let text = host.read(Path::new("/proc/self/cgroup"), 64 << 10).ok()?;
    let text = String::from_utf8(text).ok()?;
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("0::").or(line.split_once("name=systemd:").map(|l| l.1)))?;
    path.split('/').find(|part| part.ends_with(".service")).map(str::to_owned)
}

/// For a server that ends with the last of what it serves: how its unit is taken out of service, from what it is now;
/// or why it is not.
pub(crate) fn taking_off(host: &dyn Host, unit: &str, never_touch: &[String]) -> Result<Switch, String> {
    let mut seen = Seen { own: own_unit(host), ..Seen::default() };
    add(host, &mut seen, vec![unit.to_owned()]).map_err(|e| format!("systemd does not answer: {e}"))?;
    let shown = seen.unit(unit).filter(|shown| shown.exists()).ok_or(format!("systemd knows no {unit}"))?;
    if let Some(trigger) = shown.triggered_by.first() {
        return Err(format!(
            "{unit} is started by {trigger}: a mitigation takes it off by an action of type Service"
        ));
    }
    decide::may_stop(never_touch, shown, &seen)?;
    let mut entry = record::Entry::of(shown);
    entry.also = seen.dependents(shown).into_iter().map(|dependent| dependent.id.clone()).collect();
    Ok(entry.off(shown))
}

/// Whether the unit of such a switch is out of service.
pub(crate) fn is_off(host: &dyn Host, switch: &Switch) -> io::Result<bool> {
    let units = bus::show(host, std::slice::from_ref(&switch.name))?;
    let how = How::from_settings(&switch.after);
    Ok(units.iter().any(|unit| !unit.runs() && how.is_some_and(|how| how.keeps(unit))))
}

impl Driver for Systemd {
    fn target(&self) -> &str {
        &self.settings.name
    }

    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError> {
        let booted = Path::new(BOOTED);
        let runs = host.kind(booted).map_err(io_error("cannot look at", booted))? == Some(Kind::Folder);
        let mut live = self.sets.observe(host)?;
        let record = self.sets.record(host, &live, (&self.settings.name, "units"))?;
        let mut seen = Seen { record, own: own_unit(host), units: Vec::new() };
        let hook = match runs {
            true => Hook::Present,
            false => Hook::Missing("systemd does not run this server".to_owned()),
        };
        if runs {
            let held: Vec<String> = seen.record.units.iter().map(|entry| entry.unit.clone()).collect();
            add(host, &mut seen, held)
                .map_err(|e| self.settings_error(format!("systemd does not answer: {e}")))?;
            if live.set.is_none() {
                // A copy that is left over says what we did, and not that it still stands.
                seen.forget_what_is_back();
            }
            let found = decide::foreign(&seen);
            live.active = live.set.is_some().then_some(found.is_empty());
            live.foreign.extend(found);
        }
        Ok(switched::observed(&self.settings.name, live, hook, BOOTED, &seen))
    }

    fn look(&self, host: &dyn Host, wanted: &[Wanted], observed: &Observed) -> Option<Observed> {
        if observed.sites.iter().any(|site| site.hook != Hook::Present) {
            return None;
        }
        let mut observed = observed.clone();
        let mut seen = facts(&observed);
        let names = wanted.iter().flat_map(|wanted| match &wanted.action.kind {
            ActionKind::Service { names } => names.iter().filter_map(|name| full_name(name)).collect(),
            _ => Vec::new(),
        });
        match add(host, &mut seen, names.collect()) {
            Ok(()) => switched::keep(&mut observed, BOOTED, &seen),
            Err(error) => {
                let why = format!("systemd does not answer: {error}");
                observed.files.insert(PathBuf::from(BOOTED), Err(why));
            }
        }
        Some(observed)
    }

    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered {
        let render = || decide::render(&self.settings, wanted, observed);
        switched::hindered(wanted, observed, BOOTED).unwrap_or_else(render)
    }

    fn check(&self, host: &dyn Host, change: &Change) -> Result<Checked, DriverError> {
        let names: Vec<String> = change.switches.iter().map(|switch| switch.name.clone()).collect();
        let units = bus::show(host, &names)
            .map_err(|e| self.settings_error(format!("systemd does not answer: {e}")))?;
        for switch in &change.switches {
            let Some(unit) = units.iter().find(|unit| unit.id == switch.name) else { continue };
            let kept = How::from_settings(&switch.before);
            let planned = switch.before.get(record::ENABLEMENT);
            let now = if unit.enablement.is_empty() { "none" } else { &unit.enablement };
            let changed = match kept {
                Some(how) => !how.keeps(unit),
                None => planned.is_some_and(|planned| planned != now),
            };
            if changed {
                let expected = planned.or(switch.before.get(record::KEPT_OFF)).cloned().unwrap_or_default();
                let path = PathBuf::from(&switch.name);
                return Err(DriverError::ChangedUnderUs { path, expected, found: now.to_owned() });
            }
        }
        Ok(Checked::ByServer)
    }

    fn apply(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.swap(host, change)?;
        forward(host, &self.settings.name, self.settings.stop_within, &change.switches)?;
        if change.after.is_none() {
            self.sets.forget_record(host)?;
        }
        Ok(())
    }

    fn revert(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        backward(host, &self.settings.name, self.settings.stop_within, &change.switches)?;
        self.sets.restore(host, change)
    }

    fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.keep_record(host, change)?;
        self.sets.settle(host, change)
    }
}
