//! Applicability: whether a mitigation concerns a server with these facts.
//!
//! Three answers, since what cannot be read is neither yes nor no.

use std::cmp::Ordering;

use stopgap_feed::document::{Condition, Product, Range};

use crate::facts::{Fact, Facts};
use crate::version::{self, VersionError};

/// Whether a condition holds, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applicability {
    /// It holds.
    Holds(String),
    /// It does not hold.
    DoesNotHold(String),
    /// It could not be told.
    Unknown(String),
    /// This build cannot judge it (a version scheme that it does not compare).
    Unsupported(String),
}

/// Judges `condition`; `None` holds on every server.
pub fn judge(condition: Option<&Condition>, facts: &Facts) -> Applicability {
    match condition {
        None => Applicability::Holds("it concerns every server".into()),
        Some(Condition::All(parts)) => combine(parts, facts, Combine::All),
        Some(Condition::Any(parts)) => combine(parts, facts, Combine::Any),
        Some(Condition::Product(product)) => judge_product(product, facts),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Combine {
    All,
    Any,
}

/// Any: the first that holds decides; All: the first that does not. Else the least certain part
/// decides, so that an unknown is never counted as an answer.
fn combine(parts: &[Condition], facts: &Facts, how: Combine) -> Applicability {
    let judged: Vec<Applicability> = parts.iter().map(|part| judge(Some(part), facts)).collect();
    let decides = |a: &&Applicability| match how {
        Combine::Any => matches!(a, Applicability::Holds(_)),
        Combine::All => matches!(a, Applicability::DoesNotHold(_)),
    };
    let unsupported = |a: &&Applicability| matches!(a, Applicability::Unsupported(_));
    let unknown = |a: &&Applicability| matches!(a, Applicability::Unknown(_));
    let found = judged
        .iter()
        .find(decides)
        .or_else(|| judged.iter().find(unsupported))
        .or_else(|| judged.iter().find(unknown));
    match (found, how) {
        (Some(answer), _) => answer.clone(),
        (None, Combine::All) => Applicability::Holds(reasons(&judged)),
        (None, Combine::Any) => Applicability::DoesNotHold(reasons(&judged)),
    }
}

fn reasons(judged: &[Applicability]) -> String {
    let texts: Vec<&str> = judged
        .iter()
        .map(|answer| match answer {
            Applicability::Holds(why)
            | Applicability::DoesNotHold(why)
            | Applicability::Unknown(why)
            | Applicability::Unsupported(why) => why.as_str(),
        })
        .collect();
    if texts.is_empty() { "it names no product".into() } else { texts.join("; ") }
}

fn judge_product(product: &Product, facts: &Facts) -> Applicability {
    let name = &product.name;
    let version = match facts.get(name) {
        None => return Applicability::DoesNotHold(format!("{name} is not on this server")),
        Some(Fact::Unknown(why)) if product.ranges.is_empty() => {
            return Applicability::Holds(format!("{name} is on this server ({why})"));
        }
        Some(Fact::Unknown(why)) => {
            return Applicability::Unknown(format!("the version of {name} cannot be read: {why}"));
        }
        Some(Fact::Version(version)) => version,
    };
    if product.ranges.is_empty() {
        return Applicability::Holds(format!("{name} {version} is on this server"));
    }
    for range in &product.ranges {
        match within(product, range, version) {
            Ok(true) => return Applicability::Holds(format!("{name} {version} is {}", words(range))),
            Ok(false) => {}
            Err(error @ VersionError::UnsupportedScheme(_)) => {
                return Applicability::Unsupported(error.to_string());
            }
            Err(error) => return Applicability::Unknown(format!("{name}: {error}")),
        }
    }
    Applicability::DoesNotHold(format!("{name} {version} is in none of the affected ranges"))
}

fn within(product: &Product, range: &Range, version: &str) -> Result<bool, VersionError> {
    let bound = |limit: &Option<String>, holds: fn(Ordering) -> bool| match limit {
        None => Ok(true),
        Some(limit) => version::compare(product.scheme, version, limit).map(holds),
    };
    Ok(bound(&range.from, Ordering::is_ge)?
        && bound(&range.below, Ordering::is_lt)?
        && bound(&range.through, Ordering::is_le)?)
}

fn words(range: &Range) -> String {
    let part = |word: &str, limit: &Option<String>| limit.as_ref().map(|limit| format!("{word} {limit}"));
    let parts: Vec<String> =
        [part("from", &range.from), part("below", &range.below), part("through", &range.through)]
            .into_iter()
            .flatten()
            .collect();
    if parts.is_empty() { "any version".into() } else { parts.join(" and ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopgap_feed::document::VersionScheme;

    fn exchange(ranges: &[(&str, &str)]) -> Condition {
        Condition::Product(Product {
            name: "exchange".into(),
            scheme: VersionScheme::Dotted,
            ecosystem: None,
            ranges: ranges
                .iter()
                .map(|(from, below)| Range {
                    from: Some((*from).into()),
                    below: Some((*below).into()),
                    through: None,
                })
                .collect(),
        })
    }

    fn m1() -> Condition {
        Condition::Any(vec![exchange(&[
            ("15.1.0.0", "15.1.2375.37"),
            ("15.1.2507.0", "15.1.2507.16"),
            ("15.2.0.0", "15.2.986.36"),
            ("15.2.1118.0", "15.2.1118.20"),
        ])])
    }

    #[test]
    fn fixed_builds_are_told_apart_per_branch() {
        for (build, affected) in [
            ("15.2.986.5", true),
            ("15.2.986.36", false),
            ("15.2.1118.7", true),
            ("15.2.1118.20", false),
            ("15.1.2507.6", true),
            ("15.1.2507.16", false),
            ("15.2.1258.12", false),
        ] {
            let facts: Facts = [("exchange", build)].into_iter().collect();
            let holds = matches!(judge(Some(&m1()), &facts), Applicability::Holds(_));
            assert_eq!(holds, affected, "{build}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let mut facts = Facts::default();
        assert!(matches!(judge(Some(&m1()), &facts), Applicability::DoesNotHold(_)));
        facts.insert("exchange", Fact::Unknown("access denied".into()));
        assert!(matches!(judge(Some(&m1()), &facts), Applicability::Unknown(_)));
        facts.insert("exchange", Fact::Version("fifteen".into()));
        assert!(matches!(judge(Some(&m1()), &facts), Applicability::Unknown(_)));
    }

    #[test]
    fn all_needs_every_part_and_any_needs_one() {
        let os = |name: &str| {
            Condition::Product(Product {
                name: name.into(),
                scheme: VersionScheme::Dotted,
                ecosystem: None,
                ranges: vec![],
            })
        };
        let facts: Facts = [("exchange", "15.2.986.5"), ("linux", "6.1")].into_iter().collect();
        let both = |a, b| Condition::All(vec![a, b]);
        assert!(matches!(judge(Some(&both(m1(), os("linux"))), &facts), Applicability::Holds(_)));
        assert!(matches!(judge(Some(&both(m1(), os("windows"))), &facts), Applicability::DoesNotHold(_)));
        let either = Condition::Any(vec![os("windows"), os("linux")]);
        assert!(matches!(judge(Some(&either), &facts), Applicability::Holds(_)));
        assert!(matches!(judge(None, &Facts::default()), Applicability::Holds(_)));
    }
}
