//! Whether a candidate is sound: every level of the server before and after.

use std::collections::{BTreeMap, HashMap};

use crate::check::{LevelReport, Report};
use crate::effective::{Effective, Entry};
use crate::tree::{folded, within};
use crate::violation::Violation;

use super::piece::Wanted;
use super::standing::{self, By};

pub(super) struct Judge<'j> {
    pub(super) before: &'j Report,
    pub(super) after: &'j Report,
    pub(super) wanted: &'j Wanted,
    /// Whether a level may have the rule twice, under two names.
    pub(super) beside_twins: bool,
}

impl Judge<'_> {
    /// Why it is not.
    pub(super) fn sound(&self) -> Result<(), String> {
        if let Some(violation) = self.new_violation() {
            return Err(format!(
                "{}: it would give {} ({}): {}",
                if violation.level.is_empty() { "the server" } else { &violation.level },
                violation.status,
                violation.code.word(),
                violation.message
            ));
        }
        let after: HashMap<String, &LevelReport> =
            self.after.levels.iter().map(|level| (folded(&level.path), level)).collect();
        for level in &self.before.levels {
            let Some(now) = after.get(&folded(&level.path)) else {
                return Err(format!("{}: the level would be gone", level.path));
            };
            self.level(level, now)?;
        }
        let before: HashMap<String, &LevelReport> =
            self.before.levels.iter().map(|level| (folded(&level.path), level)).collect();
        // A level that only now says something of its own was as the one above it.
        let open = |level: &&LevelReport| level.order_matters && !before.contains_key(&folded(&level.path));
        if let Some(level) = self.after.levels.iter().find(open) {
            return Err(depends(&level.path));
        }
        let level = folded(&self.wanted.level);
        let there = self.after.levels.iter().find(|found| folded(&found.path) == level);
        match there.and_then(|level| standing::by(level, self.wanted)) {
            Some(By::Us) => Ok(()),
            Some(By::Twin { .. }) | None => {
                let why = there.map(standing::undone);
                Err(why.unwrap_or_else(|| "the level is not there".to_owned()))
            }
        }
    }

    fn level(&self, before: &LevelReport, after: &LevelReport) -> Result<(), String> {
        if after.order_matters && !before.order_matters {
            return Err(depends(&after.path));
        }
        if let Some(what) = lost(&before.effective, &after.effective) {
            return Err(format!("{}: {what} would be lost, or come in another order", before.path));
        }
        let (level, top) = (folded(&before.path), folded(&self.wanted.level));
        if !within(&level, &top) && entries(&before.effective) != entries(&after.effective) {
            return Err(format!("{}: it would be there as well, which it is not meant for", after.path));
        }
        if let Some(name) = self.displaced(after) {
            return Err(format!(
                "{}: \"{name}\" would look at paths below it, and not below {}",
                after.path, self.wanted.level
            ));
        }
        let twin = standing::by(before, self.wanted).filter(|by| matches!(by, By::Twin { .. }));
        if let Some(By::Twin { name, .. }) = twin
            && !self.beside_twins
            && standing::ours(after, self.wanted)
        {
            return Err(format!("{}: the rule stands there already, as \"{name}\"", before.path));
        }
        Ok(())
    }

    /// A rule of ours that stands for another level, whose paths it was not written for.
    fn displaced<'a>(&self, after: &'a LevelReport) -> Option<&'a str> {
        if self.wanted.free_of_level() {
            return None;
        }
        let ours = |name: &str| self.wanted.rules.rules.iter().any(|rule| rule.name == name);
        let elsewhere = |level: &str| folded(level) != folded(&self.wanted.level);
        let mut rules = after.effective.rules.iter();
        rules.find(|e| ours(&e.name) && elsewhere(&e.origin.level)).map(|entry| entry.name.as_str())
    }

    /// Lines move, so a violation is known by everything else.
    fn new_violation(&self) -> Option<&Violation> {
        let identity = |v: &Violation| (v.code, folded(&v.level), folded(&v.file), v.key.clone());
        let mut known: BTreeMap<_, usize> = BTreeMap::new();
        self.before.violations.iter().for_each(|v| *known.entry(identity(v)).or_default() += 1);
        self.after.violations.iter().find(|v| match known.get_mut(&identity(v)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        })
    }
}

fn depends(path: &str) -> String {
    let path = if path.is_empty() { "the server" } else { path };
    format!(
        "{path}: what is in force would depend on the order in which IIS merges a <location> of an outer file and the \
         files in between"
    )
}

/// How many entries of every kind.
fn entries(effective: &Effective) -> [usize; 5] {
    [
        effective.global_rules.len(),
        effective.rules.len(),
        effective.outbound.len(),
        effective.pre_conditions.len(),
        effective.maps.len(),
    ]
}

/// The first entry that is not there any more, behind those that were before it.
fn lost(before: &Effective, after: &Effective) -> Option<String> {
    fn gone<T>(what: &str, before: &[Entry<T>], after: &[Entry<T>]) -> Option<String> {
        let mut rest = after.iter();
        let same = |one: &Entry<T>, other: &Entry<T>| {
            one.name == other.name
                && folded(&one.origin.file) == folded(&other.origin.file)
                && folded(&one.origin.level) == folded(&other.origin.level)
        };
        let lost = before.iter().find(|one| !rest.any(|other| same(one, other)))?;
        Some(format!("the {what} \"{}\"", lost.name))
    }
    gone("global rule", &before.global_rules, &after.global_rules)
        .or_else(|| gone("rule", &before.rules, &after.rules))
        .or_else(|| gone("outbound rule", &before.outbound, &after.outbound))
        .or_else(|| gone("precondition", &before.pre_conditions, &after.pre_conditions))
        .or_else(|| gone("map", &before.maps, &after.maps))
        .or_else(|| gone("variable", &before.allowed_variables, &after.allowed_variables))
        .or_else(|| gone("provider", &before.providers, &after.providers))
}
