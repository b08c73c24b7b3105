//! Which rules can match a request at all. A rule is *guarded* by literals, each in one of the inputs, of
//! which a match needs one; all literals of an input are looked for in one pass over its text, and a rule of
//! whose guard nothing was found is not evaluated. So a thousand rules cost a pass, and not a thousand
//! patterns. A rule without a guard is always evaluated.
//!
//! What is not here: taking literals out of patterns ([`crate::pattern::literal`]), evaluating a rule.

mod grams;

use crate::pattern::literal::Choice;
use crate::pattern::{Budget, OverLimit};
use grams::Grams;
use std::borrow::Cow;

/// What the rules are guarded by, rule by rule: any of a rule's guards will do.
#[derive(Debug)]
pub(super) struct Guards<'l> {
    /// Folded, with the input in which each is looked for.
    literals: Vec<Literal<'l>>,
    guards: Vec<Guard>,
    /// Where each rule's guards end.
    rules: Vec<usize>,
}

/// The input, and the literal.
type Literal<'l> = (usize, Cow<'l, [u8]>);

/// A guard with its literals.
type Choosable<'g> = (&'g Guard, &'g [Literal<'g>]);

/// Literals of which a match needs one.
#[derive(Debug)]
struct Guard {
    /// Its last literal is the one before.
    end: usize,
    /// See [`Choice::rarity`].
    rarity: u32,
}

impl<'l> Guards<'l> {
    /// For about so many rules.
    pub(super) fn new(rules: usize) -> Guards<'l> {
        let room = rules.saturating_mul(2);
        Guards {
            literals: Vec::with_capacity(room),
            guards: Vec::with_capacity(room),
            rules: Vec::with_capacity(rules),
        }
    }

    pub(super) fn add(&mut self, input: usize, choice: Choice<'l>) {
        self.add_any_of(&[(input, choice)]);
    }

    /// Where any of these may be needed.
    pub(super) fn add_any_of(&mut self, choices: &[(usize, Choice<'l>)]) {
        let mut rarity = u32::MAX;
        for (input, choice) in choices {
            self.literals.extend(choice.iter().map(|literal| (*input, Cow::Borrowed(literal))));
            rarity = rarity.min(choice.rarity());
        }
        self.guards.push(Guard { end: self.literals.len(), rarity });
    }

    /// What a path below a level holds.
    pub(super) fn add_level(&mut self, input: usize, level: &str) {
        let literal = format!("/{}", level.to_ascii_lowercase()).into_bytes();
        self.literals.push((input, Cow::Owned(literal)));
        self.guards.push(Guard { end: self.literals.len(), rarity: 0 });
    }

    /// What is added next guards the next rule.
    pub(super) fn end_rule(&mut self) {
        self.rules.push(self.guards.len());
    }

    /// The guards of each rule, each with its literals.
    fn iter(&self) -> impl Iterator<Item = impl Iterator<Item = Choosable<'_>>> {
        let (mut first, mut literal) = (0, 0);
        self.rules.iter().map(move |end| {
            let guards = self.guards.get(first..*end).unwrap_or_default();
            let from = literal;
            (first, literal) = (*end, guards.last().map_or(literal, |guard| guard.end));
            let starts = std::iter::once(from).chain(guards.iter().map(|guard| guard.end));
            starts
                .zip(guards)
                .map(|(from, guard)| (guard, self.literals.get(from..guard.end).unwrap_or_default()))
        })
    }
}

/// The literals of all rules.
#[derive(Debug)]
pub(super) struct Prefilter {
    scanners: Vec<Scanner>,
    /// Rules without a guard.
    unguarded: Rules,
    /// In all scanners.
    literals: usize,
}

/// The literals that are looked for in one input.
#[derive(Debug)]
struct Scanner {
    input: usize,
    /// The last rule that one of them guards.
    last: usize,
    /// One of each width that there is.
    grams: Vec<Grams>,
}

impl Prefilter {
    /// From the guards of each rule: the one is taken whose literals the fewest requests hold and the fewest
    /// other rules.
    pub(super) fn new(guards: &Guards) -> Prefilter {
        let mut counts = Counts::new(guards.literals.len());
        guards.literals.iter().for_each(|(_, literal)| counts.add(literal));
        let value = |(guard, literals): &Choosable| {
            let most = literals.iter().map(|(_, literal)| counts.of(literal)).max();
            i64::from(guard.rarity) - 4 * i64::from(most.unwrap_or(1).max(1).ilog2())
        };
        let mut unguarded = Rules::none(guards.rules.len());
        // In an order that brings equal ones together, by their hashes: these decide nearly every comparison.
        let mut all: Vec<(usize, u64, &[u8], usize)> = Vec::with_capacity(guards.rules.len());
        for (rule, guards) in guards.iter().enumerate() {
            match guards.max_by_key(value) {
                Some((_, literals)) => {
                    all.extend(
                        literals
                            .iter()
                            .map(|(input, literal)| (*input, grams::mixed(literal), &**literal, rule)),
                    );
                }
                None => unguarded.add(rule),
            }
        }
        all.sort_unstable();
        all.dedup();
        let mut literals = 0;
        let scanners = all.chunk_by(|a, b| a.0 == b.0).filter_map(|of_input| {
            let (input, ..) = of_input.first()?;
            let given = of_input.iter().map(|(.., literal, rule)| (*literal, *rule)).collect();
            Some(Scanner {
                input: *input,
                last: of_input.iter().map(|(.., rule)| *rule).max()?,
                grams: grams::of(given, &mut literals),
            })
        });
        let scanners = scanners.collect();
        Prefilter { scanners, unguarded, literals }
    }

    /// The rules without a guard: where a request starts.
    pub(super) fn unguarded(&self) -> &Rules {
        &self.unguarded
    }

    /// The inputs that are looked at, each with the last rule that it matters to.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.scanners.iter().map(|scanner| (scanner.input, scanner.last))
    }

    /// Adds the rules whose guard is found in this text of an input.
    ///
    /// # Errors
    /// [`OverLimit`] where the budget is spent: it takes one step for 16 bytes, and one for each place where a
    /// literal may stand.
    pub(super) fn scan(
        &self,
        input: usize,
        text: &str,
        found: &mut Found,
        budget: &mut Budget,
    ) -> Result<(), OverLimit> {
        let at = self.scanners.binary_search_by_key(&input, |scanner| scanner.input);
        let Some(scanner) = at.ok().and_then(|at| self.scanners.get(at)) else { return Ok(()) };
        scanner.grams.iter().try_for_each(|grams| grams.scan(text.as_bytes(), found, budget))
    }
}

/// How many guards hold each literal, roughly: two literals may share a count.
struct Counts {
    shift: u32,
    counts: Vec<u32>,
}

impl Counts {
    /// Room for so many literals.
    fn new(literals: usize) -> Counts {
        let size = literals.saturating_mul(4).next_power_of_two().clamp(64, 1 << 18);
        Counts { shift: 64 - size.ilog2(), counts: vec![0; size] }
    }

    fn add(&mut self, literal: &[u8]) {
        if let Some(count) = self.counts.get_mut(grams::hash(grams::mixed(literal), self.shift)) {
            *count = count.saturating_add(1);
        }
    }

    fn of(&self, literal: &[u8]) -> u32 {
        self.counts.get(grams::hash(grams::mixed(literal), self.shift)).copied().unwrap_or(0)
    }
}

/// What one request has shown so far.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rules: Rules,
    /// Literals that were found: their rules need not be added again.
    literals: Bits,
}

impl Found {
    pub(super) fn new(prefilter: &Prefilter) -> Found {
        Found { rules: prefilter.unguarded.clone(), literals: Bits::new(prefilter.literals) }
    }

    /// Every rule, whatever the text holds.
    pub(super) fn all(rules: usize) -> Found {
        let mut all = Rules::none(rules);
        (0..rules).for_each(|rule| all.add(rule));
        Found { rules: all, literals: Bits::new(0) }
    }
}

/// A set of rules by their places.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    bits: Bits,
}

impl Rules {
    fn none(rules: usize) -> Rules {
        Rules { bits: Bits { words: vec![0; rules.div_ceil(64)], size: rules } }
    }

    fn add(&mut self, rule: usize) {
        self.bits.add(rule);
    }

    /// The first of them at this place or after it.
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        let (mut at, mut kept) = (from / 64, u64::MAX << (from % 64));
        loop {
            let word = self.bits.words.get(at)? & kept;
            if word != 0 {
                return Some(at * 64 + usize::try_from(word.trailing_zeros()).unwrap_or(0));
            }
            (at, kept) = (at + 1, u64::MAX);
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let found = self.next(from)?;
            from = found + 1;
            Some(found)
        })
    }
}

/// Bits that take no memory as long as all of them are zero.
#[derive(Debug, Clone)]
struct Bits {
    words: Vec<u64>,
    size: usize,
}

impl Bits {
    fn new(size: usize) -> Bits {
        Bits { words: Vec::new(), size }
    }

    fn has(&self, bit: usize) -> bool {
        self.words.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    fn add(&mut self, bit: usize) {
        if self.words.is_empty() {
            self.words = vec![0; self.size.div_ceil(64)];
        }
        if let Some(word) = self.words.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }
}

#[cfg(test)]
mod tests;
