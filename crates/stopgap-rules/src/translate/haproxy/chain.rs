//! A linear form as a PCRE2 pattern for HAProxy.
//!
//! HAProxy compiles patterns to machine code (JIT), which has a stack of 32 KB; where it does not suffice, the
//! pattern counts as not found, and the request would pass. So nothing here may leave anything on that stack
//! from one turn of a repetition to the next: every repetition is possessive, and lines are tried one by one
//! by
//!
//! ```text
//!   (?: (X) | (?: line (?!X) )*+ line X )
//! ```
//!
//! where X is what must be found within one line, and stands there once: later it is called as the group
//! before.
//! A gap and the segment behind it, `.*ab`, become
//!
//! ```text
//!   (?: [^ab…]++ | %(?!HH) | %HH  |  (?! ab | line end ) token )*+  ab
//! ```
//!
//! which finds the leftmost `ab` in the line; [`crate::pattern::chain`] tells why the leftmost place is
//! enough, and that each byte is looked at by each link a bounded number of times.

use super::text::Text;
use crate::pattern::ast::CharSet;
use crate::pattern::chain::{Chain, Conjunction, Gap, Head, Link, Place};
use crate::translate::nginx::bytes::{self, Bytes};

/// The pattern, at the beginning of the text; nothing where the conjunction contradicts itself.
pub(super) fn pattern(conjunction: &Conjunction, text: Text) -> Option<String> {
    let Some((last, others)) = conjunction.elements.split_last() else {
        return Some(String::new());
    };
    let head = conjunction.head().ok()?;
    let writer = Writer { text, lines: conjunction.place == Place::InLine };
    let mut found = match (&head, conjunction.place) {
        (Some(head), Place::InLine | Place::Anywhere) => writer.until_head(head, conjunction),
        _ => String::new(),
    };
    for element in others.iter().chain(Some(last)) {
        let chain = writer.chain(&element.chain);
        match element.negate {
            true => found.push_str(&format!("(?!{chain})")),
            false if std::ptr::eq(element, last) => found.push_str(&chain),
            false => found.push_str(&format!("(?={chain})")),
        }
    }
    if conjunction.place != Place::InLine {
        return Some(found);
    }
    let line = writer.gap(Gap::Line, None) + &text.line_terminator();
    Some(format!("(?:({found})|(?:{line}(?!(?-1)))*+{line}(?-1))"))
}

struct Writer {
    text: Text,
    /// Whether all of it must be found within a line.
    lines: bool,
}

impl Writer {
    fn chain(&self, chain: &Chain) -> String {
        let mut out = String::new();
        for (at, link) in chain.links.iter().enumerate() {
            let segment = self.segment(link, chain.links.get(at + 1), chain.end);
            if let Some(gap) = link.gap {
                out.push_str(&self.gap(gap, Some(Search { segment: &link.segment, text: &segment })));
            }
            out.push_str(&segment);
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
        let mut out: String = others.iter().map(|set| self.text.char(set)).collect();
        if last.is_some() {
            out.push_str(&self.step(Some(&self.text.line_terminator()), false));
        }
        if end && next.is_none() {
            out.push_str(&self.text.end());
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
        let mut text: String = head.segment.iter().map(|set| self.text.char(set)).collect();
        if head.end {
            text.push_str(&self.text.end());
        }
        let skipped = self.gap(gap, Some(Search { segment: &head.segment, text: &text }));
        format!("{skipped}(?={text})")
    }

    /// A gap up to what is searched, or up to the line's end.
    fn gap(&self, gap: Gap, search: Option<Search>) -> String {
        let breaks = (gap == Gap::Line).then(|| self.text.line_terminator());
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
        let mut ways = self.text.run(&fast);
        ways.push(self.step(stop, whole));
        format!("(?:{})*+", ways.join("|"))
    }

    fn step(&self, stop: Option<&str>, whole: bool) -> String {
        let step = if whole { self.text.char(&CharSet::any()) } else { self.text.any_token() };
        match stop {
            Some(stop) => format!("(?!{stop}){step}"),
            None => step,
        }
    }
}

/// What a gap leads to: its characters, and its text.
struct Search<'a> {
    segment: &'a [CharSet],
    text: &'a str,
}
