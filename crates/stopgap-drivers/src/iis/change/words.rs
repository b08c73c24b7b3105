//! What a plan says of IIS in words.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;
use stopgap_core::observed::Observed;
use stopgap_iis::place::{By, ByHand, PlacedPiece, Remains, Scope, State, Why};
use stopgap_iis::{Environment, LevelReport, check};

use super::super::Settings;
use super::super::tree::Snapshot;
use super::cannot;

/// Names that one line lists.
const NAMES_MAX: usize = 20;

/// What goes out and comes in at one place: the names of ours in it.
pub(super) fn of_splice(names: &BTreeSet<&str>, cut: &[u8], put: &[u8]) -> String {
    let named = |octets: &[u8], name: &str| {
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [name.as_bytes(), &wide].iter().any(|needle| memmem::find(octets, needle).is_some())
    };
    let list = |octets: &[u8], other: &[u8]| {
        let found = names.iter().filter(|name| named(octets, name) && !named(other, name));
        found.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    let (out, into) = (list(cut, put), list(put, cut));
    match (out.is_empty(), into.is_empty()) {
        (true, true) => "around entries of ours, or a setting of an application pool".to_owned(),
        (true, false) => into,
        (false, true) => format!("without {out}"),
        (false, false) => format!("{into} in place of {out}"),
    }
}

pub(super) fn of_scope(scope: &Scope) -> &str {
    match scope {
        Scope::Server => "the server",
        Scope::Site(path) | Scope::VirtualDirectory(path) => path,
    }
}

/// What a person should know of one piece: where it is not in force, by whom it is, what was passed over.
pub(super) fn of_piece(marker: &str, piece: &PlacedPiece) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(refused) = &piece.refused {
        notes.push(format!("{marker}: {refused}"));
    }
    let mut twins = BTreeMap::<String, Vec<&str>>::new();
    for level in &piece.levels {
        match &level.state {
            State::InForce(By::Us) => {}
            State::InForce(By::Twin { name, origin }) => {
                let twin = format!("\"{name}\" ({}:{})", origin.file, origin.place);
                twins.entry(twin).or_default().push(level_name(&level.path));
            }
            State::NotInForce(why) if piece.refused.is_none() => {
                notes.push(format!(
                    "{marker} is not in force at {}: {}",
                    level_name(&level.path),
                    of_why(why)
                ));
            }
            State::NotInForce(_) => {}
        }
    }
    let twin = |(twin, levels): (String, Vec<&str>)| {
        format!("{marker} is in force at {} by {twin}, and is not put there twice", levels.join(", "))
    };
    notes.extend(twins.into_iter().map(twin));
    notes.extend(piece.notes.iter().map(|note| format!("{marker}: {note}")));
    notes
}

pub(super) fn not_in_force(piece: &PlacedPiece) -> String {
    let why = |level: &stopgap_iis::place::LevelState| match &level.state {
        State::NotInForce(why) => Some(of_why(why)),
        State::InForce(_) => None,
    };
    piece.levels.iter().find_map(why).unwrap_or_else(|| "it is for no level of this server".to_owned())
}

fn level_name(path: &str) -> &str {
    if path.is_empty() { "the server" } else { path }
}

/// Why rules are not in force at a level.
pub(in crate::iis) fn of_why(why: &Why) -> String {
    match why {
        Why::Broken(fault) => format!("IIS answers with an error there: {fault}"),
        Why::Undone { element, file, line } => format!("<{element}> in line {line} of {file} undoes it"),
        Why::Disabled { name, origin } => {
            format!("\"{name}\" is switched off there ({}:{})", origin.file, origin.place)
        }
        Why::NotInherited => "it is not inherited there".to_owned(),
        Why::NotPlaced => "no place for it is sound, or it was taken out".to_owned(),
    }
}

/// An entry that a person has to delete.
pub(super) fn by_hand(path: &str, left: &ByHand) -> String {
    let why = match left.why {
        Remains::Changed => "it was edited since it was put there".to_owned(),
        Remains::TooOften { found, written } => {
            format!("it is there {found} times, and was put there {written} times")
        }
    };
    format!("{path}: \"{}\" stays, since {why}; to take it off, delete it by hand", left.name)
}

/// What the rules of each level come to, before and after, where they differ.
pub(super) fn effective(
    settings: &Settings,
    observed: &Observed,
    after: &Snapshot,
) -> Result<Vec<String>, String> {
    let environment = Environment::windows();
    let before = check(&Snapshot::of(&settings.root, &observed.files), &environment).map_err(cannot)?;
    let after = check(after, &environment).map_err(cannot)?;
    let known: BTreeMap<&str, String> =
        before.levels.iter().map(|level| (level.path.as_str(), names(level))).collect();
    let differs = |level: &LevelReport| {
        let (was, is) =
            (known.get(level.path.as_str()).cloned().unwrap_or_else(|| "none".to_owned()), names(level));
        (was != is).then(|| format!("rules at {}: {was}; then: {is}", level_name(&level.path)))
    };
    Ok(after.levels.iter().filter_map(differs).collect())
}

fn names(level: &LevelReport) -> String {
    let effective = &level.effective;
    let inbound = effective.global_rules.iter().chain(&effective.rules).map(|entry| &entry.name);
    let all: Vec<&String> = inbound.chain(effective.outbound.iter().map(|entry| &entry.name)).collect();
    let list: Vec<String> = all.iter().take(NAMES_MAX).map(|name| format!("\"{name}\"")).collect();
    match (all.len(), all.len().saturating_sub(NAMES_MAX)) {
        (0, _) => "none".to_owned(),
        (_, 0) => list.join(", "),
        (_, more) => format!("{} and {more} more", list.join(", ")),
    }
}
