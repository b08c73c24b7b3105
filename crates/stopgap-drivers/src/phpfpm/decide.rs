//! Rendering: which pools have to be out of service for all that is wanted, and what that changes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stopgap_core::observed::Observed;
use stopgap_core::plan::{Rendered, Switch, Wanted};
use stopgap_feed::document::ActionKind;

use super::config::{Config, Pool, same};
use super::record::{Entry, Move, Record, reversed, shown};
use super::{Settings, facts};
use crate::{render, switched};

/// What rendering reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub config: Config,
    /// As it stands on the disk.
    pub record: Record,
    /// The number of the master process.
    pub master: Option<u32>,
    /// Pools of the record that take requests all the same.
    pub serves: Vec<String>,
    /// SHA-256 of the files that are aside, by path.
    pub aside: BTreeMap<PathBuf, String>,
    /// Names that the files of the record had and that something has now.
    pub there: BTreeSet<PathBuf>,
    /// How php-fpm's unit would be stopped, or why it may not; `None`: it runs in none, or nothing is wanted.
    pub unit: Option<Result<Switch, String>>,
    /// The unit of the record is not kept off any more.
    pub unit_is_back: bool,
}

impl Seen {
    /// A pool of the record that is as the record says.
    fn is_out(&self, pool: &str) -> bool {
        self.config.pool(pool).is_none() && !self.serves.iter().any(|one| same(one, pool))
    }
}

/// See [`crate::Driver::render`].
pub(super) fn render(settings: &Settings, wanted: &[Wanted], observed: &Observed) -> Rendered {
    let seen = facts(observed);
    let server = &settings.server;
    let with = |record: &Record, wanted: &Wanted| with(settings, wanted, record, &seen);
    let switches = |record: &Record| {
        let mut notes = Vec::new();
        let switches = switches(record, &seen, &mut notes);
        (switches, notes)
    };
    let wanted = render::in_order(wanted);
    switched::render((&server.name, &server.folder), wanted, &observed.live, with, switches)
}

/// `record` with what an action takes out of service; or why it does not.
fn with(settings: &Settings, wanted: &Wanted, record: &Record, seen: &Seen) -> Result<Record, String> {
    let ActionKind::AppPool { names } = &wanted.action.kind else {
        return Err("it takes actions of type AppPool".to_owned());
    };
    let (asked, pool) = resolve(names, seen)?;
    if let Some(name) = settings.never_touch.iter().find(|name| match name.strip_suffix('*') {
        Some(begin) => pool.starts_with(begin),
        None => same(name, &pool),
    }) {
        return Err(format!("the pool {pool} is in `never_touch` of this target (`{name}`)"));
    }
    let mut record = record.clone();
    record.resolved.insert(asked, pool.clone());
    if record.pool(&pool).is_none() {
        record.pools.push(entry(&pool, seen)?);
    }
    switched::not_too_many("pool", &pool, record.pools.len(), settings.max_stopped)?;
    if is_last(&record, seen) {
        record.unit = match (&seen.record.unit, &seen.unit) {
            (Some(known), _) => Some(known.clone()),
            (None, Some(unit)) => Some(unit.clone().map_err(|why| {
                format!("{pool} is the last pool, without which php-fpm does not run, and {why}")
            })?),
            (None, None) => None,
        };
    }
    Ok(record)
}

/// No pool is left with `record`.
fn is_last(record: &Record, seen: &Seen) -> bool {
    let back = |entry: &&Entry| record.pool(&entry.pool).is_none() && !back(entry, seen).is_empty();
    seen.config.pools.iter().all(|pool| record.pool(&pool.name).is_some())
        && !seen.record.pools.iter().any(|entry| back(&entry))
}

/// The first of the names that a pool here has; one that we hold already stays the one.
fn resolve(names: &[String], seen: &Seen) -> Result<(String, String), String> {
    let held = |name: &String| {
        let pool = seen.record.resolved.get(name)?;
        seen.record.pool(pool)?;
        Some((name.clone(), pool.clone()))
    };
    let found = |name: &String| Some((name.clone(), seen.config.pool(name)?.name.clone()));
    names
        .iter()
        .find_map(held)
        .or_else(|| names.iter().find_map(found))
        .ok_or_else(|| format!("no pool here is named {}", names.join(" or ")))
}

/// Where the files of a pool go, beside where those went that are aside already.
fn entry(name: &str, seen: &Seen) -> Result<Entry, String> {
    let mut entry = seen
        .record
        .pool(name)
        .cloned()
        .unwrap_or_else(|| Entry { pool: name.to_owned(), ..Entry::default() });
    let Some(pool) = seen.config.pool(name) else { return Ok(entry) };
    if pool.listen.is_some() {
        entry.listen.clone_from(&pool.listen);
    }
    for from in &pool.files {
        let sha256 = movable(from, pool, seen)?;
        let aside = seen.config.aside(from);
        let known = entry.moves.iter_mut().find(|one| one.from == *from);
        match known {
            // It was put back, and goes where it was.
            Some(one) if !seen.aside.contains_key(&one.aside) => one.sha256 = sha256,
            // Another one was put in its place: that is the one that comes back.
            Some(one) => {
                let free = aside.ok_or_else(|| no_name(from))?;
                entry.left.push(std::mem::replace(&mut one.aside, free));
                one.sha256 = sha256;
            }
            None => {
                let aside = aside.ok_or_else(|| no_name(from))?;
                entry.moves.push(Move { from: from.clone(), aside, sha256 });
            }
        }
    }
    Ok(entry)
}

fn no_name(file: &std::path::Path) -> String {
    format!("every name beside {} is read by an include, or taken", shown(file))
}

/// What a file holds, where it can be moved aside for this pool alone.
///
/// A file of several pools is not copied without one of them: the copy would hold the settings of the others, and an
/// edit of those would either be lost on the way back or stand in its way.
fn movable(file: &std::path::Path, pool: &Pool, seen: &Seen) -> Result<String, String> {
    let known = seen.config.files.get(file).ok_or_else(|| format!("{} was not read", shown(file)))?;
    let advice = "give the pool a file of its own";
    if let Some(why) = &known.bound {
        return Err(format!("the pool {} stands in {}, and {why}: {advice}", pool.name, shown(file)));
    }
    let others: Vec<&str> =
        known.sections.iter().filter(|name| !same(name, &pool.name)).map(String::as_str).collect();
    match others.as_slice() {
        [] => Ok(known.sha256.clone()),
        others => Err(format!(
            "the pool {} stands in {} together with {}: {advice}",
            pool.name,
            shown(file),
            others.join(", ")
        )),
    }
}

/// The files of a pool that can come back: those that are aside, and whose name nothing has. None where somebody has
/// given the pool a file of another name, since php-fpm would take the two as one pool.
fn back<'a>(entry: &'a Entry, seen: &Seen) -> Vec<&'a Move> {
    let ours = |file: &PathBuf| entry.moves.iter().any(|one| one.from == *file);
    if seen.config.pool(&entry.pool).is_some_and(|pool| !pool.files.iter().all(ours)) {
        return Vec::new();
    }
    entry
        .moves
        .iter()
        .filter(|one| seen.aside.contains_key(&one.aside) && !seen.there.contains(&one.from))
        .collect()
}

/// From what is to what `record` says: what goes out first, in order, then what comes back, in reverse, then the unit.
fn switches(record: &Record, seen: &Seen, notes: &mut Vec<String>) -> Vec<Switch> {
    let mut switches = Vec::new();
    for entry in record.pools.iter().filter(|entry| !seen.is_out(&entry.pool)) {
        let pool = seen.config.pool(&entry.pool);
        let stands = |one: &&Move| pool.is_some_and(|pool| pool.files.contains(&one.from));
        switches.push(entry.switch(true, &entry.moves.iter().filter(stands).collect::<Vec<_>>()));
        let listen = entry.listen.as_deref().unwrap_or("its address");
        notes.push(format!(
            "{}: what is served over {listen} gets no answer any more; which sites that are is not known here",
            entry.pool
        ));
    }
    for entry in seen.record.pools.iter().rev().filter(|entry| record.pool(&entry.pool).is_none()) {
        for one in &entry.moves {
            let (from, aside) = (shown(&one.from), shown(&one.aside));
            let pool = &entry.pool;
            match (seen.aside.get(&one.aside), seen.there.contains(&one.from)) {
                (None, false) => notes.push(format!("{pool}: {aside} was removed: it cannot be put back")),
                (None, true) => notes.push(format!("{pool}: {from} was put back by somebody, and stays")),
                (Some(_), true) => notes.push(format!(
                    "{pool}: somebody put another {from} there; it stays, and so does {aside}"
                )),
                (Some(now), false) if *now != one.sha256 => {
                    notes.push(format!("{pool}: {aside} was edited; it comes back as it is now"))
                }
                (Some(_), false) => (),
            }
        }
        notes.extend(
            entry.left.iter().map(|left| format!("{}: {} stays, an older one", entry.pool, shown(left))),
        );
        let moves = back(entry, seen);
        if !moves.is_empty() {
            switches.push(entry.switch(false, &moves));
        }
    }
    match (&seen.record.unit, &record.unit) {
        (None, Some(unit)) => switches.push(unit.clone()),
        (Some(_), Some(unit)) if seen.unit_is_back => switches.push(unit.clone()),
        (Some(unit), None) => switches.push(reversed(unit)),
        _ => (),
    }
    notes.extend(unit_note(record, seen, &switches));
    switches
}

/// What becomes of php-fpm itself where it has no pool, or has one again.
fn unit_note(record: &Record, seen: &Seen, switches: &[Switch]) -> Option<String> {
    if switches.is_empty() {
        return None;
    }
    if record.unit.is_some() || seen.record.unit.is_some() {
        let unit = record.unit.as_ref().or(seen.record.unit.as_ref())?;
        let (verb, also) = if record.unit.is_some() { ("stops", "stops") } else { ("starts", "starts") };
        let more = match unit.also.is_empty() {
            true => String::new(),
            false => format!("; this also {also} {}", unit.also.join(", ")),
        };
        return Some(format!("php-fpm does not run without a pool: {} {verb}{more}", unit.name));
    }
    if is_last(record, seen) {
        return Some(match seen.master {
            Some(_) => "php-fpm does not run without a pool: it is ended. What supervises it may start it again, which \
                        fails until a pool is back"
                .to_owned(),
            None => "php-fpm does not run now, and does not start without a pool".to_owned(),
        });
    }
    let without = seen.config.pools.is_empty() && !seen.record.pools.is_empty() && seen.master.is_none();
    without.then(|| "php-fpm had ended with its last pool: what supervises it has to start it".to_owned())
}

/// What differs from the record, as sentences.
pub(super) fn foreign(seen: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    for entry in &seen.record.pools {
        match seen.config.pool(&entry.pool) {
            Some(pool) => {
                let files: Vec<String> = pool.files.iter().map(|file| shown(file)).collect();
                found.push(format!("the pool {} was put back: {}", entry.pool, files.join(", ")));
            }
            None if !seen.is_out(&entry.pool) => {
                found.push(format!("php-fpm still serves the pool {}, whose files are aside", entry.pool));
            }
            None => (),
        }
    }
    if let Some(unit) = seen.record.unit.as_ref().filter(|_| seen.unit_is_back) {
        found.push(format!("{} was taken back into service, or started again", unit.name));
    }
    found
}
