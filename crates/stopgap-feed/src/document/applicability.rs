//! `Applicability`: which products in which versions a mitigation concerns.
//!
//! Not in here: `Detect`, which says where a version is found ([`super::detect`]).

use roxmltree::Node;

use super::element::{attribute, child_elements, local, place, unknown, unknown_attributes};
use super::{Condition, Detect, Product, Range, VersionScheme, detect};

/// Reads `<Applicability>`: any of its parts suffices.
pub(super) fn read(node: Node<'_, '_>, notes: &mut Vec<String>) -> Condition {
    notes.extend(unknown_attributes(node, &[]));
    Condition::Any(parts(node, notes))
}

/// `Product` and `All` elements. An element without any would mean every server to one reader and
/// none to another, so it is noted.
fn parts(node: Node<'_, '_>, notes: &mut Vec<String>) -> Vec<Condition> {
    let mut parts = Vec::new();
    for child in child_elements(node, notes) {
        match local(child) {
            Some("Product") => parts.push(Condition::Product(product(child, notes))),
            Some("All") => {
                notes.extend(unknown_attributes(child, &[]));
                parts.push(Condition::All(self::parts(child, notes)));
            }
            _ => notes.push(unknown(child)),
        }
    }
    if parts.is_empty() {
        notes.push(format!("{} holds no Product", place(node)));
    }
    parts
}

fn product(node: Node<'_, '_>, notes: &mut Vec<String>) -> Product {
    notes.extend(unknown_attributes(node, &["name", "versions", "ecosystem"]));
    let name = attribute(node, "name").unwrap_or_default().to_owned();
    if name.is_empty() {
        notes.push("Product has no name".to_owned());
    }
    let (mut detects, mut ranges) = (Vec::new(), Vec::new());
    for child in child_elements(node, notes) {
        match local(child) {
            Some("Detect") => detects.extend(detect::read(child, notes)),
            Some("Range") => ranges.push(range(child, notes)),
            _ => notes.push(unknown(child)),
        }
    }
    if detects.len() > detect::MAX {
        let found = detects.len();
        notes.push(format!("Product {name}: expected at most {} Detect, found {found}", detect::MAX));
    }
    let scheme = match attribute(node, "versions") {
        Some("dotted") => VersionScheme::Dotted,
        Some("dpkg") => VersionScheme::Dpkg,
        Some("rpm") => VersionScheme::Rpm,
        Some("semver") => VersionScheme::Semver,
        // Without a range nothing is compared.
        None if ranges.is_empty() => VersionScheme::Dotted,
        found => {
            notes.push(format!(
                "Product {name}: expected versions dotted, dpkg, rpm or semver, found `{}`",
                found.unwrap_or_default()
            ));
            VersionScheme::Dotted
        }
    };
    let ecosystem = attribute(node, "ecosystem").map(str::to_owned);
    // What `Detect` names is the vendor's own, and numbered alike everywhere.
    let of_distribution = matches!(scheme, VersionScheme::Dpkg | VersionScheme::Rpm) && detects.is_empty();
    if of_distribution && ecosystem.is_none() {
        notes
            .push(format!("Product {name}: expected an ecosystem such as Debian:12, since backports differ"));
    }
    if !ranges.is_empty() {
        notes.extend(detects.iter().filter_map(|detect| wrong_scheme(&name, scheme, detect)));
    }
    Product { name, scheme, ecosystem, detect: detects, ranges }
}

/// A package's version compares in its own way, and in no other.
fn wrong_scheme(product: &str, scheme: VersionScheme, detect: &Detect) -> Option<String> {
    let (expected, word) = match detect {
        Detect::Dpkg { .. } => (VersionScheme::Dpkg, "dpkg"),
        Detect::Rpm { .. } => (VersionScheme::Rpm, "rpm"),
        Detect::File { .. } | Detect::Registry { .. } | Detect::Pe { .. } => return None,
    };
    (scheme != expected).then(|| {
        format!("Product {product}: Detect kind=\"{word}\" expects versions=\"{word}\" beside its ranges")
    })
}

fn range(node: Node<'_, '_>, notes: &mut Vec<String>) -> Range {
    notes.extend(unknown_attributes(node, &["from", "below", "through"]));
    for child in child_elements(node, notes) {
        notes.push(unknown(child));
    }
    let bound = |name| attribute(node, name).map(str::to_owned);
    let range = Range { from: bound("from"), below: bound("below"), through: bound("through") };
    match &range {
        Range { below: Some(_), through: Some(_), .. } => {
            notes.push("Range has both `below` and `through`".to_owned());
        }
        Range { from: None, below: None, through: None } => notes.push("Range has no bound".to_owned()),
        _ => {}
    }
    range
}
