//! Names: of a feed, of a mitigation or an action, and of a mitigation within its feed.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing, or too much, or a character that no name may have.
    #[error(
        "`{found}` is not {what}: expected 1 to {max} characters, each a letter, a digit, `-`, `_` or (ids) `.` between segments"
    )]
    Malformed {
        /// "a feed name" or "an id".
        what: &'static str,
        /// What stood there (cut to a printable length).
        found: String,
        /// The longest that is allowed.
        max: usize,
    },
}

const FEED_NAME_MAX: usize = 64;
const ID_MAX: usize = 64;

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

fn malformed(what: &'static str, found: &str, max: usize) -> IdError {
    IdError::Malformed { what, found: found.chars().take(80).flat_map(char::escape_default).collect(), max }
}

/// The name of a feed: 1 to 64 ASCII letters, digits, `-`, `_`. It is used in file names and in
/// server configurations, so nothing else is let in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeedName(String);

impl FeedName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FeedName {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        if s.is_empty() || s.len() > FEED_NAME_MAX || !s.bytes().all(is_name_byte) {
            return Err(malformed("a feed name", s, FEED_NAME_MAX));
        }
        Ok(Self(s.to_owned()))
    }
}

/// A dotted id such as `M1`, `M01.1`, `PING1`.
///
/// Segments compare numerically (`M01.1` equals `M1.1`) and without regard to ASCII case; the
/// spelling is kept for display. Administrators block at any level, so [`Id::covers`] matches by
/// dotted prefix.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// The id as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this id is `other` or one of its parents: `M1` covers `M1.2`, `M01` covers `M1`,
    /// `M1` does not cover `M10`.
    pub fn covers(&self, other: &Id) -> bool {
        let mut theirs = other.segments();
        self.segments().all(|mine| theirs.next() == Some(mine))
    }

    fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.0.split('.').map(Segment::of)
    }
}

/// One segment of an id. Compared without making anything: a feed of thousands of ids compares each
/// with many.
#[derive(Clone, Copy)]
struct Segment<'a> {
    letters: &'a str,
    /// Without leading zeros; empty where there is none.
    number: &'a str,
}

impl<'a> Segment<'a> {
    fn of(segment: &'a str) -> Self {
        let letters = segment.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = segment.get(letters.len()..).unwrap_or_default();
        let short = number.trim_start_matches('0');
        let zero = number.get(..1).unwrap_or_default();
        Self { letters, number: if short.is_empty() { zero } else { short } }
    }

    /// Letters in upper case.
    fn letters(self) -> impl Iterator<Item = u8> + 'a {
        self.letters.bytes().map(|letter| letter.to_ascii_uppercase())
    }
}

impl PartialEq for Segment<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.letters.eq_ignore_ascii_case(other.letters) && self.number == other.number
    }
}
impl Eq for Segment<'_> {}
impl PartialOrd for Segment<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Segment<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers =
            || self.number.len().cmp(&other.number.len()).then_with(|| self.number.cmp(other.number));
        self.letters().cmp(other.letters()).then_with(numbers)
    }
}

impl FromStr for Id {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let well_formed = !s.is_empty()
            && s.len() <= ID_MAX
            && s.split('.').all(|segment| !segment.is_empty() && segment.bytes().all(is_name_byte));
        if well_formed { Ok(Self(s.to_owned())) } else { Err(malformed("an id", s, ID_MAX)) }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.segments().eq(other.segments())
    }
}
impl Eq for Id {}
impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Id {
    fn cmp(&self, other: &Self) -> Ordering {
        self.segments().cmp(other.segments())
    }
}
impl std::hash::Hash for Id {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for segment in self.segments() {
            // No letter is a dot, nor is a digit: what follows what cannot be mistaken.
            segment.letters().for_each(|letter| letter.hash(state));
            segment.number.hash(state);
        }
    }
}

/// A mitigation's identity: (feed, id), written `example:M1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key {
    /// The feed that brought it.
    pub feed: FeedName,
    /// Its id in that feed.
    pub id: Id,
}

impl FromStr for Key {
    type Err = IdError;
    fn from_str(s: &str) -> Result<Self, IdError> {
        let (feed, id) = s.split_once(':').ok_or_else(|| malformed("a feed name", s, FEED_NAME_MAX))?;
        Ok(Self { feed: feed.parse()?, id: id.parse()? })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.feed, self.id)
    }
}
impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}
impl TryFrom<String> for Key {
    type Error = IdError;
    fn try_from(s: String) -> Result<Self, IdError> {
        s.parse()
    }
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(s: String) -> Result<Self, IdError> {
                s.parse()
            }
        }
    };
}
text_newtype!(FeedName);
text_newtype!(Id);

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    fn id(s: &str) -> Id {
        s.parse().unwrap()
    }

    #[test]
    fn segments_compare_numerically() {
        assert_eq!(id("M01.1"), id("M1.01"));
        assert_ne!(id("M1"), id("M10"));
        assert!(id("M2") < id("M10"));
        assert_eq!(id("M01.1").to_string(), "M01.1");
        assert_eq!((id("M0"), id("M1.0")), (id("M00"), id("M1.00")));
        assert_ne!(id("M0"), id("M"));
    }

    #[test]
    fn spellings_of_one_id_are_one_member_of_a_set() {
        let ids =
            ["M1", "m01", "M001", "M1.0", "m1.00", "M", "M0", "M00", "1", "01", "1M", "1m", "M10", "m-1.A_2"];
        let hashed: HashSet<Id> = ids.map(id).into();
        let sorted: BTreeSet<Id> = ids.map(id).into();
        assert_eq!((hashed.len(), sorted.len()), (8, 8));
        assert!(hashed.iter().all(|id| sorted.contains(id)));
    }

    #[test]
    fn a_block_covers_its_children_only() {
        assert!(id("M1").covers(&id("M01.2")));
        assert!(id("M1.2").covers(&id("M1.2.0")));
        assert!(!id("M1").covers(&id("M10")));
        assert!(!id("M1.2").covers(&id("M1")));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", ".", "M1.", "M1..2", "M 1", "M1\n", "M/1", "é", &"x".repeat(65)] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
        for bad in ["", "a.b", "../x", "a b"] {
            assert!(bad.parse::<FeedName>().is_err(), "{bad:?}");
        }
        assert_eq!("example:M1".parse::<Key>().unwrap().to_string(), "example:M1");
    }
}
