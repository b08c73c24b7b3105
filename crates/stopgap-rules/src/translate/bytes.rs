//! Bytes and characters as PCRE text: each as itself, or as itself and its percent form.
//!
//! A *token* is what stands for one byte of the text that the rule sees: with [`Encoding::Percent`] a `%`
//! and two hexadecimal digits, else one byte. Tokens are always taken from left to right, as the decoder
//! takes them: `%2541` is `%`, `4`, `1`. Every piece here matches in one way only, so that PCRE has nothing
//! to go back to.
//!
//! A *character* is what `String::from_utf8_lossy` makes of the bytes: a valid sequence, or U+FFFD for each
//! longest beginning of one.

use crate::pattern::ast::CharSet;
use regex_syntax::utf8::{Utf8Sequence, Utf8Sequences};

/// How a server holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As it is.
    Raw,
    /// The rule decodes it: `{UrlDecode:…}`.
    Percent,
}

/// A set of bytes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Bytes([bool; 256]);

impl Bytes {
    pub(super) fn of(test: impl Fn(u8) -> bool) -> Bytes {
        let mut bytes = [false; 256];
        for (byte, member) in (0u8..=255).zip(bytes.iter_mut()) {
            *member = test(byte);
        }
        Bytes(bytes)
    }

    fn range(from: u8, to: u8) -> Bytes {
        Bytes::of(|b| (from..=to).contains(&b))
    }

    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or(false)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }

    fn without(&self, byte: u8) -> Bytes {
        Bytes::of(|b| b != byte && self.contains(b))
    }
}

const HEX: &str = "[0-9A-Fa-f]";

/// One token whose byte is in the set. `(?!)`, which never matches, for the empty set.
pub(super) fn token(bytes: &Bytes, encoding: Encoding) -> String {
    if bytes.is_empty() {
        return "(?!)".to_owned();
    }
    if encoding == Encoding::Raw {
        return class(bytes);
    }
    let mut ways = Vec::new();
    let raw = bytes.without(b'%');
    if !raw.is_empty() {
        ways.push(class(&raw));
    }
    if bytes.contains(b'%') {
        ways.push(format!("%(?!{HEX}{HEX})"));
    }
    ways.push(format!("%{}", hex_pairs(bytes)));
    format!("(?:{})", ways.join("|"))
}

/// The same, as the ways to write it, with a run of raw bytes first: to be repeated. Nothing for the empty
/// set.
pub(super) fn run(bytes: &Bytes, encoding: Encoding) -> Vec<String> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let raw = if encoding == Encoding::Percent { bytes.without(b'%') } else { bytes.clone() };
    let mut ways = Vec::new();
    if !raw.is_empty() {
        ways.push(format!("{}++", class(&raw)));
    }
    if encoding == Encoding::Percent {
        if bytes.contains(b'%') {
            ways.push(format!("%(?!{HEX}{HEX})"));
        }
        ways.push(format!("%{}", hex_pairs(bytes)));
    }
    ways
}

/// Any token.
pub(super) fn any_token(encoding: Encoding) -> String {
    match encoding {
        Encoding::Raw => "[\\x00-\\xff]".to_owned(),
        Encoding::Percent => format!("(?:[^%]|%(?:{HEX}{HEX})?+)"),
    }
}

/// Raw bytes only, whatever the encoding; in the decoded text they stand for themselves unless `%` is among
/// them.
pub(super) fn class(bytes: &Bytes) -> String {
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for byte in (0u8..=255).filter(|b| bytes.contains(*b)) {
        match ranges.last_mut() {
            Some((_, to)) if to.checked_add(1) == Some(byte) => *to = byte,
            _ => ranges.push((byte, byte)),
        }
    }
    match ranges.as_slice() {
        [(from, to)] if from == to => escape(*from),
        _ => {
            let inside: String = ranges
                .iter()
                .map(|(from, to)| match to - from {
                    0 => escape(*from),
                    1 => escape(*from) + &escape(*to),
                    _ => format!("{}-{}", escape(*from), escape(*to)),
                })
                .collect();
            format!("[{inside}]")
        }
    }
}

/// Letters and digits as themselves, everything else by number: nothing a rule holds is syntax, in PCRE or
/// in nginx.
pub(super) fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }
}

/// Two hexadecimal digits for a byte in the set.
pub(super) fn hex_pairs(bytes: &Bytes) -> String {
    let mut ways: Vec<(u16, u16)> = Vec::new();
    for high in 0u8..16 {
        let low =
            (0u8..16).filter(|low| bytes.contains(high << 4 | low)).fold(0, |bits, low| bits | 1 << low);
        if low == 0 {
            continue;
        }
        match ways.iter_mut().find(|(_, same)| *same == low) {
            Some((highs, _)) => *highs |= 1 << high,
            None => ways.push((1 << high, low)),
        }
    }
    let ways: Vec<String> = ways.iter().map(|(high, low)| hex_digit(*high) + &hex_digit(*low)).collect();
    match ways.as_slice() {
        [one] => one.clone(),
        _ => format!("(?:{})", ways.join("|")),
    }
}

fn hex_digit(values: u16) -> String {
    if values == u16::MAX {
        return HEX.to_owned();
    }
    class(&Bytes::of(|b| {
        let value = char::from(b).to_digit(16);
        value.is_some_and(|value| values >> value & 1 == 1)
    }))
}

/// One character of the set. A token must match in one way only.
pub(super) fn char_of(set: &CharSet, token: &impl Fn(&Bytes) -> String) -> String {
    let ascii = Bytes::of(|b| b.is_ascii() && set.contains(char::from(b)));
    let wide = set.clone().intersection(&CharSet::of([('\u{80}', char::MAX)]));
    if wide.is_empty() {
        return token(&ascii);
    }
    let mut ways = Vec::new();
    if !ascii.is_empty() {
        ways.push(token(&ascii));
    }
    ways.extend(sequences(&wide, token));
    if wide.contains(char::REPLACEMENT_CHARACTER) {
        let valid = sequences(&CharSet::of([('\u{80}', char::MAX)]), token).join("|");
        ways.push(format!("(?!{valid}){}", broken(token)));
    }
    format!("(?>{})", ways.join("|"))
}

/// The bytes with which a character of the set can start. Every byte above ASCII counts where one does.
pub(super) fn first_bytes(set: &CharSet) -> Bytes {
    let wide = !set.clone().intersection(&CharSet::of([('\u{80}', char::MAX)])).is_empty();
    Bytes::of(|b| if b.is_ascii() { set.contains(char::from(b)) } else { wide })
}

fn sequences(set: &CharSet, token: &impl Fn(&Bytes) -> String) -> Vec<String> {
    let bytes = |sequence: Utf8Sequence| {
        sequence.as_slice().iter().map(|range| token(&Bytes::range(range.start, range.end))).collect()
    };
    set.ranges().flat_map(|(from, to)| Utf8Sequences::new(from, to)).map(bytes).collect()
}

/// What `from_utf8_lossy` replaces by one U+FFFD: the longest beginning of a valid sequence (Unicode, 3.9,
/// table 3-7), else one byte.
fn broken(token: &impl Fn(&Bytes) -> String) -> String {
    let token = |from, to| token(&Bytes::range(from, to));
    let next = token(0x80, 0xBF);
    format!(
        "(?>{f0}{f0next}{next}?+|{f1}{next}{next}?+|{f4}{f4next}{next}?+|{e0}{e0next}|{e1}{next}|{ed}{ednext}\
         |{ee}{next}|{any})",
        f0 = token(0xF0, 0xF0),
        f0next = token(0x90, 0xBF),
        f1 = token(0xF1, 0xF3),
        f4 = token(0xF4, 0xF4),
        f4next = token(0x80, 0x8F),
        e0 = token(0xE0, 0xE0),
        e0next = token(0xA0, 0xBF),
        e1 = token(0xE1, 0xEC),
        ed = token(0xED, 0xED),
        ednext = token(0x80, 0x9F),
        ee = token(0xEE, 0xEF),
        any = token(0x80, 0xFF),
    )
}
