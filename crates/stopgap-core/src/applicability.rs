//! Applicability: whether a mitigation concerns a server with these facts.
//!
//! Three answers, since what cannot be read is neither yes nor no.

use std::cmp::Ordering;

use stopgap_feed::document::{Condition, Product, Range};

use crate::facts::{Fact, Facts, Packages};
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
    /// This build cannot judge it.
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
    let known = match &product.ecosystem {
        _ if !product.detect.is_empty() => {
            return Applicability::Unsupported(format!(
                "{}: this build does not detect products",
                product.name
            ));
        }
        None => stated(product, facts),
        Some(ecosystem) => packaged(product, ecosystem, facts),
    };
    let versions = match known {
        Ok(versions) => versions,
        Err(answer) => return answer,
    };
    if product.ranges.is_empty() {
        return Applicability::Holds(format!("{} {} is on this server", product.name, versions.join(", ")));
    }
    // Any installed version that is affected is one that can be attacked.
    let mut unknown = None;
    for version in &versions {
        match affected(product, version) {
            Ok(Some(range)) => {
                return Applicability::Holds(format!("{} {version} is {}", product.name, words(range)));
            }
            Ok(None) => {}
            Err(error) => unknown = Some(Applicability::Unknown(format!("{}: {error}", product.name))),
        }
    }
    unknown.unwrap_or_else(|| {
        let shown = versions.join(", ");
        Applicability::DoesNotHold(format!("{} {shown} is in none of the affected ranges", product.name))
    })
}

/// The version that is stated of a product, as its vendor numbers it.
fn stated<'a>(product: &Product, facts: &'a Facts) -> Result<Vec<&'a str>, Applicability> {
    let name = &product.name;
    match facts.get(name) {
        Some(Fact::Version(version)) => Ok(vec![version]),
        Some(Fact::Unknown(why)) => Err(unreadable(product, why)),
        None => Err(Applicability::DoesNotHold(match facts.packages() {
            Packages::Installed(installed) if installed.versions(name).next().is_some() => format!(
                "{name} is a distribution's package here, whose version does not tell what was mended in it; \
                 state what else there is of it under [facts]"
            ),
            _ => format!("{name} is not on this server"),
        })),
    }
}

/// The versions of a distribution's package: what is stated wins over what is installed.
fn packaged<'a>(product: &Product, ecosystem: &str, facts: &'a Facts) -> Result<Vec<&'a str>, Applicability> {
    let name = &product.name;
    match facts.ecosystem() {
        Some(Fact::Version(here)) if here.eq_ignore_ascii_case(ecosystem) => {}
        Some(Fact::Version(here)) => {
            return Err(Applicability::DoesNotHold(format!(
                "{name}: its versions are those of {ecosystem}, and this server is {here}"
            )));
        }
        Some(Fact::Unknown(why)) => {
            return Err(Applicability::Unknown(format!(
                "whether this server is {ecosystem} cannot be told: {why}"
            )));
        }
        None => {
            return Err(Applicability::DoesNotHold(format!(
                "{name}: its versions are those of {ecosystem}, which this server is not"
            )));
        }
    }
    match facts.get(name) {
        Some(Fact::Version(version)) => return Ok(vec![version]),
        Some(Fact::Unknown(why)) => return Err(unreadable(product, why)),
        None => {}
    }
    match facts.packages() {
        Packages::Installed(installed) => {
            let versions: Vec<&str> = installed.versions(name).collect();
            if versions.is_empty() {
                return Err(Applicability::DoesNotHold(format!("{name} is not installed here")));
            }
            Ok(versions)
        }
        Packages::Unreadable(why) => {
            Err(Applicability::Unknown(format!("whether {name} is installed cannot be told: {why}")))
        }
        Packages::None => Err(Applicability::DoesNotHold(format!("{name} is not on this server"))),
    }
}

fn unreadable(product: &Product, why: &str) -> Applicability {
    let name = &product.name;
    if product.ranges.is_empty() {
        Applicability::Holds(format!("{name} is on this server ({why})"))
    } else {
        Applicability::Unknown(format!("the version of {name} cannot be read: {why}"))
    }
}

/// The first range that holds a version.
fn affected<'a>(product: &'a Product, version: &str) -> Result<Option<&'a Range>, VersionError> {
    for range in &product.ranges {
        if within(product, range, version)? {
            return Ok(Some(range));
        }
    }
    Ok(None)
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
            detect: Vec::new(),
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

    fn roundcube() -> Condition {
        Condition::Product(Product {
            name: "roundcube".into(),
            scheme: VersionScheme::Dpkg,
            ecosystem: Some("Debian:12".into()),
            detect: Vec::new(),
            ranges: vec![Range { from: None, below: Some("1.6.5+dfsg-1+deb12u5".into()), through: None }],
        })
    }

    fn debian(ecosystem: &str, packages: &[(&str, &str)]) -> Facts {
        let mut facts: Facts = [(crate::facts::ECOSYSTEM, ecosystem)].into_iter().collect();
        let mut installed = crate::facts::Installed::default();
        for (name, version) in packages {
            installed.insert((&format!("{name}-core"), version), (name, version));
        }
        facts.set_packages(Packages::Installed(installed));
        facts
    }

    #[test]
    fn a_package_is_judged_by_its_distributions_own_number() {
        let judged = |facts: &Facts| judge(Some(&roundcube()), facts);
        let affected = debian("Debian:12", &[("roundcube", "1.6.5+dfsg-1+deb12u4")]);
        assert_eq!(
            judged(&affected),
            Applicability::Holds("roundcube 1.6.5+dfsg-1+deb12u4 is below 1.6.5+dfsg-1+deb12u5".into())
        );
        let fixed = debian("Debian:12", &[("roundcube", "1.6.5+dfsg-1+deb12u13")]);
        assert!(matches!(judged(&fixed), Applicability::DoesNotHold(_)));
        // Two architectures, one of them left behind.
        let half = debian(
            "Debian:12",
            &[("roundcube", "1.6.5+dfsg-1+deb12u13"), ("roundcube", "1.6.5+dfsg-1+deb12u1")],
        );
        assert!(matches!(judged(&half), Applicability::Holds(_)));
        assert_eq!(
            judged(&debian("Debian:12", &[("nginx", "1.22.1-9")])),
            Applicability::DoesNotHold("roundcube is not installed here".into())
        );
    }

    #[test]
    fn numbers_of_another_distribution_do_not_count() {
        let ubuntu = debian("Ubuntu:24.04", &[("roundcube", "1.6.5+dfsg-1")]);
        assert_eq!(
            judge(Some(&roundcube()), &ubuntu),
            Applicability::DoesNotHold(
                "roundcube: its versions are those of Debian:12, and this server is Ubuntu:24.04".into()
            )
        );
        assert!(matches!(judge(Some(&roundcube()), &Facts::default()), Applicability::DoesNotHold(_)));
        // A proxy says what stands behind it, and its own packages are not that host's.
        let behind: Facts =
            [(crate::facts::ECOSYSTEM, "Debian:12"), ("roundcube", "1.6.5+dfsg-1")].into_iter().collect();
        assert!(matches!(judge(Some(&roundcube()), &ubuntu.overlaid(&behind)), Applicability::Holds(_)));
        let other: Facts = [(crate::facts::ECOSYSTEM, "Debian:12")].into_iter().collect();
        assert!(matches!(judge(Some(&roundcube()), &ubuntu.overlaid(&other)), Applicability::DoesNotHold(_)));
    }

    #[test]
    fn a_database_that_cannot_be_read_is_neither_yes_nor_no() {
        let mut facts = debian("Debian:12", &[]);
        facts.set_packages(Packages::Unreadable("permission denied".into()));
        assert_eq!(
            judge(Some(&roundcube()), &facts),
            Applicability::Unknown("whether roundcube is installed cannot be told: permission denied".into())
        );
        facts.insert(crate::facts::ECOSYSTEM, Fact::Unknown("no os-release".into()));
        assert!(matches!(judge(Some(&roundcube()), &facts), Applicability::Unknown(_)));
    }

    #[test]
    fn a_vendors_number_is_not_compared_with_a_packages() {
        let facts = debian("Debian:12", &[("exchange", "15.2.986.5")]);
        let Applicability::DoesNotHold(why) = judge(Some(&m1()), &facts) else { panic!("it is a package") };
        assert!(why.contains("a distribution's package"), "{why}");
    }

    #[test]
    fn all_needs_every_part_and_any_needs_one() {
        let os = |name: &str| {
            Condition::Product(Product {
                name: name.into(),
                scheme: VersionScheme::Dotted,
                ecosystem: None,
                detect: Vec::new(),
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
