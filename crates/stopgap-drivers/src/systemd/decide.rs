//! Rendering: which units have to be out of service for all that is wanted, and what that changes. Pure.

use serde::{Deserialize, Serialize};
use stopgap_core::observed::Observed;
use stopgap_core::plan::{Rendered, Switch, Wanted};
use stopgap_feed::document::ActionKind;

use super::protect::protected;
use super::record::{Entry, How, Record};
use super::unit::{Unit, full_name};
use super::{Settings, facts};
use crate::switched;

/// What rendering reads: the units that it asks about, and those that these lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub units: Vec<Unit>,
    /// The unit that this process runs in.
    pub own: Option<String>,
    /// As it stands on the disk.
    pub record: Record,
}

impl Seen {
    pub(super) fn unit(&self, name: &str) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.id == name || unit.names.iter().any(|one| one == name))
    }

    /// Leaves what is not kept off any more out of the record.
    pub(super) fn forget_what_is_back(&mut self) {
        let Seen { units, record, .. } = self;
        let unit = |name: &str| {
            units.iter().find(|unit| unit.id == name || unit.names.iter().any(|one| one == name))
        };
        record.units.retain(|entry| unit(&entry.unit).is_some_and(|unit| entry.how.keeps(unit)));
    }

    /// What ran, or is held by us, and stops when `unit` does, or cannot start without it.
    pub(super) fn dependents(&self, unit: &Unit) -> Vec<&Unit> {
        let mut found: Vec<&Unit> = Vec::new();
        let mut left: Vec<&String> = unit.dependents.iter().collect();
        while let Some(name) = left.pop() {
            let Some(dependent) = self.unit(name) else { continue };
            let known = found.iter().any(|one| one.id == dependent.id) || dependent.id == unit.id;
            if !known && dependent.runs() {
                found.push(dependent);
                left.extend(&dependent.dependents);
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        found
    }
}

/// The units that one action takes out of service, in the order in which they are stopped.
struct Off<'a> {
    /// The name that the mitigation gave, and the unit.
    resolved: (String, String),
    units: Vec<&'a Unit>,
}

/// See [`crate::Driver::render`].
pub(super) fn render(settings: &Settings, wanted: &[Wanted], observed: &Observed) -> Rendered {
    let seen = facts(observed);
    let with = |record: &Record, wanted: &Wanted| {
        off(settings, wanted, &seen).and_then(|off| noted(settings, record, &off, &seen))
    };
    let switches = |record: &Record| {
        let switches = switches(record, &seen);
        let notes = switched::company(&switches);
        (switches, notes)
    };
    switched::render((&settings.name, &settings.folder), wanted, &observed.live, with, switches)
}

/// What an action takes out of service; or why it does not.
fn off<'a>(settings: &Settings, wanted: &Wanted, seen: &'a Seen) -> Result<Off<'a>, String> {
    let ActionKind::Service { names } = &wanted.action.kind else {
        return Err("it takes actions of type Service".to_owned());
    };
    let (name, unit) = resolve(names, seen)?;
    may_stop(&settings.never_touch, unit, seen)?;
    // What would start it again goes first.
    let known = seen.record.units.iter().filter(|entry| entry.starts.as_ref() == Some(&unit.id));
    let triggers = known.map(|entry| &entry.unit).chain(&unit.triggered_by);
    let mut units: Vec<&Unit> = Vec::new();
    for trigger in triggers.filter_map(|name| seen.unit(name)).filter(|one| one.exists()) {
        if !units.iter().any(|known| known.id == trigger.id) {
            may_stop(&settings.never_touch, trigger, seen)?;
            units.push(trigger);
        }
    }
    units.push(unit);
    Ok(Off { resolved: (name, unit.id.clone()), units })
}

/// The first of the names that a unit here has; one that we hold already stays the one.
fn resolve<'a>(names: &[String], seen: &'a Seen) -> Result<(String, &'a Unit), String> {
    let held = names.iter().find_map(|name| {
        let unit = seen.unit(seen.record.resolved.get(name)?)?;
        Some((name.clone(), unit))
    });
    let found = || {
        names.iter().find_map(|name| {
            let unit = seen.unit(&full_name(name)?).filter(|unit| unit.exists())?;
            Some((name.clone(), unit))
        })
    };
    held.or_else(found).ok_or_else(|| format!("no unit here is named {}", names.join(" or ")))
}

pub(super) fn may_stop(never_touch: &[String], unit: &Unit, seen: &Seen) -> Result<(), String> {
    let refuse = |unit: &Unit| protected(&unit.id, seen.own.as_deref(), never_touch);
    if let Some(why) =
        unit.names.iter().chain([&unit.id]).find_map(|name| protected(name, seen.own.as_deref(), never_touch))
    {
        return Err(why);
    }
    if unit.refuses_stop && unit.runs() {
        return Err(format!("{} refuses to be stopped by hand (RefuseManualStop=yes)", unit.id));
    }
    if unit.enablement == "transient" {
        return Err(format!("{} is transient: somebody started it with systemd-run", unit.id));
    }
    for dependent in seen.dependents(unit) {
        if let Some(why) = refuse(dependent) {
            return Err(format!("{} cannot do without {}, and {why}", dependent.id, unit.id));
        }
    }
    Ok(())
}

/// `record` with what `off` takes out of service; or why it is too much.
fn noted(settings: &Settings, record: &Record, off: &Off<'_>, seen: &Seen) -> Result<Record, String> {
    let mut record = record.clone();
    record.resolved.insert(off.resolved.0.clone(), off.resolved.1.clone());
    for unit in &off.units {
        if !record.units.iter().any(|entry| entry.unit == unit.id) {
            let starts = (unit.id != off.resolved.1).then(|| off.resolved.1.clone());
            record.units.push(Entry { starts, ..entry(unit, seen) });
        }
    }
    let services = record.units.iter().filter(|entry| entry.unit.ends_with(".service")).count();
    switched::not_too_many("service", &off.resolved.1, services, settings.max_stopped)?;
    Ok(record)
}

/// What a unit was before we came, from the record, or as it is.
fn entry(unit: &Unit, seen: &Seen) -> Entry {
    if let Some(known) = seen.record.units.iter().find(|entry| entry.unit == unit.id) {
        return known.clone();
    }
    let mut entry = Entry::of(unit);
    // It stands still because of what we took out of service before: it ran.
    if let Some(with) = seen.record.units.iter().find(|entry| entry.also.contains(&unit.id)) {
        (entry.ran, entry.state) = (true, format!("active (until {} stopped)", with.unit));
    }
    entry.also = seen.dependents(unit).into_iter().map(|dependent| dependent.id.clone()).collect();
    entry
}

/// From what is to what `record` says.
fn switches(record: &Record, seen: &Seen) -> Vec<Switch> {
    let off = |entry: &Entry| {
        let unit = seen.unit(&entry.unit)?;
        let is_off = !unit.runs() && entry.how.keeps(unit);
        (!is_off).then(|| entry.off(unit))
    };
    // Somebody has taken it back into service: it is theirs now.
    let ours = |entry: &Entry| seen.unit(&entry.unit).is_some_and(|unit| entry.how.keeps(unit));
    let on = |entry: &Entry| ours(entry).then(|| entry.on());
    switched::switches((&seen.record.units, &record.units), |entry, name| entry.unit == name, off, on)
}

/// What differs from the record, as sentences.
pub(super) fn foreign(seen: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    for entry in &seen.record.units {
        let Some(unit) = seen.unit(&entry.unit) else { continue };
        if unit.runs() {
            found.push(format!("{} was started again: it is {}", entry.unit, unit.state()));
        }
        if !entry.how.keeps(unit) {
            let what = match entry.how {
                How::Mask | How::MaskedBefore => "is not masked any more",
                How::Condition => "has lost the condition that kept it from starting",
            };
            found.push(format!("{} {what}", entry.unit));
        }
    }
    found
}
