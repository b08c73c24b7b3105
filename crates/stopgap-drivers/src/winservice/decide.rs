//! Rendering: which services have to be out of service for all that is wanted, and what that changes. Pure.

use serde::{Deserialize, Serialize};
use stopgap_core::observed::Observed;
use stopgap_core::plan::{Rendered, Switch, Wanted};
use stopgap_feed::document::ActionKind;

use super::protect::{protected, watchdogs};
use super::record::{Entry, Record, is_off};
use super::{Settings, facts};
use crate::host::services::{Service, Start};
use crate::switched;

/// What rendering reads: the services that it asks about, and those that these lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub services: Vec<Service>,
    /// As it stands on the disk.
    pub record: Record,
}

impl Seen {
    pub(super) fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name.eq_ignore_ascii_case(name))
    }

    /// Leaves what is not kept off any more out of the record.
    pub(super) fn forget_what_is_back(&mut self) {
        let Seen { services, record } = self;
        let disabled = |name: &str| {
            services.iter().any(|one| one.name.eq_ignore_ascii_case(name) && one.start == Start::Disabled)
        };
        record.services.retain(|entry| disabled(&entry.service));
    }

    /// What runs and needs `service`, in the order in which it has to stop: each before what it needs itself.
    fn dependents<'a>(&'a self, service: &'a Service) -> Vec<&'a Service> {
        let mut found = Vec::new();
        self.collect(service, &mut Vec::new(), &mut found);
        found
    }

    fn collect<'a>(&'a self, service: &'a Service, path: &mut Vec<&'a str>, found: &mut Vec<&'a Service>) {
        path.push(&service.name);
        for name in &service.dependents {
            let Some(dependent) = self.service(name) else { continue };
            let known = found.iter().any(|one| one.name == dependent.name);
            // Services cannot need each other in a ring; a registry that says so is not followed for ever.
            if known || !dependent.state.runs() || path.contains(&dependent.name.as_str()) {
                continue;
            }
            self.collect(dependent, path, found);
            if !found.iter().any(|one| one.name == dependent.name) {
                found.push(dependent);
            }
        }
        path.pop();
    }
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

/// What one action takes out of service.
struct Off<'a> {
    /// The name that the mitigation gave.
    name: String,
    service: &'a Service,
    /// What would start it again goes first.
    watchdogs: Vec<&'a Service>,
}

fn off<'a>(settings: &Settings, wanted: &Wanted, seen: &'a Seen) -> Result<Off<'a>, String> {
    let ActionKind::Service { names } = &wanted.action.kind else {
        return Err("it takes actions of type Service".to_owned());
    };
    let (name, service) = resolve(names, seen)?;
    may_stop(&settings.never_touch, service, seen)?;
    let own = |name: &&&str| name.eq_ignore_ascii_case(&service.name);
    let others = watchdogs(&service.name).iter().filter(|name| !own(name));
    let watchdogs: Vec<&Service> = others.filter_map(|name| seen.service(name)).collect();
    for watchdog in &watchdogs {
        may_stop(&settings.never_touch, watchdog, seen)
            .map_err(|why| format!("{} would start {} again, and {why}", watchdog.name, service.name))?;
    }
    Ok(Off { name, service, watchdogs })
}

/// The first of the names that a service here has; one that we hold already stays the one.
fn resolve<'a>(names: &[String], seen: &'a Seen) -> Result<(String, &'a Service), String> {
    let held = names.iter().find_map(|name| Some((name, seen.service(seen.record.resolved.get(name)?)?)));
    let found = || names.iter().find_map(|name| Some((name, seen.service(name)?)));
    let (name, service) =
        held.or_else(found).ok_or_else(|| format!("no service here is named {}", names.join(" or ")))?;
    Ok((name.clone(), service))
}

fn may_stop(never_touch: &[String], service: &Service, seen: &Seen) -> Result<(), String> {
    if let Some(why) = protected(&service.name, never_touch) {
        return Err(why);
    }
    if !service.process {
        return Err(format!("{} is a driver of the system", service.name));
    }
    for dependent in seen.dependents(service) {
        if let Some(why) = protected(&dependent.name, never_touch) {
            return Err(format!("{} cannot do without {}, and {why}", dependent.name, service.name));
        }
        if !dependent.process {
            return Err(format!("{} cannot do without {}, and it is a driver", dependent.name, service.name));
        }
    }
    Ok(())
}

/// `record` with what `off` takes out of service; or why it is too much.
fn noted(settings: &Settings, record: &Record, off: &Off<'_>, seen: &Seen) -> Result<Record, String> {
    let mut record = record.clone();
    record.resolved.insert(off.name.clone(), off.service.name.clone());
    for watchdog in &off.watchdogs {
        if record.entry(&watchdog.name).is_none() {
            record.services.push(Entry { watchdog: true, ..entry(watchdog, seen) });
        }
    }
    match record.services.iter_mut().find(|entry| entry.service.eq_ignore_ascii_case(&off.service.name)) {
        Some(named) => named.watchdog = false,
        None => record.services.push(Entry { watchdog: false, ..entry(off.service, seen) }),
    }
    let named = record.services.iter().filter(|entry| !entry.watchdog).count();
    switched::not_too_many("service", &off.service.name, named, settings.max_stopped)?;
    Ok(record)
}

/// What a service was before we came, from the record, or as it is.
fn entry(service: &Service, seen: &Seen) -> Entry {
    if let Some(known) = seen.record.entry(&service.name) {
        return known.clone();
    }
    let mut entry = Entry::of(service);
    // It stands still because of what we took out of service before: it ran.
    if seen.record.services.iter().any(|with| with.also.contains(&service.name)) {
        entry.state = crate::host::services::State::Running;
    }
    entry.also = seen.dependents(service).into_iter().map(|dependent| dependent.name.clone()).collect();
    entry
}

/// From what is to what `record` says.
fn switches(record: &Record, seen: &Seen) -> Vec<Switch> {
    let off = |entry: &Entry| {
        let service = seen.service(&entry.service)?;
        // One that somebody started again may have brought others with it.
        let also = seen.dependents(service).into_iter().map(|one| one.name.clone()).collect();
        (!is_off(service)).then(|| Switch { also, ..entry.off(service) })
    };
    // Somebody has taken it back into service: it is theirs now.
    let ours =
        |entry: &Entry| seen.service(&entry.service).is_some_and(|service| service.start == Start::Disabled);
    let on = |entry: &Entry| ours(entry).then(|| entry.on());
    let is_named = |entry: &Entry, name: &str| entry.service.eq_ignore_ascii_case(name);
    switched::switches((&seen.record.services, &record.services), is_named, off, on)
}

/// What differs from the record, as sentences.
pub(super) fn foreign(seen: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    for entry in &seen.record.services {
        let Some(service) = seen.service(&entry.service) else { continue };
        if service.state.runs() {
            found.push(format!("{} was started again: it is {}", entry.service, service.state));
        }
        if service.start != Start::Disabled {
            found.push(format!(
                "{} is not disabled any more: its start type is {}",
                entry.service, service.start
            ));
        }
    }
    found
}
