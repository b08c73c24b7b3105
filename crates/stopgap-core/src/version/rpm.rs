//! rpm versions: `[epoch:]version[-release]`.
//!
//! Source: rpm's manual, "rpm-version"(7), and the test vectors that rpm publishes (`tests/rpmvercmp.at`). A
//! release is compared only where both sides have one, as rpm does it for dependencies: `below="1.2.3"`
//! means every release of what comes before 1.2.3.

use std::cmp::Ordering;

use super::VersionError;

/// Longer than any version in use.
const MAX: usize = 256;
const EXPECTED: &str = "[epoch:]version[-release], such as 1:2.4.57-5.el9";

/// A version in its parts.
pub(super) struct Version<'a> {
    epoch: &'a [u8],
    version: &'a [u8],
    release: Option<&'a [u8]>,
}

impl<'a> Version<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, VersionError> {
        Self::parts(text).ok_or_else(|| VersionError::Malformed {
            scheme: "rpm",
            found: text.chars().take(80).collect(),
            expected: EXPECTED,
        })
    }

    fn parts(text: &'a str) -> Option<Self> {
        if text.len() > MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (version, release) = match rest.rsplit_once('-') {
            Some((version, release)) => (version, Some(release)),
            None => (rest, None),
        };
        let holds = !epoch.is_empty()
            && epoch.bytes().all(|b| b.is_ascii_digit())
            && !version.is_empty()
            && !version.contains('-')
            && release != Some("");
        holds.then(|| Self {
            epoch: epoch.as_bytes(),
            version: version.as_bytes(),
            release: release.map(str::as_bytes),
        })
    }

    /// Epoch, version, and release where both have one.
    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        super::number(self.epoch, other.epoch).then_with(|| compare(self.version, other.version)).then_with(
            || match (self.release, other.release) {
                (Some(a), Some(b)) => compare(a, b),
                _ => Ordering::Equal,
            },
        )
    }
}

/// Segments of digits or of letters; everything else only separates. A tilde is less than the end, a caret
/// more than the end and less than anything else; digits are more than letters.
pub(super) fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        a = separators(a);
        b = separators(b);
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                (a, b) = (tail(a), tail(b));
                continue;
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() != y.is_ascii_digit() => {
                return if x.is_ascii_digit() { Ordering::Greater } else { Ordering::Less };
            }
            (Some(x), Some(_)) => {
                let digits = x.is_ascii_digit();
                let (one, rest_a) = segment(a, digits);
                let (two, rest_b) = segment(b, digits);
                let ordering = if digits { super::number(one, two) } else { one.cmp(two) };
                if ordering.is_ne() {
                    return ordering;
                }
                (a, b) = (rest_a, rest_b);
            }
        }
    }
}

fn separators(text: &[u8]) -> &[u8] {
    let means = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^');
    let start = text.iter().position(means).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

fn tail(text: &[u8]) -> &[u8] {
    text.get(1..).unwrap_or_default()
}

fn segment(text: &[u8], digits: bool) -> (&[u8], &[u8]) {
    let of = |byte: &u8| if digits { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
    let end = text.iter().position(|byte| !of(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}
