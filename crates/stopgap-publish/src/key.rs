//! The signing key behind a small trait: a file today, a hardware module later.

mod file;

use std::path::PathBuf;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use stopgap_feed::dsig::SignatureMethod;

pub use file::{Ask, ClearKey, Passphrase, nobody_to_ask, protect, read_private};

/// Something that holds a private key and signs with it.
pub trait Signer: Send + Sync {
    /// How it signs.
    fn method(&self) -> SignatureMethod;

    /// The content of `SubjectPublicKeyInfo.subjectPublicKey` (RFC 5280, section 4.1.2.7): for RSA an
    /// `RSAPublicKey`, for ECDSA the uncompressed point. A certificate with another one is not this
    /// key's.
    fn public_key(&self) -> &[u8];

    /// The signature over `message`, as XML-DSig writes it: PKCS#1 v1.5 for RSA, for ECDSA `r` and
    /// `s` side by side, each as long as the field (RFC 4050, section 3.3), not ASN.1.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No private key in the file.
    #[error("expected a PEM private key (`-----BEGIN PRIVATE KEY-----`), found none")]
    Absent,
    /// A passphrase protects it, and none was given.
    #[error("a passphrase protects the private key: expected the passphrase, or the key in the clear")]
    Encrypted,
    /// The passphrase is another key's, or the file is damaged.
    #[error("{}: the passphrase does not open this key", path.display())]
    WrongPassphrase {
        /// The key file.
        path: PathBuf,
    },
    /// Others than its owner can read it.
    #[error("{}: others can read this secret: expected mode 600, found {mode:o} (`chmod 600`)", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file, or its passphrase, could not be read.
    #[error("{}: the private key cannot be read: {reason}", path.display())]
    Read {
        /// The key file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// `EC PRIVATE KEY`, which does not carry all that is needed.
    #[error(
        "the private key is in SEC 1 form: expected PKCS#8 (`openssl pkcs8 -topk8 -nodes -in KEY -out PKCS8`)"
    )]
    Sec1,
    /// PKCS#8 or PKCS#1, but of no kind that a feed may be signed with, or broken.
    #[error(
        "the private key cannot be used: expected RSA of 2048 to 4096 bits, or ECDSA on P-256 or P-384; {reason}"
    )]
    Unsuitable {
        /// The cryptographic library's words for the RSA key, which are the most telling.
        reason: String,
    },
    /// The signature could not be made (no random bytes, a module that did not answer).
    #[error("the key did not sign: {reason}")]
    Failed {
        /// The cause.
        reason: String,
    },
}

impl KeyError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Absent => "no-key",
            Self::Encrypted => "encrypted-key",
            Self::WrongPassphrase { .. } => "wrong-passphrase",
            Self::Exposed { .. } => "key-exposed",
            Self::Read { .. } => "key-unreadable",
            Self::Sec1 => "sec1-key",
            Self::Unsuitable { .. } => "unsuitable-key",
            Self::Failed { .. } => "key-failed",
        }
    }
}

/// A private key from a PEM file.
pub struct FileKey {
    key: Key,
    random: SystemRandom,
}

enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
}

impl FileKey {
    /// Reads a PKCS#8 key (RSA, P-256, P-384) or a PKCS#1 key (RSA).
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let absent = |_| {
            let text = String::from_utf8_lossy(pem);
            if text.contains("ENCRYPTED") { KeyError::Encrypted } else { KeyError::Absent }
        };
        let random = SystemRandom::new();
        let unsuitable = |error: ring::error::KeyRejected| KeyError::Unsuitable { reason: error.to_string() };
        let key = match PrivateKeyDer::from_pem_slice(pem).map_err(absent)? {
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random) {
                    Key::P256(key)
                } else if let Ok(key) =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der, &random)
                {
                    Key::P384(key)
                } else {
                    Key::Rsa(RsaKeyPair::from_pkcs8(der).map_err(unsuitable)?)
                }
            }
            PrivateKeyDer::Pkcs1(der) => {
                Key::Rsa(RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(unsuitable)?)
            }
            PrivateKeyDer::Sec1(_) => return Err(KeyError::Sec1),
            _ => return Err(KeyError::Absent),
        };
        Ok(Self { key, random })
    }
}

impl Signer for FileKey {
    fn method(&self) -> SignatureMethod {
        match self.key {
            Key::Rsa(_) => SignatureMethod::RsaSha256,
            Key::P256(_) => SignatureMethod::EcdsaSha256,
            Key::P384(_) => SignatureMethod::EcdsaSha384,
        }
    }

    fn public_key(&self) -> &[u8] {
        match &self.key {
            Key::Rsa(key) => key.public().as_ref(),
            Key::P256(key) | Key::P384(key) => key.public_key().as_ref(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |error: ring::error::Unspecified| KeyError::Failed { reason: error.to_string() };
        match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Key::P256(key) | Key::P384(key) => {
                Ok(key.sign(&self.random, message).map_err(failed)?.as_ref().to_vec())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &[u8] = include_bytes!("../tests/fixtures/rsa-leaf.key.pem");

    #[test]
    fn each_kind_of_key_is_recognized() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
        for (pem, method) in [
            (RSA, SignatureMethod::RsaSha256),
            (p256.as_bytes(), SignatureMethod::EcdsaSha256),
            (p384.as_bytes(), SignatureMethod::EcdsaSha384),
        ] {
            assert_eq!(FileKey::from_pem(pem).unwrap().method(), method);
        }
    }

    #[test]
    fn what_is_no_usable_key_is_refused_with_the_way_out() {
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let refused = |pem: &str| FileKey::from_pem(pem.as_bytes()).err().unwrap();
        assert_eq!(refused(""), KeyError::Absent);
        assert_eq!(
            refused("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
            KeyError::Encrypted
        );
        assert_eq!(
            refused("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n"),
            KeyError::Sec1
        );
        assert!(matches!(refused(&ed25519), KeyError::Unsuitable { .. }));
    }
}
