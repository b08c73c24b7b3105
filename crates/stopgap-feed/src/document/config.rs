//! `Config`: one mitigation. Only a missing or malformed id is an error; everything else that this
//! build does not know goes to [`Mitigation::unsupported`].

use std::collections::BTreeSet;

use jiff::Timestamp;
use roxmltree::Node;

use super::element::{attribute, child_elements, cut, local, place, text, unknown, unknown_attributes};
use super::{
    Action, ActionKind, DocumentError, Expect, Mitigation, Platform, Probe, Scope, Severity, SideEffect,
    Wave, applicability, required_id, values,
};
use crate::id::Id;

pub(super) fn read(node: Node<'_, '_>) -> Result<Mitigation, DocumentError> {
    let mut notes = unknown_attributes(node, &["id", "desc", "severity", "cve", "supersedes", "expires"]);
    let mut mitigation = Mitigation {
        id: required_id(node)?,
        description: attribute(node, "desc").unwrap_or_default().to_owned(),
        severity: value(node, "severity", "low, medium, high or critical", severity, &mut notes),
        cve: attribute(node, "cve").map(cve).unwrap_or_default(),
        supersedes: value(node, "supersedes", "a dotted id", |text| text.parse().ok(), &mut notes),
        expires: value::<Timestamp>(node, "expires", values::TIME, values::time, &mut notes),
        applicability: None,
        actions: Vec::new(),
        probes: Vec::new(),
        rollout: Vec::new(),
        side_effects: Vec::new(),
        rollback: None,
        unsupported: Vec::new(),
        octets: cut(node),
    };
    let mut seen = BTreeSet::new();
    for child in child_elements(node, &mut notes) {
        let name = local(child);
        if name.is_some_and(|name| !seen.insert(name)) {
            notes.push(format!("{} holds `{}` twice", place(node), child.tag_name().name()));
            continue;
        }
        match name {
            Some("Applicability") => mitigation.applicability = Some(applicability::read(child, &mut notes)),
            Some("ActionList") => mitigation.actions = actions(child, &mitigation.id, &mut notes),
            Some("Probes") => mitigation.probes = list(child, "Request", probe, &mut notes),
            Some("Rollout") => mitigation.rollout = list(child, "Wave", wave, &mut notes),
            Some("SideEffects") => mitigation.side_effects = list(child, "Effect", side_effect, &mut notes),
            Some("Rollback") => {
                notes.extend(unknown_attributes(child, &[]));
                mitigation.rollback = Some(text(child, &mut notes));
            }
            _ => notes.push(unknown(child)),
        }
    }
    if mitigation.actions.is_empty() && notes.is_empty() {
        notes.push(format!("{} holds no action", place(node)));
    }
    mitigation.unsupported = notes;
    Ok(mitigation)
}

/// An optional attribute; one that is there and not understood is noted.
fn value<T>(
    node: Node<'_, '_>,
    name: &str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
    notes: &mut Vec<String>,
) -> Option<T> {
    let text = attribute(node, name)?;
    let parsed = parse(text);
    if parsed.is_none() {
        notes.push(wrong(node, name, expected, text));
    }
    parsed
}

fn wrong(node: Node<'_, '_>, name: &str, expected: &str, found: &str) -> String {
    let found: String = found.chars().take(80).collect();
    format!("{}: {name}: expected {expected}, found `{found}`", place(node))
}

fn severity(text: &str) -> Option<Severity> {
    match text {
        "low" => Some(Severity::Low),
        "medium" => Some(Severity::Medium),
        "high" => Some(Severity::High),
        "critical" => Some(Severity::Critical),
        _ => None,
    }
}

fn cve(text: &str) -> Vec<String> {
    text.split([' ', ',']).filter(|cve| !cve.is_empty()).map(str::to_owned).collect()
}

/// The elements of a list that holds one kind; what cannot be read is noted and left out.
fn list<T>(
    node: Node<'_, '_>,
    element: &str,
    read: impl Fn(Node<'_, '_>, &mut Vec<String>) -> Option<T>,
    notes: &mut Vec<String>,
) -> Vec<T> {
    notes.extend(unknown_attributes(node, &[]));
    let mut all = Vec::new();
    for child in child_elements(node, notes) {
        if local(child) == Some(element) {
            all.extend(read(child, notes));
        } else {
            notes.push(unknown(child));
        }
    }
    all
}

/// `ActionList`. Microsoft's grammar gives actions no id: the only one takes its mitigation's, one of
/// several that and its place in the list (`M1.2`).
fn actions(node: Node<'_, '_>, mitigation: &Id, notes: &mut Vec<String>) -> Vec<Action> {
    notes.extend(unknown_attributes(node, &[]));
    let children: Vec<_> = child_elements(node, notes).collect();
    let alone = children.len() == 1;
    let mut actions = Vec::new();
    for (at, child) in children.into_iter().enumerate() {
        if local(child) != Some("Action") {
            notes.push(unknown(child));
            continue;
        }
        let id = match attribute(child, "id") {
            None if alone => Some(mitigation.clone()),
            None => format!("{mitigation}.{}", at + 1).parse().ok(),
            Some(_) => value::<Id>(child, "id", "a dotted id", |text| text.parse().ok(), notes),
        };
        let Some(id) = id else {
            notes.push(format!("{} has no id that can be told", place(child)));
            continue;
        };
        // What is said of a mitigation's id (a block) must reach its actions.
        if !mitigation.covers(&id) {
            notes.push(format!("Action {id} is not below its mitigation {mitigation}"));
        }
        actions.extend(action(child, id, notes));
    }
    actions
}

fn action(node: Node<'_, '_>, id: Id, notes: &mut Vec<String>) -> Option<Action> {
    notes.extend(unknown_attributes(node, &["id", "type", "scope", "target", "desc", "platform"]));
    let scope = match attribute(node, "scope") {
        Some("Server") => Scope::Server,
        Some("Site") => Scope::Site,
        Some("VDir") => Scope::VDir,
        found => {
            notes.push(wrong(node, "scope", "Server, Site or VDir", found.unwrap_or_default()));
            return None;
        }
    };
    let platform = |text: &str| match text {
        "windows" => Some(Platform::Windows),
        "linux" => Some(Platform::Linux),
        _ => None,
    };
    Some(Action {
        id,
        description: attribute(node, "desc").unwrap_or_default().to_owned(),
        scope,
        target: attribute(node, "target").map(str::to_owned),
        platform: value(node, "platform", "windows or linux", platform, notes),
        kind: kind(node, notes)?,
    })
}

fn kind(node: Node<'_, '_>, notes: &mut Vec<String>) -> Option<ActionKind> {
    match attribute(node, "type") {
        Some("DoNothing") => {
            for child in child_elements(node, notes) {
                if local(child) != Some("Value") || text(child, notes) != "DoNothing" {
                    notes.push(format!("{}: a DoNothing action holds something else", place(node)));
                }
            }
            Some(ActionKind::DoNothing)
        }
        Some("UrlRewrite") => rewrite(node, notes),
        Some("Service") => names(node, notes).map(|names| ActionKind::Service { names }),
        Some("AppPool") => names(node, notes).map(|names| ActionKind::AppPool { names }),
        found => {
            let known = "DoNothing, UrlRewrite, Service or AppPool";
            notes.push(wrong(node, "type", known, found.unwrap_or_default()));
            None
        }
    }
}

fn rewrite(node: Node<'_, '_>, notes: &mut Vec<String>) -> Option<ActionKind> {
    let mut elements = child_elements(node, notes);
    match (elements.next(), elements.next()) {
        (Some(rewrite), None) if local(rewrite) == Some("rewrite") => {
            Some(ActionKind::UrlRewrite { rewrite: cut(rewrite) })
        }
        _ => {
            notes.push(format!("{}: expected one rewrite element", place(node)));
            None
        }
    }
}

fn names(node: Node<'_, '_>, notes: &mut Vec<String>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for child in child_elements(node, notes) {
        let found = if local(child) == Some("Value") { text(child, notes) } else { String::new() };
        match values::service_name(&found) {
            Some(name) => names.push(name),
            None => notes.push(format!("{}: expected Value elements with a name each", place(node))),
        }
    }
    if names.is_empty() {
        notes.push(format!("{}: expected the name of a service or pool, found none", place(node)));
        return None;
    }
    Some(names)
}

fn probe(node: Node<'_, '_>, notes: &mut Vec<String>) -> Option<Probe> {
    notes.extend(unknown_attributes(node, &["expect", "name", "pattern"]));
    let (name, pattern) = (attribute(node, "name"), attribute(node, "pattern"));
    let expect = match (attribute(node, "expect"), name, pattern) {
        (Some("blocked"), None, None) => Expect::Blocked,
        (Some("allowed"), None, None) => Expect::Allowed,
        (Some("header"), Some(name), Some(pattern)) => {
            Expect::Header { name: name.to_owned(), pattern: pattern.to_owned() }
        }
        (found, ..) => {
            let expected = "blocked, allowed, or header with name and pattern";
            notes.push(wrong(node, "expect", expected, found.unwrap_or_default()));
            return None;
        }
    };
    let found = text(node, notes);
    let head = values::request_head(&found);
    if head.is_none() {
        notes.push(wrong(node, "text", values::REQUEST, &found));
    }
    Some(Probe { head: head?, expect })
}

fn wave(node: Node<'_, '_>, notes: &mut Vec<String>) -> Option<Wave> {
    notes.extend(unknown_attributes(node, &["percent", "after"]));
    let percent = attribute(node, "percent").unwrap_or_default();
    let after = attribute(node, "after").unwrap_or_default();
    if values::percent(percent).is_none() {
        notes.push(wrong(node, "percent", "0 to 100", percent));
    }
    if values::seconds(after).is_none() {
        notes.push(wrong(node, "after", values::DURATION, after));
    }
    Some(Wave { percent: values::percent(percent)?, after_seconds: values::seconds(after)? })
}

fn side_effect(node: Node<'_, '_>, notes: &mut Vec<String>) -> Option<SideEffect> {
    notes.extend(unknown_attributes(node, &["desc", "monitor"]));
    let description = attribute(node, "desc").unwrap_or_default().to_owned();
    Some(SideEffect { description, monitor: attribute(node, "monitor").map(str::to_owned) })
}
