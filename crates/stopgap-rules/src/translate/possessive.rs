//! A linear form, written so that PCRE never goes back; shared by every server whose patterns are PCRE's.
//!
//! A gap and the segment behind it, `.*ab`, become
//!
//! ```text
//!   (?: [^ab…]++ | %(?!HH) | %HH  |  (?! ab | line end ) token )*+  ab
//!       what cannot start it          one token where it does not start
//! ```
//!
//! which finds the leftmost `ab` in the line; [`crate::pattern::chain`] tells why the leftmost place is enough,
//! and that each byte is looked at by each link a bounded number of times. How a character is written is the
//! [`Alphabet`]'s.

use super::bytes::{self, Bytes};
use crate::pattern::ast::CharSet;
use crate::pattern::chain::{Chain, Conjunction, Gap, Head, Link, Place};

/// How a text is written where the pattern looks for it. Every piece matches in one way only.
pub(super) trait Alphabet {
    /// One character of the set.
    fn char(&self, set: &CharSet) -> String;
    /// The ways to write bytes of the set, a run of plain ones first: to be repeated.
    fn run(&self, set: &Bytes) -> Vec<String>;
    /// What stands for any one byte.
    fn any_token(&self) -> String;
    /// Where the text ends.
    fn end(&self) -> String;
    /// A byte that could start what is searched, but for the byte behind it: seen without trying it. Only a
    /// shortcut.
    fn false_start(&self, _first: &CharSet, _second: &CharSet, _gap: Gap) -> Option<String> {
        None
    }
    /// A line terminator.
    fn line_terminator(&self) -> String {
        self.char(&CharSet::line_terminators())
    }
}

/// Where writing ends, in bytes: far more than any server reads of a pattern, so what is cut there is refused for
/// its length. One character can take kilobytes (U+FFFD, of a text that is decoded, 2,900), and a pattern can hold
/// thousands of them.
pub(super) const TOO_LONG: usize = 1 << 16;

/// Writes what must be found.
pub(super) struct Writer<A> {
    pub(super) alphabet: A,
    /// Whether all of it must be found within a line.
    lines: bool,
}

/// What a gap leads to: its characters, and its text.
pub(super) struct Search<'a> {
    pub(super) segment: &'a [CharSet],
    pub(super) text: &'a str,
}

impl<A: Alphabet> Writer<A> {
    pub(super) fn new(alphabet: A, conjunction: &Conjunction) -> Writer<A> {
        Writer { alphabet, lines: conjunction.place == Place::InLine }
    }

    /// Everything before the first place where the head starts; empty where nothing precedes it.
    pub(super) fn position(&self, conjunction: &Conjunction, head: Option<&Head>) -> String {
        match (head, conjunction.place) {
            (Some(head), Place::InLine | Place::Anywhere) => self.until_head(head, conjunction),
            _ => String::new(),
        }
    }

    /// Its elements, all from one place.
    pub(super) fn elements(&self, conjunction: &Conjunction) -> String {
        let mut out = String::new();
        let last = conjunction.elements.len();
        for (number, element) in (1..).zip(&conjunction.elements) {
            if out.len() > TOO_LONG {
                break;
            }
            let chain = self.chain(&element.chain);
            match element.negate {
                true => out.push_str(&format!("(?!{chain})")),
                false if number == last => out.push_str(&chain),
                false => out.push_str(&format!("(?={chain})")),
            }
        }
        out
    }

    fn chain(&self, chain: &Chain) -> String {
        let mut out = String::new();
        for (at, link) in chain.links.iter().enumerate() {
            if out.len() > TOO_LONG {
                break;
            }
            let next = chain.links.get(at + 1);
            let segment = self.segment(link, next, chain.end);
            if let Some(gap) = link.gap {
                out.push_str(&self.gap(gap, Some(Search { segment: &link.segment, text: &segment })));
            }
            out.push_str(&segment);
        }
        out
    }

    /// Characters in a row.
    pub(super) fn chars(&self, sets: &[CharSet]) -> String {
        let mut out = String::new();
        for set in sets {
            if out.len() > TOO_LONG {
                break;
            }
            out.push_str(&self.alphabet.char(set));
        }
        out
    }

    /// A segment, with the end of the text where the chain ends there.
    ///
    /// A `.` at the end of a segment, as `.+` leaves it, needs to take one token only, and not a character:
    /// what follows is a gap, which takes the rest, or nothing. Unless the next segment could start within
    /// that rest.
    fn segment(&self, link: &Link, next: Option<&Link>, end: bool) -> String {
        let open = match next {
            Some(next) => next.segment.first().is_some_and(|set| !set.contains(char::REPLACEMENT_CHARACTER)),
            None => !end,
        };
        let (last, others) = match link.segment.split_last() {
            Some((last, others)) if open && *last == CharSet::dot() => (Some(last), others),
            _ => (None, link.segment.as_slice()),
        };
        let mut out = self.chars(others);
        if last.is_some() {
            out.push_str(&self.step(Some(&self.alphabet.line_terminator()), false));
        }
        if end && next.is_none() {
            out.push_str(&self.alphabet.end());
        }
        out
    }

    /// Everything before the first place where the head starts, and that it does start there.
    fn until_head(&self, head: &Head, conjunction: &Conjunction) -> String {
        let gap = if self.lines { Gap::Line } else { Gap::Any };
        // A single chain begins with its head, and need not say so twice.
        if let [element] = conjunction.elements.as_slice()
            && let Some((link, rest)) = element.chain.links.split_first()
        {
            let text = self.segment(link, rest.first(), element.chain.end);
            return self.gap(gap, Some(Search { segment: &link.segment, text: &text }));
        }
        let mut text = self.chars(&head.segment);
        if head.end {
            text.push_str(&self.alphabet.end());
        }
        let skipped = self.gap(gap, Some(Search { segment: &head.segment, text: &text }));
        format!("{skipped}(?={text})")
    }

    /// A gap up to what is searched, or up to the line's end.
    pub(super) fn gap(&self, gap: Gap, search: Option<Search>) -> String {
        let breaks = (gap == Gap::Line).then(|| self.alphabet.line_terminator());
        let first = search.as_ref().and_then(|search| search.segment.first());
        let starts = first.map(bytes::first_bytes);
        // Where there is something to find that is empty (`$`), each byte could be its start.
        let blind = search.is_some() && first.is_none();
        let fast = Bytes::of(|b| {
            let breaks = gap == Gap::Line && matches!(b, b'\n' | b'\r' | 0xE2);
            !(breaks || blind || starts.as_ref().is_some_and(|starts| starts.contains(b)))
        });
        let stop: Vec<&str> = search.iter().map(|search| search.text).chain(breaks.as_deref()).collect();
        let stop = stop.join("|");
        let stop = (!stop.is_empty()).then_some(stop.as_str());
        // A segment that takes U+FFFD would be found within a character, so whole characters are taken.
        let whole = first.is_some_and(|set| set.contains(char::REPLACEMENT_CHARACTER));
        let mut ways = self.alphabet.run(&fast);
        if let Some([first, second, ..]) = search.as_ref().map(|search| search.segment) {
            ways.extend(self.alphabet.false_start(first, second, gap));
        }
        ways.push(self.step(stop, whole));
        format!("(?:{})*+", ways.join("|"))
    }

    fn step(&self, stop: Option<&str>, whole: bool) -> String {
        let step = if whole { self.alphabet.char(&CharSet::any()) } else { self.alphabet.any_token() };
        match stop {
            Some(stop) => format!("(?!{stop}){step}"),
            None => step,
        }
    }
}
