//! One matcher for the three pattern syntaxes. Its pattern is checked when the rules are compiled, and prepared
//! for matching when a request first needs it: of a thousand rules, a server's requests need a few.
//!
//! What a request may cause that way is bounded: a pattern that is not small ([`pattern::is_light`]) is
//! prepared at once, with the rules, and so are those of rules that every request is compared with; the others
//! once each, and 16 of them in one request. Past these, preparing one is counted in steps, or, for a short
//! text, the matcher runs it that needs no preparation to speak of.

use crate::model::PatternSyntax;
use crate::pattern::ast::{CharSet, Node};
use crate::pattern::literal::{self, Literals};
use crate::pattern::{self, Budget, OverLimit, Pattern, PatternError, PatternLimits};
use crate::{exact, wildcard};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// A checked pattern, and whether anybody reads what it captured.
#[derive(Debug)]
pub(super) struct Matcher {
    prepared: Arc<Prepared>,
    captures: bool,
}

/// What a pattern captured: the whole match, then the groups; empty where a group took no part.
pub(super) type Groups = Vec<String>;

/// A checked pattern: all of it that rules share.
#[derive(Debug)]
struct Prepared {
    source: Source,
    limits: PatternLimits,
    /// It is found in every text.
    always: bool,
    pattern: OnceLock<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    text: Arc<str>,
    syntax: PatternSyntax,
    ignore_case: bool,
}

impl Source {
    fn node(&self, limits: &PatternLimits) -> Result<Node, PatternError> {
        let text = &self.text;
        match self.syntax {
            PatternSyntax::EcmaScript => pattern::parse(text, self.ignore_case, limits),
            PatternSyntax::Wildcard => wildcard::node(text, self.ignore_case, limits),
            PatternSyntax::ExactMatch => exact::node(text, self.ignore_case, limits),
        }
    }
}

/// The patterns of a rule set: equal ones are one.
#[derive(Debug)]
pub(super) struct Patterns<'l> {
    limits: &'l PatternLimits,
    known: HashMap<Source, (Arc<Prepared>, Vec<Literals>)>,
}

impl<'l> Patterns<'l> {
    pub(super) fn new(limits: &'l PatternLimits) -> Patterns<'l> {
        Patterns { limits, known: HashMap::new() }
    }

    /// A matcher for this pattern, and what a match needs, each of them by itself: one of
    /// these literals.
    pub(super) fn matcher(
        &mut self,
        text: &str,
        syntax: PatternSyntax,
        ignore_case: bool,
        captures: bool,
    ) -> Result<(Matcher, Vec<Literals>), PatternError> {
        let source = Source { text: text.into(), syntax, ignore_case };
        if let Some((prepared, literals)) = self.known.get(&source) {
            return Ok((Matcher { prepared: prepared.clone(), captures }, literals.clone()));
        }
        let (prepared, literals) = check(source.clone(), self.limits)?;
        let prepared = Arc::new(prepared);
        self.known.insert(source, (prepared.clone(), literals.clone()));
        Ok((Matcher { prepared, captures }, literals))
    }
}

fn check(source: Source, limits: &PatternLimits) -> Result<(Prepared, Vec<Literals>), PatternError> {
    let node = source.node(limits)?;
    let literals = literal::required(&node);
    let always = literal::is_always(&node);
    let pattern = OnceLock::new();
    let size = node.size();
    if size > limits.size {
        return Err(PatternError::TooLarge { found: size, limit: limits.size });
    }
    if !pattern::is_light(&node) {
        let _ = pattern.set(Pattern::from_node(node, limits)?);
    }
    Ok((Prepared { source, limits: limits.clone(), always, pattern }, literals))
}

impl Matcher {
    pub(super) fn compile(
        text: &str,
        syntax: PatternSyntax,
        ignore_case: bool,
        captures: bool,
        limits: &PatternLimits,
    ) -> Result<Matcher, PatternError> {
        Ok(Patterns::new(limits).matcher(text, syntax, ignore_case, captures)?.0)
    }

    /// Prepares the pattern now.
    pub(super) fn prepare(&self) {
        if !self.prepared.always || self.captures {
            self.prepared.pattern.get_or_init(|| self.prepared.prepare());
        }
    }

    /// Nothing: no match. The groups are empty where nobody reads them.
    pub(super) fn matches(&self, text: &str, budget: &mut Budget) -> Result<Option<Groups>, OverLimit> {
        if self.prepared.always && !self.captures {
            return Ok(Some(Groups::new()));
        }
        self.prepared.matches(text, self.captures, budget)
    }

    /// The same without a short cut: what tests compare with.
    pub(super) fn matches_plainly(
        &self,
        text: &str,
        budget: &mut Budget,
    ) -> Result<Option<Groups>, OverLimit> {
        self.prepared.matches(text, self.captures, budget)
    }
}

impl Prepared {
    fn matches(&self, text: &str, captures: bool, budget: &mut Budget) -> Result<Option<Groups>, OverLimit> {
        let temporary;
        let pattern = match self.pattern.get() {
            Some(pattern) => pattern,
            None if budget.may_compile() => self.pattern.get_or_init(|| self.prepare()),
            // Over a long text preparing pays, and takes as long as so many steps.
            None if text.len() >= 512 => {
                budget.spend(20_000)?;
                self.pattern.get_or_init(|| self.prepare())
            }
            None => {
                // About as long as parsing takes.
                budget.spend(1_000)?;
                temporary = self.of_steps();
                &temporary
            }
        };
        budget.spend(pattern.searches() * (1 + text.len() / 16))?;
        if !captures {
            return Ok(pattern.is_match(text, budget)?.then(Groups::new));
        }
        let Some(groups) = pattern.captures(text, budget)? else { return Ok(None) };
        let taken = |range: Option<std::ops::Range<usize>>| {
            range.and_then(|range| text.get(range)).unwrap_or_default().to_owned()
        };
        Ok(Some(groups.into_iter().map(taken).collect()))
    }

    fn prepare(&self) -> Pattern {
        let pattern = self.source.node(&self.limits).and_then(|node| Pattern::from_node(node, &self.limits));
        // It was checked with the rules; were it refused now, the matcher that takes every pattern has it.
        pattern.unwrap_or_else(|_| self.of_steps())
    }

    fn of_steps(&self) -> Pattern {
        // It was parsed before, so it can be parsed again.
        Pattern::of_steps(&self.source.node(&self.limits).unwrap_or(Node::Set(CharSet::none())))
    }
}
