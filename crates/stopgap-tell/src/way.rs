//! The proxy that a webhook is reached through. Which one is told: the variables `HTTPS_PROXY` and `ALL_PROXY` are not
//! read, since whoever can set a variable of a service must not choose its way.

use url::Url;

use crate::settings::Secret;

/// A proxy for HTTP, which passes TLS on (CONNECT, RFC 9110, section 9.3.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    url: Url,
    credentials: Option<(String, Secret)>,
}

impl Proxy {
    /// `credentials`: name and password, where it asks for them.
    pub fn new(url: Url, credentials: Option<(String, String)>) -> Proxy {
        let credentials = credentials.map(|(name, password)| (name, Secret::new(password)));
        Proxy { url, credentials }
    }

    /// As it is written in a table. The error is a sentence that repeats nothing: a password may stand there.
    pub(crate) fn read(text: &str) -> Result<Proxy, String> {
        let expected = "proxy: expected http://HOST:PORT or https://HOST:PORT";
        let url: Url = text.parse().map_err(|error| format!("{expected} ({error})"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(expected.to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{expected}, found one with user or password"));
        }
        Ok(Proxy::new(url, None))
    }

    pub(crate) fn for_client(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::all(self.url.clone())?;
        Ok(match &self.credentials {
            Some((name, password)) => proxy.basic_auth(name, password.expose()),
            None => proxy,
        })
    }
}
