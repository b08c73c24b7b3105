//! A certificate with its key, as the issuer of others.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
};
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectKeyIdentifier;

use super::PkiError;

/// An issuer: what stands in its certificate, and its key.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    key_identifier: Vec<u8>,
}

impl Authority {
    /// From a certificate (DER) and its key (PKCS#8, PEM).
    pub fn new(certificate: &[u8], key_pem: &str) -> Result<Self, PkiError> {
        let bad = |reason: String| PkiError::Authority { reason };
        let certificate = Certificate::from_der(certificate).map_err(|error| bad(error.to_string()))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| bad(format!("its key: {error}")))?;
        let body = certificate.tbs_certificate();
        if body.subject_public_key_info().subject_public_key.as_bytes() != Some(key.public_key_raw()) {
            return Err(bad(format!("the key is not that of {}", body.subject())));
        }
        let key_identifier = key_identifier(&certificate)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for part in body.subject().iter() {
            let (kind, value) = name_part(part)?;
            params.distinguished_name.push(kind, value);
        }
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier.clone());
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { certificate, issuer: Issuer::new(params, key), key_identifier })
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What a file of this authority is named after: 16 hexadecimal digits of its key's identifier.
    pub fn id(&self) -> String {
        short_id(&self.key_identifier)
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub(super) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    pub(super) fn key_identifier(&self) -> &[u8] {
        &self.key_identifier
    }
}

/// [`Authority::id`] for a key identifier.
pub(crate) fn short_id(key_identifier: &[u8]) -> String {
    crate::hex(key_identifier.get(..8).unwrap_or(key_identifier))
}

/// The identifier that the certificate gives its key.
pub(crate) fn key_identifier(certificate: &Certificate) -> Result<Vec<u8>, PkiError> {
    let body = certificate.tbs_certificate();
    let found = body.get_extension::<SubjectKeyIdentifier>().ok().flatten();
    let missing =
        || PkiError::Authority { reason: format!("{} has no subject key identifier", body.subject()) };
    found.map(|(_, identifier)| identifier.0.as_bytes().to_vec()).ok_or_else(missing)
}

/// One part of a name, in the encoding that it has: an issuer's name must be repeated octet for octet.
fn name_part(part: &AttributeTypeAndValue) -> Result<(DnType, DnValue), PkiError> {
    let arcs: Vec<u64> = part.oid.arcs().map(u64::from).collect();
    let octets = part.value.to_der().unwrap_or_default();
    let value = if let Ok(text) = Utf8StringRef::from_der(&octets) {
        DnValue::Utf8String(text.as_str().to_owned())
    } else if let Some(text) =
        PrintableStringRef::from_der(&octets).ok().and_then(|text| text.as_str().try_into().ok())
    {
        DnValue::PrintableString(text)
    } else {
        let reason = format!("{} stands in its name in an encoding that is not UTF-8", part.oid);
        return Err(PkiError::Authority { reason });
    };
    Ok((DnType::from_oid(&arcs), value))
}
