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
    /// Whether it is a CA's (basic constraints).
    pub ca: bool,
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
            digital_signature: key_usage.map(|(_, usage)| usage.digital_signature()),
            ca: constraints.is_some_and(|(_, constraints)| constraints.ca),
            not_before: timestamp(tbs.validity().not_before)?,
            not_after: timestamp(tbs.validity().not_after)?,
        })
    }
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
