//! What the rules of this crate look at in a certificate, beside the path ([`crate::chain`]).

use std::collections::BTreeSet;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::name::DirectoryString;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::name::Name;

use crate::ber::{Reader, tag};

/// An object identifier, such as `1.3.6.1.5.5.7.3.3` (code signing).
pub type Oid = der::asn1::ObjectIdentifier;

/// A certificate's own words. Nothing in it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The subject in RFC 4514 form.
    pub subject: String,
    /// The subject's common name, where there is exactly one.
    pub subject_common_name: Option<String>,
    /// The issuer in RFC 4514 form.
    pub issuer: String,
    /// The issuer's common name, where there is exactly one.
    pub issuer_common_name: Option<String>,
    /// Extended key usages; empty where there is no such extension.
    pub eku: BTreeSet<Oid>,
    /// `digitalSignature` of the key usage extension; `None` without the extension.
    pub digital_signature: Option<bool>,
    /// `keyCertSign` of the same; `None` without the extension.
    pub key_cert_sign: Option<bool>,
    /// Whether it is a CA's (basic constraints).
    pub ca: bool,
    /// The public key's own octets, without the algorithm: what tells one signer from another, since
    /// anybody can be given a second certificate of one key.
    pub public_key: Vec<u8>,
    /// Length of an RSA key's modulus in bits; `None` for keys of other kinds.
    pub rsa_bits: Option<usize>,
    /// Start of its validity, inclusive.
    pub not_before: Timestamp,
    /// End of its validity, inclusive.
    pub not_after: Timestamp,
}

impl Facts {
    /// Reads them; `None` where it is no certificate, or has an extension twice or malformed.
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let tbs = certificate.tbs_certificate();
        let eku = tbs.get_extension::<ExtendedKeyUsage>().ok()?;
        let key_usage = tbs.get_extension::<KeyUsage>().ok()?;
        let constraints = tbs.get_extension::<BasicConstraints>().ok()?;
        Some(Self {
            subject: tbs.subject().to_string(),
            subject_common_name: common_name(tbs.subject()),
            issuer: tbs.issuer().to_string(),
            issuer_common_name: common_name(tbs.issuer()),
            eku: eku.into_iter().flat_map(|(_, eku)| eku.0).collect(),
            digital_signature: key_usage.as_ref().map(|(_, usage)| usage.digital_signature()),
            key_cert_sign: key_usage.as_ref().map(|(_, usage)| usage.key_cert_sign()),
            ca: constraints.is_some_and(|(_, constraints)| constraints.ca),
            public_key: tbs.subject_public_key_info().subject_public_key.raw_bytes().to_vec(),
            rsa_bits: rsa_bits(tbs.subject_public_key_info()),
            not_before: timestamp(tbs.validity().not_before)?,
            not_after: timestamp(tbs.validity().not_after)?,
        })
    }
}

/// `RSAPublicKey` (RFC 8017, appendix A.1.1): the modulus comes first.
pub(crate) fn rsa_bits(key: &x509_cert::SubjectPublicKeyInfo) -> Option<usize> {
    const RSA_ENCRYPTION: Oid = Oid::new_unwrap("1.2.840.113549.1.1.1");
    if key.algorithm.oid != RSA_ENCRYPTION {
        return None;
    }
    let mut fields = Reader::new(key.subject_public_key.raw_bytes()).expect(tag::SEQUENCE)?.reader();
    let modulus = fields.expect(tag::INTEGER)?.content;
    let start = modulus.iter().position(|octet| *octet != 0)?;
    let (first, rest) = modulus.get(start..)?.split_first()?;
    let first_bits = usize::try_from(u8::BITS.checked_sub(first.leading_zeros())?).ok()?;
    rest.len().checked_mul(8)?.checked_add(first_bits)
}

/// The common name; a name with two of them is nobody's, lest a second one be overlooked.
fn common_name(name: &Name) -> Option<String> {
    let mut all = name.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let (first, second) = (all.next()?, all.next());
    let text = DirectoryString::try_from(&first.value).ok()?;
    second.is_none().then(|| text.value().into_owned())
}

fn timestamp(time: x509_cert::time::Time) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(time.to_unix_duration().as_secs()).ok()?).ok()
}
