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

/// Literals and the rule of each, equal literals together.
pub(super) type Given<'l> = Vec<(&'l [u8], usize)>;

/// Each of these literals in its width: the quickest for which it is long enough and has grams that few of the
/// others hold. `number` counts literals.
pub(super) fn of(given: Given, number: &mut usize) -> Vec<Grams> {
    let mut built = Vec::new();
    let mut rest = given;
    for width in Width::ALL {
        if rest.is_empty() {
            break;
        }
        let fitting = |literal: &[u8]| literal.len() >= width.least();
        let mut crowds = Crowds::new(width, rest.len());
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
        let mut grams = Grams::new(width);
        let (mut places, mut others) = (Vec::new(), Vec::new());
        for same in rest.chunk_by(|a, b| a.0 == b.0) {
            let row = same
                .first()
                .filter(|(literal, _)| fitting(literal))
                .map(|(literal, _)| (literal, crowds.best_row(literal)));
            match row {
                Some((literal, row)) if last(literal.len()) || row.crowd <= MAX_AT_GRAM => {
                    grams.literal(literal, number);
                    grams
                        .rules_of_last(same.iter().map(|(_, rule)| u32::try_from(*rule).unwrap_or(u32::MAX)));
                    places.extend(grams.row(literal, row.at));
                }
                _ => others.extend_from_slice(same),
            }
        }
        rest = others;
        if !places.is_empty() {
            grams.index(&places, number);
            built.push(grams);
        }
    }
    built
}

/// Literals of one width.
#[derive(Debug)]
pub(super) struct Grams {
    width: Width,
    /// How many bits of a hash are dropped to find a word of the table.
    shift: u32,
    table: Vec<u64>,
    places: Places,
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
    fn new(width: Width) -> Grams {
        Grams {
            width,
            shift: 0,
            table: Vec::new(),
            places: Places::default(),
            literals: Vec::new(),
            bytes: Vec::new(),
            rules: Vec::new(),
        }
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

    fn rules_of_last(&mut self, rules: impl Iterator<Item = u32>) {
        self.rules.extend(rules);
        let end = length(&self.rules);
        if let Some(literal) = self.literals.last_mut() {
            literal.rules.end = end;
        }
    }

    /// The grams of the last literal, from this place on.
    fn row(&self, literal: &[u8], at: usize) -> impl Iterator<Item = Place> + use<> {
        let (width, stride) = (self.width.gram(), self.width.stride());
        let number = length(&self.literals).saturating_sub(1);
        let mut row = [Place { gram: 0, literal: number, offset: 0 }; 4];
        let windows = literal.windows(width).enumerate().skip(at);
        for (place, (at, window)) in row.iter_mut().zip(windows) {
            (place.gram, place.offset) = (gram(window), u32::try_from(at).unwrap_or(0));
        }
        row.into_iter().take(stride)
    }

    fn index(&mut self, places: &[Place], number: &mut usize) {
        let words = (places.len() * BITS_PER_GRAM / 64).next_power_of_two().max(2);
        self.shift = 64 - words.ilog2().min(63);
        self.table = vec![0; words];
        let sorted = Places::sorted(places);
        let mut kept = Vec::with_capacity(places.len());
        let mut starts = Vec::with_capacity(sorted.starts.len());
        for bucket in sorted.buckets() {
            starts.push(length(&kept));
            for of_gram in bucket.chunk_by(|a, b| a.gram == b.gram) {
                let Some(Place { gram, .. }) = of_gram.first().copied() else { continue };
                let exact = if of_gram.len() > MAX_AT_GRAM { MAX_AT_GRAM - 1 } else { of_gram.len() };
                kept.extend(of_gram.iter().take(exact));
                if exact < of_gram.len() {
                    let literal = self.crowd(gram, of_gram.get(exact..).unwrap_or_default(), number);
                    kept.push(Place { gram, literal, offset: 0 });
                }
                let (word, bits) = self.bits(gram);
                if let Some(word) = self.table.get_mut(word) {
                    *word |= bits;
                }
            }
        }
        starts.push(length(&kept));
        self.places = Places { places: kept, starts, ..sorted };
        self.literals.shrink_to_fit();
        self.bytes.shrink_to_fit();
        self.rules.shrink_to_fit();
    }

    /// A literal of the gram alone, for the rules of all of these.
    fn crowd(&mut self, gram: u64, crowd: &[Place], number: &mut usize) -> u32 {
        let mut rules: Vec<u32> = Vec::new();
        for of in crowd.iter().filter_map(|place| self.literals.get(self::place(place.literal))) {
            rules.extend_from_slice(slice(&self.rules, &of.rules));
        }
        let bytes = gram.to_be_bytes();
        self.literal(bytes.get(8 - self.width.gram()..).unwrap_or_default(), number);
        self.rules_of_last(rules.into_iter());
        length(&self.literals).saturating_sub(1)
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
        let Some(from) = end.checked_sub(self.width.gram()) else { return Ok(()) };
        for Place { literal, offset, .. } in self.places.of(gram) {
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

/// Places in buckets by the hash of their gram, sorted in each.
#[derive(Debug, Default)]
struct Places {
    shift: u32,
    /// Where each bucket starts, and where the last one ends.
    starts: Vec<u32>,
    places: Vec<Place>,
}

impl Places {
    /// By counting: each place is moved once.
    fn sorted(given: &[Place]) -> Places {
        let size = given.len().next_power_of_two().max(2);
        let shift = 64 - size.ilog2().min(63);
        let mut starts = vec![0u32; size + 1];
        for place in given {
            if let Some(count) = starts.get_mut(hash(place.gram, shift)) {
                *count += 1;
            }
        }
        let mut end = 0;
        for start in &mut starts {
            end += *start;
            *start = end;
        }
        // Filled from the end of each bucket, so that its start is left.
        let mut places = vec![Place { gram: 0, literal: 0, offset: 0 }; given.len()];
        for place in given.iter().rev() {
            if let Some(start) = starts.get_mut(hash(place.gram, shift)) {
                *start = start.saturating_sub(1);
                if let Some(free) = places.get_mut(self::place(*start)) {
                    *free = *place;
                }
            }
        }
        let mut sorted = Places { shift, starts, places };
        for ends in sorted.starts.windows(2) {
            if let [from, to] = ends
                && let Some(bucket) = sorted.places.get_mut(place(*from)..place(*to))
                && bucket.len() > 1
            {
                bucket.sort_unstable();
            }
        }
        sorted
    }

    fn buckets(&self) -> impl Iterator<Item = &[Place]> {
        self.starts.windows(2).map(|ends| match ends {
            [from, to] => slice(&self.places, &(*from..*to)),
            _ => &[],
        })
    }

    fn of(&self, gram: u64) -> &[Place] {
        let at = hash(gram, self.shift);
        let (Some(from), Some(to)) = (self.starts.get(at), self.starts.get(at + 1)) else { return &[] };
        let bucket = slice(&self.places, &(*from..*to));
        let from = bucket.partition_point(|place| place.gram < gram);
        let to = bucket.partition_point(|place| place.gram <= gram);
        bucket.get(from..to).unwrap_or_default()
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
        for gram in grams(literal, self.width.gram()) {
            if let Some(known) = self.counts.get_mut(hash(gram, self.shift)) {
                *known = known.saturating_add(1);
            }
        }
    }

    /// The literal's best grams, as many in a row as there are bytes from block to block.
    fn best_row(&self, literal: &[u8]) -> Row {
        let (width, stride) = (self.width.gram(), self.width.stride());
        let mask = u64::MAX >> (64 - 8 * width);
        let mut best = Row { at: 0, crowd: usize::MAX };
        let mut most = i64::MIN;
        // The scores and crowds of the last grams, as many as a row has.
        let mut row = [(i64::MAX, 0u16); 4];
        let (mut last, mut rare, mut common) = (0u64, 0, 0);
        let leaving = std::iter::repeat_n(0, width).chain(literal.iter().map(|byte| weight(*byte)));
        for ((end, byte), leaves) in (1usize..).zip(literal).zip(leaving) {
            last = last << 8 | u64::from(*byte);
            rare = rare + weight(*byte) - leaves;
            if width >= 4 {
                common = if end >= 4 && is_common_gram(last & 0xffff_ffff) { common + 1 } else { 0 };
            }
            let Some(at) = end.checked_sub(width) else { continue };
            let crowd = self.counts.get(hash(last & mask, self.shift)).copied().unwrap_or(0);
            // All of the four bytes in a row that it holds are.
            let is_common = width >= 4 && common > width - 4;
            let counted = u32::from(crowd) + if is_common { COMMON } else { 0 };
            let score = i64::from(rare) - 3 * i64::from(counted.max(1).ilog2());
            if let Some(oldest) = row.get_mut(at % stride) {
                *oldest = (score, crowd);
            }
            let Some(from) = (at + 1).checked_sub(stride) else { continue };
            let lowest = row.iter().map(|(score, _)| *score).min().unwrap_or(i64::MIN);
            if lowest > most {
                most = lowest;
                let crowd = row.iter().map(|(_, crowd)| usize::from(*crowd)).max().unwrap_or(0);
                best = Row { at: from, crowd };
            }
        }
        best
    }
}

/// Grams in a row.
#[derive(Clone, Copy)]
struct Row {
    /// Where in the literal the first of them starts.
    at: usize,
    /// How many literals hold the one that most of them hold.
    crowd: usize,
}

/// All grams of a literal that are so wide.
fn grams(literal: &[u8], width: usize) -> impl Iterator<Item = u64> {
    let mask = u64::MAX >> (64 - 8 * width);
    let mut last = 0;
    let ends = literal.iter().map(move |byte| {
        last = (last << 8 | u64::from(*byte)) & mask;
        last
    });
    ends.skip(width - 1)
}

fn gram(window: &[u8]) -> u64 {
    window.iter().fold(0, |gram, byte| (gram << 8) | u64::from(*byte))
}

/// 2^64 over the golden ratio: multiplied by it, the upper bits of a number mix well (Knuth, volume 3, section 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

pub(super) fn hash(gram: u64, shift: u32) -> usize {
    usize::try_from(gram.wrapping_mul(GOLDEN) >> shift).unwrap_or(0)
}

/// A number for a whole literal.
pub(super) fn mixed(literal: &[u8]) -> u64 {
    let (chunks, rest) = literal.as_chunks::<8>();
    let chunks = chunks.iter().map(|chunk| u64::from_be_bytes(*chunk)).chain([gram(rest)]);
    chunks.fold(0, |mixed, chunk| (mixed ^ chunk).wrapping_mul(GOLDEN).rotate_left(23))
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
