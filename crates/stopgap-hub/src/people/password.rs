//! Passwords: Argon2id, a few at a time, away from the threads that answer.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::events::REQUEST_FAILED;
use crate::problem::{Answer, Problem};

/// Letters of a password at least: NIST SP 800-63B asks for length and for nothing else.
pub const SHORTEST: usize = 12;
/// Octets at most, since every one of them is hashed.
const LONGEST: usize = 1024;
/// Each takes 19 MiB and a core for some tens of milliseconds (OWASP's second choice, the library's default).
const AT_A_TIME: usize = 2;

/// Hashes and checks.
#[derive(Debug, Clone)]
pub struct Passwords {
    places: Arc<Semaphore>,
    /// What an account that is not there is checked against, so that its absence takes as long.
    nobody: Arc<std::sync::OnceLock<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Passwords { places: Arc::new(Semaphore::new(AT_A_TIME)), nobody: Arc::default() }
    }
}

impl Passwords {
    /// What is kept of a password.
    pub async fn hash(&self, password: &str) -> Answer<String> {
        let letters = password.chars().count();
        if letters < SHORTEST || password.len() > LONGEST {
            return Err(Problem::unprocessable(format_args!(
                "the password has {letters} letters; expected at least {SHORTEST}, and at most {LONGEST} octets"
            )));
        }
        let password = password.to_owned();
        self.apart(move || hash(&password)).await?.ok_or_else(failed)
    }

    /// Whether this is the password whose hash is kept; `None`: there is no such account.
    pub async fn check(&self, password: &str, kept: Option<String>) -> Answer<bool> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let (password, nobody) = (password.to_owned(), Arc::clone(&self.nobody));
        self.apart(move || {
            let known = kept.is_some();
            let kept = kept.unwrap_or_else(|| {
                nobody.get_or_init(|| hash("nobody's password").unwrap_or_default()).clone()
            });
            let fits = PasswordHash::new(&kept)
                .is_ok_and(|kept| Argon2::default().verify_password(password.as_bytes(), &kept).is_ok());
            fits && known
        })
        .await
    }

    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let _place = self.places.acquire().await.map_err(|_| failed())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| failed())
    }
}

fn hash(password: &str) -> Option<String> {
    Argon2::default().hash_password(password.as_bytes()).ok().map(|hash| hash.to_string())
}

fn failed() -> Problem {
    tracing::error!(event = REQUEST_FAILED, "a password could not be hashed");
    Problem::unavailable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_and_nobodys_fits_none() {
        let passwords = Passwords::default();
        let kept = passwords.hash("correct horse battery").await.unwrap();
        assert!(kept.starts_with("$argon2id$"), "{kept}");
        assert!(passwords.check("correct horse battery", Some(kept.clone())).await.unwrap());
        assert!(!passwords.check("correct horse batterz", Some(kept)).await.unwrap());
        assert!(!passwords.check("nobody's password", None).await.unwrap());
        assert_eq!(passwords.hash("short").await.map_err(|problem| problem.status), Err(422));
    }
}
