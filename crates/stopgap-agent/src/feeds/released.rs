//! The table of released mitigations, as Microsoft's documentation has it: number, id, description, lowest and
//! highest applicable version, and how each is rolled back by hand.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use stopgap_core::version::compare;
use stopgap_feed::document::{Condition, Document, Product, VersionScheme};
use stopgap_feed::{FeedName, Id};

/// One mitigation. Field names are API (`feed list --released --json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Released {
    /// Its number in this list, from 1.
    pub number: usize,
    /// The feed that brings it.
    pub feed: FeedName,
    /// Its id.
    pub id: Id,
    /// What it is against.
    pub description: String,
    /// The lowest version of each product that it applies to; `all`: every server, or every version.
    pub lowest: String,
    /// The highest one, or the first that it no longer applies to (`before 15.2.986.36`).
    pub highest: String,
    /// How a person takes it off by hand; empty where the publisher does not say.
    pub rollback: String,
}

/// The columns of [`Released::row`].
pub const COLUMNS: [&str; 7] = ["Number", "Feed", "ID", "Description", "Lowest", "Highest", "Rollback"];

impl Released {
    /// As cells, in the order of [`COLUMNS`].
    pub fn row(&self) -> Vec<String> {
        vec![
            self.number.to_string(),
            self.feed.to_string(),
            self.id.to_string(),
            self.description.clone(),
            self.lowest.clone(),
            self.highest.clone(),
            self.rollback.clone(),
        ]
    }
}

/// What the documents of these feeds bring, in their order.
pub fn released<'a>(feeds: impl IntoIterator<Item = (&'a FeedName, &'a Document)>) -> Vec<Released> {
    let all =
        feeds.into_iter().flat_map(|(feed, document)| document.mitigations.iter().map(move |m| (feed, m)));
    let one = |(index, (feed, mitigation)): (usize, (&FeedName, &stopgap_feed::document::Mitigation))| {
        let (lowest, highest) = bounds(mitigation.applicability.as_ref());
        Released {
            number: index.saturating_add(1),
            feed: feed.clone(),
            id: mitigation.id.clone(),
            description: one_line(&mitigation.description),
            lowest,
            highest,
            rollback: one_line(mitigation.rollback.as_deref().unwrap_or_default()),
        }
    };
    all.enumerate().map(one).collect()
}

/// A page of its own, for an intranet.
pub fn html(rows: &[Released]) -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Released mitigations</title></head>\n\
         <body>\n<table>\n<thead><tr>",
    );
    // Writing to a String cannot fail.
    for column in COLUMNS {
        let _ = write!(page, "<th scope=\"col\">{column}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in row.row() {
            let _ = write!(page, "<td>{}</td>", escaped(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</body>\n</html>\n");
    page
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn one_line(text: &str) -> String {
    super::view::printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

const ALL: &str = "all";

/// Where a product's versions begin and end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bounds {
    /// `None`: from the first version on.
    from: Option<String>,
    /// `None`: no end.
    to: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    version: String,
    /// The version itself is affected.
    inclusive: bool,
}

fn bounds(applicability: Option<&Condition>) -> (String, String) {
    let mut products: BTreeMap<String, Bounds> = BTreeMap::new();
    let mut collected = Vec::new();
    if let Some(condition) = applicability {
        collect(condition, &mut collected);
    }
    for product in collected {
        let name = match &product.ecosystem {
            Some(ecosystem) => format!("{} ({ecosystem})", product.name),
            None => product.name.clone(),
        };
        let found = of_product(product);
        match products.entry(name) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(found);
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let both = wider(product.scheme, entry.get(), &found);
                entry.insert(both);
            }
        }
    }
    if products.is_empty() {
        return (ALL.to_owned(), ALL.to_owned());
    }
    let list = |word: fn(&Bounds) -> String| {
        products
            .iter()
            .map(|(name, bounds)| format!("{name} {}", word(bounds)))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let lowest = list(|bounds| bounds.from.clone().unwrap_or_else(|| ALL.to_owned()));
    let highest = list(|bounds| match &bounds.to {
        Some(End { version, inclusive: true }) => version.clone(),
        Some(End { version, inclusive: false }) => format!("before {version}"),
        None => ALL.to_owned(),
    });
    (lowest, highest)
}

fn collect<'a>(condition: &'a Condition, into: &mut Vec<&'a Product>) {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| collect(part, into)),
        Condition::Product(product) => into.push(product),
    }
}

fn of_product(product: &Product) -> Bounds {
    let of_range = |range: &stopgap_feed::document::Range| Bounds {
        from: range.from.clone(),
        to: match (&range.below, &range.through) {
            (Some(version), _) => Some(End { version: version.clone(), inclusive: false }),
            (None, Some(version)) => Some(End { version: version.clone(), inclusive: true }),
            (None, None) => None,
        },
    };
    let ranges = product.ranges.iter().map(of_range);
    ranges.reduce(|a, b| wider(product.scheme, &a, &b)).unwrap_or_default()
}

/// The least that holds both. Versions that cannot be compared leave that side open: too wide a table sends
/// somebody to look, too narrow a one sends nobody.
fn wider(scheme: VersionScheme, a: &Bounds, b: &Bounds) -> Bounds {
    let from = a.from.as_ref().zip(b.from.as_ref()).and_then(|(a, b)| match compare(scheme, a, b).ok()? {
        Ordering::Greater => Some(b.clone()),
        Ordering::Less | Ordering::Equal => Some(a.clone()),
    });
    let to = a.to.as_ref().zip(b.to.as_ref()).and_then(|(a, b)| {
        let order = compare(scheme, &a.version, &b.version).ok()?.then(a.inclusive.cmp(&b.inclusive));
        Some(if order == Ordering::Less { b.clone() } else { a.clone() })
    });
    Bounds { from, to }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopgap_feed::document::Mitigation;

    fn bounds_of(applicability: &str) -> (String, String) {
        let octets = format!(
            "<Config id=\"M1\" desc=\"x\">{applicability}<ActionList><Action id=\"M1.1\" type=\"DoNothing\" \
             scope=\"Server\" desc=\"x\"/></ActionList></Config>"
        );
        bounds(Mitigation::from_octets(&octets).unwrap().applicability.as_ref())
    }

    #[test]
    fn the_lowest_and_the_highest_version_of_each_product() {
        for (applicability, lowest, highest) in [
            ("", "all", "all"),
            (
                "<Applicability><Product name=\"exchange\" versions=\"dotted\"><Range from=\"15.2.330.0\" below=\"15.2.330.11\"/>\
                 <Range from=\"15.1.9.0\" below=\"15.1.2507.16\"/><Range from=\"15.1.10.0\" below=\"15.1.2375.37\"/></Product></Applicability>",
                "exchange 15.1.9.0",
                "exchange before 15.2.330.11",
            ),
            (
                "<Applicability><Product name=\"a\" versions=\"dotted\"><Range through=\"2.0\"/><Range below=\"2.0\"/></Product>\
                 <All><Product name=\"b\" versions=\"dotted\"><Range from=\"1\"/></Product></All></Applicability>",
                "a all; b 1",
                "a 2.0; b all",
            ),
        ] {
            assert_eq!(bounds_of(applicability), (lowest.to_owned(), highest.to_owned()));
        }
    }

    #[test]
    fn a_page_holds_no_markup_of_the_publisher() {
        let row = Released {
            number: 1,
            feed: "example".parse().unwrap(),
            id: "M1".parse().unwrap(),
            description: "<script>alert('&')</script>".to_owned(),
            lowest: "all".to_owned(),
            highest: "all".to_owned(),
            rollback: String::new(),
        };
        let page = html(&[row]);
        assert!(page.contains("<td>&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;</td>"), "{page}");
    }
}
