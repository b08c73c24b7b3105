//! Key files: PKCS#8 in PEM, in the clear or under a passphrase (PBES2, RFC 8018), for their owner's eyes only.
//!
//! What is written: PBKDF2 with HMAC-SHA-256, AES-256-CBC, which every `openssl` since 1.1 reads. What is read:
//! that, the shorter AES keys, and scrypt. Not in here: where a passphrase comes from; callers bring an [`Ask`].

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pkcs8::der::zeroize::Zeroizing;
use pkcs8::pkcs5::pbes2;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use ring::rand::{SecureRandom, SystemRandom};

use super::{FileKey, KeyError};

/// Octets of a key file; RSA of 4096 bits takes 3.3 KB.
const FILE_MAX: u64 = 64 * 1024;
/// What OWASP's Password Storage Cheat Sheet asks of PBKDF2 with HMAC-SHA-256 since 2023.
const ITERATIONS: u32 = 600_000;
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const CLEAR: &str = "PRIVATE KEY";

/// Wiped from memory when it is dropped, and never shown.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// One of these octets, without a line's end behind them. Empty protects nothing: `None`.
    pub fn new(octets: Vec<u8>) -> Option<Self> {
        let mut octets = Zeroizing::new(octets);
        while octets.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
            octets.pop();
        }
        (!octets.is_empty()).then_some(Self(octets))
    }

    /// How long it is: characters, or octets where it is no text.
    pub fn characters(&self) -> usize {
        std::str::from_utf8(&self.0).map_or(self.0.len(), |text| text.chars().count())
    }
}

/// Gives the passphrase of the key in this file. It is called for protected keys only.
pub type Ask<'a> = &'a mut dyn FnMut(&Path) -> io::Result<Passphrase>;

/// For whoever has keys in the clear alone.
pub fn nobody_to_ask(_: &Path) -> io::Result<Passphrase> {
    Err(io::Error::other("nobody was there to ask for the passphrase"))
}

/// A private key in the clear.
pub struct ClearKey {
    /// PKCS#8 in PEM, or what else the file held.
    pem: Zeroizing<String>,
    /// Whether a passphrase protects the file.
    pub protected_by: Option<Passphrase>,
}

impl ClearKey {
    /// Reads a file that nobody but its owner can read.
    pub fn read(path: &Path, ask: Ask<'_>) -> Result<Self, KeyError> {
        let unreadable =
            |error: io::Error| KeyError::Read { path: path.to_owned(), reason: error.to_string() };
        let pem = read_private(path)?;
        if !pem.contains(ENCRYPTED) {
            return Ok(Self { pem, protected_by: None });
        }
        let passphrase = ask(path).map_err(unreadable)?;
        let pem = unprotect(&pem, &passphrase).map_err(|error| error.of(path))?;
        Ok(Self { pem, protected_by: Some(passphrase) })
    }

    /// The key as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

impl FileKey {
    /// Reads a key file; `ask` is called where a passphrase protects it.
    pub fn read(path: &Path, ask: Ask<'_>) -> Result<Self, KeyError> {
        Self::from_pem(ClearKey::read(path, ask)?.pem.as_bytes())
    }
}

/// The text of a file that its owner alone may read. On Windows its folder's access list decides.
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let unreadable = |error: io::Error| KeyError::Read { path: path.to_owned(), reason: error.to_string() };
    let file = File::open(path).map_err(unreadable)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let metadata = file.metadata().map_err(unreadable)?;
        let mode = metadata.permissions().mode() & 0o777;
        // A pipe has its creator's mode and no name that others could open.
        if metadata.is_file() && mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_MAX).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// A key (PKCS#8, PEM) under a passphrase.
pub fn protect(pem: &str, passphrase: &Passphrase) -> Result<String, KeyError> {
    let failed = |reason: String| KeyError::Failed { reason };
    let (label, clear) = SecretDocument::from_pem(pem).map_err(|_| KeyError::Absent)?;
    if label != CLEAR {
        return Err(KeyError::Absent);
    }
    let mut random = [0u8; 32];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| failed("the system gave no random octets".to_owned()))?;
    let (salt, vector) = random.split_at(16);
    let vector: [u8; 16] = vector.try_into().map_err(|_| failed("no initialization vector".to_owned()))?;
    let scheme = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, salt, vector)
        .map_err(|error| failed(error.to_string()))?;
    let key = PrivateKeyInfoRef::try_from(clear.as_bytes()).map_err(|error| failed(error.to_string()))?;
    let sealed = key.encrypt_with_params(scheme, &passphrase.0).map_err(|error| failed(error.to_string()))?;
    let pem = sealed.to_pem(ENCRYPTED, LineEnding::LF).map_err(|error| failed(error.to_string()))?;
    Ok(pem.to_string())
}

/// Why a protected key stays closed.
enum Closed {
    Unreadable(String),
    Wrong,
}

impl Closed {
    fn of(self, path: &Path) -> KeyError {
        let path: PathBuf = path.to_owned();
        match self {
            Self::Unreadable(reason) => KeyError::Read { path, reason },
            Self::Wrong => KeyError::WrongPassphrase { path },
        }
    }
}

fn unprotect(pem: &str, passphrase: &Passphrase) -> Result<Zeroizing<String>, Closed> {
    let (_, sealed) = SecretDocument::from_pem(pem).map_err(|error| Closed::Unreadable(error.to_string()))?;
    let sealed = EncryptedPrivateKeyInfoRef::try_from(sealed.as_bytes()).map_err(|error| {
        Closed::Unreadable(format!("expected PBES2 with PBKDF2 or scrypt, and AES: {error}"))
    })?;
    // A wrong passphrase gives octets that are no key; which of the two it was cannot be known.
    let clear = sealed.decrypt(&passphrase.0).map_err(|_| Closed::Wrong)?;
    PrivateKeyInfoRef::try_from(clear.as_bytes()).map_err(|_| Closed::Wrong)?;
    clear.to_pem(CLEAR, LineEnding::LF).map_err(|error| Closed::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Signer as _;

    const RSA: &str = include_str!("../../tests/fixtures/rsa-leaf.key.pem");

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.into()).unwrap()
    }

    fn file(dir: &Path, text: &str, mode: u32) -> PathBuf {
        let path = dir.join(format!("{mode:o}.pem"));
        std::fs::write(&path, text).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_protected_key_opens_with_its_passphrase_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let sealed = protect(&ec, &passphrase("correct horse")).unwrap();
        assert!(sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert_ne!(sealed, protect(&ec, &passphrase("correct horse")).unwrap(), "a salt of its own");
        let path = file(dir.path(), &sealed, 0o600);
        let key = FileKey::read(&path, &mut |_| Ok(passphrase("correct horse"))).unwrap();
        assert_eq!(key.public_key(), FileKey::from_pem(ec.as_bytes()).unwrap().public_key());
        let wrong = FileKey::read(&path, &mut |_| Ok(passphrase("wrong horse")));
        assert_eq!(wrong.err().unwrap().code(), "wrong-passphrase");
        assert_eq!(FileKey::read(&path, &mut nobody_to_ask).err().unwrap().code(), "key-unreadable");
    }

    #[test]
    fn a_key_in_the_clear_asks_nobody() {
        let dir = tempfile::tempdir().unwrap();
        FileKey::read(&file(dir.path(), RSA, 0o400), &mut |_| panic!("asked")).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o644] {
            let refused = FileKey::read(&file(dir.path(), RSA, mode), &mut nobody_to_ask).err().unwrap();
            assert_eq!(refused.code(), "key-exposed", "{mode:o}: {refused}");
        }
    }

    #[test]
    fn a_passphrase_ends_before_its_line_does_and_is_not_empty() {
        assert_eq!(Passphrase::new(b"a b\r\n".to_vec()).unwrap().0.as_slice(), b"a b");
        assert!(Passphrase::new(b"\n".to_vec()).is_none());
    }
}
