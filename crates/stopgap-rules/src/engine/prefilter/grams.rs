//! Literals found by their rarest bytes.
//!
//! Of each literal one *gram* (4 bytes in a row, 2 where it is shorter) is chosen: the one that fewest other
//! literals and fewest requests hold. The text is read once; at each of its bytes the gram that ends there is
//! looked up, first in a table of bits that fits a processor's nearest memory, and where that says yes among
//! the grams, and the whole literal is then compared. Reading a benign text takes as long for ten thousand
//! literals as for ten.

use super::Found;
use crate::pattern::literal::{common_grams, weight};
use crate::pattern::{Budget, OverLimit};
use std::ops::Range;

/// Literals with one gram that are compared at a place. Where there are more, the gram alone stands for the
/// rest of them, so that no text can ask for more comparisons.
const MAX_AT_GRAM: usize = 8;
/// Bits of the table for each literal: one place in 32 is looked up in vain.
const BITS_PER_LITERAL: usize = 32;

#[derive(Debug)]
pub(super) struct Grams {
    mask: u32,
    /// How many bits of a hash are dropped to find a bit of the table.
    shift: u32,
    table: Vec<u64>,
    slots: Slots,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    rules: Vec<u32>,
}

/// A literal.
#[derive(Debug)]
struct Entry {
    /// Its number among all literals of the engine.
    number: usize,
    bytes: Range<u32>,
    /// The bytes up to the end of its gram.
    reach: usize,
    rules: Range<u32>,
}

impl Grams {
    /// From literals of at least `width` bytes and the rule of each, sorted. `number` counts literals.
    pub(super) fn new<'l>(
        width: usize,
        literals: impl Iterator<Item = (&'l [u8], usize)>,
        number: &mut usize,
    ) -> Grams {
        let mut grouped: Vec<(&[u8], Vec<u32>)> = Vec::new();
        for (literal, rule) in literals {
            let rule = u32::try_from(rule).unwrap_or(u32::MAX);
            match grouped.last_mut() {
                Some((last, rules)) if *last == literal => rules.push(rule),
                _ => grouped.push((literal, vec![rule])),
            }
        }
        let mask = if width >= 4 { u32::MAX } else { (1 << (8 * width)) - 1 };
        let size = (grouped.len() * BITS_PER_LITERAL).next_power_of_two().max(64);
        let mut built = Grams {
            mask,
            shift: 32 - size.ilog2().min(31),
            table: vec![0; size.div_ceil(64)],
            slots: Slots::new(grouped.len()),
            entries: Vec::with_capacity(grouped.len()),
            bytes: Vec::new(),
            rules: Vec::new(),
        };
        let mut crowds = Crowds::of(&grouped, width);
        let mut by_gram: Vec<(u32, usize, usize)> = grouped
            .iter()
            .enumerate()
            .map(|(at, (literal, _))| {
                let (gram, reach) = crowds.choose(literal, width);
                (gram, reach, at)
            })
            .collect();
        by_gram.sort_unstable();
        for of_gram in by_gram.chunk_by(|a, b| a.0 == b.0) {
            built.gram(of_gram, &grouped, width, number);
        }
        built
    }

    fn gram(
        &mut self,
        of_gram: &[(u32, usize, usize)],
        grouped: &[(&[u8], Vec<u32>)],
        width: usize,
        number: &mut usize,
    ) {
        let Some((gram, ..)) = of_gram.first() else { return };
        let from = length(&self.entries);
        let exact = if of_gram.len() > MAX_AT_GRAM { MAX_AT_GRAM - 1 } else { of_gram.len() };
        for (_, reach, at) in of_gram.iter().take(exact) {
            if let Some((literal, rules)) = grouped.get(*at) {
                self.entry(literal, *reach, rules.iter().copied(), number);
            }
        }
        if exact < of_gram.len() {
            let rest = of_gram.iter().skip(exact).filter_map(|(.., at)| grouped.get(*at));
            let gram = gram.to_be_bytes();
            let gram = gram.get(gram.len() - width..).unwrap_or_default();
            self.entry(gram, width, rest.flat_map(|(_, rules)| rules.iter().copied()), number);
        }
        self.slots.insert(*gram, from..length(&self.entries));
        let bit = hash(*gram, self.shift);
        if let Some(word) = self.table.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn entry(&mut self, literal: &[u8], reach: usize, rules: impl Iterator<Item = u32>, number: &mut usize) {
        let bytes = length(&self.bytes);
        self.bytes.extend_from_slice(literal);
        let first = length(&self.rules);
        self.rules.extend(rules);
        self.entries.push(Entry {
            number: *number,
            bytes: bytes..length(&self.bytes),
            reach,
            rules: first..length(&self.rules),
        });
        *number += 1;
    }

    /// Adds the rules of every literal that the text holds.
    pub(super) fn scan(&self, text: &[u8], found: &mut Found, budget: &mut Budget) -> Result<(), OverLimit> {
        if self.entries.is_empty() {
            return Ok(());
        }
        budget.spend(text.len() / 16)?;
        let mut last = 0u32;
        for (at, byte) in text.iter().enumerate() {
            last = (last << 8) | u32::from(byte.to_ascii_lowercase());
            let gram = last & self.mask;
            let bit = hash(gram, self.shift);
            if self.table.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 != 0) {
                self.look(gram, text, at + 1, found, budget)?;
            }
        }
        Ok(())
    }

    /// A gram that may be one of ours ends here.
    #[cold]
    fn look(
        &self,
        gram: u32,
        text: &[u8],
        end: usize,
        found: &mut Found,
        budget: &mut Budget,
    ) -> Result<(), OverLimit> {
        let Some(entries) = self.slots.get(gram) else { return Ok(()) };
        for entry in slice(&self.entries, entries) {
            if found.literals.has(entry.number) {
                continue;
            }
            budget.spend(1)?;
            let literal = slice(&self.bytes, &entry.bytes);
            let here = end.checked_sub(entry.reach).and_then(|from| text.get(from..from + literal.len()));
            if here.is_some_and(|here| here.eq_ignore_ascii_case(literal)) {
                found.literals.add(entry.number);
                for rule in slice(&self.rules, &entry.rules) {
                    found.rules.add(usize::try_from(*rule).unwrap_or(usize::MAX));
                }
            }
        }
        Ok(())
    }
}

/// Grams and their entries: open addressing, at most half full.
#[derive(Debug)]
struct Slots {
    shift: u32,
    slots: Vec<Option<(u32, Range<u32>)>>,
}

impl Slots {
    fn new(grams: usize) -> Slots {
        let size = (grams * 2).next_power_of_two().max(2);
        Slots { shift: 32 - size.ilog2().min(31), slots: vec![None; size] }
    }

    fn places(&self, gram: u32) -> impl Iterator<Item = usize> + use<> {
        let (size, first) = (self.slots.len(), hash(gram, self.shift));
        (0..size).map(move |step| (first + step) & (size - 1))
    }

    /// A gram that is not there yet.
    fn insert(&mut self, gram: u32, entries: Range<u32>) {
        let free = self.places(gram).find(|at| matches!(self.slots.get(*at), Some(None)));
        if let Some(slot) = free.and_then(|at| self.slots.get_mut(at)) {
            *slot = Some((gram, entries));
        }
    }

    fn get(&self, gram: u32) -> Option<&Range<u32>> {
        for at in self.places(gram) {
            match self.slots.get(at)? {
                Some((known, entries)) if *known == gram => return Some(entries),
                Some(_) => {}
                None => return None,
            }
        }
        None
    }
}

/// How many literals hold each gram, roughly: two grams may share a count.
struct Crowds {
    counts: Vec<u16>,
}

impl Crowds {
    const SHIFT: u32 = 32 - 14;

    fn of(literals: &[(&[u8], Vec<u32>)], width: usize) -> Crowds {
        let mut crowds = Crowds { counts: vec![0; 1 << 14] };
        if width == 4 {
            for gram in common_grams() {
                crowds.add(u32::from_be_bytes(*gram), 256);
            }
        }
        for (literal, _) in literals {
            for window in literal.windows(width) {
                crowds.add(gram(window), 1);
            }
        }
        crowds
    }

    fn add(&mut self, gram: u32, count: u16) {
        if let Some(known) = self.counts.get_mut(hash(gram, Crowds::SHIFT)) {
            *known = known.saturating_add(count);
        }
    }

    /// The literal's best gram, and the bytes up to its end.
    fn choose(&mut self, literal: &[u8], width: usize) -> (u32, usize) {
        let mut best = (i64::MIN, 0, width);
        for (at, window) in literal.windows(width).enumerate() {
            let crowd = self.counts.get(hash(gram(window), Crowds::SHIFT)).copied().unwrap_or(0);
            let rare: u32 = window.iter().map(|byte| weight(*byte)).sum();
            let score = i64::from(rare) - 3 * i64::from(u32::from(crowd).max(1).ilog2());
            if score > best.0 {
                best = (score, gram(window), at + width);
            }
        }
        (best.1, best.2)
    }
}

fn gram(window: &[u8]) -> u32 {
    window.iter().fold(0, |gram, byte| (gram << 8) | u32::from(*byte))
}

/// Multiplication by 2^32 over the golden ratio (Knuth, volume 3, section 6.4), of which the upper bits mix best.
fn hash(gram: u32, shift: u32) -> usize {
    usize::try_from(gram.wrapping_mul(0x9E37_79B1) >> shift).unwrap_or(0)
}

fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

fn slice<'l, T>(list: &'l [T], range: &Range<u32>) -> &'l [T] {
    let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
    list.get(place(range.start)..place(range.end)).unwrap_or_default()
}
