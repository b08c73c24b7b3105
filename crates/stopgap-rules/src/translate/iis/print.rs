//! The model as XML: every attribute that is not the schema's default, each text escaped.

use crate::model::{
    Action, Condition, Conditions, Grouping, MatchType, OutboundAction, OutboundRule, OutboundSubject,
    PatternSyntax, PreCondition, RedirectType, RewriteMap, Rule, RuleSet,
};
use std::fmt::Write;

/// A `<rewrite>` element; `depth`: how deep it stands.
pub(super) fn rewrite(set: &RuleSet, global: bool, depth: usize) -> String {
    let mut out = Printed { text: String::new(), depth, bad: false };
    out.open("rewrite", &[]);
    if !set.maps.is_empty() {
        out.open("rewriteMaps", &[]);
        for found in &set.maps {
            map(&mut out, found);
        }
        out.close("rewriteMaps");
    }
    if !set.rules.is_empty() {
        let name = if global { "globalRules" } else { "rules" };
        out.open(name, &[]);
        for found in &set.rules {
            rule(&mut out, found);
        }
        out.close(name);
    }
    if !set.outbound.is_empty() || !set.pre_conditions.is_empty() {
        out.open("outboundRules", &[]);
        for found in &set.outbound {
            outbound(&mut out, found);
        }
        if !set.pre_conditions.is_empty() {
            out.open("preConditions", &[]);
            for found in &set.pre_conditions {
                pre_condition(&mut out, found);
            }
            out.close("preConditions");
        }
        out.close("outboundRules");
    }
    out.close("rewrite");
    out.text
}

/// Whether XML can hold every text of these, but for the names, which get our mark.
pub(super) fn is_xml(set: &RuleSet) -> bool {
    let mut out = Printed { text: String::new(), depth: 0, bad: false };
    for found in &set.maps {
        map(&mut out, &RewriteMap { name: String::new(), ..found.clone() });
    }
    for found in &set.rules {
        rule(&mut out, &Rule { name: String::new(), ..found.clone() });
    }
    for found in &set.outbound {
        outbound(&mut out, &OutboundRule { name: String::new(), pre_condition: None, ..found.clone() });
    }
    for found in &set.pre_conditions {
        pre_condition(&mut out, &PreCondition { name: String::new(), ..found.clone() });
    }
    !out.bad
}

fn map(out: &mut Printed, map: &RewriteMap) {
    let mut attributes = vec![("name", map.name.as_str())];
    unless(&mut attributes, map.default_value.is_empty(), "defaultValue", &map.default_value);
    unless(&mut attributes, map.ignore_case, "ignoreCase", "false");
    out.open("rewriteMap", &attributes);
    for (key, value) in &map.entries {
        out.element("add", &[("key", key), ("value", value)]);
    }
    out.close("rewriteMap");
}

fn rule(out: &mut Printed, rule: &Rule) {
    let mut attributes = vec![("name", rule.name.as_str())];
    unless(&mut attributes, rule.enabled, "enabled", "false");
    syntax(&mut attributes, rule.pattern_syntax);
    unless(&mut attributes, !rule.stop_processing, "stopProcessing", "true");
    out.open("rule", &attributes);

    let mut attributes = vec![("url", rule.match_url.url.as_str())];
    unless(&mut attributes, rule.match_url.ignore_case, "ignoreCase", "false");
    unless(&mut attributes, !rule.match_url.negate, "negate", "true");
    out.element("match", &attributes);

    conditions(out, &rule.conditions, false);
    if !rule.server_variables.is_empty() {
        out.open("serverVariables", &[]);
        for set in &rule.server_variables {
            let mut attributes = vec![("name", set.name.as_str()), ("value", set.value.as_str())];
            unless(&mut attributes, set.replace, "replace", "false");
            out.element("set", &attributes);
        }
        out.close("serverVariables");
    }
    action(out, &rule.action);
    out.close("rule");
}

fn action(out: &mut Printed, action: &Action) {
    match action {
        Action::None => out.element("action", &[("type", "None")]),
        Action::AbortRequest => out.element("action", &[("type", "AbortRequest")]),
        Action::Rewrite { url, append_query_string } => {
            let mut attributes = vec![("type", "Rewrite"), ("url", url.as_str())];
            unless(&mut attributes, *append_query_string, "appendQueryString", "false");
            out.element("action", &attributes);
        }
        Action::Redirect { url, append_query_string, redirect_type } => {
            let mut attributes = vec![("type", "Redirect"), ("url", url.as_str())];
            unless(&mut attributes, *append_query_string, "appendQueryString", "false");
            match redirect_type {
                RedirectType::Permanent => {}
                RedirectType::Found => attributes.push(("redirectType", "Found")),
                RedirectType::SeeOther => attributes.push(("redirectType", "SeeOther")),
                RedirectType::Temporary => attributes.push(("redirectType", "Temporary")),
            }
            out.element("action", &attributes);
        }
        Action::CustomResponse { status, substatus, reason, description } => {
            let (status, substatus) = (status.to_string(), substatus.to_string());
            let mut attributes = vec![("type", "CustomResponse"), ("statusCode", status.as_str())];
            unless(&mut attributes, substatus == "0", "subStatusCode", &substatus);
            unless(&mut attributes, reason.is_empty(), "statusReason", reason);
            unless(&mut attributes, description.is_empty(), "statusDescription", description);
            out.element("action", &attributes);
        }
    }
}

fn outbound(out: &mut Printed, rule: &OutboundRule) {
    let mut attributes = vec![("name", rule.name.as_str())];
    if let Some(name) = &rule.pre_condition {
        attributes.push(("preCondition", name));
    }
    unless(&mut attributes, rule.enabled, "enabled", "false");
    syntax(&mut attributes, rule.pattern_syntax);
    unless(&mut attributes, !rule.stop_processing, "stopProcessing", "true");
    out.open("rule", &attributes);

    let mut attributes = match &rule.subject {
        OutboundSubject::Variable(name) => vec![("serverVariable", name.as_str())],
        OutboundSubject::Body { tags } if tags.is_empty() => Vec::new(),
        OutboundSubject::Body { tags } => vec![("filterByTags", tags.as_str())],
    };
    attributes.push(("pattern", &rule.pattern));
    unless(&mut attributes, rule.ignore_case, "ignoreCase", "false");
    unless(&mut attributes, !rule.negate, "negate", "true");
    out.element("match", &attributes);

    conditions(out, &rule.conditions, true);
    match &rule.action {
        OutboundAction::None => out.element("action", &[("type", "None")]),
        OutboundAction::Rewrite { value, replace } => {
            let mut attributes = vec![("type", "Rewrite")];
            unless(&mut attributes, value.is_empty(), "value", value);
            unless(&mut attributes, *replace, "replace", "false");
            out.element("action", &attributes);
        }
    }
    out.close("rule");
}

fn pre_condition(out: &mut Printed, found: &PreCondition) {
    let mut attributes = vec![("name", found.name.as_str())];
    unless(&mut attributes, found.grouping == Grouping::MatchAll, "logicalGrouping", "MatchAny");
    syntax(&mut attributes, found.pattern_syntax);
    out.open("preCondition", &attributes);
    found.list.iter().for_each(|found| condition(out, found));
    out.close("preCondition");
}

/// `track`: the schema's default of `trackAllCaptures`, which differs.
fn conditions(out: &mut Printed, conditions: &Conditions, track: bool) {
    let mut attributes = Vec::new();
    unless(&mut attributes, conditions.grouping == Grouping::MatchAll, "logicalGrouping", "MatchAny");
    let value = if conditions.track_all_captures { "true" } else { "false" };
    unless(&mut attributes, conditions.track_all_captures == track, "trackAllCaptures", value);
    if conditions.list.is_empty() && attributes.is_empty() {
        return;
    }
    out.open("conditions", &attributes);
    conditions.list.iter().for_each(|found| condition(out, found));
    out.close("conditions");
}

fn condition(out: &mut Printed, condition: &Condition) {
    let mut attributes = vec![("input", condition.input.as_str())];
    let files = match condition.match_type {
        MatchType::Pattern => false,
        MatchType::IsFile => {
            attributes.push(("matchType", "IsFile"));
            true
        }
        MatchType::IsDirectory => {
            attributes.push(("matchType", "IsDirectory"));
            true
        }
    };
    unless(&mut attributes, files && condition.pattern.is_empty(), "pattern", &condition.pattern);
    unless(&mut attributes, condition.ignore_case, "ignoreCase", "false");
    unless(&mut attributes, !condition.negate, "negate", "true");
    out.element("add", &attributes);
}

fn unless<'a>(attributes: &mut Vec<(&'a str, &'a str)>, default: bool, name: &'a str, value: &'a str) {
    if !default {
        attributes.push((name, value));
    }
}

fn syntax(attributes: &mut Vec<(&str, &str)>, syntax: PatternSyntax) {
    match syntax {
        PatternSyntax::EcmaScript => {}
        PatternSyntax::Wildcard => attributes.push(("patternSyntax", "Wildcard")),
        PatternSyntax::ExactMatch => attributes.push(("patternSyntax", "ExactMatch")),
    }
}

/// XML text, so far.
pub(super) struct Printed {
    text: String,
    depth: usize,
    /// A text held what XML cannot.
    bad: bool,
}

impl Printed {
    pub(super) fn new() -> Printed {
        Printed { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), depth: 0, bad: false }
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Our own words: a text of a rule could end a comment.
    pub(super) fn comment(&mut self, words: &str) {
        let _ = writeln!(self.text, "<!-- {words} -->");
    }

    pub(super) fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes, ">");
        self.depth += 1;
    }

    pub(super) fn close(&mut self, name: &str) {
        self.depth = self.depth.saturating_sub(1);
        let _ = writeln!(self.text, "{:indent$}</{name}>", "", indent = self.depth * 2);
    }

    pub(super) fn element(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.tag(name, attributes, " />");
    }

    /// Lines that are XML already.
    pub(super) fn raw(&mut self, lines: &str) {
        self.text.push_str(lines);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn tag(&mut self, name: &str, attributes: &[(&str, &str)], end: &str) {
        let _ = write!(self.text, "{:indent$}<{name}", "", indent = self.depth * 2);
        for (name, value) in attributes {
            let _ = write!(self.text, " {name}=\"");
            value.chars().for_each(|char| self.char(char));
            self.text.push('"');
        }
        self.text.push_str(end);
        self.text.push('\n');
    }

    /// XML 1.0 section 2.2, and 3.3.3: a blank other than U+0020 would be read as one, so it goes by number.
    fn char(&mut self, char: char) {
        match char {
            '&' => self.text.push_str("&amp;"),
            '<' => self.text.push_str("&lt;"),
            '>' => self.text.push_str("&gt;"),
            '"' => self.text.push_str("&quot;"),
            '\t' | '\n' | '\r' => {
                let _ = write!(self.text, "&#{};", u32::from(char));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => self.bad = true,
            char => self.text.push(char),
        }
    }
}
