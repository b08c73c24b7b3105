//! Rules for responses as mod_headers' directives.
//!
//! ```text
//!   SetEnvIfExpr "…" STOPGAP_RESPONSE_1=yes                   what the rule asks of the request, early
//!   <If "reqenv('STOPGAP_RESPONSE_1') == 'yes'">
//!       Header always edit Name "^(.*)" "$1; more" "expr=%{CONTENT_TYPE} =~ …"
//!       Header onsuccess edit Name …
//!       Header always set Name "; more" "expr=%{REQUEST_STATUS} -ge 300 && -z resp('Name') && …"
//!       Header onsuccess set Name …
//!   </If>
//! ```
//!
//! Apache keeps response headers in two tables, `always` and `onsuccess`, and runs the directives for the first
//! one first; for its own redirects and error pages it runs those alone. A header can stand in either, so both
//! are edited, and it is set where it is in neither. Directives within `<If>` come behind those of the virtual
//! host and its folders, as a rule comes behind the application.
//!
//! Expressed: a whole value (`.*`, `(.*)`) with text around it, of one header; conditions on the request, on
//! `RESPONSE_CONTENT_TYPE` and `RESPONSE_STATUS`. Two differences remain. Of a header that the application sends
//! in several lines, each line is rewritten, and they are not joined into one. And where the application
//! redirects or fails, and the operator's own `Header onsuccess` adds the header, there are two of them; what the
//! rule adds is in both.

use super::{Reads, joined, matcher, plain, test};
use crate::model::{
    Condition, Grouping, MatchType, OutboundAction, OutboundRule, OutboundSubject, PatternSyntax, RuleSet,
};
use crate::template::{Names, Part, Template};
use std::fmt::Write;

/// A rule that is written.
pub(super) struct Change {
    comment: String,
    /// `Content-Security-Policy`.
    header: String,
    /// The text before and behind the old value; one text where the old value is gone.
    value: Value,
    /// Only a header that is absent is set.
    only_absent: bool,
    /// What the request must be; nothing: any.
    request: Option<String>,
    /// What the response must be.
    response: Option<String>,
    pub(super) reads: Vec<Reads>,
}

enum Value {
    Around(String, String),
    Instead(String),
}

/// Headers that Apache writes itself, behind mod_headers or from elsewhere, and those that are not one value.
const OTHERS: [&str; 14] = [
    "STATUS",
    "SET_COOKIE",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "CONTENT_ENCODING",
    "TRANSFER_ENCODING",
    "CONNECTION",
    "KEEP_ALIVE",
    "DATE",
    "SERVER",
    "LOCATION",
    "ETAG",
    "VARY",
    "LAST_MODIFIED",
];

/// Nothing where the rule has no effect; `last`: no enabled rule follows it.
pub(super) fn change(
    marker: &str,
    rule: &OutboundRule,
    set: &RuleSet,
    last: bool,
) -> Result<Option<Change>, String> {
    if rule.stop_processing && !last {
        return Err("it ends the evaluation, and rules for responses follow it".to_owned());
    }
    let OutboundSubject::Variable(variable) = &rule.subject else {
        return Err("it changes the body of a response".to_owned());
    };
    let header = header(variable)?;
    let OutboundAction::Rewrite { value, replace } = &rule.action else { return Ok(None) };
    let whole = rule.pattern_syntax == PatternSyntax::EcmaScript
        && !rule.negate
        && [".*", "(.*)"].contains(&rule.pattern.as_str());
    if !whole {
        return Err(format!(
            "pattern {:?}: of a response header only the whole value, .* or (.*), can be expressed for Apache",
            rule.pattern
        ));
    }
    let value = self::value(value, rule.pattern == "(.*)")?;
    let mut change = Change {
        comment: format!("{}: {}", plain(marker), plain(&rule.name)),
        header,
        value,
        only_absent: !replace,
        request: None,
        response: None,
        reads: Vec::new(),
    };
    if let Some(name) = rule.pre_condition.as_deref().filter(|name| !name.is_empty()) {
        let found = set.pre_conditions.iter().find(|p| p.name.eq_ignore_ascii_case(name));
        let found = found.ok_or_else(|| format!("there is no precondition {name:?}"))?;
        change.conditions(&found.list, found.grouping, found.pattern_syntax)?;
    }
    change.conditions(&rule.conditions.list, rule.conditions.grouping, rule.pattern_syntax)?;
    Ok(Some(change))
}

impl Change {
    fn conditions(
        &mut self,
        list: &[Condition],
        grouping: Grouping,
        syntax: PatternSyntax,
    ) -> Result<(), String> {
        let (mut request, mut response) = (Vec::new(), Vec::new());
        for condition in list {
            match of_response(&condition.input) {
                Some(word) => response.push(test_response(condition, syntax, word)?),
                None => request.push(test(condition, syntax, &mut self.reads)?),
            }
        }
        if grouping == Grouping::MatchAny && !request.is_empty() && !response.is_empty() {
            return Err("one of its conditions on the request or on the response must hold".to_owned());
        }
        for (all, more) in [(&mut self.request, request), (&mut self.response, response)] {
            if let Some(more) = joined(&more, grouping) {
                *all = Some(match all.take() {
                    Some(before) => format!("{before} && ({more})"),
                    None => format!("({more})"),
                });
            }
        }
        Ok(())
    }

    /// The directives; `number` is that of the rule among all that are written.
    pub(super) fn write(&self, number: usize, out: &mut String) {
        let Change { comment, header, request, response, .. } = self;
        let holds = request.as_deref().unwrap_or("true");
        let condition = response.as_deref().unwrap_or("true");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# {comment}\nSetEnvIfExpr \"{holds}\" STOPGAP_RESPONSE_{number}=yes");
        let _ = writeln!(out, "<If \"reqenv('STOPGAP_RESPONSE_{number}') == 'yes'\">");
        // `.` ends at U+2028 and U+2029.
        let old = "^((?:[^\\xe2]++|\\xe2(?!\\x80[\\xa8\\xa9]))*+)[\\x00-\\xff]*+";
        let (new, alone) = match &self.value {
            Value::Around(before, behind) => {
                (format!("{before}$1{behind}"), format!("{before}{behind}").trim().to_owned())
            }
            Value::Instead(text) => (text.clone(), text.clone()),
        };
        if !self.only_absent {
            for table in ["always", "onsuccess"] {
                let _ = writeln!(
                    out,
                    "    Header {table} edit {header} \"{old}\" \"{new}\" \"expr={condition}\""
                );
            }
        }
        // What Apache answers itself passes the first table alone; of anything else the second one is complete
        // only when its directives run.
        let absent = format!("-z resp('{header}') && {condition}");
        let own = format!("%{{REQUEST_STATUS}} -ge 300 && {absent}");
        for (table, absent) in [("always", own), ("onsuccess", absent)] {
            let _ = writeln!(out, "    Header {table} set {header} \"{alone}\" \"expr={absent}\"");
        }
        out.push_str("</If>\n");
    }
}

/// The name of the header, as a new one would be spelled.
fn header(variable: &str) -> Result<String, String> {
    let upper = variable.to_ascii_uppercase().replace('-', "_");
    let name = upper.strip_prefix("RESPONSE_").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| format!("{variable:?} is not a response header"))?;
    if OTHERS.contains(&name) {
        return Err(format!("Apache itself writes the header of {variable:?}, or it is not one value"));
    }
    let letters = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    if !name.bytes().all(letters) {
        return Err(format!("{variable:?}: only letters, digits and dashes are written in a header's name"));
    }
    let original = variable.get("RESPONSE_".len()..).unwrap_or_default();
    Ok(original.replace('_', "-"))
}

/// A new value: text that needs no escape anywhere, with the old value once in it or not at all.
fn value(template: &str, group: bool) -> Result<Value, String> {
    let parsed = Template::parse(template, &Names { maps: &[], own: &[] }).map_err(|why| why.to_string())?;
    let (mut before, mut behind, mut old) = (String::new(), String::new(), false);
    for part in &parsed.parts {
        match part {
            Part::Text(text) if text.chars().all(is_plain) => {
                if old { &mut behind } else { &mut before }.push_str(text);
            }
            Part::Text(text) => {
                return Err(format!("value {text:?} has a character that is not written for Apache"));
            }
            Part::Rule(n) if !old && (*n == 0 || (*n == 1 && group)) => old = true,
            _ => {
                return Err(format!(
                    "value {template:?}: only text and {{R:0}} or {{R:1}}, once, are written"
                ));
            }
        }
    }
    if before.trim().is_empty() && behind.trim().is_empty() {
        return Err(format!(
            "value {template:?} has no text, and would remove the header or leave it as it is"
        ));
    }
    // mod_headers takes a value that starts so for an expression.
    if before.trim_start().to_ascii_lowercase().starts_with("expr=") {
        return Err(format!("value {template:?} starts with expr="));
    }
    Ok(if old {
        Value::Around(before.trim_start().to_owned(), behind.trim_end().to_owned())
    } else {
        Value::Instead(before.trim().to_owned())
    })
}

/// Neither mod_headers, nor its formats, nor its replacements, nor a quoted argument know these.
fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || " ;:,.'/*+=_-()@!?~".contains(char)
}

/// The word for a condition's input that is one of the response.
fn of_response(input: &str) -> Option<&'static str> {
    let name = input.strip_prefix('{')?.strip_suffix('}')?.to_ascii_uppercase().replace('-', "_");
    match name.as_str() {
        "RESPONSE_CONTENT_TYPE" => Some("%{CONTENT_TYPE}"),
        "RESPONSE_STATUS" => Some("%{REQUEST_STATUS}"),
        _ => None,
    }
}

/// What is written by Apache or its operator, not by a client, and short: no bound is needed.
fn test_response(condition: &Condition, syntax: PatternSyntax, word: &str) -> Result<String, String> {
    if condition.match_type != MatchType::Pattern {
        return Err("a condition on files or folders".to_owned());
    }
    let patterns = matcher(condition, syntax)?;
    let ways: Vec<String> = patterns.iter().map(|pattern| format!("{word} =~ m/{pattern}/")).collect();
    let ways = if ways.is_empty() { "false".to_owned() } else { ways.join(" || ") };
    Ok(format!("{}({ways})", if condition.negate { "!" } else { "" }))
}
