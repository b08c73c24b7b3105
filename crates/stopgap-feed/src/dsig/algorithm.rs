//! The digests and signature methods of the profile, and what checks them.
//!
//! `ring` verifies ECDSA with SHA-256 and SHA-384 only, so `ecdsa-sha512` is refused by name like
//! everything else that is not in the lists here.

use std::fmt;

use der::Encode as _;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::certificate::rsa_bits;

/// `DigestMethod`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";
const SHA512: &str = "http://www.w3.org/2001/04/xmlenc#sha512";

impl Digest {
    pub(super) const URIS: &[&str] = &[SHA256, SHA384, SHA512];

    /// The digest that an `Algorithm` attribute names.
    pub fn from_uri(uri: &str) -> Option<Self> {
        match uri {
            SHA256 => Some(Self::Sha256),
            SHA384 => Some(Self::Sha384),
            SHA512 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Its `Algorithm` attribute.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Sha256 => SHA256,
            Self::Sha384 => SHA384,
            Self::Sha512 => SHA512,
        }
    }

    /// The digest of `octets`.
    pub fn of(self, octets: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &ring::digest::SHA256,
            Self::Sha384 => &ring::digest::SHA384,
            Self::Sha512 => &ring::digest::SHA512,
        };
        ring::digest::digest(algorithm, octets).as_ref().to_vec()
    }
}

/// `SignatureMethod`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SignatureMethod {
    RsaSha256,
    RsaSha384,
    RsaSha512,
    EcdsaSha256,
    EcdsaSha384,
}

const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const RSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384";
const RSA_SHA512: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512";
const ECDSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";

/// Why one certificate's key did not make the signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum SignatureMethodError {
    #[error("a certificate that cannot be read")]
    Certificate,
    #[error("a key of another kind")]
    KeyKind,
    #[error("an RSA key of {bits} bits")]
    WeakKey { bits: usize },
    #[error("another key's signature")]
    Mismatch,
}

/// The kinds of key, by algorithm identifier (RFC 3279, RFC 5480).
enum Key {
    Rsa,
    P256,
    P384,
}

const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const SECP256R1: &str = "1.2.840.10045.3.1.7";
const SECP384R1: &str = "1.3.132.0.34";

impl SignatureMethod {
    pub(super) const URIS: &[&str] = &[RSA_SHA256, RSA_SHA384, RSA_SHA512, ECDSA_SHA256, ECDSA_SHA384];

    /// The method that an `Algorithm` attribute names.
    pub fn from_uri(uri: &str) -> Option<Self> {
        match uri {
            RSA_SHA256 => Some(Self::RsaSha256),
            RSA_SHA384 => Some(Self::RsaSha384),
            RSA_SHA512 => Some(Self::RsaSha512),
            ECDSA_SHA256 => Some(Self::EcdsaSha256),
            ECDSA_SHA384 => Some(Self::EcdsaSha384),
            _ => None,
        }
    }

    /// Its `Algorithm` attribute.
    pub fn uri(self) -> &'static str {
        match self {
            Self::RsaSha256 => RSA_SHA256,
            Self::RsaSha384 => RSA_SHA384,
            Self::RsaSha512 => RSA_SHA512,
            Self::EcdsaSha256 => ECDSA_SHA256,
            Self::EcdsaSha384 => ECDSA_SHA384,
        }
    }

    /// Whether the certificate's key made `value` over `message`. RSA is PKCS#1 v1.5 with 2048 to
    /// 8192 bits; an ECDSA value is r and s side by side, each as long as the curve's order
    /// (XML Signature 1.1, section 6.4.3), unlike the ASN.1 form of certificates.
    pub fn verify(
        self,
        certificate: &CertificateDer<'_>,
        message: &[u8],
        value: &[u8],
    ) -> Result<(), SignatureMethodError> {
        let certificate =
            Certificate::from_der(certificate).map_err(|_| SignatureMethodError::Certificate)?;
        let key_info = certificate.tbs_certificate().subject_public_key_info();
        let key = key_kind(key_info).ok_or(SignatureMethodError::KeyKind)?;
        let public = key_info.subject_public_key.raw_bytes();
        let check = |algorithm: &'static dyn VerificationAlgorithm, value: &[u8]| {
            UnparsedPublicKey::new(algorithm, public)
                .verify(message, value)
                .map_err(|_| SignatureMethodError::Mismatch)
        };
        let bits = rsa_bits(key_info).filter(|bits| *bits < 2048);
        match (self, key) {
            (Self::RsaSha256 | Self::RsaSha384 | Self::RsaSha512, Key::Rsa) if bits.is_some() => {
                Err(SignatureMethodError::WeakKey { bits: bits.unwrap_or_default() })
            }
            (Self::RsaSha256, Key::Rsa) => check(&signature::RSA_PKCS1_2048_8192_SHA256, value),
            (Self::RsaSha384, Key::Rsa) => check(&signature::RSA_PKCS1_2048_8192_SHA384, value),
            (Self::RsaSha512, Key::Rsa) => check(&signature::RSA_PKCS1_2048_8192_SHA512, value),
            (Self::EcdsaSha256, Key::P256) => check(&signature::ECDSA_P256_SHA256_FIXED, value),
            (Self::EcdsaSha384, Key::P384) => check(&signature::ECDSA_P384_SHA384_FIXED, value),
            (Self::EcdsaSha384, Key::P256) => check(
                &signature::ECDSA_P256_SHA384_ASN1,
                &asn1(value, 32).ok_or(SignatureMethodError::Mismatch)?,
            ),
            (Self::EcdsaSha256, Key::P384) => check(
                &signature::ECDSA_P384_SHA256_ASN1,
                &asn1(value, 48).ok_or(SignatureMethodError::Mismatch)?,
            ),
            _ => Err(SignatureMethodError::KeyKind),
        }
    }
}

fn key_kind(key: &x509_cert::SubjectPublicKeyInfo) -> Option<Key> {
    let algorithm = key.algorithm.oid.to_string();
    if algorithm == RSA_ENCRYPTION {
        return Some(Key::Rsa);
    }
    if algorithm != EC_PUBLIC_KEY {
        return None;
    }
    let curve: der::asn1::ObjectIdentifier = key.algorithm.parameters.as_ref()?.decode_as().ok()?;
    match curve.to_string().as_str() {
        SECP256R1 => Some(Key::P256),
        SECP384R1 => Some(Key::P384),
        _ => None,
    }
}

/// r and s side by side to `SEQUENCE { INTEGER r, INTEGER s }`, the only form that `ring` has for a
/// curve with the other curve's digest.
fn asn1(value: &[u8], half: usize) -> Option<Vec<u8>> {
    if value.len() != half.checked_mul(2)? {
        return None;
    }
    let (r, s) = value.split_at_checked(half)?;
    let uint = |number| der::asn1::UintRef::new(number).ok();
    vec![uint(r)?, uint(s)?].to_der().ok()
}

impl fmt::Display for SignatureMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri())
    }
}
