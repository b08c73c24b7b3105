//! HAProxy 2.6: one map from a request, as one text, to what becomes of it.
//!
//! A second configuration file cannot add to a frontend, so what stands in each frontend, the hook, must not
//! depend on the rules. It writes a request into one text ([`sample`]), looks it up in a map of patterns, and
//! acts on the word that it finds:
//!
//! ```text
//!   http-request set-var-fmt(txn.stopgap_request) "%[fe_name]\n%[var(txn.stopgap_target)]\n…%[req.hdrs]"
//!   http-request set-var(txn.stopgap) var(txn.stopgap_request),map_reg(…/rules.map)
//!   http-request reject if { var(txn.stopgap) -m str abort }
//!   http-request return status 403 if { var(txn.stopgap) -m str 403 }
//! ```
//!
//! The rules are that map, one line a rule: a pattern over the whole text, each condition a look-ahead in it,
//! the frontends at its beginning. Entries are tried in order and the first that is found decides, as among
//! rules; beside it, a second map tells whether any could be found ([`gate`]). The same entries go into the
//! running process through its socket, without a reload ([`HaproxyConfig::replacements`]). The other way,
//! `http-request` lines of the rules' own in a named `defaults` section, would need a reload for each change and
//! the operator's frontends to leave their own defaults.
//!
//! Only what HAProxy hands over unchanged is read: the raw target, the query string, the method, headers. So
//! `match url`, which sees the decoded path, must be a pattern that always holds. PCRE2 backtracks, and where it
//! gives up, HAProxy takes the pattern as not found and the request passes: a pattern must have a linear form
//! ([`crate::pattern`], chains), and is written so that it never goes back and needs no stack ([`chain`]).
//!
//! What is only observed is an event of HAProxy's own buffer and a line of its standard error, which its converter
//! `debug` writes: any other way would change what the site logs.
//!
//! AbortRequest is `reject`: the connection is closed with no answer. A CustomResponse keeps its status, with no
//! body. The differences that remain are in docs/rules/translation-haproxy.md.

mod chain;
mod gate;
mod hook;
mod sample;
mod text;

use super::pcre;
use super::{
    CannotExpress, Effect, SiteRules, node, observed_last, only_inbound_rules_of_the_site, plain,
    reads_the_raw_request_alone,
};
use crate::model::{Action, Condition, Grouping, MatchType, PatternSyntax, Rule, RuleSet};
use crate::pattern::chain::Chains;
use crate::pattern::{Budget, Pattern, PatternLimits};
use gate::{Needed, Needs};
use sample::{Headers, Input, Source};
use std::fmt::Write;

/// The rules, as HAProxy reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HaproxyConfig {
    /// In the order in which they are tried.
    pub entries: Vec<Entry>,
    /// Patterns, as in [`Entry::key`], of which one is found in every request that an entry could refuse.
    pub gate: Vec<String>,
}

/// One line of the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A pattern: printable ASCII without blanks, beginning with `^`.
    pub key: String,
    /// What becomes of a request that it finds: `abort`, `pass`, a status, or `observe:` and the marker.
    pub value: String,
    /// The rule, for a reader; printable ASCII.
    pub comment: String,
}

/// All entries of one map, for a running HAProxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    file: String,
    entries: Vec<(String, String)>,
}

const SERVER: &str = "HAProxy";
/// HAProxy reads a line of a map, and a command, into a buffer of `tune.bufsize`, by default 16,384 bytes,
/// of which a command leaves 1,024 unused. A backslash counts twice in a command.
const MAX_KEY: usize = 14_000;
/// The value of the gate's patterns: that there is one is what counts.
const OPEN: &str = "open";

impl HaproxyConfig {
    /// The map's file. HAProxy reads it when it starts; it must be there, and may be empty.
    pub fn map(&self) -> String {
        let mut map = String::from("# Stopgap: the first pattern that is found decides.\n");
        if self.entries.is_empty() {
            map.push_str("# No rule has an effect.\n");
        }
        let mut told = "";
        for Entry { key, value, comment } in &self.entries {
            if comment != told {
                // Writing to a string cannot fail.
                let _ = writeln!(map, "# {comment}");
                told = comment;
            }
            let _ = writeln!(map, "{key} {value}");
        }
        map
    }

    /// The gate's file, beside the map's ([`gate_file`]); it must be there likewise. Where files are replaced one
    /// by one under a HAProxy that may start at any time, the order is that of [`HaproxyConfig::replacements`],
    /// with [`HaproxyConfig::OPEN_GATE`] first.
    pub fn gate(&self) -> String {
        let lines = self.gate.iter().map(|pattern| format!("{pattern} {OPEN}\n"));
        format!("# Stopgap: where none of these is found, no rule is tried.\n{}", lines.collect::<String>())
    }

    /// A gate's file that lets every request through to the rules.
    pub const OPEN_GATE: &'static str = "# Stopgap: every rule is tried.\n^ open\n";

    /// What brings the rules into a running HAProxy, in this order: the gate is opened, the rules are
    /// replaced, the gate is set. A request in between meets the old rules or the new ones, never a half; where
    /// it ends early, the gate is open, which costs time and nothing else. `file` is the map's file as the hook
    /// names it.
    pub fn replacements(&self, file: &str) -> [Replacement; 3] {
        let open = |pattern: &String| (pattern.clone(), OPEN.to_owned());
        let rule = |entry: &Entry| (entry.key.clone(), entry.value.clone());
        let gate = |entries| Replacement { file: gate_file(file), entries };
        [
            gate(vec![("^".to_owned(), OPEN.to_owned())]),
            Replacement { file: file.to_owned(), entries: self.entries.iter().map(rule).collect() },
            gate(self.gate.iter().map(open).collect()),
        ]
    }

    /// The lines that the operator places once in each frontend (or `listen`) in HTTP mode, before any other
    /// `http-request` line: one that changes the request would hide it from the rules. `file` is the map's, an
    /// absolute path of letters, digits and `/._-`.
    ///
    /// # Errors
    /// The path, where it has another character.
    pub fn hook(file: &str) -> Result<String, String> {
        plain_path(file).map(|()| hook::lines(file))
    }

    /// The lines of earlier versions of this program, which refuse what the rules say as today's do; they log nothing
    /// of what is only observed.
    ///
    /// # Errors
    /// As [`HaproxyConfig::hook`].
    pub fn earlier_hooks(file: &str) -> Result<Vec<String>, String> {
        plain_path(file).map(|()| vec![hook::lines_without_observing(file)])
    }
}

fn plain_path(file: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    if !file.starts_with('/') || !file.bytes().all(plain) {
        return Err(format!(
            "the map's file {file:?}: expected an absolute path of letters, digits and /._-"
        ));
    }
    Ok(())
}

/// The file of the gate that belongs to a map's file.
pub fn gate_file(map: &str) -> String {
    format!("{map}.gate")
}

impl Replacement {
    /// The first command, for a connection of its own to the stats socket (level admin), as every command. Its
    /// answer ends in the version: `New version created: 1`.
    pub fn prepare(&self) -> String {
        format!("prepare map {}", word(&self.file))
    }

    /// The commands that follow, in order, for the version that was answered. Each answers with an empty line;
    /// the last puts all entries in the place of those before, at one moment.
    ///
    /// A command's words lose a level of backslashes, so the entries have two here.
    pub fn commands(&self, version: u32) -> Vec<String> {
        let file = word(&self.file);
        let add = |(key, value): &(String, String)| {
            format!("add map @{version} {file} {} {}", word(key), word(value))
        };
        let mut commands: Vec<String> = self.entries.iter().map(add).collect();
        commands.push(format!("commit map @{version} {file}"));
        commands
    }
}

/// A word of a command: what separates words or commands, or escapes, has a backslash before it.
fn word(text: &str) -> String {
    text.chars().fold(String::new(), |mut word, c| {
        if matches!(c, '\\' | ' ' | ';') {
            word.push('\\');
        }
        word.push(c);
        word
    })
}

/// Translates every set together, in the order given, as one list of rules.
///
/// # Errors
/// [`CannotExpress`] for the first rule that is not exact.
pub fn translate(sets: &[SiteRules]) -> Result<HaproxyConfig, CannotExpress> {
    let mut config = HaproxyConfig::default();
    let mut needed = Vec::new();
    for set in observed_last(sets) {
        only_inbound_rules_of_the_site(SERVER, &set.rules)?;
        for rule in set.rules.rules.iter().filter(|rule| rule.enabled) {
            let found = self::rule(set, rule).map_err(|reason| CannotExpress {
                server: SERVER,
                rule: rule.name.clone(),
                reason,
            })?;
            for (entry, need) in found {
                // What lets pass says nothing where no other rule could hold.
                if entry.value != Effect::Pass.word() {
                    needed.push(need);
                }
                config.entries.push(entry);
            }
        }
    }
    config.gate = gate::patterns(&needed);
    Ok(config)
}

/// Translates one set for a reader: both parts, with comments that say where each goes.
///
/// # Errors
/// As [`translate`].
pub fn translate_one(rules: &RuleSet) -> Result<String, CannotExpress> {
    const FILE: &str = "/etc/haproxy/stopgap.map";
    let set = SiteRules { observe: false, marker: "rules".to_owned(), sites: None, rules: rules.clone() };
    let config = translate(&[set])?;
    Ok(format!(
        "# The file {FILE}:\n\n{}\n# The file {}:\n\n{}\n\
         # In each frontend, before any other http-request:\n\n{}",
        config.map(),
        gate_file(FILE),
        config.gate(),
        hook::lines(FILE)
    ))
}

/// A rule's entries, each with what it needs to be in a request.
fn rule(set: &SiteRules, rule: &Rule) -> Result<Vec<(Entry, Needs)>, String> {
    let effect = Effect::of(&rule.action, can_answer)?.in_set(set);
    reads_the_raw_request_alone(SERVER, rule)?;
    let keys = keys(rule, &frontends(set.sites.as_deref()))?;
    if rule.match_url.negate || (rule.action == Action::None && !rule.stop_processing) {
        return Ok(Vec::new());
    }
    let comment = format!("{}: {}", plain(&set.marker), plain(&rule.name));
    let entry = |key| Entry { key, value: effect.word(), comment: comment.clone() };
    Ok(keys.into_iter().map(|(key, needed)| (entry(key), needed)).collect())
}

/// The beginning of the sample: one of these frontends, or any.
fn frontends(sites: Option<&[String]>) -> String {
    let Some(sites) = sites else { return sample::FRONTEND.to_owned() };
    // HAProxy takes no other characters in a name, so there is no such frontend.
    let possible = |name: &&String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    let names: Vec<String> = sites.iter().filter(possible).map(|name| pcre::literal(name)).collect();
    if names.is_empty() { "(?!)".to_owned() } else { format!("(?>(?:{})\\n)", names.join("|")) }
}

/// A condition over the sample, from the line of the target.
enum Test {
    Constant(bool),
    /// One of these is found, each with what it needs.
    Found(Vec<(String, Option<Needed>)>),
    /// None of these is found.
    Missing(Vec<String>),
}

/// The beginning of each pattern. HAProxy compiles patterns so that `(…)` is no group to be called; `n` takes
/// that back.
const START: &str = "^(?-n)";

/// The patterns of which one is found where the conditions hold, each with what it needs.
fn keys(rule: &Rule, start: &str) -> Result<Vec<(String, Needs)>, String> {
    let mut conditions = Vec::new();
    for condition in &rule.conditions.list {
        if condition.match_type != MatchType::Pattern {
            return Err("a condition on files or folders".to_owned());
        }
        conditions.push((Input::of(&condition.input)?, condition));
    }
    let mut keys = Vec::new();
    match (rule.conditions.grouping, conditions.as_slice()) {
        // Alternatives are entries of their own, which are shorter than one of all.
        (Grouping::MatchAny, [_, ..]) | (_, [_]) => {
            for (input, condition) in &conditions {
                let headers = Headers::of(std::iter::once(input));
                let before = format!("{START}{}{start}", headers.define());
                match test(condition, input, rule.pattern_syntax, &headers)? {
                    Test::Constant(false) => {}
                    Test::Constant(true) => keys.push((format!("{START}{start}"), None)),
                    Test::Found(patterns) => {
                        let key = |(pattern, needed): (String, Option<Needed>)| {
                            (format!("{before}{pattern}"), needed.map(|needed| vec![needed]))
                        };
                        keys.extend(patterns.into_iter().map(key));
                    }
                    Test::Missing(patterns) => {
                        keys.push((format!("{before}(?!{})", patterns.join("|")), None))
                    }
                }
            }
        }
        _ => {
            let headers = Headers::of(conditions.iter().map(|(input, _)| input));
            let mut key = format!("{START}{}{start}", headers.define());
            let (mut possible, mut needed) = (true, None);
            for (input, condition) in &conditions {
                match test(condition, input, rule.pattern_syntax, &headers)? {
                    Test::Constant(holds) => possible &= holds,
                    Test::Found(patterns) => {
                        let (patterns, needs): (Vec<String>, Vec<Option<Needed>>) =
                            patterns.into_iter().unzip();
                        key.push_str(&format!("(?={})", patterns.join("|")));
                        needed = needed.or_else(|| needs.into_iter().collect());
                    }
                    Test::Missing(patterns) => key.push_str(&format!("(?!{})", patterns.join("|"))),
                }
            }
            keys.extend(possible.then_some((key, needed)));
        }
    }
    for (key, _) in &keys {
        let found = word(key).len();
        if found > MAX_KEY {
            return Err(format!("its conditions become {found} bytes; HAProxy reads at most {MAX_KEY}"));
        }
    }
    Ok(keys)
}

fn test(
    condition: &Condition,
    input: &Input,
    syntax: PatternSyntax,
    headers: &Headers,
) -> Result<Test, String> {
    let node = node(&condition.pattern, condition.ignore_case, syntax)?;
    let found = |text: &str| {
        let pattern =
            Pattern::from_node(node.clone(), &PatternLimits::default()).map_err(|error| error.to_string())?;
        pattern.is_match(text, &mut Budget::new(1_000_000)).map_err(|error| error.to_string())
    };
    let reach = headers.reach(input);
    let mut patterns = Vec::new();
    if let Source::Secure { yes, no } = input.source {
        for (text, digit) in [(no, '0'), (yes, '1')] {
            if found(text)? {
                patterns.push((format!("{}{digit}", reach.start), None));
            }
        }
    } else {
        let chains = Chains::of(&node).map_err(|why| {
            format!("pattern {:?} has no linear form: {why}; HAProxy would backtrack", condition.pattern)
        })?;
        if chains.is_always() {
            return Ok(Test::Constant(!condition.negate));
        }
        for choice in &chains.choices {
            if let Some(found) = chain::pattern(choice, reach.text) {
                patterns.push((reach.start.clone() + &found, gate::needed(input, choice)));
            }
        }
        if let Some(absent) = reach.absent.filter(|_| found("").is_ok_and(|found| found)) {
            patterns.push((absent, None));
        }
    }
    Ok(match (patterns.is_empty(), condition.negate) {
        (true, negate) => Test::Constant(negate),
        (false, false) => Test::Found(patterns),
        (false, true) => Test::Missing(patterns.into_iter().map(|(pattern, _)| pattern).collect()),
    })
}

/// What the hook has a line for.
fn can_answer(status: u16) -> Result<(), String> {
    if hook::STATUSES.contains(&status) {
        return Ok(());
    }
    let known: Vec<String> = hook::STATUSES.iter().map(u16::to_string).collect();
    Err(format!("status {status}: the hook in HAProxy's frontends answers with {}", known.join(", ")))
}
