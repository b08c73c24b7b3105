//! Signs a document: one enveloped XML signature in the profile that [`stopgap_feed::dsig`] reads.
//!
//! ```text
//! unsigned octets ─> scan ─> template with empty values ─> canonical form ─> digest ─┐
//!                                                                                   v
//!          signed octets <─ opened again by the reader <─ SignatureValue <─ SignedInfo signed
//! ```
//!
//! Canonical forms are taken from the very template that is written out, by the reader's own code,
//! and the result is read back before it is returned: what leaves here verifies.
//!
//! Not in here: who is trusted to sign ([`stopgap_feed`]'s trust), and keys ([`crate::key`]).

mod apart;
mod chain;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use stopgap_feed::Refusal;
use stopgap_feed::c14n::{Canonicalization, canonicalize};
use stopgap_feed::document::Document;
use stopgap_feed::dsig::{self, Digest, SignatureError, SignatureMethod};
use stopgap_feed::limits::Limits;
use stopgap_feed::scan::{ScanError, scan};

pub use apart::{Prepared, complete, prepare};
pub use chain::Chain;
pub(crate) use chain::public_key;

use crate::key::{FileKey, KeyError, Signer};

/// The canonical form that a new feed uses. Exclusive: the signed octets depend on nothing but the
/// document itself, so they stay the same when it is carried inside another (a hub's bundle), and an
/// unused namespace declaration is not signed and so cannot break anything.
pub const DEFAULT_CANONICALIZATION: Canonicalization = Canonicalization::Exclusive;

/// Both the reference's digest and, for RSA and P-256, the signature's.
const DIGEST: Digest = Digest::Sha256;

/// Why a document was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The document is not XML that a reader would take.
    #[error("the document cannot be signed")]
    Xml(#[from] ScanError),
    /// It is signed.
    #[error("the document is signed already: sign the unsigned one")]
    AlreadySigned,
    /// It is XML but no feed that an agent would take.
    #[error("the document is no feed that an agent would accept")]
    Invalid(#[source] Box<Refusal>),
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The chain file holds no certificate.
    #[error(
        "the chain holds no certificate: expected PEM, the signing certificate first, then intermediates"
    )]
    NoCertificate,
    /// A certificate that cannot be read.
    #[error("certificate {place} of the chain cannot be read: {reason}")]
    Certificate {
        /// Its place, from 1.
        place: usize,
        /// The cause.
        reason: String,
    },
    /// The chain is longer than a reader allows.
    #[error("the chain holds too many certificates: expected at most {limit}, found {found}")]
    TooManyCertificates {
        /// The reader's limit.
        limit: usize,
        /// How many there are.
        found: usize,
    },
    /// The first certificate is another key's.
    #[error("the key does not belong to the first certificate of the chain, {subject}")]
    OtherKey {
        /// The certificate's subject.
        subject: String,
    },
    /// A certificate was not issued by the next.
    #[error("the chain is out of order: {subject} was issued by {issuer}, but {next} follows")]
    Order {
        /// The subject of the certificate.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// The subject of the one that follows.
        next: String,
    },
    /// The signing certificate's key is of no kind that a feed may be signed with.
    #[error("{subject} has a key of another kind: expected RSA, or ECDSA on P-256 or P-384")]
    OtherKind {
        /// The certificate's subject.
        subject: String,
    },
    /// What was made elsewhere is no signature of the waiting document.
    #[error(
        "this is no signature of the waiting document by the key of its certificate: expected PKCS#1 v1.5 for RSA, DER or r and s side by side for ECDSA, over exactly the octets that were handed out"
    )]
    OtherSignature,
    /// The reader does not accept what was written. A bug, and nothing left this function.
    #[error("the signed document does not verify: {0}")]
    SelfCheck(String),
}

impl SignError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Xml(error) => error.code(),
            Self::AlreadySigned => "already-signed",
            Self::Invalid(refusal) => refusal.code(),
            Self::Key(error) => error.code(),
            Self::NoCertificate => "no-certificate",
            Self::Certificate { .. } => "bad-certificate",
            Self::TooManyCertificates { .. } => "too-many-certificates",
            Self::OtherKey { .. } => "other-key",
            Self::Order { .. } => "chain-order",
            Self::OtherKind { .. } => "other-kind-of-key",
            Self::OtherSignature => "other-signature",
            Self::SelfCheck(_) => "self-check",
        }
    }
}

/// Signs an unsigned feed with the key and chain of two PEM files; see [`feed`].
pub fn feed_with_pem(
    unsigned: &[u8],
    key_pem: &[u8],
    chain_pem: &[u8],
    canonicalization: Canonicalization,
) -> Result<Vec<u8>, SignError> {
    feed(unsigned, &FileKey::from_pem(key_pem)?, &Chain::from_pem(chain_pem)?, canonicalization)
}

/// Signs an unsigned feed. Refused is what no agent would read; whether it is wise is
/// [`crate::lint`]'s to say.
pub fn feed(
    unsigned: &[u8],
    signer: &dyn Signer,
    chain: &Chain,
    canonicalization: Canonicalization,
) -> Result<Vec<u8>, SignError> {
    refuse_unreadable(unsigned)?;
    enveloped(unsigned, signer, chain, canonicalization)
}

fn refuse_unreadable(unsigned: &[u8]) -> Result<(), SignError> {
    refuse_signed(&scan(unsigned, &Limits::default())?.parse()?)?;
    let document = Document::from_unsigned(unsigned, &Limits::default());
    document.map(drop).map_err(|refusal| SignError::Invalid(Box::new(refusal)))
}

/// Signs any XML document: appends a `Signature` as the last child of its root. The result is UTF-8
/// with line feeds, whatever the line ends were; they are not part of what is signed.
pub fn enveloped(
    unsigned: &[u8],
    signer: &dyn Signer,
    chain: &Chain,
    canonicalization: Canonicalization,
) -> Result<Vec<u8>, SignError> {
    chain.check_key(signer)?;
    let (mut template, signed_info) = digested(unsigned, signer.method(), chain, canonicalization)?;
    template.value = BASE64.encode(signer.sign(&signed_info)?);

    let signed = template.text().into_bytes();
    self_check(&signed, chain)?;
    Ok(signed)
}

/// The document around its signature, whose value alone is missing, and the octets that are to be signed.
fn digested<'a>(
    unsigned: &[u8],
    method: SignatureMethod,
    chain: &'a Chain,
    canonicalization: Canonicalization,
) -> Result<(Template<'a>, Vec<u8>), SignError> {
    let scanned = scan(unsigned, &Limits::default())?;
    let tree = scanned.parse()?;
    refuse_signed(&tree)?;
    let mut template = Template::around(scanned.text(), tree.root_element().range(), chain);
    template.algorithms(canonicalization.uri(), method.uri());
    let digest = template.canonical(canonicalization, Part::Document)?;
    template.digest = BASE64.encode(DIGEST.of(&digest));
    let signed_info = template.canonical(canonicalization, Part::SignedInfo)?;
    Ok((template, signed_info))
}

fn refuse_signed(tree: &roxmltree::Document<'_>) -> Result<(), SignError> {
    let signed = tree.descendants().any(|node| node.has_tag_name((dsig::NAMESPACE, "Signature")));
    if signed { Err(SignError::AlreadySigned) } else { Ok(()) }
}

/// Reads the result as an agent will: structure, digest, signature value, and whose it is.
fn self_check(signed: &[u8], chain: &Chain) -> Result<(), SignError> {
    let opened =
        dsig::open(signed, &Limits::default()).map_err(|error| SignError::SelfCheck(error.to_string()))?;
    let signer = opened.signer().map_err(|error: SignatureError| SignError::SelfCheck(error.to_string()))?;
    if chain.certificates.first() != Some(signer) {
        return Err(SignError::SelfCheck("the signer is not the first certificate of the chain".to_owned()));
    }
    Ok(())
}

/// The document around a signature whose values are filled in one after the other.
struct Template<'a> {
    /// Up to the root's end tag.
    before: String,
    /// The end tag and what follows it.
    after: String,
    chain: &'a Chain,
    canonicalization: &'static str,
    method: &'static str,
    digest: String,
    value: String,
}

enum Part {
    /// The document less its signature.
    Document,
    /// The signature's `SignedInfo`.
    SignedInfo,
}

impl<'a> Template<'a> {
    /// `text` passed the scan, so it has no declaration any more; `root` is the root element's place.
    fn around(text: &str, root: std::ops::Range<usize>, chain: &'a Chain) -> Self {
        let element = text.get(root.clone()).unwrap_or_default();
        let (inside, end_tag) = match element.strip_suffix("/>") {
            // `<EOCS …/>`: written out, since the signature goes into it.
            Some(start_tag) => (format!("{}>", start_tag.trim_end()), format!("</{}>", tag_name(start_tag))),
            None => {
                let (inside, end_tag) = element.split_at(element.rfind("</").unwrap_or(element.len()));
                (inside.to_owned(), end_tag.to_owned())
            }
        };
        let before = text.get(..root.start).unwrap_or_default().trim_start();
        let after = text.get(root.end..).unwrap_or_default().trim_end();
        Self {
            before: format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{before}{}",
                inside.trim_end_matches([' ', '\t'])
            ),
            after: format!("{end_tag}{after}\n"),
            chain,
            canonicalization: "",
            method: "",
            digest: String::new(),
            value: String::new(),
        }
    }

    fn algorithms(&mut self, canonicalization: &'static str, method: &'static str) {
        self.canonicalization = canonicalization;
        self.method = method;
    }

    fn canonical(&self, form: Canonicalization, part: Part) -> Result<Vec<u8>, SignError> {
        let text = self.text();
        let scanned = scan(text.as_bytes(), &Limits::default())?;
        let tree = scanned.parse()?;
        let signature = tree.root_element().last_element_child();
        match part {
            Part::Document => Ok(canonicalize(tree.root(), form, signature)),
            Part::SignedInfo => signature
                .and_then(|signature| signature.first_element_child())
                .map(|signed_info| canonicalize(signed_info, form, None))
                .ok_or_else(|| SignError::SelfCheck("the signature is not where it was written".to_owned())),
        }
    }

    fn text(&self) -> String {
        let Self { before, after, canonicalization, method, digest, value, .. } = self;
        let certificates: String = self
            .chain
            .certificates
            .iter()
            .map(|der| format!("\n        <X509Certificate>{}</X509Certificate>", lines(&BASE64.encode(der))))
            .collect();
        format!(
            "{before}  <Signature xmlns=\"{namespace}\">
    <SignedInfo>
      <CanonicalizationMethod Algorithm=\"{canonicalization}\"/>
      <SignatureMethod Algorithm=\"{method}\"/>
      <Reference URI=\"\">
        <Transforms>
          <Transform Algorithm=\"{enveloped}\"/>
          <Transform Algorithm=\"{canonicalization}\"/>
        </Transforms>
        <DigestMethod Algorithm=\"{digest_method}\"/>
        <DigestValue>{digest}</DigestValue>
      </Reference>
    </SignedInfo>
    <SignatureValue>{value}</SignatureValue>
    <KeyInfo>
      <X509Data>{certificates}
      </X509Data>
    </KeyInfo>
  </Signature>
{after}",
            namespace = dsig::NAMESPACE,
            enveloped = dsig::ENVELOPED,
            digest_method = DIGEST.uri(),
            value = lines(value),
        )
    }
}

fn tag_name(start_tag: &str) -> &str {
    let name = start_tag.strip_prefix('<').unwrap_or(start_tag);
    name.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or(name)
}

/// Base64 in lines of 76 characters (RFC 2045, section 6.8), as XML signatures are usually written.
fn lines(base64: &str) -> String {
    let mut out = String::with_capacity(base64.len() + base64.len() / 76 + 1);
    for (index, character) in base64.chars().enumerate() {
        if index > 0 && index % 76 == 0 {
            out.push('\n');
        }
        out.push(character);
    }
    out
}
