//! `hub/contact.json`: when the hub was last heard, and since when it is away. Nothing in it is secret.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_core::report::HubReport;
use stopgap_drivers::Host;

use super::said::Said;
use crate::home::{Home, HomeError};

const FILE: &str = "hub/contact.json";

/// How the hub was last met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The hub's address.
    pub hub: String,
    /// This server's identity there.
    pub server: String,
    /// When it last answered; at first, when this server was enrolled.
    pub heard_at: Timestamp,
    /// Since when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Timestamp>,
    /// Why not, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Contact {
    /// What is kept; `None` where this server joined no hub.
    pub fn load(home: &Home, host: &dyn Host) -> Result<Option<Contact>, HomeError> {
        home.load(host, FILE)
    }

    /// Replaces it. The caller holds the lock.
    pub(super) fn save(&self, home: &Home, host: &dyn Host) -> Result<(), HomeError> {
        home.make_folder(host, super::FOLDER)?;
        home.save(host, FILE, self)
    }

    /// What `status` says of the hub.
    pub(crate) fn report(&self, said: Option<&Said>) -> HubReport {
        HubReport {
            url: self.hub.clone(),
            server: self.server.clone(),
            settings: said.map(|said| said.settings.version.clone()),
            heard_at: self.heard_at,
            silent_since: self.silent_since,
            error: self.error.clone(),
        }
    }
}
