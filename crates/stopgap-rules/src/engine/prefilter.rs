//! Which rules can match a request at all. A rule is *guarded* by literals, each in one of the inputs, of
//! which a match needs one; all literals of an input are looked for in one pass over its text, and a rule of
//! whose guard nothing was found is not evaluated. So a thousand rules cost a pass, and not a thousand
//! patterns. A rule without a guard is always evaluated.
//!
//! What is not here: taking literals out of patterns ([`crate::pattern::literal`]), evaluating a rule.

mod grams;

use crate::pattern::literal::Literals;
use crate::pattern::{Budget, OverLimit};
use grams::Grams;
use std::collections::HashMap;

/// What one rule is guarded by: literals, folded, and the input in which each is looked for.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    literals: Vec<(usize, Vec<u8>)>,
    /// See [`Literals::rarity`].
    rarity: u32,
}

impl Guard {
    pub(super) fn new(input: usize, literals: &Literals) -> Guard {
        let of_input = literals.iter().map(|literal| (input, literal.to_owned())).collect();
        Guard { literals: of_input, rarity: literals.rarity() }
    }

    /// What a path below a level holds.
    pub(super) fn of_level(input: usize, level: &str) -> Guard {
        let literal = format!("/{}", level.to_ascii_lowercase()).into_bytes();
        Guard { literals: vec![(input, literal)], rarity: 0 }
    }

    /// Where either may be needed.
    pub(super) fn or(mut self, other: Guard) -> Guard {
        self.literals.extend(other.literals);
        Guard { literals: self.literals, rarity: self.rarity.min(other.rarity) }
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
    /// From the guards of each rule, in their order: any of a rule's guards will do, and the one is taken whose
    /// literals the fewest requests hold and the fewest other rules.
    pub(super) fn new(choices: Vec<Vec<Guard>>) -> Prefilter {
        let mut counts: HashMap<&[u8], u32> = HashMap::new();
        for (_, literal) in choices.iter().flatten().flat_map(|guard| &guard.literals) {
            *counts.entry(literal).or_default() += 1;
        }
        let crowd = |guard: &&Guard| {
            let most = guard.literals.iter().filter_map(|(_, literal)| counts.get(literal.as_slice())).max();
            most.copied().unwrap_or(1).max(1).ilog2()
        };
        let mut unguarded = Rules::none(choices.len());
        let mut all: Vec<(usize, Vec<u8>, usize)> = Vec::new();
        for (rule, guards) in choices.iter().enumerate() {
            let best =
                guards.iter().max_by_key(|guard| i64::from(guard.rarity) - 4 * i64::from(crowd(guard)));
            match best {
                Some(guard) => {
                    all.extend(guard.literals.iter().map(|(input, literal)| (*input, literal.clone(), rule)));
                }
                None => unguarded.add(rule),
            }
        }
        all.sort_unstable();
        all.dedup();
        let mut literals = 0;
        let scanners = all.chunk_by(|a, b| a.0 == b.0).filter_map(|of_input| {
            let (input, ..) = of_input.first()?;
            let given = of_input.iter().map(|(_, literal, rule)| (literal.as_slice(), *rule)).collect();
            let grams = grams::sorted(given)
                .into_iter()
                .map(|(width, given)| Grams::new(width, given.into_iter(), &mut literals));
            Some(Scanner {
                input: *input,
                last: of_input.iter().map(|(.., rule)| *rule).max()?,
                grams: grams.collect(),
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
