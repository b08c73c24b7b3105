//! A linear form as a PCRE pattern that never goes back.
//!
//! A gap and the segment behind it, `.*ab`, become
//!
//! ```text
//!   (?: [^ab…]++ | %(?!HH) | %HH  |  (?! ab | line end ) token )*+  ab
//!       what cannot start it          one token where it does not start
//! ```
//!
//! which finds the leftmost `ab` in the line. A match lies within one line, so lines are tried one by one:
//!
//! ```text
//!   (?: X (*ACCEPT) | line )*+ (?!)
//! ```
//!
//! where X is what must be found; where it is, all is said, and where the last line has passed, nothing fits.
//! Everything is possessive and every token matches in one way only, so where it fails, it fails at once;
//! [`crate::pattern::chain`] tells why the leftmost place is enough.
//!
//! That holds for the loop over lines, too: with `pcre_jit on;` nginx runs patterns as machine code, which
//! has a stack of 32 KB, and a lazy loop `(?:line)*?X` leaves something there at each turn. Two thousand short
//! lines would fill it, the map would take its default, and an attack behind them would pass. X stands there
//! once, and in no group that captures, since nginx hands captures to the rest of its configuration.
//!
//! The pattern is anchored, with the search written out, since PCRE's own search would start within a percent
//! sequence, and again at each byte.

use super::MAX_WORD;
use super::bytes::{self, Bytes, Encoding};
use crate::pattern::ast::CharSet;
use crate::pattern::chain::{Chain, Conjunction, Gap, Head, Link, Place};

/// The pattern, behind a pattern for what precedes the text; nothing where the conjunction contradicts
/// itself.
pub(in crate::translate) fn pattern(
    conjunction: &Conjunction,
    encoding: Encoding,
    start: &str,
) -> Option<String> {
    let Some((last, others)) = conjunction.elements.split_last() else {
        return Some(start.to_owned());
    };
    let head = conjunction.head().ok()?;
    let writer = Writer { encoding, lines: conjunction.place == Place::InLine };
    let position = match (&head, conjunction.place) {
        (Some(head), Place::InLine | Place::Anywhere) => writer.until_head(head, conjunction),
        _ => String::new(),
    };
    let mut body = String::new();
    for element in others.iter().chain(Some(last)) {
        let chain = writer.chain(&element.chain);
        match element.negate {
            true => body.push_str(&format!("(?!{chain})")),
            false if std::ptr::eq(element, last) => body.push_str(&chain),
            false => body.push_str(&format!("(?={chain})")),
        }
    }
    if conjunction.place != Place::InLine {
        return Some(format!("{start}{position}{body}"));
    }
    let line = writer.gap(Gap::Line, None) + &bytes::line_terminator(encoding);
    let skip = writer.skip(conjunction, head.as_ref());
    // Nothing may follow: ACCEPT ends the whole pattern.
    let lines = |skip: &str| format!("{start}(?:{position}{body}(*ACCEPT)|{line}{skip})*+(?!)");
    let quick = lines(&skip);
    // The quick way is longer, and nginx reads so much only.
    Some(if quick.len() > MAX_WORD { lines("") } else { quick })
}

/// Text as itself.
pub(in crate::translate) fn literal(text: &str) -> String {
    text.bytes().map(bytes::escape).collect()
}

struct Writer {
    encoding: Encoding,
    /// Whether the position must be found within the line.
    lines: bool,
}

impl Writer {
    fn chain(&self, chain: &Chain) -> String {
        let mut out = String::new();
        for (at, link) in chain.links.iter().enumerate() {
            let next = chain.links.get(at + 1);
            let segment = self.segment(link, next, chain.end);
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
        let mut out: String = others.iter().map(|set| bytes::char(set, self.encoding)).collect();
        if last.is_some() {
            out.push_str(&self.step(Some(&bytes::line_terminator(self.encoding)), false));
        }
        if end && next.is_none() {
            out.push_str("\\z");
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
        let mut text: String = head.segment.iter().map(|set| bytes::char(set, self.encoding)).collect();
        if head.end {
            text.push_str("\\z");
        }
        let skipped = self.gap(gap, Some(Search { segment: &head.segment, text: &text }));
        format!("{skipped}(?={text})")
    }

    /// Lines that do not hold the first thing that is looked for: one pass, where trying the whole on each
    /// line would take two.
    fn skip(&self, conjunction: &Conjunction, head: Option<&Head>) -> String {
        let first = conjunction.elements.first().and_then(|element| element.chain.links.first());
        let segment = match (head, first) {
            (Some(head), _) => head.segment.as_slice(),
            (None, Some(link)) => link.segment.as_slice(),
            (None, None) => return String::new(),
        };
        if segment.is_empty() {
            return String::new();
        }
        let text: String = segment.iter().map(|set| bytes::char(set, self.encoding)).collect();
        let gap = self.gap(Gap::Line, Some(Search { segment, text: &text }));
        format!("(?:{gap}{})*+", bytes::line_terminator(self.encoding))
    }

    /// A gap up to what is searched, or up to the line's end.
    fn gap(&self, gap: Gap, search: Option<Search>) -> String {
        let breaks = (gap == Gap::Line).then(|| bytes::line_terminator(self.encoding));
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
        let mut ways = bytes::run(&fast, self.encoding);
        if let Some([first, second, ..]) = search.as_ref().map(|search| search.segment) {
            ways.extend(self.false_start(first, second, gap));
        }
        ways.push(self.step(stop, whole));
        format!("(?:{})*+", ways.join("|"))
    }

    /// A byte that could start the segment, but for the byte behind it: seen without trying the segment.
    fn false_start(&self, first: &CharSet, second: &CharSet, gap: Gap) -> Option<String> {
        let percent = |b: u8| self.encoding == Encoding::Percent && b == b'%';
        let breaks = |b: u8| gap == Gap::Line && matches!(b, b'\n' | b'\r');
        let starts = bytes::first_bytes(first);
        let starts = Bytes::of(|b| b.is_ascii() && starts.contains(b) && !percent(b) && !breaks(b));
        let follows = bytes::first_bytes(second);
        let follows = Bytes::of(|b| follows.contains(b) || percent(b));
        let some = !starts.is_empty() && !follows.is_empty();
        some.then(|| format!("{}(?!{})", bytes::class(&starts), bytes::class(&follows)))
    }

    fn step(&self, stop: Option<&str>, whole: bool) -> String {
        let step =
            if whole { bytes::char(&CharSet::any(), self.encoding) } else { bytes::any_token(self.encoding) };
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
