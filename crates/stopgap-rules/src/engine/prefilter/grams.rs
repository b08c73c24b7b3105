//! Literals found by their rarest bytes.
//!
//! Of each literal some *grams* are taken: bytes in a row, where fewest other literals and fewest requests hold
//! them. The text is cut into blocks as wide as a gram, one every `stride` bytes; each is looked up, first in a
//! table of bits that fits a processor's nearest memory, and where that says yes among the grams, and the
//! whole literal is then compared. Of a literal of 7 bytes and more four grams are taken, each a byte further
//! than the last, so that one of them meets a block wherever the literal stands, and a text is read four bytes
//! at a time. Reading a benign text takes as long for ten thousand literals as for ten.

use super::Found;
use crate::pattern::literal::{common_grams, weight};
use crate::pattern::{Budget, OverLimit};
use std::cmp::Reverse;
use std::ops::Range;

/// Literals with one gram that are compared at a place. Where there are more, the gram alone stands for the
/// rest of them, so that no text can ask for more comparisons.
const MAX_AT_GRAM: usize = 8;
/// Bits of the table for each gram: one place in 32 is looked up in vain.
const BITS_PER_GRAM: usize = 32;

/// How literals are looked for, by their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// 7 bytes and more: by four grams of 4, in every fourth place.
    Long,
    /// 4 bytes and more: by one gram of 4, in every place.
    Middle,
    /// 2 bytes and more: by one gram of 2, in every place.
    Short,
}

impl Width {
    pub(super) const ALL: [Width; 3] = [Width::Long, Width::Middle, Width::Short];

    fn gram(self) -> usize {
        match self {
            Width::Long | Width::Middle => 4,
            Width::Short => 2,
        }
    }

    fn stride(self) -> usize {
        match self {
            Width::Long => 4,
            Width::Middle | Width::Short => 1,
        }
    }
}

/// The width of each of these literals. A long one of which every row of four grams is crowded, such as those
/// that share all but a number at their end, is looked for as a middle one, by a single gram.
pub(super) fn widths(given: &[(&[u8], usize)]) -> Vec<Width> {
    let mut crowds = Crowds::new(Width::Long);
    let mut last: &[u8] = &[];
    for (literal, _) in given.iter().filter(|(literal, _)| literal.len() >= 7) {
        if *literal != last {
            crowds.count(literal);
        }
        last = literal;
    }
    let width = |literal: &[u8]| match literal.len() {
        7.. if crowds.of_best_row(literal) <= MAX_AT_GRAM => Width::Long,
        4.. => Width::Middle,
        _ => Width::Short,
    };
    given.iter().map(|(literal, _)| width(literal)).collect()
}

/// Literals of one width.
#[derive(Debug)]
pub(super) struct Grams {
    width: Width,
    /// How many bits of a hash are dropped to find a bit of the table.
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
    gram: u32,
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
        let mut crowds = Crowds::new(width);
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
        let size = (places.len() * BITS_PER_GRAM).next_power_of_two().max(64);
        self.shift = 32 - size.ilog2().min(31);
        self.table = vec![0; size.div_ceil(64)];
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
            let bit = hash(gram, self.shift);
            if let Some(word) = self.table.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// A literal of the gram alone, for the rules of all of these.
    fn crowd(&mut self, gram: u32, crowd: &[Place], number: &mut usize) -> u32 {
        let mut rules: Vec<u32> = Vec::new();
        for of in crowd.iter().filter_map(|place| self.literals.get(self::place(place.literal))) {
            rules.extend_from_slice(slice(&self.rules, &of.rules));
        }
        let bytes = gram.to_be_bytes();
        self.literal(bytes.get(4 - self.width.gram()..).unwrap_or_default(), number);
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
        if self.width.stride() == 4 {
            let (blocks, _) = text.as_chunks::<4>();
            for (at, block) in blocks.iter().enumerate() {
                self.block(fold(u32::from_be_bytes(*block)), text, at * 4, found, budget)?;
            }
            return Ok(());
        }
        let width = self.width.gram();
        let mask = u32::MAX >> (32 - 8 * width);
        let mut last = 0;
        for (at, byte) in text.iter().enumerate() {
            last = ((last << 8) | u32::from(byte.to_ascii_lowercase())) & mask;
            if let Some(from) = (at + 1).checked_sub(width) {
                self.block(last, text, from, found, budget)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn block(
        &self,
        gram: u32,
        text: &[u8],
        from: usize,
        found: &mut Found,
        budget: &mut Budget,
    ) -> Result<(), OverLimit> {
        let bit = hash(gram, self.shift);
        if self.table.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 != 0) {
            return self.look(gram, text, from, found, budget);
        }
        Ok(())
    }

    /// A gram that may be one of ours starts here.
    #[cold]
    fn look(
        &self,
        gram: u32,
        text: &[u8],
        from: usize,
        found: &mut Found,
        budget: &mut Budget,
    ) -> Result<(), OverLimit> {
        let Some(places) = self.slots.get(gram) else { return Ok(()) };
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
    fn insert(&mut self, gram: u32, places: Range<u32>) {
        let free = self.places(gram).find(|at| matches!(self.slots.get(*at), Some(None)));
        if let Some(slot) = free.and_then(|at| self.slots.get_mut(at)) {
            *slot = Some((gram, places));
        }
    }

    fn get(&self, gram: u32) -> Option<&Range<u32>> {
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
    counts: Vec<u16>,
}

/// What a gram counts for that nearly every request holds.
const COMMON: u32 = 256;

impl Crowds {
    const SHIFT: u32 = 32 - 16;

    fn new(width: Width) -> Crowds {
        Crowds { width, counts: vec![0; 1 << 16] }
    }

    fn count(&mut self, literal: &[u8]) {
        for window in literal.windows(self.width.gram()) {
            if let Some(known) = self.counts.get_mut(hash(gram(window), Crowds::SHIFT)) {
                *known = known.saturating_add(1);
            }
        }
    }

    fn at(&self, window: &[u8]) -> u32 {
        self.counts.get(hash(gram(window), Crowds::SHIFT)).copied().unwrap_or(0).into()
    }

    fn score(&self, window: &[u8]) -> i64 {
        let rare: u32 = window.iter().map(|byte| weight(*byte)).sum();
        let common = common_grams().binary_search_by(|gram| gram.as_slice().cmp(window)).is_ok();
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

fn gram(window: &[u8]) -> u32 {
    window.iter().fold(0, |gram, byte| (gram << 8) | u32::from(*byte))
}

/// Multiplication by 2^32 over the golden ratio (Knuth, volume 3, section 6.4), of which the upper bits mix best.
fn hash(gram: u32, shift: u32) -> usize {
    place(gram.wrapping_mul(0x9E37_79B1) >> shift)
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
