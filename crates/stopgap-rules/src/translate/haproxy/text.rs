//! Tokens of a text that stands within the sample: what may stand for one byte of what the rule sees.
//!
//! A text ends at a line feed, which no part of a request can hold, so no token takes one: a pattern stays
//! within its text. A header that comes several times is one text for a rule, joined by `, ` (`; ` for
//! Cookie), while the sample has it as HAProxy does:
//!
//! ```text
//!   x-a: one CR LF  host: h CR LF  x-a: two CR LF
//! ```
//!
//! Instead of joining, the tokens read it so: a CR, where the header comes again below, is the separator; and
//! from the LF to the next value, all lines between skipped, is the blank. Both are exactly one byte of the
//! joined text, so a pattern may begin, end or stop anywhere in it. That way is long and the same each time:
//! it is a group of its own, called by its number.
//!
//! As in [`bytes`], each token matches in one way only.

use crate::pattern::ast::CharSet;
use crate::translate::bytes::{self, Bytes, Encoding};
use crate::translate::possessive::Alphabet;

/// How a text is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) encoding: Encoding,
    pub(super) header: Option<Header>,
}

/// What a header's text needs beside.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// The group that goes from a line's end to the header's next value.
    pub(super) next: usize,
    /// What is between two values, before a blank.
    pub(super) separator: u8,
}

const HEX: &str = "[0-9A-Fa-f]";

impl Text {
    /// One byte of the set. `(?!)`, which never matches, for none.
    fn token(&self, set: &Bytes) -> String {
        let ways = self.ways(set, "");
        match ways.as_slice() {
            [] => "(?!)".to_owned(),
            [one] => one.clone(),
            _ => format!("(?:{})", ways.join("|")),
        }
    }

    fn ways(&self, set: &Bytes, repeated: &str) -> Vec<String> {
        let percent = self.encoding == Encoding::Percent;
        let syntax = |b: u8| b == b'\n' || (b == b'\r' && self.header.is_some()) || (b == b'%' && percent);
        let mut ways = Vec::new();
        let plain = Bytes::of(|b| set.contains(b) && !syntax(b));
        if !plain.is_empty() {
            ways.push(bytes::class(&plain) + repeated);
        }
        if let Some(Header { next, separator }) = self.header {
            if set.contains(separator) {
                ways.push(format!("\\r(?=(?{next}))"));
            }
            if set.contains(b' ') {
                ways.push(format!("(?{next})"));
            }
        }
        if percent && !set.is_empty() {
            if set.contains(b'%') {
                ways.push(format!("%(?!{HEX}{HEX})"));
            }
            ways.push(format!("%{}", bytes::hex_pairs(set)));
        }
        ways
    }
}

impl Alphabet for Text {
    fn char(&self, set: &CharSet) -> String {
        bytes::char_of(set, &|bytes| self.token(bytes))
    }

    fn run(&self, set: &Bytes) -> Vec<String> {
        self.ways(set, "++")
    }

    fn any_token(&self) -> String {
        self.token(&Bytes::of(|_| true))
    }

    fn end(&self) -> String {
        match self.header {
            None => "(?=\\n)".to_owned(),
            Some(Header { next, .. }) => format!("(?=\\r(?!(?{next})))"),
        }
    }
}
