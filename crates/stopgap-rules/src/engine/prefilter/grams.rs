//! Literals found by their rarest bytes.
//!
//! Of each literal some *grams* are taken: bytes in a row, where fewest other literals and fewest requests hold
//! them. A text is cut into blocks as wide as a gram, one every `stride` bytes; each is looked up, first in a
//! table of bits that fits a processor's nearest memory, and where that says yes among the grams, and the
//! whole literal is then compared. Of a literal that is long enough four grams are taken, each a byte further
//! than the last, so that one of them meets a block wherever the literal stands, and a text is read four bytes
//! at a time. Reading a benign text takes as long for ten thousand literals as for ten.

use super::Found;
use crate::pattern::literal::{is_common_gram, weight};
use crate::pattern::{Budget, OverLimit};
use std::cmp::Reverse;
use std::ops::Range;

/// Literals with one gram that are compared at a place. Where there are more, the gram alone stands for the
/// rest of them, so that no text can ask for more comparisons.
const MAX_AT_GRAM: usize = 8;
/// Bits of the table for each gram, of which two are set, in one word: one place in 50 is looked up in vain.
const BITS_PER_GRAM: usize = 16;

/// How literals are looked for, the quickest way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// By four grams of 8 bytes, in every fourth place.
    Widest,
    /// By four grams of 4 bytes, in every fourth place.
    Wide,
    /// By one gram of 8 bytes, in every place.
    Long,
    /// By one gram of 4 bytes, in every place.
    Middle,
    /// By one gram of 2 bytes, in every place.
    Short,
}

impl Width {
    pub(super) const ALL: [Width; 5] = [Width::Widest, Width::Wide, Width::Long, Width::Middle, Width::Short];

    fn gram(self) -> usize {
        match self {
            Width::Widest | Width::Long => 8,
            Width::Wide | Width::Middle => 4,
            Width::Short => 2,
        }
    }

    fn stride(self) -> usize {
        match self {
            Width::Widest | Width::Wide => 4,
            Width::Long | Width::Middle | Width::Short => 1,
        }
    }

    /// The shortest literal that always meets a block.
    fn least(self) -> usize {
        self.gram() + self.stride() - 1
    }
}

/// Literals and the rule of each, sorted.
pub(super) type Given<'l> = Vec<(&'l [u8], usize)>;

/// Each of these literals in its width: the quickest for which it is long enough and has grams that few of the
/// others hold.
pub(super) fn sorted(given: Given) -> Vec<(Width, Given)> {
    let mut sorted = Vec::new();
    let mut rest = given;
    for width in Width::ALL {
        if rest.is_empty() {
            break;
        }
        let mut crowds = Crowds::new(width, rest.len());
        let fitting = |literal: &[u8]| literal.len() >= width.least();
        for same in rest.chunk_by(|a, b| a.0 == b.0) {
            if let Some((literal, _)) = same.first().filter(|(literal, _)| fitting(literal)) {
                crowds.count(literal);
            }
        }
        let last = |length: usize| match length {
            8.. => width == Width::Long,
            4..8 => width == Width::Middle,
            _ => width == Width::Short,
        };
        let taken = |(literal, _): &(&[u8], usize)| {
            fitting(literal) && (last(literal.len()) || crowds.of_best_row(literal) <= MAX_AT_GRAM)
        };
        let (mine, others): (Given, Given) = rest.into_iter().partition(taken);
        rest = others;
        if !mine.is_empty() {
            sorted.push((width, mine));
        }
    }
    sorted
}

/// Literals of one width.
#[derive(Debug)]
pub(super) struct Grams {
    width: Width,
    /// How many bits of a hash are dropped to find a word of the table.
    shift: u32,
    table: Vec<u64>,
    slots: Slots,
    places: Vec<Place>,
    literals: Vec<Literal>,
    bytes: Vec<u8>,
    rules: Vec<u32>,
}

/// Where in a literal a gram stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    gram: u64,
    literal: u32,
    offset: u32,
}

#[derive(Debug)]
struct Literal {
    /// Its number among all literals of the engine.
    number: usize,
    bytes: Range<u32>,
    rules: Range<u32>,
}

impl Grams {
    /// From literals of this width and the rule of each, sorted. `number` counts literals.
    pub(super) fn new<'l>(
        width: Width,
        given: impl Iterator<Item = (&'l [u8], usize)>,
        number: &mut usize,
    ) -> Grams {
        let mut built = Grams {
            width,
            shift: 0,
            table: Vec::new(),
            slots: Slots::new(0),
            places: Vec::new(),
            literals: Vec::new(),
            bytes: Vec::new(),
            rules: Vec::new(),
        };
        let mut last: &[u8] = &[];
        for (literal, rule) in given {
            if literal != last || built.literals.is_empty() {
                built.literal(literal, number);
                last = literal;
            }
            built.rules.push(u32::try_from(rule).unwrap_or(u32::MAX));
            if let Some(literal) = built.literals.last_mut() {
                literal.rules.end += 1;
            }
        }
        let mut crowds = Crowds::new(width, built.literals.len());
        let all = 0..length(&built.literals);
        all.clone().for_each(|literal| crowds.count(built.bytes_of(literal)));
        let places: Vec<Place> =
            all.flat_map(|literal| crowds.choose(built.bytes_of(literal), literal)).collect();
        built.index(places, number);
        built
    }

    fn literal(&mut self, literal: &[u8], number: &mut usize) {
        let bytes = length(&self.bytes);
        self.bytes.extend_from_slice(literal);
        let rules = length(&self.rules);
        self.literals.push(Literal {
            number: *number,
            bytes: bytes..length(&self.bytes),
            rules: rules..rules,
        });
        *number += 1;
    }

    fn bytes_of(&self, literal: u32) -> &[u8] {
        match self.literals.get(place(literal)) {
            Some(literal) => slice(&self.bytes, &literal.bytes),
            None => &[],
        }
    }

    fn index(&mut self, mut places: Vec<Place>, number: &mut usize) {
        places.sort_unstable();
        let words = (places.len() * BITS_PER_GRAM / 64).next_power_of_two().max(2);
        self.shift = 64 - words.ilog2().min(63);
        self.table = vec![0; words];
        self.slots = Slots::new(places.len());
        for of_gram in places.chunk_by(|a, b| a.gram == b.gram) {
            let Some(Place { gram, .. }) = of_gram.first().copied() else { continue };
            let from = length(&self.places);
            let exact = if of_gram.len() > MAX_AT_GRAM { MAX_AT_GRAM - 1 } else { of_gram.len() };
            self.places.extend(of_gram.iter().take(exact));
            if exact < of_gram.len() {
                let literal = self.crowd(gram, of_gram.get(exact..).unwrap_or_default(), number);
                self.places.push(Place { gram, literal, offset: 0 });
            }
            self.slots.insert(gram, from..length(&self.places));
            let (word, bits) = self.bits(gram);
            if let Some(word) = self.table.get_mut(word) {
                *word |= bits;
            }
        }
    }

    /// A literal of the gram alone, for the rules of all of these.
    fn crowd(&mut self, gram: u64, crowd: &[Place], number: &mut usize) -> u32 {
        let mut rules: Vec<u32> = Vec::new();
        for of in crowd.iter().filter_map(|place| self.literals.get(self::place(place.literal))) {
            rules.extend_from_slice(slice(&self.rules, &of.rules));
        }
        let bytes = gram.to_be_bytes();
        self.literal(bytes.get(8 - self.width.gram()..).unwrap_or_default(), number);
        self.rules.extend(rules);
        let end = length(&self.rules);
        if let Some(literal) = self.literals.last_mut() {
            literal.rules.end = end;
        }
        length(&self.literals) - 1
    }

    /// Adds the rules of every literal that the text holds.
    pub(super) fn scan(&self, text: &[u8], found: &mut Found, budget: &mut Budget) -> Result<(), OverLimit> {
        if self.literals.is_empty() {
            return Ok(());
        }
        budget.spend(text.len() / 16)?;
        let width = self.width.gram();
        let mask = u64::MAX >> (64 - 8 * width);
        let mut last = 0;
        if self.width.stride() == 4 {
            let (blocks, _) = text.as_chunks::<4>();
            for (at, block) in blocks.iter().enumerate() {
                last = (last << 32 | u64::from(fold(u32::from_be_bytes(*block)))) & mask;
                if self.may_hold(last) {
                    self.look(last, text, at * 4 + 4, found, budget)?;
                }
            }
        } else {
            for (at, byte) in text.iter().enumerate() {
                last = (last << 8 | u64::from(byte.to_ascii_lowercase())) & mask;
                if self.may_hold(last) {
                    self.look(last, text, at + 1, found, budget)?;
                }
            }
        }
        Ok(())
    }

    fn may_hold(&self, gram: u64) -> bool {
        let (word, bits) = self.bits(gram);
        self.table.get(word).is_some_and(|word| word & bits == bits)
    }

    /// The word of the table for a gram, and its two bits there.
    fn bits(&self, gram: u64) -> (usize, u64) {
        let mixed = gram.wrapping_mul(GOLDEN);
        let word = usize::try_from(mixed >> self.shift).unwrap_or(0);
        (word, 1 << (mixed >> 32 & 63) | 1 << (mixed >> 38 & 63))
    }

    /// A gram that may be one of ours ends here.
    #[cold]
    fn look(
        &self,
        gram: u64,
        text: &[u8],
        end: usize,
        found: &mut Found,
        budget: &mut Budget,
    ) -> Result<(), OverLimit> {
        // At the beginning of a text the gram is not whole, and nothing starts before it.
        let (Some(places), Some(from)) = (self.slots.get(gram), end.checked_sub(self.width.gram())) else {
            return Ok(());
        };
        for Place { literal, offset, .. } in slice(&self.places, places) {
            let Some(literal) = self.literals.get(place(*literal)) else { continue };
            if found.literals.has(literal.number) {
                continue;
            }
            budget.spend(1)?;
            let bytes = slice(&self.bytes, &literal.bytes);
            let here = from.checked_sub(place(*offset)).and_then(|from| text.get(from..from + bytes.len()));
            if here.is_some_and(|here| here.eq_ignore_ascii_case(bytes)) {
                found.literals.add(literal.number);
                for rule in slice(&self.rules, &literal.rules) {
                    found.rules.add(place(*rule));
                }
            }
        }
        Ok(())
    }
}

/// A-Z as a-z, in four bytes at once: with the eighth bit set aside, adding 63 carries into it from `A` on, and
/// adding 37 from `[` on.
fn fold(block: u32) -> u32 {
    let low = block & 0x7f7f_7f7f;
    let capitals = low.wrapping_add(0x3f3f_3f3f) & !low.wrapping_add(0x2525_2525) & !block & 0x8080_8080;
    block | (capitals >> 2)
}

/// Grams and their places: open addressing, at most half full.
#[derive(Debug)]
struct Slots {
    shift: u32,
    slots: Vec<Option<(u64, Range<u32>)>>,
}

impl Slots {
    fn new(grams: usize) -> Slots {
        let size = (grams * 2).next_power_of_two().max(2);
        Slots { shift: 64 - size.ilog2().min(63), slots: vec![None; size] }
    }

    fn places(&self, gram: u64) -> impl Iterator<Item = usize> + use<> {
        let (size, first) = (self.slots.len(), hash(gram, self.shift));
        (0..size).map(move |step| (first + step) & (size - 1))
    }

    /// A gram that is not there yet.
    fn insert(&mut self, gram: u64, places: Range<u32>) {
        let free = self.places(gram).find(|at| matches!(self.slots.get(*at), Some(None)));
        if let Some(slot) = free.and_then(|at| self.slots.get_mut(at)) {
            *slot = Some((gram, places));
        }
    }

    fn get(&self, gram: u64) -> Option<&Range<u32>> {
        for at in self.places(gram) {
            match self.slots.get(at)? {
                Some((known, places)) if *known == gram => return Some(places),
                Some(_) => {}
                None => return None,
            }
        }
        None
    }
}

/// How many literals hold each gram, roughly: two grams may share a count.
struct Crowds {
    width: Width,
    shift: u32,
    counts: Vec<u16>,
}

/// What a gram counts for that nearly every request holds.
const COMMON: u32 = 256;

impl Crowds {
    /// Room for so many literals.
    fn new(width: Width, literals: usize) -> Crowds {
        let size = literals.saturating_mul(16).next_power_of_two().clamp(256, 1 << 17);
        Crowds { width, shift: 64 - size.ilog2(), counts: vec![0; size] }
    }

    fn count(&mut self, literal: &[u8]) {
        for window in literal.windows(self.width.gram()) {
            if let Some(known) = self.counts.get_mut(hash(gram(window), self.shift)) {
                *known = known.saturating_add(1);
            }
        }
    }

    fn at(&self, window: &[u8]) -> u32 {
        self.counts.get(hash(gram(window), self.shift)).copied().unwrap_or(0).into()
    }

    fn score(&self, window: &[u8]) -> i64 {
        let rare: u32 = window.iter().map(|byte| weight(*byte)).sum();
        let common = window.len() >= 4 && window.windows(4).all(is_common_gram);
        let crowd = self.at(window) + if common { COMMON } else { 0 };
        i64::from(rare) - 3 * i64::from(crowd.max(1).ilog2())
    }

    /// Where the literal's best grams start, as many in a row as there are bytes from block to block.
    fn best_row(&self, literal: &[u8]) -> usize {
        let scores: Vec<i64> = literal.windows(self.width.gram()).map(|window| self.score(window)).collect();
        let rows = scores.windows(self.width.stride()).map(|row| row.iter().min().copied());
        rows.enumerate().max_by_key(|(at, score)| (*score, Reverse(*at))).map_or(0, |(at, _)| at)
    }

    /// How many literals hold the gram of that row that most of them hold.
    fn of_best_row(&self, literal: &[u8]) -> usize {
        let row = literal.windows(self.width.gram()).skip(self.best_row(literal)).take(self.width.stride());
        row.map(|window| place(self.at(window))).max().unwrap_or(0)
    }

    fn choose(&self, bytes: &[u8], literal: u32) -> Vec<Place> {
        let windows = bytes.windows(self.width.gram()).enumerate();
        let row = windows.skip(self.best_row(bytes)).take(self.width.stride());
        row.map(|(at, window)| Place { gram: gram(window), literal, offset: u32::try_from(at).unwrap_or(0) })
            .collect()
    }
}

fn gram(window: &[u8]) -> u64 {
    window.iter().fold(0, |gram, byte| (gram << 8) | u64::from(*byte))
}

/// 2^64 over the golden ratio: multiplied by it, the upper bits of a number mix well (Knuth, volume 3, section 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

fn hash(gram: u64, shift: u32) -> usize {
    usize::try_from(gram.wrapping_mul(GOLDEN) >> shift).unwrap_or(0)
}

fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

fn place(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn slice<'l, T>(list: &'l [T], range: &Range<u32>) -> &'l [T] {
    list.get(place(range.start)..place(range.end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn four_bytes_are_folded_as_one_is() {
        for byte in 0..=255u8 {
            for (place, other) in [(0, b'Z'), (1, b'@'), (2, 0xff), (3, b'[')] {
                let mut block = [other; 4];
                block[place] = byte;
                assert_eq!(
                    fold(u32::from_be_bytes(block)).to_be_bytes(),
                    block.map(|b| b.to_ascii_lowercase())
                );
            }
        }
    }
}
