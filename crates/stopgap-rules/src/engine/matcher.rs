//! One matcher for the three pattern syntaxes. Its pattern is checked when the rules are compiled, and prepared
//! for matching when a request first needs it: of a thousand rules, a server's requests need a few.
//!
//! What a request may cause that way is bounded: a pattern that is not small ([`crate::pattern::ast::Measure::is_light`]) is
//! prepared at once, with the rules, and so are those of rules that every request is compared with; the others
//! once each, and 16 of them in one request. Past these, preparing one is counted in steps, or, for a short
//! text, the matcher runs it that needs no preparation to speak of.

use crate::model::PatternSyntax;
use crate::pattern::ast::{CharSet, Node};
use crate::pattern::literal::{self, Choices};
use crate::pattern::{self, Budget, OverLimit, Pattern, PatternError, PatternLimits, Room};
use crate::{exact, wildcard};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock};

/// A checked pattern, and whether anybody reads what it captured.
#[derive(Debug)]
pub(super) struct Matcher {
    prepared: Arc<Prepared>,
    captures: bool,
}

/// What a pattern captured: the whole match, then the groups; empty where a group took no part.
pub(super) type Groups = Vec<String>;

/// A checked pattern: all of it that rules share, and an engine and the one after it.
#[derive(Debug)]
struct Prepared {
    source: Source<Box<str>>,
    limits: Arc<PatternLimits>,
    /// It is found in every text.
    always: bool,
    /// What a text must hold for it to be found.
    literals: Choices,
    /// In a box, because most patterns are never prepared.
    pattern: OnceLock<Box<Pattern>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Source<T> {
    text: T,
    syntax: PatternSyntax,
    ignore_case: bool,
}

impl Source<&str> {
    fn node(&self, limits: &PatternLimits) -> Result<Node, PatternError> {
        self.node_in(&mut Room::default(), limits)
    }

    fn node_in(&self, room: &mut Room, limits: &PatternLimits) -> Result<Node, PatternError> {
        let text = self.text;
        match self.syntax {
            PatternSyntax::EcmaScript => pattern::parse_in(room, text, self.ignore_case, limits),
            PatternSyntax::Wildcard => wildcard::node(text, self.ignore_case, limits),
            PatternSyntax::ExactMatch => exact::node(text, self.ignore_case, limits),
        }
    }

    fn check(&self, room: &mut Room, limits: &Arc<PatternLimits>) -> Result<Prepared, PatternError> {
        let node = self.node_in(room, limits)?;
        let literals = literal::required(&node);
        let always = literal::is_always(&node);
        let pattern = OnceLock::new();
        let measure = node.measure();
        if measure.nodes > limits.size {
            return Err(PatternError::TooLarge { found: measure.nodes, limit: limits.size });
        }
        if !measure.is_light() {
            let _ = pattern.set(Box::new(Pattern::from_node(node, limits)?));
        }
        let source = Source { text: self.text.into(), syntax: self.syntax, ignore_case: self.ignore_case };
        Ok(Prepared { source, limits: limits.clone(), always, literals, pattern })
    }
}

/// The patterns of a rule set: equal ones are one, and one that an earlier set had is that one.
#[derive(Debug)]
pub(super) struct Patterns<'a> {
    limits: Arc<PatternLimits>,
    known: HashMap<Source<&'a str>, Arc<Prepared>>,
    /// The last of those that every text has: nearly every rule has the same one for its address.
    last_always: Option<Arc<Prepared>>,
    room: Room,
}

impl<'a> Patterns<'a> {
    /// Room for about so many.
    pub(super) fn new(limits: &PatternLimits, count: usize) -> Patterns<'a> {
        let known = HashMap::with_capacity(count);
        Patterns { limits: Arc::new(limits.clone()), known, last_always: None, room: Room::default() }
    }

    /// With those of these matchers, as far as they were checked within the same limits.
    #[must_use]
    pub(super) fn after(mut self, earlier: impl Iterator<Item = &'a Matcher>) -> Patterns<'a> {
        let mut last: Option<&Arc<Prepared>> = None;
        for Matcher { prepared, .. } in earlier {
            // Nearly every rule has `.*` for its address.
            let again = prepared.always && last.is_some_and(|last| Arc::ptr_eq(last, prepared));
            if prepared.always {
                last = Some(prepared);
            }
            if !again && *prepared.limits == *self.limits {
                self.known.entry(prepared.source()).or_insert_with(|| prepared.clone());
            }
        }
        self
    }

    /// A matcher for this pattern.
    pub(super) fn matcher(
        &mut self,
        text: &'a str,
        syntax: PatternSyntax,
        ignore_case: bool,
        captures: bool,
    ) -> Result<Matcher, PatternError> {
        let source = Source { text, syntax, ignore_case };
        if let Some(prepared) = self.last_always.as_ref().filter(|last| last.source() == source) {
            return Ok(Matcher { prepared: prepared.clone(), captures });
        }
        let prepared = match self.known.entry(source) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(free) => free.insert(Arc::new(source.check(&mut self.room, &self.limits)?)).clone(),
        };
        if prepared.always {
            self.last_always = Some(prepared.clone());
        }
        Ok(Matcher { prepared, captures })
    }
}

impl Matcher {
    pub(super) fn compile(
        text: &str,
        syntax: PatternSyntax,
        ignore_case: bool,
        captures: bool,
        limits: &PatternLimits,
    ) -> Result<Matcher, PatternError> {
        Patterns::new(limits, 1).matcher(text, syntax, ignore_case, captures)
    }

    /// What a match needs, each of them by itself: one of these literals.
    pub(super) fn literals(&self) -> &Choices {
        &self.prepared.literals
    }

    /// Prepares the pattern now.
    pub(super) fn prepare(&self) {
        if !self.prepared.always || self.captures {
            self.prepared.pattern.get_or_init(|| Box::new(self.prepared.prepare()));
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
    fn source(&self) -> Source<&str> {
        let Source { text, syntax, ignore_case } = &self.source;
        Source { text, syntax: *syntax, ignore_case: *ignore_case }
    }

    fn matches(&self, text: &str, captures: bool, budget: &mut Budget) -> Result<Option<Groups>, OverLimit> {
        let temporary;
        let pattern = match self.pattern.get() {
            Some(pattern) => pattern,
            None if budget.may_compile() => self.pattern.get_or_init(|| Box::new(self.prepare())),
            // Over a long text preparing pays, and takes as long as so many steps.
            None if text.len() >= 512 => {
                budget.spend(20_000)?;
                self.pattern.get_or_init(|| Box::new(self.prepare()))
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
        let pattern =
            self.source().node(&self.limits).and_then(|node| Pattern::from_node(node, &self.limits));
        // It was checked with the rules; were it refused now, the matcher that takes every pattern has it.
        pattern.unwrap_or_else(|_| self.of_steps())
    }

    fn of_steps(&self) -> Pattern {
        // It was parsed before, so it can be parsed again.
        Pattern::of_steps(&self.source().node(&self.limits).unwrap_or(Node::Set(CharSet::none())))
    }
}
