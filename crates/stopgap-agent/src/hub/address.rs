//! Where a hub is, and what an enrollment token says. Pure.

use std::fmt;

use url::{Host, Url};

/// Why an address or a token is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address of a hub.
    #[error(
        "`{found}` is no address of a hub: expected https://HOST[:PORT], or http:// on this machine's own loopback: {why}"
    )]
    Address {
        /// What was given.
        found: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not an enrollment token. It is not repeated: it may be one, nearly.
    #[error(
        "this is no enrollment token: expected `sge_SECRET` or `sge_SECRET.SHA256`, as `stopgap hub enrollment create` prints it: {why}"
    )]
    Token {
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A hub's address; its path ends with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// The base of every request.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// An address below it; `None` where `path` cannot be one.
    pub(super) fn below(&self, path: &str) -> Option<Url> {
        self.0.join(path).ok()
    }

    /// Whether it is asked over TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut url: Url = text.parse().map_err(|error: url::ParseError| AddressError::Address {
            found: text.to_owned(),
            why: error.to_string(),
        })?;
        // A password in it is not repeated.
        if !url.username().is_empty() || url.password().is_some() {
            let found = "an address with user or password".to_owned();
            return Err(AddressError::Address { found, why: "leave them out".into() });
        }
        let wrong = |why: &str| Err(AddressError::Address { found: text.to_owned(), why: why.to_owned() });
        match (url.scheme(), url.host()) {
            (_, None) => return wrong("it names no host"),
            ("https", _) => {}
            ("http", Some(host)) if is_loopback(&host) => {}
            ("http", _) => return wrong("over the network a credential is sent over TLS alone"),
            _ => return wrong("its scheme is another"),
        }
        if url.query().is_some() || url.fragment().is_some() {
            return wrong("it has a query or a fragment");
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Address(url))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// No token is longer.
const MAX_TOKEN: usize = 512;

/// An enrollment token as the hub printed it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// `sge_…`: what the hub asks for.
    pub secret: String,
    /// SHA-256 of the DER of the hub's CA, in lower-case hex: whom to believe before anything was heard.
    pub pin: Option<String>,
}

/// The secret is nobody's business.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl std::str::FromStr for Token {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |why| AddressError::Token { why };
        let text = text.trim();
        if text.len() > MAX_TOKEN {
            return Err(wrong("it is too long"));
        }
        let (secret, pin) = match text.split_once('.') {
            Some((secret, pin)) => (secret, Some(pin)),
            None => (text, None),
        };
        let random = secret.strip_prefix("sge_").ok_or(wrong("it does not begin with `sge_`"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if random.is_empty() || !random.chars().all(plain) {
            return Err(wrong("its secret has other characters than letters, digits, `-` and `_`"));
        }
        let pin = match pin {
            Some(pin) if pin.len() == 64 && pin.chars().all(|c| c.is_ascii_hexdigit()) => {
                Some(pin.to_ascii_lowercase())
            }
            Some(_) => return Err(wrong("what follows the dot is no SHA-256 in hexadecimal")),
            None => None,
        };
        Ok(Token { secret: secret.to_owned(), pin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_over_tls_or_stays_on_this_machine() {
        for (text, expected) in [
            ("https://hub.example.org", Some("https://hub.example.org/")),
            ("https://hub.example.org:8443/stopgap", Some("https://hub.example.org:8443/stopgap/")),
            ("http://127.0.0.1:8080", Some("http://127.0.0.1:8080/")),
            ("http://[::1]:8080/", Some("http://[::1]:8080/")),
            ("http://localhost:8080", Some("http://localhost:8080/")),
            ("http://hub.example.org", None),
            ("http://localhost.example.org", None),
            ("ftp://hub.example.org", None),
            ("hub.example.org", None),
            ("https://me:secret@hub.example.org", None),
            ("https://hub.example.org/?x=1", None),
        ] {
            let address: Result<Address, _> = text.parse();
            assert_eq!(address.as_ref().ok().map(|a| a.url().as_str()), expected, "{text}");
            assert!(!address.err().is_some_and(|error| error.to_string().contains("secret")), "{text}");
        }
    }

    #[test]
    fn a_token_is_a_secret_and_perhaps_a_pin() {
        let pin = "AB".repeat(32);
        let token: Token = format!("sge_x-Y_9.{pin}\n").parse().unwrap();
        assert_eq!((token.secret.as_str(), token.pin), ("sge_x-Y_9", Some(pin.to_ascii_lowercase())));
        assert_eq!("sge_x".parse::<Token>().unwrap().pin, None);
        for wrong in ["", "x", "sge_", "sgt_secret", "sge_a b", "sge_secret.", "sge_secret.1234"] {
            let error = wrong.parse::<Token>().unwrap_err().to_string();
            assert!(!error.contains("secret."), "{error}");
        }
    }
}
