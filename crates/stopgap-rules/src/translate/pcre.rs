//! A linear form as a PCRE pattern that never goes back.
//!
//! [`super::possessive`] writes what must be found. A match lies within one line, so lines are tried one by one:
//!
//! ```text
//!   (?: X (*ACCEPT) | line )*+ (?!)
//! ```
//!
//! where X is what must be found; where it is, all is said, and where the last line has passed, nothing fits.
//! Everything is possessive and every token matches in one way only, so where it fails, it fails at once.
//!
//! That holds for the loop over lines, too: with `pcre_jit on;` nginx runs patterns as machine code, which
//! has a stack of 32 KB, and a lazy loop `(?:line)*?X` leaves something there at each turn. Two thousand short
//! lines would fill it, the map would take its default, and an attack behind them would pass. X stands there
//! once, and in no group that captures, since nginx hands captures to the rest of its configuration.
//!
//! The pattern is anchored, with the search written out, since PCRE's own search would start within a percent
//! sequence, and again at each byte.

use super::bytes::{self, Bytes, Encoding};
use super::nginx::MAX_WORD;
use super::possessive::{Alphabet, Search, Writer};
use crate::pattern::ast::CharSet;
use crate::pattern::chain::{Conjunction, Gap, Head, Place};

/// The pattern, behind a pattern for what precedes the text; nothing where the conjunction contradicts
/// itself.
pub(super) fn pattern(conjunction: &Conjunction, encoding: Encoding, start: &str) -> Option<String> {
    if conjunction.elements.is_empty() {
        return Some(start.to_owned());
    }
    let head = conjunction.head().ok()?;
    let writer = Writer::new(encoding, conjunction);
    let position = writer.position(conjunction, head.as_ref());
    let body = writer.elements(conjunction);
    if conjunction.place != Place::InLine {
        return Some(format!("{start}{position}{body}"));
    }
    let line = writer.gap(Gap::Line, None) + &encoding.line_terminator();
    let skip = skip(&writer, conjunction, head.as_ref());
    // Nothing may follow: ACCEPT ends the whole pattern.
    let lines = |skip: &str| format!("{start}(?:{position}{body}(*ACCEPT)|{line}{skip})*+(?!)");
    let quick = lines(&skip);
    // The quick way is longer, and nginx reads so much only.
    Some(if quick.len() > MAX_WORD { lines("") } else { quick })
}

/// Text as itself.
pub(super) fn literal(text: &str) -> String {
    text.bytes().map(bytes::escape).collect()
}

/// Lines that do not hold the first thing that is looked for: one pass, where trying the whole on each
/// line would take two.
fn skip(writer: &Writer<Encoding>, conjunction: &Conjunction, head: Option<&Head>) -> String {
    let first = conjunction.elements.first().and_then(|element| element.chain.links.first());
    let segment = match (head, first) {
        (Some(head), _) => head.segment.as_slice(),
        (None, Some(link)) => link.segment.as_slice(),
        (None, None) => return String::new(),
    };
    if segment.is_empty() {
        return String::new();
    }
    let text = writer.chars(segment);
    let gap = writer.gap(Gap::Line, Some(Search { segment, text: &text }));
    format!("(?:{gap}{})*+", writer.alphabet.line_terminator())
}

impl Alphabet for Encoding {
    fn char(&self, set: &CharSet) -> String {
        bytes::char_of(set, &|bytes| bytes::token(bytes, *self))
    }

    fn run(&self, set: &Bytes) -> Vec<String> {
        bytes::run(set, *self)
    }

    fn any_token(&self) -> String {
        bytes::any_token(*self)
    }

    fn end(&self) -> String {
        "\\z".to_owned()
    }

    fn false_start(&self, first: &CharSet, second: &CharSet, gap: Gap) -> Option<String> {
        let percent = |b: u8| *self == Encoding::Percent && b == b'%';
        let breaks = |b: u8| gap == Gap::Line && matches!(b, b'\n' | b'\r');
        let starts = bytes::first_bytes(first);
        let starts = Bytes::of(|b| b.is_ascii() && starts.contains(b) && !percent(b) && !breaks(b));
        let follows = bytes::first_bytes(second);
        let follows = Bytes::of(|b| follows.contains(b) || percent(b));
        let some = !starts.is_empty() && !follows.is_empty();
        some.then(|| format!("{}(?!{})", bytes::class(&starts), bytes::class(&follows)))
    }
}
