//! nginx: `map`s in the `http` context, `if` and `return` in each `server` block.
//!
//! ```text
//!   map $request_uri  $stopgap_uri      the target, as the rules see it
//!   map $http_cookie  $stopgap_http_cookie      a header, without the blanks around it
//!   map $stopgap_uri  $stopgap_test_1   1 where a condition's pattern is found
//!   map "$stopgap_test_1…" $stopgap_rule_1   where there are several conditions
//!   map "${stopgap_rule_1}…" $stopgap_group_1  the first rule of those for the same sites that decides
//!   map $server_name  $stopgap_verdict  that group's word for its sites, else the next group's
//!   if ($stopgap_verdict = abort) { return 444; }
//! ```
//!
//! Maps are evaluated when they are read, once per request, so a site pays for its own rules only. Rules that
//! follow each other with one condition each, on the same input and with the same action, are one map with a
//! line for each: a thousand of them are what an administrator would write.
//!
//! nginx decodes and merges its `$uri` differently from IIS, so only the raw request is read: `match url`
//! must be a pattern that always holds. PCRE backtracks, so a pattern must have a linear form
//! ([`crate::pattern`], chains), and is written so that it never goes back (`pcre`). That is more than
//! speed: where PCRE gives up, nginx takes a map's default, and the request passes. Its limit is 10 million
//! turns; these patterns take at most 50 for each byte. With `pcre_jit on;` it is a stack of 32 KB, on which
//! they leave nothing from one turn of a repetition to the next.
//!
//! AbortRequest is 444. A CustomResponse keeps its status and its description; without one the words are
//! nginx's own, or what the site's `error_page` makes of them. A Redirect keeps status and address.
//!
//! What is only observed is a line of the site's error log: nginx has no directive that writes one from a server
//! block and leaves the site's own logs as they are, but it says what it cannot take for a rate, and goes on.
//!
//! What remains different is in docs/rules/translation.md.

mod answer;
mod input;
mod maps;
mod verdict;

use super::{
    CannotExpress, SiteRules, node, observed_last, only_inbound_rules_of_the_site, pcre, plain,
    reads_the_raw_request_alone,
};
use crate::model::{
    Condition, Grouping, MatchType, OutboundSubject, PatternSyntax, RewriteMap, Rule, RuleSet,
};
use crate::pattern::ast::{Assertion, CharSet, Node};
use crate::pattern::chain::Chains;
use crate::pattern::{Budget, Pattern, PatternLimits};
use input::{Input, Source};
use maps::{Key, Maps, Spec};
use verdict::{Decision, Effect};

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
pub(super) const MAX_WORD: usize = 4_000;
/// Translates every set together, in the order given, as one list of rules.
///
/// # Errors
/// [`CannotExpress`] for the first rule that is not exact.
pub fn translate(sets: &[SiteRules]) -> Result<NginxConfig, CannotExpress> {
    let mut writer = Writer::default();
    for set in observed_last(sets) {
        if let Some(rule) = set.rules.outbound.iter().find(|rule| rule.enabled) {
            return Err(refused(&rule.name, outbound(&rule.subject)));
        }
        only_inbound_rules_of_the_site(SERVER, &set.rules)?;
        for rule in set.rules.rules.iter().filter(|rule| rule.enabled) {
            writer.rule(set, rule).map_err(|reason| refused(&rule.name, reason))?;
        }
    }
    writer.finish()
}

fn refused(rule: &str, reason: String) -> CannotExpress {
    CannotExpress { server: SERVER, rule: rule.to_owned(), reason }
}

fn outbound(subject: &OutboundSubject) -> String {
    match subject {
        OutboundSubject::Variable(_) => {
            "it changes a header of responses; nginx itself can only add one, with \
             add_header, which a location with an add_header of its own does not inherit"
                .to_owned()
        }
        OutboundSubject::Body { .. } => "it changes the body of responses".to_owned(),
    }
}

/// Translates one set for a reader: both parts, with comments that say where each goes.
///
/// # Errors
/// As [`translate`].
pub fn translate_one(rules: &RuleSet) -> Result<String, CannotExpress> {
    let set = SiteRules { observe: false, marker: "rules".to_owned(), sites: None, rules: rules.clone() };
    let config = translate(&[set])?;
    Ok(format!(
        "# In the http context, such as a file in /etc/nginx/conf.d:\n\n{}\n\
         # In each server block:\n\n{}",
        config.http, config.server
    ))
}

#[derive(Default)]
struct Writer {
    maps: Maps,
    decisions: Vec<Decision>,
}

impl Writer {
    fn rule(&mut self, set: &SiteRules, rule: &Rule) -> Result<(), String> {
        let names: Vec<&str> = set.rules.maps.iter().map(|map| map.name.as_str()).collect();
        let effect = answer::effect(&rule.action, rule.stop_processing, &names, &mut self.maps)?;
        let effect = effect.map(|effect| effect.in_set(set));
        reads_the_raw_request_alone(SERVER, rule)?;
        let comment = format!("{}: {}", plain(&set.marker), plain(&rule.name));
        let specs = self.specs(rule, &set.rules.maps)?;
        // It matches, and nothing follows, or it never matches; yet what cannot be understood is refused, too.
        let Some(effect) = effect.filter(|_| !rule.match_url.negate) else { return Ok(()) };
        let (test, holds) = match specs {
            SpecsOf::Nothing => (None, '1'),
            SpecsOf::One(spec, holds) => match self.joined(set, &effect, holds, spec, &comment) {
                Ok(()) => return Ok(()),
                Err(spec) => (Some(self.maps.test("test", spec, &comment)?), holds),
            },
            SpecsOf::Several(specs, grouping) => (Some(self.several(specs, grouping, &comment)?), '1'),
        };
        let (name, sites) = (rule.name.clone(), set.sites.clone());
        self.decisions.push(Decision { name, test, holds, sites, effect, comment });
        Ok(())
    }

    /// Adds the test to the decision before it, where that comes to the same: one map, one line more.
    fn joined(
        &mut self,
        set: &SiteRules,
        effect: &Effect,
        holds: char,
        spec: Spec,
        comment: &str,
    ) -> Result<(), Spec> {
        let last = self.decisions.last_mut().filter(|last| {
            last.sites == set.sites && last.effect == *effect && last.holds == '1' && holds == '1'
        });
        let Some(last) = last else { return Err(spec) };
        let Some(at) = last.test else { return Err(spec) };
        last.test = Some(self.maps.with(at, spec, comment)?);
        Ok(())
    }

    /// What its conditions look at, and the value that says yes.
    fn specs(&mut self, rule: &Rule, maps: &[RewriteMap]) -> Result<SpecsOf, String> {
        let mut specs = Vec::new();
        for condition in &rule.conditions.list {
            let spec = self.spec(condition, rule.pattern_syntax, maps)?;
            specs.push((spec, if condition.negate { '0' } else { '1' }));
        }
        Ok(match specs.pop() {
            None => SpecsOf::Nothing,
            Some((spec, holds)) if specs.is_empty() => SpecsOf::One(spec, holds),
            Some(last) => {
                specs.push(last);
                SpecsOf::Several(specs, rule.conditions.grouping)
            }
        })
    }

    /// The place of the map that is 1 where all of several conditions hold, or one of them.
    fn several(
        &mut self,
        specs: Vec<(Spec, char)>,
        grouping: Grouping,
        comment: &str,
    ) -> Result<usize, String> {
        let mut tests = Vec::new();
        for (spec, value) in specs {
            let at = self.maps.test("test", spec, comment)?;
            tests.push((self.maps.variable(at), value));
        }
        let source: String = tests.iter().map(|(variable, _)| variable.as_str()).collect();
        let keys: Vec<String> = match grouping {
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
        let lines = keys.iter().map(|key| (Key::Pattern(format!("^{key}\\z")), '1')).collect();
        let spec = Spec { source: format!("\"{source}\""), lines, default: '0' };
        self.maps.test("rule", spec, comment)
    }

    /// What is 1 where the condition's pattern is found in its input.
    fn spec(
        &mut self,
        condition: &Condition,
        syntax: PatternSyntax,
        maps: &[RewriteMap],
    ) -> Result<Spec, String> {
        if condition.match_type != MatchType::Pattern {
            return Err("a condition on files or folders".to_owned());
        }
        let names: Vec<&str> = maps.iter().map(|map| map.name.as_str()).collect();
        let input = Input::of(&condition.input, &names)?;
        let node = node(&condition.pattern, condition.ignore_case, syntax)?;
        let pattern = Pattern::from_node(node.clone(), &PatternLimits::default())
            .map_err(|error| format!("pattern {:?}: {error}", condition.pattern))?;
        let found = |text: &str| {
            let found = pattern.is_match(text, &mut Budget::new(1_000_000));
            found
                .map(|found| if found { '1' } else { '0' })
                .map_err(|_| format!("pattern {:?} takes too many steps", condition.pattern))
        };
        if let Some(map) = input.lookup.and_then(|at| maps.get(at)) {
            return self.lookup(&input, map, &found);
        }
        if let Some(Source::Secure { yes, no }) = input.only() {
            let lines = vec![(Key::Word("on"), found(yes)?)];
            return Ok(Spec { source: "$https".to_owned(), lines, default: found(no)? });
        }
        let chains = Chains::of(&node).map_err(|why| {
            format!("pattern {:?} has no linear form: {why}; nginx would backtrack", condition.pattern)
        })?;
        // nginx does not try patterns on an empty value, so such a value is made not to be empty.
        let lead = input.may_be_empty() && found("")? == '1';
        let lines = keys(&chains, &input, lead, &condition.pattern)?;
        Ok(Spec {
            source: self.source(&input, lead)?,
            lines: lines.into_iter().map(|key| (key, '1')).collect(),
            default: '0',
        })
    }

    /// A look-up in a rewrite map: what the pattern says to each value is known beforehand.
    fn lookup(
        &mut self,
        input: &Input,
        map: &RewriteMap,
        found: &dyn Fn(&str) -> Result<char, String>,
    ) -> Result<Spec, String> {
        let default = found(&map.default_value)?;
        // Of entries with one key the last counts.
        let mut seen = std::collections::HashSet::new();
        let mut entries = Vec::new();
        for (key, value) in map.entries.iter().rev() {
            let folded = if map.ignore_case { key.to_ascii_lowercase() } else { key.clone() };
            if map.ignore_case && !key.is_ascii() {
                return Err(format!(
                    "map {:?} ignores the case of the key {key:?}, which has letters outside ASCII",
                    map.name
                ));
            }
            let digit = found(value)?;
            if seen.insert(folded) && digit != default {
                entries.push((key, digit));
            }
        }
        let lead = input.may_be_empty() && entries.iter().any(|(key, _)| key.is_empty());
        let mut lines = Vec::new();
        for (key, digit) in entries {
            let node = map_key(key, map.ignore_case);
            let chains =
                Chains::of(&node).map_err(|why| format!("key {key:?} of map {:?}: {why}", map.name))?;
            lines.extend(keys(&chains, input, lead, key)?.into_iter().map(|key| (key, digit)));
        }
        Ok(Spec { source: self.source(input, lead)?, lines, default })
    }

    /// The word that nginx reads the input from.
    fn source(&mut self, input: &Input, lead: bool) -> Result<String, String> {
        let name = match input.only() {
            // The pattern itself skips the path.
            Some(Source::Query) => Some(self.maps.source(Source::Target)),
            Some(source) => Some(self.maps.source(source)),
            None => None,
        };
        match name {
            Some(name) if lead => Ok(format!("\"-${name}\"")),
            Some(name) => Ok(format!("${name}")),
            None => {
                let mut word = String::new();
                for piece in &input.pieces {
                    word.push_str(&self.maps.braced(piece)?);
                }
                Ok(format!("\"{word}\""))
            }
        }
    }

    fn finish(self) -> Result<NginxConfig, CannotExpress> {
        if self.decisions.is_empty() {
            let nothing = "# Stopgap: no rule has an effect.\n".to_owned();
            return Ok(NginxConfig { http: nothing.clone(), server: nothing });
        }
        let (verdict, server) = verdict::write(&self.decisions, |at| self.maps.variable(at))?;
        Ok(NginxConfig { http: self.maps.write() + &verdict, server })
    }
}

/// The conditions of a rule, each with the value that says yes.
enum SpecsOf {
    Nothing,
    One(Spec, char),
    Several(Vec<(Spec, char)>, Grouping),
}

/// A pattern as keys of a map: one for each alternative that can be found at all.
fn keys(chains: &Chains, input: &Input, lead: bool, pattern: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for choice in &chains.choices {
        let Some(key) = pcre::pattern(choice, input.encoding, input.start(lead)) else { continue };
        if key.len() > MAX_WORD {
            return Err(format!(
                "pattern {pattern:?} becomes {} bytes; nginx reads at most {MAX_WORD}",
                key.len()
            ));
        }
        keys.push(Key::Pattern(key));
    }
    Ok(keys)
}

/// The pattern of a rewrite map's key: the characters whose lowercase form is the same. The letter K has a
/// third, U+212A.
fn map_key(key: &str, ignore_case: bool) -> Node {
    let set = |char: char| match char.to_ascii_lowercase() {
        'k' if ignore_case => CharSet::of(['k', 'K', '\u{212a}'].map(|c| (c, c))),
        lower if ignore_case => CharSet::of([lower, lower.to_ascii_uppercase()].map(|c| (c, c))),
        _ => CharSet::of([(char, char)]),
    };
    let mut nodes = vec![Node::Assert(Assertion::Start)];
    nodes.extend(key.chars().map(|char| Node::Set(set(char))));
    nodes.push(Node::Assert(Assertion::End));
    Node::Concat(nodes)
}
