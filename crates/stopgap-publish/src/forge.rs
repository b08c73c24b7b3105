//! The forge: other spellings of an attack, made by machine. What an attacker would try on the first day is
//! tried before the rule is signed: each mutant should be refused as its original is.
//!
//! A mutation says how a request is spelled, and not what it means; whether the target takes both for the same
//! is for the author to know, who names in `mutations.toml` those that do not apply, with the reason:
//!
//! ```toml
//! [[not-applicable]]
//! mutation = "percent-twice"
//! reason = "PHP decodes a query once."
//! ```
//!
//! Not in here: whether a mutant is refused ([`crate::prove`]).

mod spell;

use serde::{Deserialize, Serialize};

/// One way to spell a request differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mutation {
    /// A letter or digit of the address as its percent form: each by itself, and all.
    PercentLetter,
    /// The same for marks that do not structure an address: `.`, `@`, `!`, `$`, …
    PercentPunctuation,
    /// The same for slashes.
    PercentSlash,
    /// Letters, and percent forms that are there, encoded once more.
    PercentTwice,
    /// The address in capitals, in small letters, and alternating.
    Case,
    /// `//` for `/`: each in the path, and all.
    DoubleSlash,
    /// `/./` for `/`.
    DotSegment,
    /// `/x/../` for `/`.
    ParentSegment,
    /// `;a=b` at the end of a segment.
    PathParameter,
    /// `\` for `/`.
    Backslash,
    /// Another parameter before and behind those that there are.
    QueryPadding,
    /// Path and query in each other's place.
    QueryFirst,
    /// A line feed, encoded, before a parameter.
    LineFeed,
    /// The address in absolute form (RFC 9112, section 3.2.2).
    AbsoluteForm,
    /// Another method.
    Method,
    /// Header names in capitals and in small letters.
    HeaderNameCase,
    /// Header values in capitals and in small letters.
    HeaderValueCase,
    /// Blanks around a header's value.
    HeaderBlanks,
    /// A harmless header of the same name before or behind the one that there is.
    HeaderRepeat,
}

impl Mutation {
    /// Every one.
    pub const ALL: [Mutation; 19] = [
        Mutation::PercentLetter,
        Mutation::PercentPunctuation,
        Mutation::PercentSlash,
        Mutation::PercentTwice,
        Mutation::Case,
        Mutation::DoubleSlash,
        Mutation::DotSegment,
        Mutation::ParentSegment,
        Mutation::PathParameter,
        Mutation::Backslash,
        Mutation::QueryPadding,
        Mutation::QueryFirst,
        Mutation::LineFeed,
        Mutation::AbsoluteForm,
        Mutation::Method,
        Mutation::HeaderNameCase,
        Mutation::HeaderValueCase,
        Mutation::HeaderBlanks,
        Mutation::HeaderRepeat,
    ];
}

/// `mutations.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Declared {
    /// Mutations that keep nothing of the attack's meaning.
    #[serde(default)]
    pub not_applicable: Vec<NotApplicable>,
}

/// One `[[not-applicable]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotApplicable {
    /// Which.
    pub mutation: Mutation,
    /// Why, for whoever reads the rule after it was bypassed.
    pub reason: String,
}

impl Declared {
    /// Whether a mutation is to be tried.
    pub fn applies(&self, mutation: Mutation) -> bool {
        self.not_applicable.iter().all(|declared| declared.mutation != mutation)
    }
}

/// A request in its parts.
struct Parts<'a> {
    method: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    version: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

/// Mutants of one request by one mutation; those that come out as the original are left out.
///
/// `head` is a request head with CRLF line ends, as [`crate::requests::parse`] gives it. At most a few for each
/// of its first [`PLACES`] characters and headers.
pub fn mutants(head: &str, mutation: Mutation) -> Vec<String> {
    let Some(parts) = Parts::of(head) else { return Vec::new() };
    let mut made = spell::spell(&parts, mutation);
    made.retain(|mutant| mutant != head);
    made.dedup();
    made
}

/// Places of a request at which a mutation is tried one by one; beyond them all at once is tried still.
pub const PLACES: usize = 256;

impl<'a> Parts<'a> {
    fn of(head: &'a str) -> Option<Parts<'a>> {
        let mut lines = head.split("\r\n");
        let (method, rest) = lines.next()?.split_once(' ')?;
        let (target, version) = rest.rsplit_once(' ')?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let headers = lines.filter_map(|line| line.split_once(':')).map(|(n, v)| (n, v.trim())).collect();
        path.starts_with('/').then_some(Parts { method, path, query, version, headers })
    }

    fn target(&self) -> String {
        match self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.to_owned(),
        }
    }

    fn with_target(&self, target: &str) -> String {
        self.write(self.method, target, self.headers.iter().map(|(n, v)| format!("{n}: {v}")))
    }

    fn write(&self, method: &str, target: &str, headers: impl Iterator<Item = String>) -> String {
        let mut head = format!("{method} {target} {}\r\n", self.version);
        for header in headers {
            head.push_str(&header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "GET /a/b%2e?x=1!&y HTTP/1.1\r\nHost: h.example\r\nCookie: K=v\r\n\r\n";

    fn targets(mutation: Mutation) -> Vec<String> {
        mutants(HEAD, mutation).iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect()
    }

    #[test]
    fn each_mutation_spells_the_address_in_its_own_way() {
        for (mutation, expected) in [
            (Mutation::PercentLetter, &["/%61/b%2e?x=1!&y", "/%61/%62%2e?%78=%31!&%79"][..]),
            (Mutation::PercentPunctuation, &["/a/b%2e?x=1%21&y"]),
            (Mutation::PercentSlash, &["/a%2Fb%2e?x=1!&y"]),
            (Mutation::PercentTwice, &["/a/b%252e?x=1!&y", "/%2561/%2562%252e?%2578=%2531!&%2579"]),
            (Mutation::Case, &["/A/B%2E?X=1!&Y"]),
            (Mutation::DoubleSlash, &["//a/b%2e?x=1!&y", "/a//b%2e?x=1!&y", "//a//b%2e?x=1!&y"]),
            (Mutation::DotSegment, &["/a/./b%2e?x=1!&y"]),
            (Mutation::ParentSegment, &["/a/x/../b%2e?x=1!&y"]),
            (Mutation::PathParameter, &["/a;a=b/b%2e?x=1!&y", "/a/b%2e;a=b?x=1!&y"]),
            (Mutation::Backslash, &["/a\\b%2e?x=1!&y"]),
            (Mutation::QueryPadding, &["/a/b%2e?a=b&x=1!&y", "/a/b%2e?x=1!&y&a=b"]),
            (Mutation::QueryFirst, &["/x=1!&y?a/b%2e"]),
            (Mutation::LineFeed, &["/a/b%2e?%0ax=1!&y", "/a/b%2e?x=1!&%0ay"]),
            (Mutation::AbsoluteForm, &["http://h.example/a/b%2e?x=1!&y"]),
        ] {
            let found = targets(mutation);
            for expected in expected {
                assert!(
                    found.iter().any(|target| target == expected),
                    "{mutation:?}: {expected} in {found:?}"
                );
            }
        }
    }

    #[test]
    fn headers_and_methods_are_spelled_differently() {
        let all = |mutation| mutants(HEAD, mutation).join("");
        assert!(all(Mutation::Method).starts_with("POST /a/b"));
        assert!(all(Mutation::HeaderNameCase).contains("COOKIE: K=v\r\n"));
        assert!(all(Mutation::HeaderValueCase).contains("Cookie: k=v\r\n"));
        assert!(all(Mutation::HeaderBlanks).contains("Cookie:\t K=v \r\n"));
        let repeated = all(Mutation::HeaderRepeat);
        assert!(repeated.contains("Cookie: stopgap=1\r\nCookie: K=v\r\n"), "{repeated}");
        assert!(repeated.contains("Cookie: K=v\r\nCookie: stopgap=1\r\n"), "{repeated}");
    }

    #[test]
    fn every_mutation_has_a_name_and_makes_something_of_an_ordinary_request() {
        for mutation in Mutation::ALL {
            assert!(!mutants(HEAD, mutation).is_empty(), "{mutation:?}");
            let name = serde_json::to_value(mutation).unwrap();
            let text = format!("[[not-applicable]]\nmutation = {name}\nreason = \"x\"\n");
            let declared: Declared = toml::from_str(&text).unwrap();
            assert!(!declared.applies(mutation));
        }
        assert!(toml::from_str::<Declared>("[[not-applicable]]\nmutation = \"x\"\nreason = \"\"").is_err());
        assert!(mutants("OPTIONS * HTTP/1.1\r\n\r\n", Mutation::Case).is_empty());
    }
}
