//! Debian package versions: `[epoch:]upstream[-revision]`.
//!
//! Source: Debian Policy, section 5.6.12. What `dpkg --compare-versions` takes with a warning of bad syntax is
//! no version here.

use std::cmp::Ordering;

use super::VersionError;

/// Longer than any version that dpkg's own archives hold.
const MAX: usize = 256;
const EXPECTED: &str = "[epoch:]upstream[-revision], such as 1:2.4.62-1~deb12u2";

/// A version in its parts.
pub(super) struct Version<'a> {
    epoch: u32,
    upstream: &'a [u8],
    revision: &'a [u8],
}

impl<'a> Version<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, VersionError> {
        Self::parts(text).ok_or_else(|| VersionError::Malformed {
            scheme: "dpkg",
            found: text.chars().take(80).collect(),
            expected: EXPECTED,
        })
    }

    fn parts(text: &'a str) -> Option<Self> {
        if text.len() > MAX {
            return None;
        }
        let (epoch, rest) = match text.split_once(':') {
            // dpkg keeps an epoch in an int.
            Some((epoch, rest)) if !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit()) => {
                (epoch.parse::<i32>().ok().and_then(|epoch| u32::try_from(epoch).ok())?, rest)
            }
            Some(_) => return None,
            None => (0, text),
        };
        let (upstream, revision) = match rest.rsplit_once('-') {
            // A hyphen with nothing behind it separates nothing.
            Some((_, "")) => return None,
            Some((upstream, revision)) => (upstream, revision),
            None => (rest, ""),
        };
        let allowed = |also: &'static [u8]| move |b: u8| b.is_ascii_alphanumeric() || also.contains(&b);
        let holds = upstream.starts_with(|first: char| first.is_ascii_digit())
            && upstream.bytes().all(allowed(b".-+~:"))
            && revision.bytes().all(allowed(b".+~"));
        holds.then_some(Self { epoch, upstream: upstream.as_bytes(), revision: revision.as_bytes() })
    }

    /// Epoch, then upstream, then revision; a missing revision is less than any but `0` and `~…`.
    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare(self.upstream, other.upstream))
            .then_with(|| compare(self.revision, other.revision))
    }
}

/// Alternating parts, beginning with one without digits: the first compares letter by letter, the second as
/// a number.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (words_a, rest_a) = split(a, |byte| !byte.is_ascii_digit());
        let (words_b, rest_b) = split(b, |byte| !byte.is_ascii_digit());
        let (digits_a, next_a) = split(rest_a, u8::is_ascii_digit);
        let (digits_b, next_b) = split(rest_b, u8::is_ascii_digit);
        let ordering = words(words_a, words_b).then_with(|| super::number(digits_a, digits_b));
        if ordering.is_ne() {
            return ordering;
        }
        (a, b) = (next_a, next_b);
    }
    Ordering::Equal
}

fn split(text: &[u8], of: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !of(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// A tilde is less than the end, the end less than a letter, a letter less than anything else.
fn words(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|at| rank(a.get(at)).cmp(&rank(b.get(at))))
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}
