//! What stands behind a server that fronts a group: the versions of each product that the group's members
//! report, the lowest first, each with the member that has it.
//!
//! The lowest alone does not tell whether the group can be attacked: a product with two branches is mended in each
//! of them under another number, and the member with the higher number may be the one that is not. So every
//! version is kept, once. A member whose version is not known leaves the product unknown, with its name, and one that
//! has not reported leaves all of them so. Products are judged one by one: where a mitigation asks for two, one
//! member may have the first and another the second.
//!
//! Not in here: who is a member, and what a mitigation asks of the versions.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stopgap_feed::document::VersionScheme;

use crate::facts::{ECOSYSTEM, Fact};
use crate::version;

/// A product of the group has no more versions than this; one that has is unknown beyond them.
pub const MAX_VERSIONS: usize = 32;

/// A group has no more products than this, or is unknown beyond them: whatever one member says, what its front is told
/// of all can be sent and read.
pub const MAX_PRODUCTS: usize = 200;
/// Octets of a product's name, of a version and of a reason.
const MAX_WORD: usize = 200;

/// A member of the group, as it reported last.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it has; `None`: it has not reported yet.
    pub facts: Option<&'a BTreeMap<String, Fact>>,
}

/// A group as its members reported last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Products by name, as their vendors number them.
    #[serde(default)]
    pub products: BTreeMap<String, Product>,
    /// Why there may be others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// One product of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Every version once, the lowest first. Those that are not numbers with dots stand behind the others.
    #[serde(default)]
    pub versions: Vec<Version>,
    /// Why there may be others, with the first member of which that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// A version, and the first member that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The version.
    pub version: String,
    /// The member's name.
    #[serde(default)]
    pub server: String,
}

impl Group {
    /// One of which nothing is known, and why.
    pub fn unknown(why: impl Into<String>) -> Group {
        Group { unknown: Some(why.into()), ..Group::default() }
    }
}

/// What members report of the group that they make. One of nobody is a mistake in a label rather than a group that
/// has nothing, and is unknown.
pub fn of(members: &[Member<'_>]) -> Group {
    let mut members = members.to_vec();
    members.sort_by_key(|member| member.name);
    if members.is_empty() {
        return Group::unknown("it has no members");
    }
    let mut products: BTreeMap<String, Product> = BTreeMap::new();
    let mut beyond = None;
    for member in &members {
        for (name, fact) in member.facts.into_iter().flatten().filter(|(name, _)| *name != ECOSYSTEM) {
            if name.len() > MAX_WORD || (products.len() >= MAX_PRODUCTS && !products.contains_key(name)) {
                beyond = beyond.or(Some(member.name));
                continue;
            }
            products.entry(name.clone()).or_default().add(member.name, fact);
        }
    }
    let silent = members.iter().find(|member| member.facts.is_none());
    let silent = silent.map(|silent| format!("{} has not reported yet", silent.name));
    let beyond = beyond.map(|name| {
        format!(
            "{name} reports more than the {MAX_PRODUCTS} products that are told of, or one of a longer name"
        )
    });
    for product in products.values_mut() {
        product.versions.sort_by(|a, b| order(&a.version, &b.version));
        if product.versions.len() > MAX_VERSIONS {
            product.versions.truncate(MAX_VERSIONS);
            product.doubt(|| format!("it has more than {MAX_VERSIONS} versions"));
        }
        if let Some(why) = &silent {
            product.doubt(|| why.clone());
        }
    }
    Group { products, unknown: silent.or(beyond) }
}

impl Product {
    fn add(&mut self, member: &str, fact: &Fact) {
        match fact {
            Fact::Version(version) if self.versions.iter().any(|known| known.version == *version) => {}
            Fact::Version(version) if version.len() > MAX_WORD => {
                self.doubt(|| format!("{member}: its version has more than {MAX_WORD} octets"));
            }
            Fact::Version(version) => {
                self.versions.push(Version { version: version.clone(), server: member.to_owned() });
            }
            Fact::Unknown(why) => {
                self.doubt(|| format!("{member}: {}", why.chars().take(MAX_WORD).collect::<String>()));
            }
        }
    }

    fn doubt(&mut self, why: impl FnOnce() -> String) {
        self.unknown.get_or_insert_with(why);
    }
}

/// One order for all texts, or the same group would be told differently from one time to the next.
fn order(a: &str, b: &str) -> Ordering {
    let is_dotted = |text: &str| version::compare(VersionScheme::Dotted, text, text).is_ok();
    match (is_dotted(a), is_dotted(b)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        _ => version::compare(VersionScheme::Dotted, a, b).unwrap_or(Ordering::Equal).then_with(|| a.cmp(b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (&'a str, Option<&'a [&'a str]>);

    /// Members by name, each with its versions of one product; `?` is one that cannot be read.
    fn group(rows: &[Row<'_>]) -> Group {
        let fact = |text: &&str| match *text {
            "?" => Fact::Unknown("the file is locked".into()),
            version => Fact::Version(version.into()),
        };
        type Facts = BTreeMap<String, Fact>;
        let of_one =
            |has: &[&str]| -> Facts { has.iter().map(|text| ("exchange".to_owned(), fact(text))).collect() };
        let facts: Vec<(&str, Option<Facts>)> =
            rows.iter().map(|(name, has)| (*name, has.map(of_one))).collect();
        let members: Vec<Member<'_>> =
            facts.iter().map(|(name, facts)| Member { name, facts: facts.as_ref() }).collect();
        of(&members)
    }

    #[test]
    fn every_version_is_told_once_the_lowest_first_and_whose_it_is() {
        type Case<'a> = (&'a [Row<'a>], &'a [(&'a str, &'a str)], Option<&'a str>);
        let table: &[Case<'_>] = &[
            (&[("mail1", Some(&["15.2.986.5"]))], &[("15.2.986.5", "mail1")], None),
            (
                &[("mail2", Some(&["15.2.1118.20"])), ("mail1", Some(&["15.2.986.5"]))],
                &[("15.2.986.5", "mail1"), ("15.2.1118.20", "mail2")],
                None,
            ),
            (
                &[("mail2", Some(&["15.2.986.5"])), ("mail1", Some(&["15.2.986.5"])), ("web", Some(&[]))],
                &[("15.2.986.5", "mail1")],
                None,
            ),
            (
                &[("mail1", Some(&["15.2.986.5"])), ("mail3", Some(&["?"])), ("mail2", Some(&["?"]))],
                &[("15.2.986.5", "mail1")],
                Some("mail2: the file is locked"),
            ),
            (&[("mail1", Some(&["?"]))], &[], Some("mail1: the file is locked")),
            (
                &[("mail1", Some(&["15.2.986.5"])), ("mail2", None)],
                &[("15.2.986.5", "mail1")],
                Some("mail2 has not reported yet"),
            ),
            (
                &[("a", Some(&["next"])), ("b", Some(&["2"])), ("c", Some(&["10"])), ("d", Some(&["beta"]))],
                &[("2", "b"), ("10", "c"), ("beta", "d"), ("next", "a")],
                None,
            ),
        ];
        for (rows, versions, unknown) in table {
            let found = group(rows).products.remove("exchange").unwrap();
            let found_versions: Vec<(&str, &str)> =
                found.versions.iter().map(|one| (one.version.as_str(), one.server.as_str())).collect();
            assert_eq!((&found_versions[..], found.unknown.as_deref()), (*versions, *unknown), "{rows:?}");
        }
    }

    #[test]
    fn what_no_member_has_is_not_there() {
        assert_eq!(group(&[("mail1", Some(&[]))]), Group::default());
        assert_eq!(group(&[]), Group::unknown("it has no members"));
        let silent = group(&[("mail1", Some(&[])), ("mail2", None)]);
        assert_eq!(silent, Group::unknown("mail2 has not reported yet"));
    }

    #[test]
    fn a_group_with_more_versions_than_anybody_reads_is_unknown_beyond_them() {
        let names: Vec<String> = (0..=MAX_VERSIONS).map(|n| format!("1.{n}")).collect();
        let each: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
        let rows: Vec<Row<'_>> = each.iter().map(|has| (has[0], Some(&has[..]))).collect();
        let found = group(&rows).products.remove("exchange").unwrap();
        assert_eq!(found.versions.len(), MAX_VERSIONS);
        assert_eq!(found.versions[0].version, "1.0");
        assert_eq!(found.unknown.as_deref(), Some("it has more than 32 versions"));
    }

    #[test]
    fn a_member_that_says_too_much_hides_no_other_and_is_named() {
        let fact = |text: &str| Fact::Version(text.to_owned());
        let old = BTreeMap::from([("exchange".to_owned(), fact("1"))]);
        let mut much: BTreeMap<String, Fact> =
            (0..2 * MAX_PRODUCTS).map(|n| (format!("product{n}"), fact("1"))).collect();
        much.insert("exchange".into(), fact(&"1.".repeat(MAX_WORD)));
        much.insert("x".repeat(MAX_WORD + 1), fact("1"));
        let [mail1, mail2] =
            [("mail1", &old), ("mail2", &much)].map(|(name, facts)| Member { name, facts: Some(facts) });
        let group = of(&[mail2, mail1]);
        assert_eq!(group.products.len(), MAX_PRODUCTS);
        assert!(
            group.unknown.as_deref().is_some_and(|why| why.starts_with("mail2 reports more")),
            "{group:?}"
        );
        let exchange = &group.products["exchange"];
        assert_eq!(exchange.versions, [Version { version: "1".into(), server: "mail1".into() }]);
        assert_eq!(exchange.unknown.as_deref(), Some("mail2: its version has more than 200 octets"));
        let all = "?".repeat(10 * MAX_WORD);
        let unread = BTreeMap::from([("exchange".to_owned(), Fact::Unknown(all))]);
        let group = of(&[Member { name: "mail1", facts: Some(&unread) }]);
        assert_eq!(group.products["exchange"].unknown.as_ref().map(String::len), Some(7 + MAX_WORD));
    }
}
