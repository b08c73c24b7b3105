//! Versions: how two of them compare, scheme by scheme.
//!
//! Not in here: which version is installed ([`crate::facts`]).

mod dpkg;
mod rpm;

use std::cmp::Ordering;

use stopgap_feed::document::VersionScheme;

/// Why two versions could not be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not a version of that scheme.
    #[error("`{found}` is not a {scheme} version: expected {expected}")]
    Malformed {
        /// The scheme's name.
        scheme: &'static str,
        /// What stood there.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
}

/// Compares `a` with `b`.
pub fn compare(scheme: VersionScheme, a: &str, b: &str) -> Result<Ordering, VersionError> {
    match scheme {
        VersionScheme::Dotted => Ok(cmp_numbers(&dotted(a)?, &dotted(b)?)),
        VersionScheme::Semver => {
            let (a, b) = (Semver::parse(a)?, Semver::parse(b)?);
            Ok(cmp_numbers(&a.numbers, &b.numbers).then_with(|| cmp_prerelease(&a.prerelease, &b.prerelease)))
        }
        VersionScheme::Dpkg => Ok(dpkg::Version::parse(a)?.cmp(&dpkg::Version::parse(b)?)),
        VersionScheme::Rpm => Ok(rpm::Version::parse(a)?.cmp(&rpm::Version::parse(b)?)),
    }
}

/// Digits as a number of any size; none at all are zero.
fn number(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |digits: &[u8]| {
        let start = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
        digits.get(start..).unwrap_or_default().to_vec()
    };
    let (a, b) = (significant(a), significant(b));
    a.len().cmp(&b.len()).then_with(|| a.cmp(&b))
}

/// Numbers without leading zeros, as text: build numbers have no upper bound that we could know.
type Numbers = Vec<String>;

fn dotted(s: &str) -> Result<Numbers, VersionError> {
    let malformed = || VersionError::Malformed {
        scheme: "dotted",
        found: s.chars().take(80).collect(),
        expected: "numbers separated by dots, such as 15.2.986.36",
    };
    if s.len() > 256 {
        return Err(malformed());
    }
    s.split('.').map(|part| numeric(part).ok_or_else(malformed)).collect()
}

fn numeric(part: &str) -> Option<String> {
    let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| part.trim_start_matches('0').to_owned())
}

/// Missing trailing parts count as zero: `15.2` equals `15.2.0.0`.
fn cmp_numbers(a: &Numbers, b: &Numbers) -> Ordering {
    let empty = String::new();
    (0..a.len().max(b.len()))
        .map(|i| {
            let (x, y) = (a.get(i).unwrap_or(&empty), b.get(i).unwrap_or(&empty));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        })
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Semantic Versioning 2.0.0, section 11. Build metadata does not count.
struct Semver {
    numbers: Numbers,
    prerelease: Option<Vec<String>>,
}

impl Semver {
    fn parse(s: &str) -> Result<Semver, VersionError> {
        let malformed = || VersionError::Malformed {
            scheme: "semver",
            found: s.chars().take(80).collect(),
            expected: "MAJOR.MINOR.PATCH with an optional -prerelease and +build",
        };
        if s.len() > 256 {
            return Err(malformed());
        }
        let without_build = s.split_once('+').map_or(s, |(version, _)| version);
        let (core, prerelease) = match without_build.split_once('-') {
            Some((core, pre)) => (core, Some(pre.split('.').map(str::to_owned).collect::<Vec<_>>())),
            None => (without_build, None),
        };
        let numbers = dotted(core).map_err(|_| malformed())?;
        let identifiers_hold = prerelease
            .iter()
            .flatten()
            .all(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        if numbers.len() != 3 || !identifiers_hold {
            return Err(malformed());
        }
        Ok(Semver { numbers, prerelease })
    }
}

fn cmp_prerelease(a: &Option<Vec<String>>, b: &Option<Vec<String>>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => a
            .iter()
            .zip(b)
            .map(|(x, y)| cmp_identifier(x, y))
            .find(|ordering| ordering.is_ne())
            .unwrap_or_else(|| a.len().cmp(&b.len())),
    }
}

fn cmp_identifier(x: &str, y: &str) -> Ordering {
    match (numeric(x), numeric(y)) {
        (Some(m), Some(n)) => m.len().cmp(&n.len()).then_with(|| m.cmp(&n)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => x.cmp(y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use VersionScheme::{Dotted, Dpkg, Rpm, Semver};

    #[test]
    fn dotted_versions_compare_as_numbers() {
        for (a, b, expected) in [
            ("15.2.986.5", "15.2.986.36", Ordering::Less),
            ("15.2.1118.20", "15.2.986.36", Ordering::Greater),
            ("15.02.0986.5", "15.2.986.5", Ordering::Equal),
            ("15.2", "15.2.0.0", Ordering::Equal),
            ("99999999999999999999999.1", "9999999999999999999999.9", Ordering::Greater),
        ] {
            assert_eq!(compare(Dotted, a, b), Ok(expected), "{a} {b}");
            assert_eq!(compare(Dotted, b, a), Ok(expected.reverse()), "{b} {a}");
        }
    }

    #[test]
    fn semver_follows_its_own_example() {
        let order = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
        ];
        for pair in order.windows(2) {
            assert_eq!(compare(Semver, pair[0], pair[1]), Ok(Ordering::Less), "{pair:?}");
        }
        assert_eq!(compare(Semver, "1.0.0+a", "1.0.0+b"), Ok(Ordering::Equal));
    }

    #[test]
    fn what_is_no_version_is_an_error_and_not_a_guess() {
        for bad in ["", "15.", "15..2", "v15", "15.2 ", "1.0\n"] {
            assert!(compare(Dotted, bad, "1").is_err(), "{bad:?}");
        }
        assert!(compare(Semver, "1.0", "1.0.0").is_err());
        for bad in ["", "1-", ":1", "a:1", "1:", "2147483648:1", "1 2", "1_2", "1-2:3", "1/2", "1-\u{e4}"] {
            assert!(compare(Dpkg, bad, "1").is_err(), "{bad:?}");
        }
        for bad in ["", "1-", ":1", "a:1", "1:", "1 2", "1-2-3"] {
            assert!(compare(Rpm, bad, "1").is_err(), "{bad:?}");
        }
    }
}
