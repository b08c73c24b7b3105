//! The grammar: what a feed document says, and how it is read.
//!
//! A document is read from the canonical octets whose digest was checked
//! ([`crate::verify()`]), or, on the publisher's bench, from a file before it is signed. What is wrong
//! with the document as a whole refuses it ([`DocumentError`]). What a `Config` holds that this
//! build does not know makes that mitigation [`Mitigation::unsupported`], and the rest still
//! applies. What the root holds beside is ignored and noted in [`Document::warnings`]: a later 2.x
//! may add to the envelope, and what it adds must not stop the mitigations.

mod applicability;
mod config;
mod detect;
mod element;
mod model;
mod values;

use std::collections::HashSet;

use jiff::Timestamp;
use roxmltree::Node;

pub use model::*;
pub(crate) use values::serial;

use crate::c14n::MAX_GROWTH;
use crate::dsig::Signed;
use crate::id::Id;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::scan::{ScanError, scan, scanned_before};
use element::{attribute, child_elements};

/// Why a document, or the octets of one mitigation, cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DocumentError {
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error("not a feed: expected a root element `EOCS` without namespace, found `{found}`")]
    NotAFeed { found: String },
    #[error("unsupported version of the document: expected 1.x or 2.x, found `{found}`")]
    Version { found: String },
    #[error("{place}: expected {expected}, found {found}")]
    Malformed { place: String, expected: &'static str, found: String },
    #[error("id `{id}` is used twice: expected every id once among Config, Action and Withdrawn")]
    DuplicateId { id: Id },
}

impl DocumentError {
    /// The stable name of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            DocumentError::Scan(error) => error.code(),
            DocumentError::NotAFeed { .. } => "not-a-feed",
            DocumentError::Version { .. } => "unsupported-version",
            DocumentError::Malformed { .. } => "malformed-document",
            DocumentError::DuplicateId { .. } => "duplicate-id",
        }
    }
}

/// The highest major version of the grammar that this build reads.
const MAJOR_VERSION: u64 = 2;

impl Document {
    /// Reads the very octets that the digest was taken over.
    pub fn of(signed: &Signed, limits: &Limits) -> Result<Self, DocumentError> {
        let scanned = scanned_before(signed.octets(), limits)?;
        let tree = scanned.parse()?;
        read_document(tree.root_element())
    }

    /// Reads canonical octets that come alone.
    pub fn parse(octets: &[u8], limits: &Limits) -> Result<Self, DocumentError> {
        // Escaping makes canonical text longer than what was fetched; the counts hold again.
        let limits = Limits { bytes: limits.bytes.saturating_mul(MAX_GROWTH), ..*limits };
        let scanned = scan(octets, &limits)?;
        let tree = scanned.parse()?;
        read_document(tree.root_element())
    }

    /// Reads a document before it is signed: the publisher's lint. Nothing in it is to be believed.
    /// A document that carries a signature already is read without looking at it.
    pub fn from_unsigned(bytes: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let scanned = scan(bytes, limits)?;
        let tree = scanned.parse()?;
        Ok(read_document(tree.root_element())?)
    }

    /// The number before the first dot of [`Document::version`].
    pub fn major_version(&self) -> u64 {
        major(&self.version).unwrap_or(0)
    }
}

impl Mitigation {
    /// Reads one mitigation from [`Mitigation::octets`] as the ledger kept them. The same octets
    /// give the same mitigation.
    pub fn from_octets(octets: &str) -> Result<Self, DocumentError> {
        let scanned = scan(octets.as_bytes(), &Limits::default())?;
        let tree = scanned.parse()?;
        let root = tree.root_element();
        if !root.has_tag_name("Config") || root.tag_name().namespace().is_some() {
            let found = format!("`{}`", root.tag_name().name());
            return Err(DocumentError::Malformed {
                place: "a mitigation's octets".to_owned(),
                expected: "one Config element",
                found,
            });
        }
        config::read(root)
    }
}

fn read_document(root: Node<'_, '_>) -> Result<Document, DocumentError> {
    if root.tag_name().name() != "EOCS" || root.tag_name().namespace().is_some() {
        return Err(DocumentError::NotAFeed { found: root.tag_name().name().to_owned() });
    }
    let version = attribute(root, "version").unwrap_or_default();
    if !matches!(major(version), Some(1..=MAJOR_VERSION)) {
        return Err(DocumentError::Version { found: version.chars().take(40).collect() });
    }
    let mut document = Document {
        version: version.to_owned(),
        feed: optional(root, "feed", "a feed's name", |text| text.parse().ok())?,
        serial: optional(root, "serial", "a whole number below 2^64", serial)?,
        issued: optional(root, "issued", values::TIME, values::time)?,
        expires: optional(root, "expires", values::TIME, values::time)?,
        mitigations: Vec::new(),
        withdrawn: Vec::new(),
        warnings: Vec::new(),
    };
    check_period(document.issued, document.expires)?;
    let known = ["version", "feed", "serial", "issued", "expires"];
    document.warnings = element::unknown_attributes(root, &known);
    for child in child_elements(root, &mut document.warnings) {
        match element::local(child) {
            Some("Config") => document.mitigations.push(config::read(child)?),
            Some("Withdrawn") => {
                let withdrawn = read_withdrawn(child, &mut document.warnings)?;
                document.withdrawn.push(withdrawn);
            }
            _ if child.has_tag_name((crate::dsig::NAMESPACE, "Signature")) => {}
            _ => document.warnings.push(element::unknown(child)),
        }
    }
    check_ids(&document)?;
    Ok(document)
}

fn check_period(issued: Option<Timestamp>, expires: Option<Timestamp>) -> Result<(), DocumentError> {
    match (issued, expires) {
        (Some(issued), Some(expires)) if expires <= issued => Err(DocumentError::Malformed {
            place: "EOCS@expires".to_owned(),
            expected: "a time after @issued",
            found: format!("`{expires}`"),
        }),
        _ => Ok(()),
    }
}

fn read_withdrawn(node: Node<'_, '_>, warnings: &mut Vec<String>) -> Result<Withdrawn, DocumentError> {
    warnings.extend(element::unknown_attributes(node, &["id", "reason"]));
    warnings.extend(child_elements(node, &mut Vec::new()).map(element::unknown));
    Ok(Withdrawn { id: required_id(node)?, reason: attribute(node, "reason").unwrap_or_default().to_owned() })
}

/// Every id once, whatever bears it: an operator's word about an id must mean one thing. An action
/// may bear its own mitigation's id, as in Microsoft's grammar.
fn check_ids(document: &Document) -> Result<(), DocumentError> {
    let mut seen = HashSet::new();
    let own = document.mitigations.iter().map(|m| &m.id).chain(document.withdrawn.iter().map(|w| &w.id));
    let actions = document.mitigations.iter().flat_map(|m| {
        let mut own_taken = false;
        m.actions.iter().map(|action| &action.id).filter(move |id| {
            // Once is a mitigation's only action, twice is a duplicate.
            let own = **id == m.id && !own_taken;
            own_taken |= own;
            !own
        })
    });
    for id in own.chain(actions) {
        if !seen.insert(id) {
            return Err(DocumentError::DuplicateId { id: id.clone() });
        }
    }
    Ok(())
}

/// `N`, `N.N`, …: digits between dots.
fn major(version: &str) -> Option<u64> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !version.split('.').all(digits) {
        return None;
    }
    version.split('.').next()?.parse().ok()
}

fn optional<T>(
    node: Node<'_, '_>,
    name: &'static str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, DocumentError> {
    let Some(text) = attribute(node, name) else { return Ok(None) };
    let malformed = || DocumentError::Malformed {
        place: format!("{}@{name}", node.tag_name().name()),
        expected,
        found: format!("`{}`", text.chars().take(80).collect::<String>()),
    };
    parse(text).map(Some).ok_or_else(malformed)
}

fn required_id(node: Node<'_, '_>) -> Result<Id, DocumentError> {
    optional(node, "id", "a dotted id such as M1 or M1.1", |text| text.parse().ok())?.ok_or_else(|| {
        DocumentError::Malformed {
            place: format!("{}@id", node.tag_name().name()),
            expected: "a dotted id such as M1 or M1.1",
            found: "no such attribute".to_owned(),
        }
    })
}
