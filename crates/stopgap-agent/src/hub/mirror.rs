//! The hub as a further address of feeds: asked with this server's credential, over the TLS of its enrollment.
//! What comes from there is verified like what comes from anywhere.

use reqwest::header::HeaderValue;
use stopgap_core::plan::sha256_hex;
use url::Url;

use super::client::{Client, HubError};
use super::enrollment::Enrollment;
use crate::config::NetworkConfig;

/// The way to one hub's mirror.
#[derive(Debug, Clone)]
pub struct Mirror {
    enrollment: Enrollment,
    client: Client,
}

impl Mirror {
    /// As this server is enrolled.
    pub fn new(enrollment: Enrollment, network: &NetworkConfig) -> Result<Mirror, HubError> {
        let client = Client::new(&enrollment, network)?;
        Ok(Mirror { enrollment, client })
    }

    /// Whether it is the one of this enrollment.
    pub(crate) fn is_of(&self, enrollment: &Enrollment) -> bool {
        self.enrollment == *enrollment
    }

    /// The client and the credential for an address of the mirror; for any other address there is none.
    pub(crate) fn way(&self, url: &Url) -> Option<(&reqwest::Client, Option<&HeaderValue>)> {
        let base = self.client.address().below("v1/agent/")?;
        let is_below = url.origin() == base.origin() && url.path().starts_with(base.path());
        is_below.then(|| self.client.parts())
    }

    /// Where the mirror has the revocation list of this distribution point.
    pub(crate) fn list(&self, point: &str) -> Option<Url> {
        self.client.address().below(&format!("v1/agent/lists/{}", sha256_hex(point.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credential_goes_to_the_mirror_and_nowhere_else() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let enrollment = Enrollment {
            hub: "http://127.0.0.1:8080/stopgap".into(),
            server: "1".into(),
            credential: "secret".into(),
            credential_since: jiff::Timestamp::UNIX_EPOCH,
            former: None,
            ca: None,
        };
        let mirror = Mirror::new(enrollment, &NetworkConfig::default()).unwrap();
        let goes = |url: &str| mirror.way(&url.parse().unwrap()).is_some();
        assert!(goes("http://127.0.0.1:8080/stopgap/v1/agent/feeds/example"));
        for url in [
            "http://127.0.0.1:8080/stopgap/v1/other",
            "http://127.0.0.1:8080/v1/agent/feeds/example",
            "http://127.0.0.1:8080/stopgap/v1/agent/../other",
            "http://127.0.0.1:8081/stopgap/v1/agent/feeds/example",
            "https://127.0.0.1:8080/stopgap/v1/agent/feeds/example",
            "http://evil.example/stopgap/v1/agent/feeds/example",
        ] {
            assert!(!goes(url), "{url}");
        }
        assert!(!format!("{mirror:?}").contains("secret"));
    }
}
