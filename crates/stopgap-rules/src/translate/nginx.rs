//! nginx: `map`s in the `http` context, `if` and `return` in each `server` block.
//!
//! ```text
//!   map $request_uri  $stopgap_uri      the target, as the rules see it
//!   map $stopgap_uri  $stopgap_test_1   1 where a condition's pattern is found
//!   map "$stopgap_test_1…" $stopgap_rule_1   where there are several conditions, or a negated one
//!   map "${stopgap_rule_1}…" $stopgap_group_1  the first rule of those for the same sites that decides
//!   map $server_name  $stopgap_verdict  that group's word for its sites, else the next group's
//!   if ($stopgap_verdict = abort) { return 444; }
//! ```
//!
//! Maps are evaluated when they are read, once per request, so a site pays for its own rules only.
//!
//! nginx decodes and merges its `$uri` differently from IIS, so only the raw request is read: `match url`
//! must be a pattern that always holds. PCRE backtracks, so a pattern must have a linear form
//! ([`crate::pattern`], chains), and is written so that it never goes back (`pcre`). That is more than
//! speed: where PCRE gives up, nginx takes a map's default, and the request passes. Its limit is 10 million
//! turns; these patterns take at most 50 for each byte.
//!
//! AbortRequest is 444. A CustomResponse keeps its status; its words are nginx's own.
//!
//! One difference remains: nginx keeps a tab at the end of a header's value.

pub(in crate::translate) mod bytes;
mod input;
pub(in crate::translate) mod pcre;

use super::{CannotExpress, SiteRules, only_inbound_rules_of_the_site};
use crate::model::{Action, Condition, Grouping, MatchType, PatternSyntax, Rule, RuleSet};
use crate::pattern::ast::Node;
use crate::pattern::chain::Chains;
use crate::pattern::{self, Budget, Pattern, PatternLimits};
use crate::{exact, wildcard};
use input::{Input, Source};
use std::fmt::Write;

/// What goes where. Both parts are empty but for a comment where no rule has an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NginxConfig {
    /// For the `http` context: maps.
    pub http: String,
    /// For every `server` block: what the hook includes.
    pub server: String,
}

const SERVER: &str = "nginx";
/// nginx reads a word of its configuration into a buffer of 4,096 bytes.
const MAX_WORD: usize = 4_000;
/// Rules of one group: their variables make one word.
const MAX_RULES: usize = 160;
/// Groups in a row: nginx evaluates a variable that needs a variable to a depth of 100.
const MAX_GROUPS: usize = 40;

/// Translates every set together, in the order given, as one list of rules.
///
/// # Errors
/// [`CannotExpress`] for the first rule that is not exact.
pub fn translate(sets: &[SiteRules]) -> Result<NginxConfig, CannotExpress> {
    let mut writer = Writer::default();
    for set in sets {
        only_inbound_rules_of_the_site(SERVER, &set.rules)?;
        for rule in set.rules.rules.iter().filter(|rule| rule.enabled) {
            writer.rule(&set.marker, set.sites.as_deref(), rule).map_err(|reason| CannotExpress {
                server: SERVER,
                rule: rule.name.clone(),
                reason,
            })?;
        }
    }
    writer.finish()
}

/// Translates one set for a reader: both parts, with comments that say where each goes.
///
/// # Errors
/// As [`translate`].
pub fn translate_one(rules: &RuleSet) -> Result<String, CannotExpress> {
    let set = SiteRules { marker: "rules".to_owned(), sites: None, rules: rules.clone() };
    let config = translate(&[set])?;
    Ok(format!(
        "# In the http context, such as a file in /etc/nginx/conf.d:\n\n{}\n\
         # In each server block:\n\n{}",
        config.http, config.server
    ))
}

/// What a deciding rule does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Pass,
    Abort,
    Status(u16),
}

/// A rule that is written: `0` or `1` in the variable, and what follows from it.
struct Decision {
    /// The rule.
    name: String,
    variable: String,
    /// `1`, or `0` where the variable is that of a negated condition.
    holds: char,
    sites: Option<Vec<String>>,
    effect: Effect,
    comment: String,
}

#[derive(Default)]
struct Writer {
    maps: String,
    /// Maps that exist, by what they say, and their variable.
    known: Vec<(String, String)>,
    decisions: Vec<Decision>,
}

impl Writer {
    fn rule(&mut self, marker: &str, sites: Option<&[String]>, rule: &Rule) -> Result<(), String> {
        if !rule.server_variables.is_empty() {
            return Err("it sets server variables".to_owned());
        }
        let effect = match &rule.action {
            Action::AbortRequest => Effect::Abort,
            Action::CustomResponse { status, .. } => custom(*status)?,
            Action::None if rule.stop_processing => Effect::Pass,
            // It matches, and nothing follows; yet what cannot be understood is refused, too.
            Action::None => Effect::Pass,
            Action::Redirect { .. } => return Err("Redirect is not translated yet".to_owned()),
            Action::Rewrite { .. } => return Err("Rewrite is not translated yet".to_owned()),
        };
        let always = chains(&rule.match_url.url, rule.match_url.ignore_case, rule.pattern_syntax)
            .is_ok_and(|chains| chains.is_always());
        if !always {
            return Err(format!(
                "match url {:?} reads the decoded path, which nginx decodes differently; only a pattern that \
                 always holds, such as .*, can be expressed",
                rule.match_url.url
            ));
        }
        let comment = format!("{}: {}", plain(marker), plain(&rule.name));
        let (variable, holds) = self.conditions(rule, &comment)?;
        if rule.match_url.negate || (rule.action == Action::None && !rule.stop_processing) {
            return Ok(());
        }
        let sites = sites.map(<[String]>::to_vec);
        let name = rule.name.clone();
        self.decisions.push(Decision { name, variable, holds, sites, effect, comment });
        Ok(())
    }

    /// The variable that tells whether the conditions hold, and the value that says yes. Without conditions
    /// it is the constant 1.
    fn conditions(&mut self, rule: &Rule, comment: &str) -> Result<(String, char), String> {
        let mut tests = Vec::new();
        for condition in &rule.conditions.list {
            let variable = self.test(condition, rule.pattern_syntax, comment)?;
            tests.push((variable, if condition.negate { '0' } else { '1' }));
        }
        match tests.as_slice() {
            [] => return Ok(("1".to_owned(), '1')),
            [one] => return Ok(one.clone()),
            _ => {}
        }
        let source: String = tests.iter().map(|(variable, _)| variable.as_str()).collect();
        let keys: Vec<String> = match rule.conditions.grouping {
            Grouping::MatchAll => vec![tests.iter().map(|(_, value)| *value).collect()],
            Grouping::MatchAny => (0..tests.len())
                .map(|at| {
                    tests
                        .iter()
                        .enumerate()
                        .map(|(n, (_, value))| if n == at { *value } else { '.' })
                        .collect()
                })
                .collect(),
        };
        let keys: Vec<String> = keys.iter().map(|key| format!("^{key}\\z")).collect();
        self.map("rule", &format!("\"{source}\""), &keys, '1', '0', comment).map(|variable| (variable, '1'))
    }

    /// The variable that is 1 where the condition's pattern is found in its input.
    fn test(
        &mut self,
        condition: &Condition,
        syntax: PatternSyntax,
        comment: &str,
    ) -> Result<String, String> {
        if condition.match_type != MatchType::Pattern {
            return Err("a condition on files or folders".to_owned());
        }
        let input = Input::of(&condition.input)?;
        let node = node(&condition.pattern, condition.ignore_case, syntax)?;
        let found = |text: &str| {
            let pattern = Pattern::from_node(node.clone(), &PatternLimits::default())
                .map_err(|error| error.to_string())?;
            pattern.is_match(text, &mut Budget::new(1_000_000)).map_err(|error| error.to_string())
        };
        if let Source::Secure { yes, no } = input.source {
            let digit = |found| if found { '1' } else { '0' };
            let (yes, no) = (digit(found(yes)?), digit(found(no)?));
            return self.map("test", "$https", &["^on\\z".to_owned()], yes, no, comment);
        }
        let chains = Chains::of(&node).map_err(|why| {
            format!("pattern {:?} has no linear form: {why}; nginx would backtrack", condition.pattern)
        })?;
        // nginx does not try patterns on an empty value, so such a value is made not to be empty.
        let lead = input.may_be_empty() && found("")?;
        let start = input.start(lead);
        let mut keys = Vec::new();
        for choice in &chains.choices {
            if let Some(key) = pcre::pattern(choice, input.encoding, &start) {
                if key.len() > MAX_WORD {
                    return Err(format!(
                        "pattern {:?} becomes {} bytes; nginx reads at most {MAX_WORD}",
                        condition.pattern,
                        key.len()
                    ));
                }
                keys.push(key);
            }
        }
        let source = self.source(&input)?;
        let source = if lead { format!("\"-{source}\"") } else { source };
        self.map("test", &source, &keys, '1', '0', comment)
    }

    fn source(&mut self, input: &Input) -> Result<String, String> {
        match &input.source {
            Source::Variable(name) => Ok(format!("${name}")),
            Source::Secure { .. } => Ok("$https".to_owned()),
            Source::Target | Source::Query => {
                let name = "$stopgap_uri".to_owned();
                if !self.known.iter().any(|(_, variable)| *variable == name) {
                    // Of an absolute target without a path nginx keeps the query string alone.
                    self.maps.push_str(
                        "map $request_uri $stopgap_uri {\n    \"~^\\x3f\" \"/$request_uri\";\n    \
                         default $request_uri;\n}\n",
                    );
                    self.known.push((String::new(), name.clone()));
                }
                Ok(name)
            }
        }
    }

    /// A map from a source to `yes` where one of the keys is found, else `no`; the same map is written once.
    fn map(
        &mut self,
        kind: &str,
        source: &str,
        keys: &[String],
        yes: char,
        no: char,
        comment: &str,
    ) -> Result<String, String> {
        let mut inside = String::new();
        for key in keys {
            // Writing to a string cannot fail.
            let _ = writeln!(inside, "    \"~{key}\" {yes};");
        }
        let _ = writeln!(inside, "    default {no};");
        let said = format!("{source} {inside}");
        if let Some((_, variable)) = self.known.iter().find(|(known, _)| *known == said) {
            return Ok(variable.clone());
        }
        if source.len() > MAX_WORD {
            return Err("its conditions do not fit into one word of nginx's configuration".to_owned());
        }
        let variable = format!("$stopgap_{kind}_{}", self.known.len() + 1);
        let _ = write!(self.maps, "\n# {comment}\nmap {source} {variable} {{\n{inside}}}\n");
        self.known.push((said, variable.clone()));
        Ok(variable)
    }

    fn finish(mut self) -> Result<NginxConfig, CannotExpress> {
        let decisions = std::mem::take(&mut self.decisions);
        if decisions.is_empty() {
            let nothing = "# Stopgap: no rule has an effect.\n".to_owned();
            return Ok(NginxConfig { http: nothing.clone(), server: nothing });
        }
        let mut groups: Vec<&[Decision]> = Vec::new();
        for same in decisions.chunk_by(|a, b| a.sites == b.sites) {
            groups.extend(same.chunks(MAX_RULES));
        }
        if let Some(first) = groups.get(MAX_GROUPS).and_then(|group| group.first()) {
            let reason = format!("more than {MAX_GROUPS} changes of site from rule to rule");
            return Err(CannotExpress { server: SERVER, rule: first.name.clone(), reason });
        }
        for (at, group) in groups.iter().enumerate() {
            self.group(group, at + 1, at + 1 == groups.len());
        }
        let mut server = String::new();
        let mut written = Vec::new();
        for decision in &decisions {
            if written.contains(&decision.effect) {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = match decision.effect {
                Effect::Pass => Ok(()),
                Effect::Abort => writeln!(server, "if ($stopgap_verdict = abort) {{ return 444; }}"),
                Effect::Status(status) => {
                    writeln!(server, "if ($stopgap_verdict = {status}) {{ return {status}; }}")
                }
            };
            written.push(decision.effect);
        }
        if server.is_empty() {
            server.push_str("# Stopgap: no rule refuses anything.\n");
        }
        Ok(NginxConfig { http: self.maps, server })
    }

    /// The rules that follow one another for the same sites: the first that holds decides, else the next
    /// group does.
    fn group(&mut self, group: &[Decision], number: usize, last: bool) {
        let verdict = |number| match number {
            1 => "$stopgap_verdict".to_owned(),
            _ => format!("$stopgap_verdict_{number}"),
        };
        let next = if last { "pass".to_owned() } else { verdict(number + 1) };
        let source: String = group.iter().map(|decision| braced(&decision.variable)).collect();
        let _ = write!(
            self.maps,
            "\n# The first rule that holds decides.\nmap \"{source}\" $stopgap_group_{number} {{\n"
        );
        for (at, decision) in group.iter().enumerate() {
            let effect = match decision.effect {
                Effect::Pass => "pass".to_owned(),
                Effect::Abort => "abort".to_owned(),
                Effect::Status(status) => status.to_string(),
            };
            let Decision { holds, comment, .. } = decision;
            let _ = writeln!(self.maps, "    # {comment}\n    \"~^.{{{at}}}{holds}\" {effect};");
        }
        let _ = writeln!(self.maps, "    default {next};\n}}");
        let _ = writeln!(self.maps, "map $server_name {} {{", verdict(number));
        match group.first().and_then(|first| first.sites.as_deref()) {
            None => {
                let _ = writeln!(self.maps, "    default $stopgap_group_{number};");
            }
            Some(sites) => {
                for site in sites {
                    // nginx does not try patterns on an empty value.
                    let key = if site.is_empty() { String::new() } else { pattern_of(site) };
                    let _ = writeln!(self.maps, "    \"{key}\" $stopgap_group_{number};");
                }
                let _ = writeln!(self.maps, "    default {next};");
            }
        }
        self.maps.push_str("}\n");
    }
}

/// The pattern of exactly this text, as a key of a map.
fn pattern_of(site: &str) -> String {
    format!("~^{}\\z", pcre::literal(site))
}

/// `${name}`: where the constant of a rule without conditions follows, `$name` would swallow it.
fn braced(variable: &str) -> String {
    variable.strip_prefix('$').map_or_else(|| variable.to_owned(), |name| format!("${{{name}}}"))
}

/// nginx gives some numbers a meaning of their own: 444 closes, 494 to 499 are its own errors; a redirect
/// needs an address.
fn custom(status: u16) -> Result<Effect, String> {
    match status {
        444 | 494..=499 => Err(format!("status {status} has a meaning of its own in nginx")),
        200..=299 | 400..=599 => Ok(Effect::Status(status)),
        _ => Err(format!("nginx cannot answer with status {status} alone")),
    }
}

fn node(text: &str, ignore_case: bool, syntax: PatternSyntax) -> Result<Node, String> {
    let limits = PatternLimits::default();
    match syntax {
        PatternSyntax::EcmaScript => pattern::parse(text, ignore_case, &limits),
        PatternSyntax::Wildcard => wildcard::node(text, ignore_case, &limits),
        PatternSyntax::ExactMatch => exact::node(text, ignore_case, &limits),
    }
    .map_err(|error| format!("pattern {text:?}: {error}"))
}

fn chains(text: &str, ignore_case: bool, syntax: PatternSyntax) -> Result<Chains, String> {
    Chains::of(&node(text, ignore_case, syntax)?).map_err(str::to_owned)
}

/// Words for a comment: nothing that could end it.
fn plain(text: &str) -> String {
    text.chars()
        .take(100)
        .map(|c| if c.is_ascii_alphanumeric() || " ._:-".contains(c) { c } else { '?' })
        .collect()
}
