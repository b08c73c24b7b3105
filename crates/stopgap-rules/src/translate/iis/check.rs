//! What IIS would answer 500.19 to, or evaluate otherwise than we do: refused, with the reason.

use super::{CannotExpress, print, refused};
use crate::model::{
    Action, Condition, Level, MatchType, OutboundAction, OutboundRule, OutboundSubject, PatternSyntax, Rule,
    RuleSet,
};
use crate::pattern::{Pattern, PatternLimits};
use crate::template::{Names, Template};
use crate::{exact, wildcard};
use std::collections::HashSet;

/// Checks a set; `global`: for every site.
pub(super) fn set(set: &RuleSet, global: bool) -> Result<(), CannotExpress> {
    let maps: Vec<&str> = set.maps.iter().map(|map| map.name.as_str()).collect();
    let own: Vec<String> = set
        .rules
        .iter()
        .flat_map(|rule| &rule.server_variables)
        .map(|v| v.name.to_ascii_uppercase())
        .collect();
    let checker = Checker { names: Names { maps: &maps, own: &own }, global };
    checker.maps(set)?;
    checker.pre_conditions(set)?;
    for level in &set.not_inherited {
        checker.level(level).map_err(|reason| refused("", reason))?;
    }
    for rule in &set.rules {
        is_xml(&rule.name, RuleSet { rules: vec![rule.clone()], ..RuleSet::default() })?;
        checker.rule(rule).map_err(|reason| refused(&rule.name, reason))?;
    }
    for rule in &set.outbound {
        is_xml(&rule.name, RuleSet { outbound: vec![rule.clone()], ..RuleSet::default() })?;
        checker.outbound(rule, set).map_err(|reason| refused(&rule.name, reason))?;
    }
    Ok(())
}

fn is_xml(name: &str, only: RuleSet) -> Result<(), CannotExpress> {
    if print::is_xml(&only) {
        return Ok(());
    }
    Err(refused(name, "it holds a character that XML cannot".to_owned()))
}

/// The values of `filterByTags` whose meaning stands in the rule itself.
const TAGS: [&str; 11] =
    ["A", "Area", "Base", "Form", "Frame", "Head", "IFrame", "Img", "Input", "Link", "Script"];

struct Checker<'a> {
    names: Names<'a>,
    global: bool,
}

impl Checker<'_> {
    fn rule(&self, rule: &Rule) -> Result<(), String> {
        self.name(&rule.name)?;
        self.level(&rule.level)?;
        if rule.match_url.url.is_empty() {
            return Err("its match url is empty".to_owned());
        }
        pattern(&rule.match_url.url, rule.pattern_syntax, rule.match_url.ignore_case)?;
        for condition in &rule.conditions.list {
            self.template(&condition.input, false)?;
        }
        // The schema makes all attributes of a condition one key, but for those of a site's inbound rules.
        self.conditions(&rule.conditions.list, rule.pattern_syntax, self.global)?;
        let mut set = HashSet::new();
        for variable in &rule.server_variables {
            variable_name(&variable.name)?;
            self.template(&variable.value, false)?;
            if !set.insert(variable.name.to_ascii_lowercase()) {
                return Err(format!("it sets {} twice", variable.name));
            }
        }
        match &rule.action {
            Action::None | Action::AbortRequest => Ok(()),
            Action::Rewrite { url, .. } | Action::Redirect { url, .. } => {
                if url.trim() != url {
                    return Err(format!("its address {url:?} begins or ends with a blank"));
                }
                self.template(url, false)
            }
            Action::CustomResponse { status, substatus, .. } => {
                if !(100..=999).contains(status) || (300..=307).contains(status) || *substatus > 999 {
                    return Err(format!(
                        "status {status}.{substatus}; IIS takes 100 to 999 without 300 to 307, and 0 to 999"
                    ));
                }
                Ok(())
            }
        }
    }

    fn outbound(&self, rule: &OutboundRule, set: &RuleSet) -> Result<(), String> {
        self.name(&rule.name)?;
        self.level(&rule.level)?;
        if let Some(name) = &rule.pre_condition
            && !set.pre_conditions.iter().any(|found| found.name.eq_ignore_ascii_case(name))
        {
            return Err(format!("there is no precondition {name:?}"));
        }
        match &rule.subject {
            OutboundSubject::Variable(name) => variable_name(name)?,
            OutboundSubject::Body { tags } if tags.is_empty() => {}
            OutboundSubject::Body { tags } => {
                if let Some(tag) = tags.split(',').map(str::trim).find(|tag| !TAGS.contains(tag)) {
                    return Err(format!("filterByTags names {tag:?}, which is none of {}", TAGS.join(", ")));
                }
            }
        }
        pattern(&rule.pattern, rule.pattern_syntax, rule.ignore_case)?;
        for condition in &rule.conditions.list {
            self.template(&condition.input, true)?;
        }
        self.conditions(&rule.conditions.list, rule.pattern_syntax, true)?;
        match &rule.action {
            OutboundAction::None => Ok(()),
            OutboundAction::Rewrite { value, .. } => self.template(value, true),
        }
    }

    fn conditions(&self, list: &[Condition], syntax: PatternSyntax, unique: bool) -> Result<(), String> {
        let mut seen = HashSet::new();
        for condition in list {
            if condition.match_type == MatchType::Pattern {
                pattern(&condition.pattern, syntax, condition.ignore_case)?;
            }
            let key = (
                condition.input.to_lowercase(),
                condition.match_type,
                condition.pattern.to_lowercase(),
                condition.ignore_case,
                condition.negate,
            );
            if unique && !seen.insert(key) {
                return Err(format!(
                    "it has the condition on {:?} twice, which IIS does not take",
                    condition.input
                ));
            }
        }
        Ok(())
    }

    fn pre_conditions(&self, set: &RuleSet) -> Result<(), CannotExpress> {
        let mut names = HashSet::new();
        for found in &set.pre_conditions {
            let mut check = || {
                self.name(&found.name)?;
                if !names.insert(found.name.to_lowercase()) {
                    return Err("two preconditions have this name".to_owned());
                }
                for condition in &found.list {
                    self.template(&condition.input, true)?;
                }
                self.conditions(&found.list, found.pattern_syntax, true)
            };
            is_xml(&found.name, RuleSet { pre_conditions: vec![found.clone()], ..RuleSet::default() })?;
            check().map_err(|reason| refused(&found.name, reason))?;
        }
        Ok(())
    }

    fn maps(&self, set: &RuleSet) -> Result<(), CannotExpress> {
        let mut names = HashSet::new();
        for map in &set.maps {
            is_xml(&map.name, RuleSet { maps: vec![map.clone()], ..RuleSet::default() })?;
            let refuse = |reason: &str| Err(refused(&map.name, reason.to_owned()));
            if map.name.is_empty() || map.name.trim() != map.name {
                return refuse("a map's name is empty, or begins or ends with a blank");
            }
            if !names.insert(map.name.to_lowercase()) {
                return refuse("two maps have this name");
            }
            let mut keys = HashSet::new();
            if map.entries.iter().any(|(key, _)| !keys.insert(key)) {
                return refuse("the map has a key twice");
            }
        }
        Ok(())
    }

    fn name(&self, name: &str) -> Result<(), String> {
        if name.is_empty() { Err("it has no name".to_owned()) } else { Ok(()) }
    }

    /// A path that names one folder, whoever reads it.
    fn level(&self, level: &Level) -> Result<(), String> {
        if level.is_site() {
            return Ok(());
        }
        if self.global {
            return Err(format!(
                "it is for every site, at level {:?}: a rule of IIS's is for one of both",
                level.path()
            ));
        }
        let odd = |c: char| c.is_control() || r#"\:*?"<>|%{}"#.contains(c);
        let segments = level.path().split('/');
        if level.path().chars().any(odd)
            || segments.clone().any(|s| matches!(s, "" | "." | "..") || s.trim() != s)
        {
            return Err(format!("level {:?} is no path of a folder", level.path()));
        }
        Ok(())
    }

    /// What IIS cannot evaluate it answers 500 for; what this build does not know may be such.
    fn template(&self, text: &str, outbound: bool) -> Result<(), String> {
        let parsed = match outbound {
            true => Template::parse_outbound(text, &self.names),
            false => Template::parse(text, &self.names),
        };
        parsed.map(|_| ()).map_err(|error| error.to_string())
    }
}

fn pattern(text: &str, syntax: PatternSyntax, ignore_case: bool) -> Result<(), String> {
    let limits = PatternLimits::default();
    match syntax {
        PatternSyntax::EcmaScript => Pattern::compile(text, ignore_case, &limits),
        PatternSyntax::Wildcard => wildcard::compile(text, ignore_case, &limits),
        PatternSyntax::ExactMatch => exact::compile(text, ignore_case, &limits),
    }
    .map(|_| ())
    .map_err(|error| format!("pattern {text:?}: {error}"))
}

fn variable_name(name: &str) -> Result<(), String> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Err(format!("{name:?} is no server variable: letters, digits, _ and -"));
    }
    Ok(())
}
