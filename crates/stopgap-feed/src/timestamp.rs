//! The countersignature that says when a document was signed: an RFC 3161 token over the octets of
//! `SignatureValue`, as Microsoft puts it into `Object Id="ts-countersig"`.
//!
//! It gives one thing, the time at which the signer's certificates are judged. A token that is
//! missing, malformed, or of an authority that the operator does not trust gives none: certificates
//! are then judged at `now`, and where that refuses the document, the refusal says why the token did
//! not count.
//!
//! ```text
//! ContentInfo > SignedData > encapContentInfo > TSTInfo: messageImprint, genTime
//!                          > certificates
//!                          > SignerInfo > signedAttrs: contentType, messageDigest, signingCertificate
//! ```
//!
//! CMS is RFC 5652, the signing-certificate attributes are RFC 2634 and RFC 5035. Not asked for, since
//! Microsoft's real tokens lack it: that the signer's extended key usage is marked critical.

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::{EndEntityCert, ring as algs};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::ber::{Reader, Value, tag};
use crate::certificate::{Facts, Oid};
use crate::chain::{self, ChainError, Requirements, Revocation, RevocationMode};
use crate::dsig::{Countersignature, Digest};
use crate::trust::Trust;

/// Octets of a token: sixteen certificates and what its authority may add, such as a revocation list,
/// fit. It is not signed with the document, so whoever passes that on can put another one in.
pub const MAX_TOKEN_BYTES: usize = 256 * 1024;

/// Why a timestamp does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum TimestampError {
    #[error("the timestamp is not used, since no timestamp root is trusted")]
    NoRoots,
    #[error("the timestamp is too large: expected at most {MAX_TOKEN_BYTES} octets, found {found}")]
    TooLarge { found: usize },
    #[error("the timestamp is malformed: {what}")]
    Malformed { what: &'static str },
    #[error("the timestamp has an unsupported {what}: `{found}`")]
    Unsupported { what: &'static str, found: String },
    #[error("the timestamp is of another signature")]
    WrongImprint,
    #[error("the timestamp was changed: its {what} does not fit")]
    Changed { what: &'static str },
    #[error("the timestamp's signer is not among its certificates")]
    NoSigner,
    #[error("the timestamp's signature does not verify")]
    SignatureInvalid,
    #[error(
        "the timestamp's signer `{subject}` may not only make timestamps: expected the extended key usage timeStamping alone"
    )]
    WrongEku { subject: String },
    #[error("the timestamp's signer is not trusted: {0}")]
    Chain(ChainError),
    #[error("the timestamp is of the future: expected a time by {now}, found {found}")]
    Future { found: Timestamp, now: Timestamp },
}

impl TimestampError {
    /// The stable name of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            TimestampError::NoRoots => "timestamp-no-roots",
            TimestampError::TooLarge { .. } => "timestamp-too-large",
            TimestampError::Malformed { .. } => "timestamp-malformed",
            TimestampError::Unsupported { .. } => "timestamp-unsupported",
            TimestampError::WrongImprint => "timestamp-wrong-imprint",
            TimestampError::Changed { .. } => "timestamp-changed",
            TimestampError::NoSigner => "timestamp-no-signer",
            TimestampError::SignatureInvalid => "timestamp-signature-invalid",
            TimestampError::WrongEku { .. } => "timestamp-wrong-eku",
            TimestampError::Chain(_) => "timestamp-untrusted",
            TimestampError::Future { .. } => "timestamp-of-the-future",
        }
    }
}

const SIGNED_DATA: Oid = Oid::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: Oid = Oid::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: Oid = Oid::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: Oid = Oid::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_CERTIFICATE: Oid = Oid::new_unwrap("1.2.840.113549.1.9.16.2.12");
const SIGNING_CERTIFICATE_V2: Oid = Oid::new_unwrap("1.2.840.113549.1.9.16.2.47");
const TIME_STAMPING: Oid = Oid::new_unwrap("1.3.6.1.5.5.7.3.8");

const SHA256: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: Oid = Oid::new_unwrap("2.16.840.1.101.3.4.2.3");

const RSA_ENCRYPTION: Oid = Oid::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA256: Oid = Oid::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: Oid = Oid::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: Oid = Oid::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA256: Oid = Oid::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: Oid = Oid::new_unwrap("1.2.840.10045.4.3.3");

/// Verifies the token over `signature_value` and returns its `genTime`. The signer's path is judged
/// at that very time (RFC 3161 section 4.3), against the timestamp roots and nothing else; of its
/// revocation, what is known counts.
pub fn verify(
    countersignature: &Countersignature,
    signature_value: &[u8],
    trust: &Trust,
    revocation: &Revocation,
    now: Timestamp,
) -> Result<Timestamp, TimestampError> {
    judge(countersignature, signature_value, trust, revocation, now).map(|judged| judged.time)
}

/// A token that counts.
pub(crate) struct Judged {
    pub(crate) time: Timestamp,
    /// [`chain::Path::certificates`] of its signer.
    pub(crate) path: Vec<CertificateDer<'static>>,
}

/// [`verify`], and which path it was.
pub(crate) fn judge(
    countersignature: &Countersignature,
    signature_value: &[u8],
    trust: &Trust,
    revocation: &Revocation,
    now: Timestamp,
) -> Result<Judged, TimestampError> {
    if trust.timestamp_roots.is_empty() {
        return Err(TimestampError::NoRoots);
    }
    if countersignature.token.len() > MAX_TOKEN_BYTES {
        return Err(TimestampError::TooLarge { found: countersignature.token.len() });
    }
    let token = Token::read(&countersignature.token, trust.limits.certificates)?;
    let info = TstInfo::read(&token.content)?;
    if info.imprint_digest.of(signature_value) != info.imprint {
        return Err(TimestampError::WrongImprint);
    }
    let beside = countersignature.certificates.iter().cloned();
    let certificates: Vec<_> = token.certificates.iter().cloned().chain(beside).collect();
    let signer = token.signer.certificate(&certificates).ok_or(TimestampError::NoSigner)?;
    token.signer.check(signer, &token.content)?;

    let facts = Facts::read(signer).ok_or(TimestampError::NoSigner)?;
    if !(facts.eku.len() == 1 && facts.eku.contains(&TIME_STAMPING)) {
        return Err(TimestampError::WrongEku { subject: facts.subject });
    }
    let mode = match revocation.mode {
        RevocationMode::Require => RevocationMode::Prefer,
        other => other,
    };
    let requirements = Requirements {
        roots: &trust.timestamp_roots,
        eku: &[TIME_STAMPING],
        at: info.time,
        revocation: &Revocation { mode, crls: revocation.crls.clone() },
    };
    let path = chain::find_path(signer, &certificates, &requirements).map_err(TimestampError::Chain)?;

    let tolerance = SignedDuration::from_secs(i64::from(trust.clock_tolerance_seconds));
    if info.time.duration_since(now) > tolerance {
        return Err(TimestampError::Future { found: info.time, now });
    }
    Ok(Judged { time: info.time, path: path.certificates })
}

/// A `SignedData` with one signer.
struct Token<'a> {
    content: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
    signer: SignerInfo<'a>,
}

impl<'a> Token<'a> {
    fn read(octets: &'a [u8], limit: usize) -> Result<Self, TimestampError> {
        let malformed = |what| TimestampError::Malformed { what };
        let mut outer = Reader::new(octets);
        let content_info = outer.expect(tag::SEQUENCE).ok_or(malformed("not a CMS message"))?;
        // Padding after the message is harmless: nothing outside the message is read.
        let mut reader = content_info.reader();
        if oid(reader.expect(tag::OID)) != Some(SIGNED_DATA) {
            return Err(malformed("not a SignedData message"));
        }
        let body = || -> Option<(Value<'a>, Option<Value<'a>>, Value<'a>)> {
            let mut fields = reader.expect(tag::context(0))?.reader().expect(tag::SEQUENCE)?.reader();
            fields.expect(tag::INTEGER)?;
            fields.expect(tag::SET)?;
            let content = fields.expect(tag::SEQUENCE)?;
            let certificates = fields.optional(tag::context(0));
            fields.optional(tag::context(1));
            Some((content, certificates, fields.expect(tag::SET)?))
        }();
        let (content, certificates, signers) = body.ok_or(malformed("SignedData"))?;

        let mut content = content.reader();
        if oid(content.expect(tag::OID)) != Some(TST_INFO) {
            return Err(malformed("its content is no TSTInfo"));
        }
        let content = content
            .expect(tag::context(0))
            .and_then(|explicit| explicit.reader().octet_string())
            .ok_or(malformed("its content is missing"))?;
        let certificates = certificates.map_or(Some(Vec::new()), |set| set.reader().all());
        let mut signers = signers.reader();
        let signer =
            signers.expect(tag::SEQUENCE).and_then(SignerInfo::read).ok_or(malformed("SignerInfo"))?;
        if !signers.at_end() {
            return Err(malformed("more than one signer"));
        }
        Ok(Self {
            content,
            certificates: certificates
                .ok_or(malformed("its certificates"))?
                .iter()
                .filter(|choice| choice.tag == tag::SEQUENCE)
                .take(limit)
                .map(|choice| CertificateDer::from(choice.whole.to_vec()))
                .collect(),
            signer,
        })
    }
}

/// `TSTInfo` (RFC 3161 section 2.4.2).
struct TstInfo {
    imprint_digest: Digest,
    imprint: Vec<u8>,
    time: Timestamp,
}

impl TstInfo {
    fn read(octets: &[u8]) -> Result<Self, TimestampError> {
        let fields = || -> Option<(Value<'_>, Value<'_>)> {
            let mut fields = Reader::new(octets).expect(tag::SEQUENCE)?.reader();
            fields.expect(tag::INTEGER)?;
            fields.expect(tag::OID)?;
            let imprint = fields.expect(tag::SEQUENCE)?;
            fields.expect(tag::INTEGER)?;
            Some((imprint, fields.expect(tag::GENERALIZED_TIME)?))
        }();
        let (imprint, time) = fields.ok_or(TimestampError::Malformed { what: "TSTInfo" })?;
        let mut imprint = imprint.reader();
        let imprint_digest = digest(imprint.expect(tag::SEQUENCE))?;
        Ok(Self {
            imprint_digest,
            imprint: imprint.octet_string().ok_or(TimestampError::Malformed { what: "messageImprint" })?,
            time: generalized_time(time.content).ok_or(TimestampError::Malformed { what: "genTime" })?,
        })
    }
}

/// `SignerInfo` (RFC 5652 section 5.3) that names its certificate by issuer and serial number.
struct SignerInfo<'a> {
    issuer: &'a [u8],
    serial: &'a [u8],
    digest: Option<Value<'a>>,
    attributes: Value<'a>,
    algorithm: Value<'a>,
    signature: Vec<u8>,
}

impl<'a> SignerInfo<'a> {
    fn read(value: Value<'a>) -> Option<Self> {
        let mut fields = value.reader();
        fields.expect(tag::INTEGER)?;
        let mut id = fields.expect(tag::SEQUENCE)?.reader();
        Some(Self {
            issuer: id.expect(tag::SEQUENCE)?.whole,
            serial: id.expect(tag::INTEGER)?.content,
            digest: fields.expect(tag::SEQUENCE),
            attributes: fields.expect(tag::context(0))?,
            algorithm: fields.expect(tag::SEQUENCE)?,
            signature: fields.octet_string()?,
        })
    }

    fn certificate<'c>(&self, all: &'c [CertificateDer<'static>]) -> Option<&'c CertificateDer<'static>> {
        all.iter().find(|der| {
            Certificate::from_der(der).is_ok_and(|certificate| {
                let tbs = certificate.tbs_certificate();
                tbs.serial_number().as_bytes() == self.serial
                    && tbs.issuer().to_der().is_ok_and(|issuer| issuer == self.issuer)
            })
        })
    }

    /// The signature is over the attributes, and those are of this content and this certificate.
    fn check(&self, certificate: &CertificateDer<'_>, content: &[u8]) -> Result<(), TimestampError> {
        let malformed = |what| TimestampError::Malformed { what };
        let message_digest = digest(self.digest)?;
        let attributes = Attributes::read(self.attributes).ok_or(malformed("signed attributes"))?;
        if oid(attributes.get(CONTENT_TYPE)?) != Some(TST_INFO) {
            return Err(TimestampError::Changed { what: "content type" });
        }
        let claimed = attributes.get(MESSAGE_DIGEST)?.and_then(|value| value.octets());
        if claimed != Some(message_digest.of(content)) {
            return Err(TimestampError::Changed { what: "message digest" });
        }
        if let Some(value) = attributes.get(SIGNING_CERTIFICATE_V2)? {
            let fits = certificate_id(value, true).is_some_and(|(hash, id)| hash(certificate) == id);
            fits.then_some(()).ok_or(TimestampError::Changed { what: "signing certificate" })?;
        }
        if let Some(value) = attributes.get(SIGNING_CERTIFICATE)? {
            let fits = certificate_id(value, false).is_some_and(|(hash, id)| hash(certificate) == id);
            fits.then_some(()).ok_or(TimestampError::Changed { what: "signing certificate" })?;
        }
        self.check_signature(certificate, message_digest)
    }

    fn check_signature(
        &self,
        certificate: &CertificateDer<'_>,
        digest: Digest,
    ) -> Result<(), TimestampError> {
        let algorithm = oid(self.algorithm.reader().expect(tag::OID));
        let candidates: &[&dyn SignatureVerificationAlgorithm] = match (algorithm, digest) {
            (Some(RSA_ENCRYPTION | RSA_SHA256), Digest::Sha256) => &[algs::RSA_PKCS1_2048_8192_SHA256],
            (Some(RSA_ENCRYPTION | RSA_SHA384), Digest::Sha384) => &[algs::RSA_PKCS1_2048_8192_SHA384],
            (Some(RSA_ENCRYPTION | RSA_SHA512), Digest::Sha512) => &[algs::RSA_PKCS1_2048_8192_SHA512],
            (Some(ECDSA_SHA256), Digest::Sha256) => &[algs::ECDSA_P256_SHA256, algs::ECDSA_P384_SHA256],
            (Some(ECDSA_SHA384), Digest::Sha384) => &[algs::ECDSA_P256_SHA384, algs::ECDSA_P384_SHA384],
            (other, _) => {
                let found = other.map_or_else(|| "unreadable".to_owned(), |oid| oid.to_string());
                return Err(TimestampError::Unsupported { what: "signature algorithm", found });
            }
        };
        // What is signed is the attributes' DER with their own tag, SET OF (RFC 5652 section 5.4).
        let (_, rest) = self
            .attributes
            .whole
            .split_first()
            .ok_or(TimestampError::Malformed { what: "signed attributes" })?;
        let message = [&[tag::SET], rest].concat();
        let certificate = EndEntityCert::try_from(certificate).map_err(|_| TimestampError::NoSigner)?;
        let verified = candidates
            .iter()
            .any(|algorithm| certificate.verify_signature(*algorithm, &message, &self.signature).is_ok());
        if verified { Ok(()) } else { Err(TimestampError::SignatureInvalid) }
    }
}

/// The signed attributes; each type has one value.
struct Attributes<'a>(Vec<(Oid, Value<'a>)>);

impl<'a> Attributes<'a> {
    fn read(set: Value<'a>) -> Option<Self> {
        let read = |attribute: &Value<'a>| {
            let mut fields = attribute.reader();
            let oid = oid(fields.expect(tag::OID))?;
            let mut values = fields.expect(tag::SET)?.reader();
            let value = values.any()?;
            values.at_end().then_some((oid, value))
        };
        set.reader().all()?.iter().map(read).collect::<Option<_>>().map(Self)
    }

    /// The value of an attribute. One that stands there twice is an ambiguity nobody needs.
    fn get(&self, wanted: Oid) -> Result<Option<Value<'a>>, TimestampError> {
        let mut found = self.0.iter().filter(|(oid, _)| *oid == wanted);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(TimestampError::Malformed { what: "a signed attribute stands twice" }),
            (first, None) => Ok(first.map(|(_, value)| *value)),
        }
    }
}

type CertificateHash = fn(&[u8]) -> Vec<u8>;

/// The first `ESSCertID` (v1: always SHA-1, RFC 2634) or `ESSCertIDv2` (SHA-256 where none is named,
/// RFC 5035): the signer's own.
fn certificate_id(value: Value<'_>, v2: bool) -> Option<(CertificateHash, Vec<u8>)> {
    let ids = value.reader().expect(tag::SEQUENCE)?;
    let mut id = ids.reader().expect(tag::SEQUENCE)?.reader();
    let hash: CertificateHash = if v2 {
        match id.optional(tag::SEQUENCE) {
            None => |octets| Digest::Sha256.of(octets),
            algorithm => match digest(algorithm).ok()? {
                Digest::Sha256 => |octets| Digest::Sha256.of(octets),
                Digest::Sha384 => |octets| Digest::Sha384.of(octets),
                Digest::Sha512 => |octets| Digest::Sha512.of(octets),
            },
        }
    } else {
        |octets| ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, octets).as_ref().to_vec()
    };
    Some((hash, id.octet_string()?))
}

/// The digest that an `AlgorithmIdentifier` names.
fn digest(algorithm: Option<Value<'_>>) -> Result<Digest, TimestampError> {
    match algorithm.and_then(|value| oid(value.reader().expect(tag::OID))) {
        Some(SHA256) => Ok(Digest::Sha256),
        Some(SHA384) => Ok(Digest::Sha384),
        Some(SHA512) => Ok(Digest::Sha512),
        Some(other) => Err(TimestampError::Unsupported { what: "digest", found: other.to_string() }),
        None => Err(TimestampError::Malformed { what: "digest algorithm" }),
    }
}

fn oid(value: Option<Value<'_>>) -> Option<Oid> {
    value.filter(|value| value.tag == tag::OID).and_then(|value| Oid::from_bytes(value.content).ok())
}

/// `YYYYMMDDHHMMSS[.f…]Z` (RFC 3161 section 2.4.2), without the fraction: certificates know whole
/// seconds.
fn generalized_time(content: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(content).ok()?;
    let (date_time, rest) = text.split_at_checked(14)?;
    let (date, time) = date_time.split_at_checked(8)?;
    let digits = date_time.bytes().all(|b| b.is_ascii_digit());
    let fraction = rest.strip_suffix('Z')?;
    let fraction_in_form = fraction.is_empty()
        || fraction.strip_prefix('.').is_some_and(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()));
    if !digits || !fraction_in_form {
        return None;
    }
    format!("{date}T{time}Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fuzzer found that a signature in pieces, which BER allows, was refused.
    #[test]
    fn a_signature_may_come_in_pieces() {
        let head = [0x02, 1, 1, 0x30, 5, 0x30, 0, 0x02, 1, 7, 0x30, 0, 0xA0, 0, 0x30, 0];
        for signature in [&[0x04, 2, b'a', b'b'][..], &[0x24, 6, 0x04, 1, b'a', 0x04, 1, b'b']] {
            let content = [&head, signature].concat();
            let value = Value { tag: tag::SEQUENCE, content: &content, whole: &content };
            assert_eq!(SignerInfo::read(value).unwrap().signature, b"ab");
        }
    }
}
