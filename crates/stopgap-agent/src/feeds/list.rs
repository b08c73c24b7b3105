//! What is known of each feed here. It asks nobody: what was trusted last counts.

use jiff::Timestamp;
use serde::Serialize;
use stopgap_drivers::Host;
use stopgap_feed::document::ActionType;
use stopgap_feed::{FeedName, VerifiedFeed};

use crate::config::{Config, FeedConfig};
use crate::fetch::Fetched;
use crate::home::Home;
use crate::trust;

/// One feed. Field names are API (`feed list --json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedLine {
    /// Its name.
    pub name: FeedName,
    /// Where it is fetched, without a password.
    pub url: String,
    /// The serial that was last trusted.
    pub serial: Option<u64>,
    /// When it was last verified.
    pub trusted_at: Option<Timestamp>,
    /// When the trusted document ends.
    pub expires: Option<Timestamp>,
    /// Action types that the feed may bring.
    pub allow: Vec<ActionType>,
    /// Why nothing new comes from it: a code.
    pub error: Option<String>,
    /// The same in words.
    pub message: Option<String>,
}

/// The columns of [`FeedLine::row`].
pub const COLUMNS: [&str; 7] = ["Name", "URL", "Serial", "TrustedAt", "Expires", "Allow", "Error"];

impl FeedLine {
    /// As cells, in the order of [`COLUMNS`].
    pub fn row(&self) -> Vec<String> {
        let time = |time: Option<Timestamp>| time.map_or(String::new(), |time| time.to_string());
        vec![
            self.name.to_string(),
            self.url.clone(),
            self.serial.map_or(String::new(), |serial| serial.to_string()),
            time(self.trusted_at),
            time(self.expires),
            super::view::types(&self.allow),
            self.error.clone().unwrap_or_default(),
        ]
    }
}

/// Every feed that is configured, in order, with the document that counts where there is one.
pub fn feeds(host: &dyn Host, config: &Config, now: Timestamp) -> Vec<(FeedLine, Option<VerifiedFeed>)> {
    let home = Home::at(&config.data);
    config.feeds.iter().map(|feed| line(host, &home, feed, now)).collect()
}

fn line(host: &dyn Host, home: &Home, feed: &FeedConfig, now: Timestamp) -> (FeedLine, Option<VerifiedFeed>) {
    let current = trust::judge(home, host, feed, Fetched::Skipped, now);
    // What a document without its co-signature may not bring is still what the feed may bring.
    let allow = trust::load_trust(host, feed).map_or(Vec::new(), |trust| trust.allow);
    let report = current.report;
    let line = FeedLine {
        name: report.name,
        url: crate::fetch::without_secrets(&feed.url),
        serial: report.serial,
        trusted_at: report.trusted_at,
        expires: report.expires,
        allow,
        error: report.error,
        message: report.message,
    };
    (line, current.verified)
}
