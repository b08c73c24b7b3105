//! Names with our mark: IIS answers 500.19 where one is there twice, also across levels, and compares them
//! without their case.

use crate::model::{Action, OutboundAction, RewriteMap, RuleSet};
use std::collections::HashSet;

/// What stands before a colon and names no map.
const OWN: [&str; 5] = ["{R:", "{C:", "{ToLower:", "{UrlEncode:", "{UrlDecode:"];

/// The names that are given away, in lowercase; each kind is a collection of its own.
#[derive(Default)]
pub(super) struct Names {
    rules: HashSet<String>,
    outbound: HashSet<String>,
    pre_conditions: HashSet<String>,
    maps: HashSet<String>,
}

impl Names {
    /// The set with every name replaced, also where it is referred to.
    pub(super) fn mark(&mut self, marker: &str, set: &RuleSet) -> RuleSet {
        let mut set = set.clone();
        for rule in &mut set.rules {
            rule.name = unique(&mut self.rules, marker, &rule.name);
        }
        for rule in &mut set.outbound {
            rule.name = unique(&mut self.outbound, marker, &rule.name);
        }
        let mut named = Vec::new();
        for pre_condition in &mut set.pre_conditions {
            let name = unique(&mut self.pre_conditions, marker, &pre_condition.name);
            named.push((std::mem::replace(&mut pre_condition.name, name.clone()), name));
        }
        for name in set.outbound.iter_mut().filter_map(|rule| rule.pre_condition.as_mut()) {
            if let Some((_, new)) = named.iter().find(|(old, _)| old.eq_ignore_ascii_case(name)) {
                name.clone_from(new);
            }
        }
        // A map's name stands within templates, so it has no sign that means something there.
        let maps: Vec<(String, String)> = set
            .maps
            .iter()
            .map(|RewriteMap { name, .. }| {
                (
                    format!("{{{name}:"),
                    format!("{{{}:", unique(&mut self.maps, &simple(marker), &simple(name))),
                )
            })
            .collect();
        for (map, (_, new)) in set.maps.iter_mut().zip(&maps) {
            map.name = new.trim_matches(['{', ':']).to_owned();
        }
        // A map of such a name is never looked up: `{R:1}` is a capture.
        let maps: Vec<_> = maps.into_iter().filter(|(old, _)| !OWN.contains(&old.as_str())).collect();
        for_templates(&mut set, &|text| *text = renamed(text, &maps));
        set
    }
}

fn unique(taken: &mut HashSet<String>, marker: &str, name: &str) -> String {
    let base = format!("Stopgap {} {}", printable(marker), printable(name));
    let base = base.trim_end().to_owned();
    let mut name = base.clone();
    let mut number = 1;
    while !taken.insert(name.to_lowercase()) {
        number += 1;
        name = format!("{base} ({number})");
    }
    name
}

/// What XML can hold, on one line.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { '?' } else { c })
        .collect()
}

fn simple(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || " ._-".contains(c) { c } else { '?' }).collect()
}

/// A `{` always opens, and what follows it up to a colon is a name: one pass from left to right.
fn renamed(text: &str, maps: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let (old, new) = match maps.iter().find(|(old, _)| after.starts_with(old.as_str())) {
            Some((old, new)) => (old.as_str(), new.as_str()),
            None => ("{", "{"),
        };
        out.push_str(new);
        rest = after.get(old.len()..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn for_templates(set: &mut RuleSet, change: &impl Fn(&mut String)) {
    for rule in &mut set.rules {
        rule.conditions.list.iter_mut().for_each(|condition| change(&mut condition.input));
        rule.server_variables.iter_mut().for_each(|variable| change(&mut variable.value));
        if let Action::Rewrite { url, .. } | Action::Redirect { url, .. } = &mut rule.action {
            change(url);
        }
    }
    for rule in &mut set.outbound {
        rule.conditions.list.iter_mut().for_each(|condition| change(&mut condition.input));
        if let OutboundAction::Rewrite { value, .. } = &mut rule.action {
            change(value);
        }
    }
    for pre_condition in &mut set.pre_conditions {
        pre_condition.list.iter_mut().for_each(|condition| change(&mut condition.input));
    }
}
