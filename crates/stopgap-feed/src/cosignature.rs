//! Co-signatures: others than the publisher who say that a release is good.
//!
//! A co-signature is a document of its own beside the feed,
//!
//! ```text
//! <Cosignature feed="example" serial="42" sha256="…"> <Signature>…</Signature> </Cosignature>
//! ```
//!
//! with the signature profile of [`crate::dsig`]. `sha256` is [`crate::VerifiedFeed::sha256`], so that
//! one says the same of every serialization of a release. It has no end of its own: it ends with the
//! release that it names.
//!
//! Who counts: each entry of [`Trust::cosigners`] once, each public key once, whichever certificates
//! bear it, and the publisher's own key for the publisher alone. What does not count is told and does
//! no harm: whoever can put a bad document beside the feed could as well take a good one away.

use jiff::Timestamp;
use roxmltree::Node;
use rustls_pki_types::CertificateDer;

use crate::certificate::Facts;
use crate::chain::Revocation;
use crate::dsig::{self, NAMESPACE, Signed};
use crate::freshness::Claimed;
use crate::id::FeedName;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::scan::{ScanError, scan};
use crate::trust::{Cosigner, Trust};
use crate::verify::{Judged, signer_of};

/// How many co-signatures are looked at.
pub const MAX_COSIGNATURES: usize = 16;
/// Octets of one: a line, a signature, sixteen certificates and a timestamp.
pub const MAX_COSIGNATURE_BYTES: usize = 256 * 1024;

/// What a co-signature says. Nothing about who says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The feed.
    pub feed: FeedName,
    /// The release; `None` for a feed of the first grammar, which counts none.
    pub serial: Option<u64>,
    /// SHA-256 of the release's canonical octets, in lower-case hexadecimal.
    pub sha256: String,
}

/// Where the co-signature of this number stands, for a document at `address`: `feed.xml` has
/// `feed.xml.cosignature-1.xml` and so on beside it, from 1 to [`MAX_COSIGNATURES`] at most. A query is
/// kept, so that a token in it serves for both.
pub fn beside(address: &str, number: usize) -> String {
    let end = address.find(['?', '#']).unwrap_or(address.len());
    let (path, rest) = address.split_at(end);
    format!("{path}.cosignature-{number}.xml{rest}")
}

/// Why a co-signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum CosignatureError {
    #[error("co-signature: expected {expected}, found {found}")]
    Malformed { expected: &'static str, found: String },
    #[error("co-signature: {0}")]
    Refused(Box<Refusal>),
    #[error("co-signature of another feed: expected `{expected}`, found `{found}`")]
    WrongFeed { expected: FeedName, found: FeedName },
    #[error("co-signature of another release: expected serial {expected}, found {found}")]
    WrongSerial { expected: String, found: String },
    #[error("co-signature of other content: expected SHA-256 {expected}, found {found}")]
    WrongDigest { expected: String, found: String },
    #[error("co-signature of `{signer}`: expected a key that has not signed yet, found one that was counted")]
    DuplicateKey { signer: String },
    #[error(
        "co-signature of `{signer}`: expected a co-signer that has not signed yet, found `{cosigner}` again"
    )]
    DuplicateCosigner { signer: String, cosigner: String },
    #[error("too many co-signatures: expected at most {MAX_COSIGNATURES}, found {found}")]
    TooMany { found: usize },
}

impl CosignatureError {
    /// The stable name of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            CosignatureError::Malformed { .. } => "cosignature-malformed",
            CosignatureError::Refused(refusal) => refusal.code(),
            CosignatureError::WrongFeed { .. } => "cosignature-wrong-feed",
            CosignatureError::WrongSerial { .. } => "cosignature-wrong-serial",
            CosignatureError::WrongDigest { .. } => "cosignature-wrong-digest",
            CosignatureError::DuplicateKey { .. } => "cosignature-duplicate-key",
            CosignatureError::DuplicateCosigner { .. } => "cosignature-duplicate-cosigner",
            CosignatureError::TooMany { .. } => "too-many-cosignatures",
        }
    }
}

/// Whose co-signatures count, and why the others do not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    /// Subjects of the signers that count, the publisher not among them.
    pub(crate) signers: Vec<String>,
    /// The certificates of the paths of these, one after the other ([`Judged::path`]).
    pub(crate) paths: Vec<CertificateDer<'static>>,
    pub(crate) errors: Vec<CosignatureError>,
}

impl Cosignature {
    /// Reads the octets of one; a signature in it is not looked at.
    pub fn from_unsigned(bytes: &[u8], limits: &Limits) -> Result<Self, CosignatureError> {
        let limits = Limits { bytes: limits.bytes.min(MAX_COSIGNATURE_BYTES), ..*limits };
        let scan_error = |error: ScanError| CosignatureError::Refused(Box::new(error.into()));
        let scanned = scan(bytes, &limits).map_err(scan_error)?;
        let tree = scanned.parse().map_err(scan_error)?;
        read(tree.root_element())
    }
}

/// Counts the co-signatures of a release. `publisher` is the feed's own signer.
pub(crate) fn count(
    trust: &Trust,
    documents: &[Vec<u8>],
    release: &Claimed<'_>,
    publisher: &Facts,
    revocation: &Revocation,
    now: Timestamp,
) -> Counted {
    let mut counted = Counted::default();
    if documents.len() > MAX_COSIGNATURES {
        counted.errors.push(CosignatureError::TooMany { found: documents.len() });
    }
    let mut keys = vec![publisher.public_key.clone()];
    let mut used = vec![false; trust.cosigners.len()];
    for bytes in documents.iter().take(MAX_COSIGNATURES) {
        match one(trust, bytes, release, &keys, &mut used, revocation, now) {
            Ok(Judged { signer, path, .. }) => {
                keys.push(signer.public_key);
                counted.signers.push(signer.subject);
                counted.paths.extend(path);
            }
            Err(error) => counted.errors.push(error),
        }
    }
    counted
}

fn one(
    trust: &Trust,
    bytes: &[u8],
    release: &Claimed<'_>,
    keys: &[Vec<u8>],
    used: &mut [bool],
    revocation: &Revocation,
    now: Timestamp,
) -> Result<Judged, CosignatureError> {
    let refused = |refusal: Refusal| CosignatureError::Refused(Box::new(refusal));
    let limits = Limits { bytes: trust.limits.bytes.min(MAX_COSIGNATURE_BYTES), ..trust.limits };
    let signed = dsig::open(bytes, &limits).map_err(refused)?;
    let mut first = None;
    let mut again = None;
    for (cosigner, used) in trust.cosigners.iter().zip(used) {
        match fits(cosigner, &signed, revocation, now) {
            Ok(judged) if *used => {
                again = again.or(Some(CosignatureError::DuplicateCosigner {
                    signer: judged.signer.subject,
                    cosigner: cosigner.name.clone(),
                }));
            }
            Ok(judged) => {
                // What the digested octets say, and nothing else that came with them.
                let says = Cosignature::from_unsigned(signed.octets(), &limits)?;
                compare(&says, release)?;
                if keys.contains(&judged.signer.public_key) {
                    return Err(CosignatureError::DuplicateKey { signer: judged.signer.subject });
                }
                *used = true;
                return Ok(judged);
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    let nobody =
        CosignatureError::Malformed { expected: "cosigners in the trust file", found: "none".to_owned() };
    Err(again.or(first.map(refused)).unwrap_or(nobody))
}

fn fits(
    cosigner: &Cosigner,
    signed: &Signed,
    revocation: &Revocation,
    now: Timestamp,
) -> Result<Judged, Refusal> {
    // Its own mode and lists; those that were fetched for the feed may say something about it too.
    let mut own = cosigner.trust.local_revocation();
    own.crls.extend(revocation.crls.iter().cloned());
    let own = if revocation.mode == crate::RevocationMode::Off { Revocation::off() } else { own };
    signer_of(&cosigner.trust, signed, &own, now)
}

fn compare(says: &Cosignature, release: &Claimed<'_>) -> Result<(), CosignatureError> {
    if let Some(expected) = release.feed.filter(|expected| **expected != says.feed) {
        return Err(CosignatureError::WrongFeed { expected: expected.clone(), found: says.feed.clone() });
    }
    if says.serial != release.serial {
        let show = |serial: Option<u64>| serial.map_or_else(|| "none".to_owned(), |n| n.to_string());
        return Err(CosignatureError::WrongSerial {
            expected: show(release.serial),
            found: show(says.serial),
        });
    }
    if says.sha256 != release.sha256 {
        return Err(CosignatureError::WrongDigest {
            expected: release.sha256.to_owned(),
            found: says.sha256.clone(),
        });
    }
    Ok(())
}

fn read(root: Node<'_, '_>) -> Result<Cosignature, CosignatureError> {
    let malformed = |expected, found: &str| CosignatureError::Malformed {
        expected,
        found: format!("`{}`", found.chars().take(80).collect::<String>()),
    };
    if root.tag_name().name() != "Cosignature" || root.tag_name().namespace().is_some() {
        return Err(malformed("a root element `Cosignature` without namespace", root.tag_name().name()));
    }
    if let Some(other) = root.attributes().find(|attribute| {
        attribute.namespace().is_some() || !matches!(attribute.name(), "feed" | "serial" | "sha256")
    }) {
        return Err(malformed("the attributes feed, serial and sha256 only", other.name()));
    }
    let inside = root.children().find(|child| match child.node_type() {
        roxmltree::NodeType::Element => !child.has_tag_name((NAMESPACE, "Signature")),
        roxmltree::NodeType::Text => !child.text().unwrap_or_default().trim_ascii().is_empty(),
        _ => false,
    });
    if let Some(inside) = inside {
        return Err(malformed("nothing in it but its Signature", inside.tag_name().name()));
    }
    let feed = root.attribute("feed").unwrap_or_default();
    let serial = match root.attribute("serial") {
        None => None,
        Some(text) => Some(
            crate::document::serial(text)
                .ok_or_else(|| malformed("@serial to be a whole number below 2^64", text))?,
        ),
    };
    let sha256 = root.attribute("sha256").unwrap_or_default();
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_digest {
        return Err(malformed("@sha256 to be 64 lower-case hexadecimal digits", sha256));
    }
    let feed = feed.parse().map_err(|_| malformed("@feed to be a feed's name", feed))?;
    Ok(Cosignature { feed, serial, sha256: sha256.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn a_co_signature_stands_beside_its_document() {
        assert_eq!(beside("https://a.example/feed.xml", 1), "https://a.example/feed.xml.cosignature-1.xml");
        assert_eq!(beside("https://a.example/f?key=1", 2), "https://a.example/f.cosignature-2.xml?key=1");
        assert_eq!(beside("file:///srv/feed.xml", 3), "file:///srv/feed.xml.cosignature-3.xml");
    }
}
