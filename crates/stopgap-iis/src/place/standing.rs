//! Whether a piece is in force at a level: by our entries, by somebody else's that say the same, or why not.

use std::collections::HashMap;
use std::sync::Arc;

use stopgap_rules::{Action, OutboundRule, PreCondition, Rule};

use crate::check::{LevelReport, Report};
use crate::document::Document;
use crate::effective::{Effective, Entry, Origin};
use crate::section::Section;
use crate::tree::{Tree, folded, prefixes, within};

use super::piece::{Wanted, any_url};

/// A level that a piece is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelState {
    /// Its name: empty for the server, `Default Web Site/owa`.
    pub path: String,
    /// Whether it is protected.
    pub state: State,
}

/// Whether a piece is in force at a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is.
    InForce(By),
    /// It is not.
    NotInForce(Why),
}

/// Whose entries are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Ours.
    Us,
    /// Somebody else's that say the same.
    Twin {
        /// The name of the first one's rule.
        name: String,
        /// Where it stands.
        origin: Origin,
    },
}

/// Why a piece is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// IIS answers with an error there, as it did before.
    Broken(String),
    /// A file takes away what the level would inherit.
    Undone {
        /// `clear` or `remove`.
        element: String,
        /// A Windows path.
        file: String,
        /// Its line.
        line: u32,
    },
    /// The same rule stands there and is switched off.
    Disabled {
        /// Its name.
        name: String,
        /// Where it stands.
        origin: Origin,
    },
    /// The rule is at the level above, and does not reach this one.
    NotInherited,
    /// The piece was placed nowhere.
    NotPlaced,
}

/// Every level that a piece is meant for.
pub(super) fn levels(tree: &dyn Tree, report: &Report, wanted: &Wanted) -> Vec<LevelState> {
    let top = folded(&wanted.level);
    let meant = report.levels.iter().filter(|level| within(&folded(&level.path), &top));
    let placed = report
        .levels
        .iter()
        .find(|level| folded(&level.path) == top)
        .is_some_and(|level| by(level, wanted).is_some());
    // Many levels share a file, which is read once.
    let mut taken = Taken { tree, wanted, files: HashMap::new() };
    meant
        .map(|level| {
            let state = match by(level, wanted) {
                _ if level.broken => State::NotInForce(Why::Broken(fault(report, level))),
                Some(by) => State::InForce(by),
                None => State::NotInForce(why(&mut taken, level, wanted, placed)),
            };
            LevelState { path: level.path.clone(), state }
        })
        .collect()
}

/// Whose rules are in force there, were there no violation; nothing where some are not.
pub(super) fn by(level: &LevelReport, wanted: &Wanted) -> Option<By> {
    if ours(level, wanted) {
        return Some(By::Us);
    }
    // A map's name is part of what a rule says, and theirs has another.
    if !wanted.rules.maps.is_empty() {
        return None;
    }
    let effective = &level.effective;
    let inbound = sequence(&wanted.rules.rules, inbound(effective), |rule, entry| {
        entry.value.enabled && says_the_same(rule, entry, &wanted.level)
    })?;
    let outbound = sequence(&wanted.rules.outbound, effective.outbound.iter(), |rule, entry| {
        entry.value.enabled && answers_the_same(rule, entry, wanted, effective)
    })?;
    let first = inbound.first().map(|entry| (&entry.name, &entry.origin));
    let first = first.or_else(|| outbound.first().map(|entry| (&entry.name, &entry.origin)));
    first.map(|(name, origin)| By::Twin { name: name.clone(), origin: origin.clone() })
}

/// Whether our own entries are all there.
pub(super) fn ours(level: &LevelReport, wanted: &Wanted) -> bool {
    let effective = &level.effective;
    let inbound = sequence(&wanted.rules.rules, inbound(effective), |rule, entry| {
        entry.value.enabled && entry.name == rule.name && says_the_same(rule, entry, &wanted.level)
    });
    let outbound = sequence(&wanted.rules.outbound, effective.outbound.iter(), |rule, entry| {
        entry.value.enabled && entry.name == rule.name && answers_the_same(rule, entry, wanted, effective)
    });
    let maps = || wanted.rules.maps.iter().all(|map| effective.maps.iter().any(|entry| *entry.value == *map));
    inbound.is_some() && outbound.is_some() && maps()
}

/// Rules that stand before ours somewhere and, where they match, keep ours from being asked: an allow-list, or a rewrite
/// that stops. One that answers by itself lets nothing through.
pub(super) fn passed_by(report: &Report, wanted: &Wanted) -> Vec<String> {
    let mut found = Vec::new();
    let Some(first) = wanted.rules.rules.first() else { return found };
    let top = folded(&wanted.level);
    let meant = report.levels.iter().filter(|level| within(&folded(&level.path), &top));
    for level in meant.filter(|level| !level.broken && ours(level, wanted)) {
        for entry in inbound(&level.effective).take_while(|entry| entry.name != first.name) {
            let lets = matches!(entry.value.action, Action::None | Action::Rewrite { .. });
            if !(entry.value.enabled && entry.value.stop_processing && lets) {
                continue;
            }
            let told = format!(
                "where \"{}\" ({}:{}) matches it ends the evaluation before ours",
                entry.name, entry.origin.file, entry.origin.place
            );
            if !found.contains(&told) {
                found.push(told);
            }
        }
    }
    found
}

/// Why our entries, though they were put in, are not in force at their own level.
pub(super) fn undone(level: &LevelReport) -> String {
    let path = if level.path.is_empty() { "the server" } else { &level.path };
    format!("{path}: the rule would not be in force there: a file that comes later takes it away")
}

/// Global rules come first.
fn inbound(effective: &Effective) -> impl Iterator<Item = &Entry<Arc<Rule>>> {
    effective.global_rules.iter().chain(&effective.rules)
}

/// An entry for each of these, in their order.
fn sequence<'e, W, E: 'e>(
    wanted: &[W],
    mut entries: impl Iterator<Item = &'e Entry<E>>,
    same: impl Fn(&W, &Entry<E>) -> bool,
) -> Option<Vec<&'e Entry<E>>> {
    wanted.iter().map(|one| entries.find(|entry| same(one, entry))).collect()
}

fn says_the_same(rule: &Rule, entry: &Entry<Arc<Rule>>, level: &str) -> bool {
    let theirs = &entry.value;
    // The path that is matched begins behind the level at which a rule stands.
    let below = |level: &str| folded(level.split_once('/').map_or("", |(_, path)| path));
    let place = any_url(&rule.match_url) || below(level) == below(&entry.origin.level);
    let ends =
        matches!(rule.action, Action::AbortRequest | Action::CustomResponse { .. } | Action::Redirect { .. });
    place
        && rule.pattern_syntax == theirs.pattern_syntax
        && (ends || rule.stop_processing == theirs.stop_processing)
        && rule.match_url == theirs.match_url
        && rule.conditions == theirs.conditions
        && rule.server_variables == theirs.server_variables
        && rule.action == theirs.action
}

fn answers_the_same(
    rule: &OutboundRule,
    entry: &Entry<Arc<OutboundRule>>,
    wanted: &Wanted,
    effective: &Effective,
) -> bool {
    let theirs = &*entry.value;
    let theirs_all: Vec<&PreCondition> = effective.pre_conditions.iter().map(|entry| &*entry.value).collect();
    let ours_all: Vec<&PreCondition> = wanted.rules.pre_conditions.iter().collect();
    let (own, their) = (named(&rule.pre_condition, &ours_all), named(&theirs.pre_condition, &theirs_all));
    let like = OutboundRule {
        name: rule.name.clone(),
        level: rule.level.clone(),
        pre_condition: rule.pre_condition.clone(),
        ..theirs.clone()
    };
    like == *rule && own == their && rule.pre_condition.is_some() == theirs.pre_condition.is_some()
}

/// The precondition of a name, without the name.
fn named(name: &Option<String>, all: &[&PreCondition]) -> Option<PreCondition> {
    let name = folded(name.as_deref()?);
    let found = all.iter().find(|found| folded(&found.name) == name)?;
    Some(PreCondition { name: String::new(), ..(*found).clone() })
}

fn fault(report: &Report, level: &LevelReport) -> String {
    let here = folded(&level.path);
    let above = |path: &str| path.is_empty() || prefixes(&here).any(|prefix| prefix == path);
    let found = report.violations.iter().find(|violation| above(&folded(&violation.level)));
    found.map_or_else(String::new, |violation| {
        format!(
            "{} ({}), {}:{}: {}",
            violation.status,
            violation.code.word(),
            violation.file,
            violation.place,
            violation.message
        )
    })
}

/// What each file takes away.
struct Taken<'t> {
    tree: &'t dyn Tree,
    wanted: &'t Wanted,
    files: HashMap<String, Option<Why>>,
}

impl Taken<'_> {
    fn by(&mut self, file: &str) -> Option<Why> {
        let read = || takes_away(self.tree, file, self.wanted);
        self.files.entry(folded(file)).or_insert_with(read).clone()
    }
}

fn why(taken: &mut Taken, level: &LevelReport, wanted: &Wanted, placed: bool) -> Why {
    if let Some(disabled) = disabled(level, wanted) {
        return disabled;
    }
    if !placed {
        return Why::NotPlaced;
    }
    for file in level.files.iter().skip(1).rev() {
        if let Some(undone) = taken.by(file) {
            return undone;
        }
    }
    Why::NotInherited
}

fn disabled(level: &LevelReport, wanted: &Wanted) -> Option<Why> {
    let effective = &level.effective;
    let off = |name: &String, origin: &Origin| Why::Disabled { name: name.clone(), origin: origin.clone() };
    for rule in &wanted.rules.rules {
        let same =
            |entry: &&Entry<Arc<Rule>>| !entry.value.enabled && says_the_same(rule, entry, &wanted.level);
        if let Some(entry) = inbound(effective).find(same) {
            return Some(off(&entry.name, &entry.origin));
        }
    }
    for rule in &wanted.rules.outbound {
        let same = |entry: &&Entry<Arc<OutboundRule>>| {
            let on = OutboundRule { enabled: true, ..(*entry.value).clone() };
            let on = Entry { name: entry.name.clone(), value: Arc::new(on), origin: entry.origin.clone() };
            !entry.value.enabled && answers_the_same(rule, &on, wanted, effective)
        };
        if let Some(entry) = effective.outbound.iter().find(same) {
            return Some(off(&entry.name, &entry.origin));
        }
    }
    None
}

/// `<clear/>`, or `<remove>` of a name of ours, in a section that the piece is in.
fn takes_away(tree: &dyn Tree, file: &str, wanted: &Wanted) -> Option<Why> {
    let document = Document::parse(&tree.read(file).ok()??).ok()?;
    let ours = |name: &str| {
        let rules = wanted.rules.rules.iter().map(|rule| &rule.name);
        let outbound = wanted.rules.outbound.iter().map(|rule| &rule.name);
        let conditions = wanted.rules.pre_conditions.iter().map(|found| &found.name);
        rules.chain(outbound).chain(conditions).any(|own| folded(own) == folded(name))
    };
    let sections: Vec<&str> = wanted.sections.iter().map(|(section, _)| section.name()).collect();
    let found = document.elements().filter(|element| {
        let within = element.parent().is_some_and(|parent| {
            sections.contains(&parent.name())
                || (parent.name() == "preConditions" && sections.contains(&"outboundRules"))
        });
        within
            && match element.name() {
                "clear" => true,
                "remove" => element.attribute("name").is_some_and(|name| ours(&name)),
                _ => false,
            }
    });
    let last = { found }.last()?;
    let element = last.name().to_owned();
    Some(Why::Undone { element, file: file.to_owned(), line: last.place().line })
}

/// Whether a file has a `<clear/>` of maps.
pub(super) fn clears_maps(tree: &dyn Tree, file: &str) -> bool {
    let Ok(Some(octets)) = tree.read(file) else { return false };
    let Ok(document) = Document::parse(&octets) else { return false };
    let maps = Section::RewriteMaps.name();
    document.elements().any(|e| e.name() == "clear" && e.parent().is_some_and(|parent| parent.name() == maps))
}
