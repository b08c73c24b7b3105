//! The hub's door: with which certificate it is opened, and whether the hub makes that itself.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;

use super::HubError;
use super::authority::Authority;
use crate::Settings;
use crate::events::CERTIFICATE;

pub use stopgap_door::TlsFiles;

/// The door, and the authority that its certificate is of where that is the hub's own.
pub(super) struct Door {
    pub(super) door: Arc<stopgap_door::Door>,
    own: Option<Authority>,
}

impl Door {
    pub(super) fn new(settings: &Settings) -> Result<Door, HubError> {
        let own = match &settings.tls {
            Some(_) => None,
            None if settings.listen.ip().is_loopback() && settings.names.is_empty() => None,
            None => Some(Authority::open(settings, Timestamp::now())?),
        };
        let files = settings.tls.clone().or_else(|| own.as_ref().map(Authority::files));
        Ok(Door { door: Arc::new(stopgap_door::Door::new(files, read_key)?), own })
    }

    pub(super) fn is_secure(&self) -> bool {
        self.door.is_secure()
    }

    /// SHA-256, in hex, of the certificate of the hub's own authority, where it serves with that.
    pub(super) fn pin(&self) -> Result<Option<String>, HubError> {
        self.own.as_ref().map(Authority::pin).transpose()
    }

    /// Renews a certificate of the hub's own authority in good time.
    pub(super) fn renew(&self, now: Timestamp) {
        let Some(own) = &self.own else { return };
        if let Err(error) = own.look(now) {
            tracing::warn!(event = CERTIFICATE, %error, "the hub's certificate could not be renewed");
        }
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| error.to_string())
}
