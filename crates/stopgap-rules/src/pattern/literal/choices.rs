//! The literals of one pattern in one piece of memory: an engine keeps those of all its patterns, so that the
//! engine after it need not read them again.

use super::Literals;

/// What a pattern cannot match without: each of these by itself, the rarest first.
///
/// Of each the rarity in two bytes, the number of its literals, and of each literal the length and the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choices {
    bytes: Box<[u8]>,
}

/// One of them: literals of which every match contains one. Never empty; each has 2 to 64 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'c> {
    rarity: u32,
    count: usize,
    /// Of its literals, and of what comes behind them.
    bytes: &'c [u8],
}

impl Choices {
    pub(super) fn of(choices: &[Literals]) -> Choices {
        // A rarity is at most 64 times the weight of a byte, a number of literals and a length at most 64.
        let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
        let sizes = choices.iter().flat_map(|choice| &choice.any).map(|literal| 1 + literal.len());
        let mut bytes = Vec::with_capacity(3 * choices.len() + sizes.sum::<usize>());
        for choice in choices {
            bytes.extend(u16::try_from(choice.rarity).unwrap_or(u16::MAX).to_le_bytes());
            bytes.push(byte(choice.any.len()));
            for literal in &choice.any {
                bytes.push(byte(literal.len()));
                bytes.extend_from_slice(literal);
            }
        }
        Choices { bytes: bytes.into_boxed_slice() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Choice<'_>> {
        let mut rest: &[u8] = &self.bytes;
        std::iter::from_fn(move || {
            let ([low, high, count], bytes) = rest.split_first_chunk::<3>()?;
            let rarity = u32::from(u16::from_le_bytes([*low, *high]));
            let choice = Choice { rarity, count: usize::from(*count), bytes };
            let taken: usize = choice.iter().map(|literal| 1 + literal.len()).sum();
            rest = bytes.get(taken..).unwrap_or_default();
            Some(choice)
        })
    }
}

impl<'c> Choice<'c> {
    /// Bits of surprise, roughly, that the likeliest of them carries: the higher, the fewer texts hold one.
    pub(crate) fn rarity(&self) -> u32 {
        self.rarity
    }

    /// The literals.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'c [u8]> + use<'c> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| {
            let (length, bytes) = rest.split_first()?;
            let (literal, behind) = bytes.split_at_checked(usize::from(*length))?;
            rest = behind;
            Some(literal)
        })
    }
}
