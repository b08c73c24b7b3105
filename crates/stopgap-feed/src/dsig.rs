//! XML-DSig, in one strict profile: an enveloped signature over the whole document.
//!
//! ```text
//! <EOCS> … <Signature>              last child of the root, the only one in the document
//!            <SignedInfo>           one canonicalization, one signature method,
//!              <Reference URI="">   one reference: the document less the signature
//!            <SignatureValue>
//!            <KeyInfo>              certificates, as material for a path; keys are not read
//!            <Object>               a timestamp or nothing
//! ```
//!
//! W3C XML Signature Syntax and Processing allows a program in place of each of these. None of that
//! is here: no `Id` is ever looked up, no transform but the two is known, and what is not known is
//! refused by name. The signature's *structure* and *digest* are checked here, its *value* by
//! [`Signed::signers`]; whose key it is, by [`crate::chain`].

mod algorithm;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use roxmltree::Node;
use rustls_pki_types::CertificateDer;

pub use algorithm::{Digest, SignatureMethod, SignatureMethodError};

use crate::c14n::{Canonicalization, canonicalize_plain, canonicalize_within};
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::scan::{ScanError, scan};

/// The namespace of XML-DSig.
pub const NAMESPACE: &str = "http://www.w3.org/2000/09/xmldsig#";
/// The `Algorithm` of the transform that leaves the signature out of what it signs.
pub const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
/// The namespace of `CounterSignature`.
pub const TIMESTAMP_NAMESPACE: &str = "http://schemas.microsoft.com/xmldsig/timestamp/2003";
/// The `Id` of the `Object` that holds the timestamp. It is compared, never looked up.
pub const TIMESTAMP_ID: &str = "ts-countersig";

/// Octets of one certificate. Real ones have one to three thousand; to read one takes many times its
/// size in memory, before anything in it is believed.
pub const MAX_CERTIFICATE_BYTES: usize = 64 * 1024;

/// Why a signature is not one of this profile, or does not fit the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum SignatureError {
    #[error("the document is not signed: expected a Signature as the last child of the root, found none")]
    NotSigned,
    #[error("the document has {found} signatures: expected exactly one")]
    SeveralSignatures { found: usize },
    #[error(
        "the signature is misplaced: expected it as the last child of the root, found it in or before `{found}`"
    )]
    Misplaced { found: String },
    #[error("{inside} of the signature: expected {expected}, found {found}")]
    Unexpected { inside: String, expected: String, found: String },
    #[error("{inside} of the signature: expected `{expected}`, found nothing")]
    Missing { inside: String, expected: &'static str },
    #[error("{what} is not supported: expected one of {expected}, found `{found}`")]
    Algorithm { what: &'static str, expected: String, found: String },
    #[error("the signature must cover the whole document: expected Reference URI=\"\", found {found}")]
    Reference { found: String },
    #[error("{what} is not strict Base64")]
    Base64 { what: &'static str },
    #[error("the signature brings no certificate: expected KeyInfo/X509Data/X509Certificate")]
    NoCertificate,
    #[error("the signature brings too many certificates: expected at most {limit}")]
    TooManyCertificates { limit: usize },
    #[error("a certificate of the signature is too large: expected at most {limit} octets, found {found}")]
    CertificateTooLarge { limit: usize, found: usize },
    #[error("the document was changed after it was signed: expected digest {expected}, found {found}")]
    DigestMismatch { expected: String, found: String },
    #[error("weak key: expected RSA of 2048 bits or more, found {bits}")]
    WeakKey { bits: usize },
    #[error("the signature value does not verify: expected {expected}, found none among {found}")]
    Invalid { expected: String, found: String },
}

impl SignatureError {
    /// The stable name of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            SignatureError::NotSigned => "not-signed",
            SignatureError::SeveralSignatures { .. } => "several-signatures",
            SignatureError::Misplaced { .. } => "signature-misplaced",
            SignatureError::Unexpected { .. } | SignatureError::Missing { .. } => "malformed-signature",
            SignatureError::Algorithm { .. } => "unsupported-algorithm",
            SignatureError::Reference { .. } => "unsupported-reference",
            SignatureError::Base64 { .. } => "bad-base64",
            SignatureError::NoCertificate => "no-certificate",
            SignatureError::TooManyCertificates { .. } => "too-many-certificates",
            SignatureError::CertificateTooLarge { .. } => "certificate-too-large",
            SignatureError::DigestMismatch { .. } => "digest-mismatch",
            SignatureError::WeakKey { .. } => "weak-key",
            SignatureError::Invalid { .. } => "signature-invalid",
        }
    }
}

/// A document whose digest fits. Nothing is known yet about who signed it.
#[derive(Debug, Clone)]
pub struct Signed {
    octets: Vec<u8>,
    sha256: Vec<u8>,
    signed_info: Vec<u8>,
    method: SignatureMethod,
    value: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
    timestamp: Option<Countersignature>,
}

/// What `Object Id="ts-countersig"` holds, unchecked.
#[derive(Debug, Clone)]
pub struct Countersignature {
    /// The RFC 3161 token (CMS, BER).
    pub token: Vec<u8>,
    /// Certificates that came beside it, as material for a path.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl Signed {
    /// The canonical octets of the document less its signature: exactly what was digested, and what
    /// the document is read from.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// SHA-256 of [`Signed::octets`], whichever digest the signature has.
    pub fn sha256(&self) -> &[u8] {
        &self.sha256
    }

    /// [`Signed::octets`] without a copy.
    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }

    /// The canonical octets of `SignedInfo`: what was signed.
    pub fn signed_info(&self) -> &[u8] {
        &self.signed_info
    }

    /// The decoded `SignatureValue`: what a timestamp's imprint is taken over.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The certificates of `KeyInfo`, in order.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The timestamp, unchecked.
    pub fn timestamp(&self) -> Option<&Countersignature> {
        self.timestamp.as_ref()
    }

    /// The first of [`Signed::signers`].
    pub fn signer(&self) -> Result<&CertificateDer<'static>, SignatureError> {
        self.signers()?.first().copied().ok_or(SignatureError::NoCertificate)
    }

    /// The certificates whose key made the signature, at least one. Every certificate is tried, since
    /// XML-DSig prescribes no order; one key may have several certificates, of which not all need to be
    /// fit, as when one was renewed.
    pub fn signers(&self) -> Result<Vec<&CertificateDer<'static>>, SignatureError> {
        let (mut fit, mut found, mut weak) = (Vec::new(), Vec::new(), None);
        for certificate in &self.certificates {
            match self.method.verify(certificate, &self.signed_info, &self.value) {
                Ok(()) => fit.push(certificate),
                Err(SignatureMethodError::WeakKey { bits }) => weak = Some(bits),
                Err(error) => found.push(error.to_string()),
            }
        }
        if !fit.is_empty() {
            return Ok(fit);
        }
        if let Some(bits) = weak {
            return Err(SignatureError::WeakKey { bits });
        }
        let found = format!("{} certificates ({})", self.certificates.len(), found.join("; "));
        Err(SignatureError::Invalid {
            expected: format!("a {} signature by a certificate's key", self.method),
            found,
        })
    }
}

/// Reads `bytes` as a document with one enveloped signature of the profile, and checks its digest.
pub fn open(bytes: &[u8], limits: &Limits) -> Result<Signed, Refusal> {
    let scanned = scan(bytes, limits)?;
    if let Some(plain) = canonicalize_plain(&scanned) {
        // What is refused of it otherwise is refused with the whole document in view.
        let tree = plain.left_out.and_then(|text| Some((text, roxmltree::Document::parse(text).ok()?)));
        if let Some((text, tree)) = &tree
            && is_one_signature(tree.root_element(), text)
        {
            return read(tree.root_element(), limits, |_| Ok(plain.octets));
        }
    }
    let document = scanned.parse()?;
    let signature = the_signature(&document)?;
    read(signature, limits, |form| canonicalize_within(document.root(), form, Some(signature), limits))
}

/// Whether the text is a signature from one end to the other, and holds no second one.
fn is_one_signature(root: Node<'_, '_>, text: &str) -> bool {
    let is_signature = |node: &Node<'_, '_>| node.has_tag_name((NAMESPACE, "Signature"));
    root.range() == (0..text.len())
        && is_signature(&root)
        && root.descendants().filter(is_signature).count() == 1
}

/// `canonical` gives the octets of the document less the signature, in the form that the signature names.
fn read(
    signature: Node<'_, '_>,
    limits: &Limits,
    canonical: impl FnOnce(Canonicalization) -> Result<Vec<u8>, ScanError>,
) -> Result<Signed, Refusal> {
    attributes(signature, &["Id"])?;
    if let Some(found) = signature.descendants().find(|n| n.is_comment() || n.is_pi()) {
        let inside = found.parent().unwrap_or(signature);
        return Err(unexpected(inside, "no comment or instruction", found).into());
    }

    let mut parts = Children::of(signature)?;
    let signed_info = parts.next("SignedInfo")?;
    let signature_value = parts.next("SignatureValue")?;
    attributes(signature_value, &["Id"])?;
    let key_info = parts.next("KeyInfo")?;
    let object = parts.optional("Object");
    parts.end()?;

    // The whole structure first: nothing is computed over a signature of another shape.
    let info = read_signed_info(signed_info)?;
    let value = base64(signature_value, "SignatureValue")?;
    let certificates = read_key_info(key_info, limits)?;
    let timestamp = object.map(|object| read_object(object, limits)).transpose()?;

    let octets = canonical(info.canonicalization)?;
    let digest = info.digest.of(&octets);
    if digest != info.digest_value {
        return Err(SignatureError::DigestMismatch {
            expected: BASE64.encode(info.digest_value),
            found: BASE64.encode(digest),
        }
        .into());
    }
    let signed_info = canonicalize_within(signed_info, info.signed_info_form, None, limits)?;
    let sha256 = if info.digest == Digest::Sha256 { digest } else { Digest::Sha256.of(&octets) };
    Ok(Signed { octets, sha256, signed_info, method: info.method, value, certificates, timestamp })
}

/// The only signature, and where it must be. Counting all of them first means that no document with
/// a moved or doubled signature is ever half accepted.
fn the_signature<'a, 'i>(document: &'a roxmltree::Document<'i>) -> Result<Node<'a, 'i>, SignatureError> {
    let mut all = document.descendants().filter(|node| node.has_tag_name((NAMESPACE, "Signature")));
    let Some(signature) = all.next() else { return Err(SignatureError::NotSigned) };
    let more = all.count();
    if more > 0 {
        return Err(SignatureError::SeveralSignatures { found: more + 1 });
    }
    let root = document.root_element();
    if root.last_element_child() == Some(signature) {
        return Ok(signature);
    }
    let found = match signature.parent_element() {
        Some(parent) if parent == root => signature.next_sibling_element().unwrap_or(root),
        Some(parent) => parent,
        None => root,
    };
    Err(SignatureError::Misplaced { found: found.tag_name().name().to_owned() })
}

struct SignedInfo {
    signed_info_form: Canonicalization,
    method: SignatureMethod,
    canonicalization: Canonicalization,
    digest: Digest,
    digest_value: Vec<u8>,
}

fn read_signed_info(node: Node<'_, '_>) -> Result<SignedInfo, SignatureError> {
    attributes(node, &["Id"])?;
    let mut parts = Children::of(node)?;
    let signed_info_form = canonicalization(algorithm(parts.next("CanonicalizationMethod")?)?)?;
    let method = algorithm(parts.next("SignatureMethod")?)?;
    let method = SignatureMethod::from_uri(method)
        .ok_or_else(|| unsupported("the signature method", SignatureMethod::URIS, method))?;
    let reference = parts.next("Reference")?;
    parts.end()?;

    attributes(reference, &["Id", "URI"])?;
    match reference.attribute("URI") {
        Some("") => {}
        Some(other) => return Err(SignatureError::Reference { found: format!("URI=\"{other}\"") }),
        None => return Err(SignatureError::Reference { found: "no URI".to_owned() }),
    }
    let mut parts = Children::of(reference)?;
    let transforms = parts.next("Transforms")?;
    let digest = algorithm(parts.next("DigestMethod")?)?;
    let digest =
        Digest::from_uri(digest).ok_or_else(|| unsupported("the digest method", Digest::URIS, digest))?;
    let digest_value = parts.next("DigestValue")?;
    attributes(digest_value, &[])?;
    parts.end()?;

    attributes(transforms, &[])?;
    let mut parts = Children::of(transforms)?;
    let first = algorithm(parts.next("Transform")?)?;
    if first != ENVELOPED {
        return Err(unsupported("the first transform", &[ENVELOPED], first));
    }
    let canonicalization = canonicalization(algorithm(parts.next("Transform")?)?)?;
    parts.end()?;

    let digest_value = base64(digest_value, "DigestValue")?;
    Ok(SignedInfo { signed_info_form, method, canonicalization, digest, digest_value })
}

/// The `Algorithm` of an element that must hold nothing else: parameters (`HMACOutputLength`,
/// `InclusiveNamespaces`, XPath, XSLT) would be children.
fn algorithm<'a>(node: Node<'a, '_>) -> Result<&'a str, SignatureError> {
    attributes(node, &["Algorithm"])?;
    Children::of(node)?.end()?;
    node.attribute("Algorithm")
        .ok_or_else(|| SignatureError::Missing { inside: name(node), expected: "Algorithm" })
}

fn canonicalization(uri: &str) -> Result<Canonicalization, SignatureError> {
    let known = [Canonicalization::Inclusive.uri(), Canonicalization::Exclusive.uri()];
    Canonicalization::from_uri(uri).ok_or_else(|| unsupported("the canonicalization", &known, uri))
}

/// Certificates of every `X509Data`. `KeyValue` and the names in `X509Data` say nothing that a
/// certificate does not say better, and are not read.
fn read_key_info(
    node: Node<'_, '_>,
    limits: &Limits,
) -> Result<Vec<CertificateDer<'static>>, SignatureError> {
    attributes(node, &["Id"])?;
    let mut certificates = Vec::new();
    for child in Children::of(node)?.0 {
        match local(child) {
            Some("KeyValue") => {}
            Some("X509Data") => read_x509_data(child, limits, &mut certificates)?,
            _ => return Err(unexpected(node, "`KeyValue` or `X509Data`", child)),
        }
    }
    if certificates.is_empty() { Err(SignatureError::NoCertificate) } else { Ok(certificates) }
}

fn read_x509_data(
    node: Node<'_, '_>,
    limits: &Limits,
    certificates: &mut Vec<CertificateDer<'static>>,
) -> Result<(), SignatureError> {
    attributes(node, &[])?;
    for child in Children::of(node)?.0 {
        match local(child) {
            Some("X509Certificate") => {
                if certificates.len() >= limits.certificates {
                    return Err(SignatureError::TooManyCertificates { limit: limits.certificates });
                }
                let der = base64(child, "X509Certificate")?;
                if der.len() > MAX_CERTIFICATE_BYTES {
                    let (limit, found) = (MAX_CERTIFICATE_BYTES, der.len());
                    return Err(SignatureError::CertificateTooLarge { limit, found });
                }
                certificates.push(der.into());
            }
            Some("X509SubjectName" | "X509IssuerSerial" | "X509SKI" | "X509CRL") => {}
            _ => return Err(unexpected(node, "`X509Certificate`", child)),
        }
    }
    Ok(())
}

/// The only `Object` there may be. It is not covered by the signature: the token in it proves itself.
fn read_object(node: Node<'_, '_>, limits: &Limits) -> Result<Countersignature, SignatureError> {
    attributes(node, &["Id"])?;
    if node.attribute("Id") != Some(TIMESTAMP_ID) {
        let found = format!("an Object with Id=\"{}\"", node.attribute("Id").unwrap_or_default());
        let expected = format!("no Object but a timestamp (Id=\"{TIMESTAMP_ID}\")");
        return Err(SignatureError::Unexpected { inside: "Signature".to_owned(), expected, found });
    }
    let mut certificates = Vec::new();
    let mut token = None;
    for child in Children::of_any(node)?.0 {
        if local(child) == Some("X509Data") {
            read_x509_data(child, limits, &mut certificates)?;
        } else if child.has_tag_name((TIMESTAMP_NAMESPACE, "CounterSignature")) && token.is_none() {
            token = Some(base64(child, "CounterSignature")?);
        } else {
            return Err(unexpected(node, "`X509Data` and one `CounterSignature`", child));
        }
    }
    let token = token.ok_or_else(|| SignatureError::Missing {
        inside: "Object".to_owned(),
        expected: "CounterSignature",
    })?;
    Ok(Countersignature { token, certificates })
}

/// The child elements of an element that holds nothing but elements and white space.
struct Children<'a, 'i>(std::vec::IntoIter<Node<'a, 'i>>, Node<'a, 'i>);

impl<'a, 'i> Children<'a, 'i> {
    fn of(node: Node<'a, 'i>) -> Result<Self, SignatureError> {
        let children = Self::of_any(node)?;
        match children.0.as_slice().iter().find(|child| local(**child).is_none()) {
            Some(foreign) => Err(unexpected(node, "elements of XML-DSig", *foreign)),
            None => Ok(children),
        }
    }

    /// The same with elements of any namespace.
    fn of_any(node: Node<'a, 'i>) -> Result<Self, SignatureError> {
        for text in node.children().filter(Node::is_text) {
            if !text.text().unwrap_or_default().trim_ascii().is_empty() {
                return Err(unexpected(node, "elements only", text));
            }
        }
        let elements: Vec<_> = node.children().filter(Node::is_element).collect();
        Ok(Self(elements.into_iter(), node))
    }

    fn next(&mut self, expected: &'static str) -> Result<Node<'a, 'i>, SignatureError> {
        match self.0.next() {
            Some(child) if local(child) == Some(expected) => Ok(child),
            Some(other) => Err(unexpected(self.1, &format!("`{expected}`"), other)),
            None => Err(SignatureError::Missing { inside: name(self.1), expected }),
        }
    }

    fn optional(&mut self, expected: &str) -> Option<Node<'a, 'i>> {
        let next = *self.0.as_slice().first()?;
        if local(next) == Some(expected) { self.0.next() } else { None }
    }

    fn end(mut self) -> Result<(), SignatureError> {
        match self.0.next() {
            Some(extra) => Err(unexpected(self.1, "nothing more", extra)),
            None => Ok(()),
        }
    }
}

/// The local name of an XML-DSig element.
fn local<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    (node.tag_name().namespace() == Some(NAMESPACE)).then(|| node.tag_name().name())
}

/// Refuses attributes that are not in the list.
fn attributes(node: Node<'_, '_>, known: &[&str]) -> Result<(), SignatureError> {
    for attribute in node.attributes() {
        if attribute.namespace().is_some() || !known.contains(&attribute.name()) {
            return Err(SignatureError::Unexpected {
                inside: name(node),
                expected: if known.is_empty() { "no attribute".to_owned() } else { known.join(" or ") },
                found: format!("attribute `{}`", attribute.name()),
            });
        }
    }
    Ok(())
}

/// The element's text as Base64 (RFC 4648 section 4, with padding); white space is allowed.
fn base64(node: Node<'_, '_>, what: &'static str) -> Result<Vec<u8>, SignatureError> {
    if let Some(child) = node.children().find(|child| !child.is_text()) {
        return Err(unexpected(node, "Base64 text", child));
    }
    let pieces = node.children().filter_map(|child| child.text());
    let text: String = pieces.flat_map(|text| text.split([' ', '\t', '\n', '\r'])).collect();
    BASE64.decode(text).map_err(|_| SignatureError::Base64 { what })
}

fn name(node: Node<'_, '_>) -> String {
    node.tag_name().name().to_owned()
}

fn unexpected(inside: Node<'_, '_>, expected: &str, found: Node<'_, '_>) -> SignatureError {
    let found = match found.node_type() {
        roxmltree::NodeType::Element => format!("`{}`", found.tag_name().name()),
        roxmltree::NodeType::Text => "text".to_owned(),
        roxmltree::NodeType::Comment => "a comment".to_owned(),
        _ => "a processing instruction".to_owned(),
    };
    SignatureError::Unexpected { inside: name(inside), expected: expected.to_owned(), found }
}

fn unsupported(what: &'static str, expected: &[&str], found: &str) -> SignatureError {
    SignatureError::Algorithm {
        what,
        expected: expected.join(", "),
        found: found.chars().take(120).collect(),
    }
}
