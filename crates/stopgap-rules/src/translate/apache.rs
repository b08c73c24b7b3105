//! Apache httpd 2.4: `SetEnvIfExpr` decides, a server-level `<If>` refuses.
//!
//! ```text
//!   SetEnvIfExpr "%{THE_REQUEST} =~ …" STOPGAP_TARGET=$1      the target, as the rules see it
//!   SetEnvIfExpr "-z reqenv('STOPGAP_VERDICT') && …" STOPGAP_VERDICT=abort    a rule each, in order
//!   <If "reqenv('STOPGAP_VERDICT') == 'abort'">
//!       Redirect 403
//!   </If>
//! ```
//!
//! mod_setenvif runs once a request, as soon as its head is read, so each pattern is tried once; the `<If>`,
//! which Apache evaluates twice a request, compares a word. Virtual hosts inherit both, unlike a server's
//! RewriteRule. A pathless `Redirect` is asked before Apache translates the address, and again before a handler
//! runs: neither a ProxyPass nor a RewriteRule nor a `Require` of the virtual host gets a request past it, as
//! the tests show. It needs mod_setenvif and mod_alias, both of which Debian enables; without one of them
//! Apache refuses the file, and does not ignore it.
//!
//! What a name or a pattern of a rule holds is written as letters, digits and `\xHH`: nothing of it is syntax,
//! to Apache or to PCRE.
//!
//! PCRE backtracks to a limit of 10 million turns, and where it gives up Apache takes the pattern for not
//! found. So a pattern must have a linear form ([`crate::pattern`], chains) and is written so that it never
//! goes back; and a text that could exceed the limit all the same, by its length alone, is refused before any
//! rule, as the engine refuses what exceeds its steps. That takes 8,192 bytes at the least, and Apache reads
//! 8,190 of a request line, and of headers of one name together, unless it is told to read more.
//!
//! AbortRequest is 403, and the connection is closed behind it (unless the client is a proxy that says `Via`).
//! What is only observed is a line of the error log: Apache's expressions can log nothing but that a file is not there.
//! A CustomResponse keeps its status. The words are Apache's own, whatever `ErrorDocument` the server has.

mod input;
mod response;

use super::bytes::Encoding;
use super::pcre;
use super::{
    CannotExpress, Effect, OBSERVES, SiteRules, chains, node, observed_last, plain,
    reads_the_raw_request_alone,
};
use crate::model::{Action, Condition, Grouping, Level, MatchType, PatternSyntax, Rule, RuleSet};
use crate::pattern::chain::Chains;
use crate::pattern::{Budget, Pattern, PatternLimits};
use input::{Input, Source};
use response::Change;
use std::fmt::Write;

/// What goes where. Each text stands by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApacheConfig {
    /// For the server level, outside of any `<VirtualHost>`: the rules of every site. Read by a line
    /// `IncludeOptional <file>` in a file of `conf-enabled` (Debian) or `conf.d`: that line is the hook, once a
    /// server. Nothing but a comment where there are none.
    pub server: String,
    /// For the inside of the `<VirtualHost>` with this `ServerName`, where rules are for that site alone: the
    /// name and the text. Its hook is the line `IncludeOptional <file of this site>` in that virtual host,
    /// since nothing in Apache's expressions names a virtual host but what the client may choose. The text
    /// holds every rule of the site, also those of every site, in the order given, and decides anew.
    pub sites: Vec<(String, String)>,
}

const SERVER: &str = "Apache";
/// Bytes of one pattern. Apache's expressions hold 8,192.
const MAX_PATTERN: usize = 4_000;
/// Turns after which PCRE gives up, as Debian and PCRE itself build it.
const MATCH_LIMIT: usize = 10_000_000;
/// What Apache reads of a request line or a header by default, rounded up; patterns must hold for that.
const SHORTEST_LIMIT: usize = 8_192;
/// The largest number that PCRE takes in braces.
const LONGEST_LIMIT: usize = 65_535;

/// Translates every set together, in the order given, as one list of rules.
///
/// # Errors
/// [`CannotExpress`] for the first rule that is not exact.
pub fn translate(sets: &[SiteRules]) -> Result<ApacheConfig, CannotExpress> {
    let refused =
        |rule: &str, reason: String| CannotExpress { server: SERVER, rule: rule.to_owned(), reason };
    let (mut rules, mut changes) = (Vec::new(), Vec::new());
    for set in observed_last(sets) {
        for rule in set.rules.rules.iter().filter(|rule| rule.enabled) {
            let level = at_the_site(&rule.level);
            let line = level.and_then(|()| decision(set, rule)).map_err(|why| refused(&rule.name, why))?;
            rules.extend(line.map(|line| (set.sites.as_deref(), line)));
        }
    }
    let outbound = || {
        let of_set = |set: &'_ SiteRules| set.rules.outbound.iter().filter(|rule| rule.enabled).count();
        sets.iter().map(of_set).sum::<usize>()
    };
    let (count, mut scoped) = (outbound(), false);
    let all = sets.iter().flat_map(|set| set.rules.outbound.iter().map(move |rule| (set, rule)));
    for (at, (set, rule)) in all.filter(|(_, rule)| rule.enabled).enumerate() {
        scoped |= set.sites.is_some();
        if scoped && set.sites.is_none() {
            let reason = "it is for every site, and comes behind a rule for the responses of one".to_owned();
            return Err(refused(&rule.name, reason));
        }
        let change = at_the_site(&rule.level)
            .and_then(|()| response::change(&set.marker, rule, &set.rules, at + 1 == count))
            .map_err(|why| refused(&rule.name, why))?;
        changes.extend(change.map(|change| (set.sites.as_deref(), at + 1, change)));
    }

    let every = Part {
        decisions: rules.iter().filter(|(sites, _)| sites.is_none()).map(|(_, decision)| decision).collect(),
        changes: changes.iter().filter(|(sites, ..)| sites.is_none()).map(|(_, n, c)| (*n, c)).collect(),
        again: false,
    };
    let of_rules = rules.iter().filter_map(|(sites, _)| *sites);
    let of_changes = changes.iter().filter_map(|(sites, ..)| *sites);
    let mut names: Vec<&String> = of_rules.chain(of_changes).flatten().collect();
    names.sort();
    names.dedup();
    let part = |name: &String| {
        let here = |sites: &Option<&[String]>| sites.is_some_and(|sites| sites.contains(name));
        let own = rules.iter().any(|(sites, _)| here(sites));
        let part = Part {
            decisions: rules
                .iter()
                .filter(|(sites, _)| own && (sites.is_none() || here(sites)))
                .map(|(_, decision)| decision)
                .collect(),
            changes: changes.iter().filter(|(sites, ..)| here(sites)).map(|(_, n, c)| (*n, c)).collect(),
            again: own && !every.decisions.is_empty(),
        };
        (name.clone(), part.text())
    };
    let sites = names.into_iter().map(part).collect();
    Ok(ApacheConfig { server: every.text(), sites })
}

fn at_the_site(level: &Level) -> Result<(), String> {
    if level.is_site() {
        return Ok(());
    }
    Err(format!(
        "it stands at {:?} and not at the site; which requests lie there is told by the decoded path, which \
         Apache decodes differently",
        level.path()
    ))
}

/// Translates one set for a reader, with a comment that says where it goes.
///
/// # Errors
/// As [`translate`].
pub fn translate_one(rules: &RuleSet) -> Result<String, CannotExpress> {
    let set = SiteRules { observe: false, marker: "rules".to_owned(), sites: None, rules: rules.clone() };
    let config = translate(&[set])?;
    Ok(format!(
        "# At the server level, such as a file in /etc/apache2/conf-enabled, for every virtual host;\n\
         # or within one <VirtualHost>. It needs mod_setenvif, mod_alias and, for a Header, mod_headers.\n\n{}",
        config.server
    ))
}

/// A rule that is written.
struct Decision {
    comment: String,
    /// Nothing: it always holds.
    expression: Option<String>,
    effect: Effect,
    reads: Vec<Reads>,
}

/// An input that a rule reads, and how long it may be.
struct Reads {
    input: Input,
    limit: usize,
}

/// Nothing where the rule has no effect.
fn decision(set: &SiteRules, rule: &Rule) -> Result<Option<Decision>, String> {
    let effect = Effect::of(&rule.action, can_answer)?.in_set(set);
    reads_the_raw_request_alone(SERVER, rule)?;
    let mut reads = Vec::new();
    let mut tests = Vec::new();
    for condition in &rule.conditions.list {
        tests.push(test(condition, rule.pattern_syntax, &mut reads)?);
    }
    if rule.match_url.negate || (rule.action == Action::None && !rule.stop_processing) {
        return Ok(None);
    }
    let expression = joined(&tests, rule.conditions.grouping);
    let comment = format!("{}: {}", plain(&set.marker), plain(&rule.name));
    Ok(Some(Decision { comment, expression, effect, reads }))
}

/// Nothing where there are no tests.
fn joined(tests: &[String], grouping: Grouping) -> Option<String> {
    let operator = match grouping {
        Grouping::MatchAll => " && ",
        Grouping::MatchAny => " || ",
    };
    (!tests.is_empty()).then(|| tests.join(operator))
}

/// An expression that holds where the condition does.
fn test(condition: &Condition, syntax: PatternSyntax, reads: &mut Vec<Reads>) -> Result<String, String> {
    if condition.match_type != MatchType::Pattern {
        return Err("a condition on files or folders".to_owned());
    }
    let input = Input::of(&condition.input)?;
    let node = node(&condition.pattern, condition.ignore_case, syntax)?;
    let not = if condition.negate { "!" } else { "" };
    if let Source::Secure { yes, no } = input.source {
        let pattern = Pattern::from_node(node, &PatternLimits::default()).map_err(|why| why.to_string())?;
        let found = |text: &str| pattern.is_match(text, &mut Budget::new(1_000_000));
        let (yes, no) =
            (found(yes).map_err(|why| why.to_string())?, found(no).map_err(|why| why.to_string())?);
        return Ok(match (yes, no) {
            (true, false) => format!("{not}(%{{HTTPS}} == 'on')"),
            (false, true) => format!("{not}(%{{HTTPS}} != 'on')"),
            (always, _) => format!("{not}({always})"),
        });
    }
    let chains = Chains::of(&node).map_err(|why| {
        format!("pattern {:?} has no linear form: {why}; Apache would backtrack", condition.pattern)
    })?;
    input.accepts(&chains).map_err(|why| format!("pattern {:?}: {why}", condition.pattern))?;
    let mut ways = Vec::new();
    for choice in &chains.choices {
        let Some(pattern) = pcre::pattern(choice, input.encoding, input.start()) else { continue };
        if pattern.len() > MAX_PATTERN {
            return Err(format!(
                "pattern {:?} becomes {} bytes; {MAX_PATTERN} are written for Apache",
                condition.pattern,
                pattern.len()
            ));
        }
        let limit = longest(&pattern);
        if limit < SHORTEST_LIMIT {
            return Err(format!(
                "pattern {:?} could take PCRE to its limit within {limit} bytes; {SHORTEST_LIMIT} is the least",
                condition.pattern
            ));
        }
        reads.push(Reads { input: input.clone(), limit });
        ways.extend(input.words.iter().map(|word| format!("{word} =~ m/{pattern}/")));
    }
    if ways.is_empty() {
        ways.push("false".to_owned());
    }
    Ok(format!("{not}({})", ways.join(" || ")))
}

/// Bytes of text within which PCRE cannot reach its limit. It counts a turn where a group or an alternative is
/// entered. The pattern passes over each byte once with each of its parts, so a byte costs at most as many turns
/// as there are groups and alternatives in all.
fn longest(pattern: &str) -> usize {
    let turns = pattern.bytes().filter(|b| matches!(b, b'(' | b'|')).count().max(1);
    (MATCH_LIMIT / turns).min(LONGEST_LIMIT)
}

/// What goes to one place.
struct Part<'a> {
    decisions: Vec<&'a Decision>,
    /// With their numbers among all of them.
    changes: Vec<(usize, &'a Change)>,
    /// The server level has decided already, for rules of every site.
    again: bool,
}

impl Part<'_> {
    fn text(&self) -> String {
        let Part { decisions, changes, again } = self;
        if decisions.is_empty() && changes.is_empty() {
            return "# Stopgap: no rule has an effect.\n".to_owned();
        }
        let mut out = String::new();
        if *again {
            out.push_str("# The rules of this site in their order, also those of every site.\n");
            out.push_str("SetEnvIfExpr \"true\" !STOPGAP_VERDICT\n");
        }
        let mut guards: Vec<(&str, usize)> = Vec::new();
        let of_rules = decisions.iter().flat_map(|decision| &decision.reads);
        for reads in of_rules.chain(changes.iter().flat_map(|(_, change)| &change.reads)) {
            for word in &reads.input.words {
                match guards.iter_mut().find(|(known, _)| known == word) {
                    Some((_, limit)) => *limit = (*limit).min(reads.limit),
                    None => guards.push((word, reads.limit)),
                }
            }
        }
        let reads = |word: &str| guards.iter().any(|(known, _)| *known == word);
        if reads(input::TARGET) {
            out.push_str(input::SET_TARGET);
        }
        if reads(input::METHOD) {
            out.push_str(input::SET_METHOD);
        }
        if !guards.is_empty() {
            out.push_str("# What is too long for PCRE to be sure of is refused.\n");
        }
        for (word, limit) in &guards {
            let long = format!("{word} =~ m/^(?s:.{{{limit}}})/");
            // Writing to a string cannot fail.
            let _ = writeln!(out, "SetEnvIfExpr \"{long}\" STOPGAP_VERDICT=abort");
        }
        for Decision { comment, expression, effect, .. } in decisions {
            let holds =
                expression.as_ref().map(|expression| format!(" && ({expression})")).unwrap_or_default();
            let _ = writeln!(
                out,
                "# {comment}\nSetEnvIfExpr \"-z reqenv('STOPGAP_VERDICT'){holds}\" STOPGAP_VERDICT={}",
                effect.word()
            );
        }
        // A guard aborts, too.
        let mut effects: Vec<Effect> = guards.iter().map(|_| Effect::Abort).take(1).collect();
        for decision in decisions {
            if decision.effect != Effect::Pass && !effects.contains(&decision.effect) {
                effects.push(decision.effect.clone());
            }
        }
        if effects.contains(&Effect::Abort) {
            out.push_str("SetEnvIfExpr \"reqenv('STOPGAP_VERDICT') == 'abort'\" nokeepalive\n");
        }
        for effect in effects {
            let status = match &effect {
                Effect::Status(status) => *status,
                Effect::Observe(marker) => {
                    let _ = writeln!(out, "{}", observing(marker, &effect.word()));
                    continue;
                }
                _ => 403,
            };
            let _ = writeln!(out, "<If \"reqenv('STOPGAP_VERDICT') == '{}'\">", effect.word());
            // The server's own page could be one of the application, or a redirect with another status.
            if status >= 400 {
                let _ = writeln!(out, "    ErrorDocument {status} default");
            }
            let _ = writeln!(out, "    Redirect {status}\n</If>");
        }
        for (number, change) in changes {
            change.write(*number, &mut out);
        }
        out
    }
}

/// A line for the error log, with the client and the request: that there is no such file is an error that Apache
/// logs, and nothing follows from it. A name that begins with words and a blank is no file in the root folder.
fn observing(marker: &str, word: &str) -> String {
    format!(
        "SetEnvIfExpr \"reqenv('STOPGAP_VERDICT') == '{word}' && file('{OBSERVES} {marker}: ' . %{{THE_REQUEST}}) == \
         'x'\" STOPGAP_OBSERVED=1"
    )
}

/// Apache answers 500 where it does not know a status; a redirect needs an address.
fn can_answer(status: u16) -> Result<(), String> {
    match status {
        200..=208 | 226 | 400..=417 | 421..=424 | 426 | 428 | 429 | 431 | 451 | 500..=508 | 510 | 511 => {
            Ok(())
        }
        _ => Err(format!("Apache cannot answer with status {status} alone")),
    }
}

/// The patterns of a condition over a text that is as the rules see it.
fn matcher(condition: &Condition, syntax: PatternSyntax) -> Result<Vec<String>, String> {
    let chains = chains(&condition.pattern, condition.ignore_case, syntax)
        .map_err(|why| format!("pattern {:?} has no linear form: {why}", condition.pattern))?;
    let patterns = chains.choices.iter().filter_map(|choice| pcre::pattern(choice, Encoding::Raw, "^"));
    let patterns: Vec<String> = patterns.collect();
    match patterns.iter().find(|pattern| pattern.len() > MAX_PATTERN) {
        Some(_) => Err(format!("pattern {:?} is too long for Apache", condition.pattern)),
        None => Ok(patterns),
    }
}
