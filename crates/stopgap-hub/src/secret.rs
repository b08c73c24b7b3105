//! Secrets: made at random, shown once, kept as a hash.
//!
//! A secret of 256 random bits needs no slow hash and no salt; nobody guesses one. What is compared is always
//! the hash, so how long a comparison takes tells nothing of the secret.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// Octets of a secret.
const SECRET: usize = 32;

/// The system gave no randomness. It happens at a boot that is too early, and never afterwards.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no randomness")]
pub struct NoRandomness;

/// A new secret behind a prefix that tells scanners of leaked secrets what it is: `sgt_` and 64 digits.
pub fn new(prefix: &str) -> Result<String, NoRandomness> {
    Ok(format!("{prefix}{}", hex(&random::<SECRET>()?)))
}

/// What a secret is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// SHA-256.
    pub fn of(secret: &str) -> Hash {
        let mut octets = [0; 32];
        octets.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
        Hash(octets)
    }

    /// As the database keeps it, in hex.
    pub fn text(self) -> String {
        hex(&self.0)
    }
}

/// What the database keeps of a secret: SHA-256, in hex.
pub fn hash(secret: &str) -> String {
    Hash::of(secret).text()
}

/// A random identity, written as RFC 9562 has version 4.
pub fn identity() -> Result<String, NoRandomness> {
    let mut octets = random::<16>()?;
    octets[6] = (octets[6] & 0x0f) | 0x40;
    octets[8] = (octets[8] & 0x3f) | 0x80;
    let all = hex(&octets);
    let part = |from: usize, to: usize| all.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut octets = [0_u8; N];
    SystemRandom::new().fill(&mut octets).map_err(|_| NoRandomness)?;
    Ok(octets)
}

fn hex(octets: &[u8]) -> String {
    use std::fmt::Write;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_prefix_and_is_never_the_same() {
        let (one, other) = (new("sgt_").unwrap(), new("sgt_").unwrap());
        assert!(one.starts_with("sgt_") && one.len() == 4 + 64);
        assert_ne!(one, other);
        assert_eq!(hash(&one).len(), 64);
    }

    #[test]
    fn an_identity_says_that_it_is_random() {
        let id = identity().unwrap();
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
    }
}
