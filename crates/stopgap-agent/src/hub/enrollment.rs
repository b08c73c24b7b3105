//! `hub/enrollment.json`: which hub this server joined, and how it is known there. It holds the credential,
//! and nobody else reads it.

use std::fmt;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use stopgap_drivers::Host;

use crate::home::{Home, HomeError};

const FILE: &str = "hub/enrollment.json";

/// A credential that is older gets a successor.
const RENEW_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How this server is known at its hub.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// The hub's address.
    pub hub: String,
    /// This server's identity there, a UUID.
    pub server: String,
    /// The bearer credential.
    pub credential: String,
    /// Since when it is this one.
    pub credential_since: Timestamp,
    /// The one before it. A hub that was restored from a backup may know that one, and not its successor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<String>,
    /// The hub's CA as PEM, where the enrollment token named it; else the roots of the system or of
    /// `ca_bundle` count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// The credential is nobody's business.
impl fmt::Debug for Enrollment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrollment")
            .field("hub", &self.hub)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Enrollment {
    /// What is kept; `None` where this server joined no hub.
    pub fn load(home: &Home, host: &dyn Host) -> Result<Option<Enrollment>, HomeError> {
        home.load(host, FILE)
    }

    /// Replaces it. The caller holds the lock.
    pub(super) fn save(&self, home: &Home, host: &dyn Host) -> Result<(), HomeError> {
        home.make_folder(host, super::FOLDER)?;
        home.save_private(host, FILE, self)
    }

    /// Whether there is one, which everybody may know.
    pub fn is_there(home: &Home, host: &dyn Host) -> bool {
        matches!(host.kind(&home.path(FILE)), Ok(Some(_)))
    }

    /// Its file.
    pub fn path(home: &Home) -> PathBuf {
        home.path(FILE)
    }

    pub(super) fn is_to_be_renewed(&self, now: Timestamp) -> bool {
        // A clock that was years ahead then must not keep it for years.
        now.duration_since(self.credential_since).abs() > RENEW_AFTER
    }
}
