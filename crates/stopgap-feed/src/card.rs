//! A feed's card: the one file that a subscriber gets. It says where the feed is and who may sign it, with the root
//! certificates in it, so that nothing else has to be handed over; its fingerprint is compared on another way.
//!
//! ```toml
//! [feed]
//! name = "example"
//! url = "https://feed.example.org/feed.xml"
//! contact = "security@example.org"
//!
//! [trust]                  # a trust file, its certificates inline
//! roots = ["-----BEGIN CERTIFICATE-----…"]
//! ```
//!
//! Not in here: adding a feed on a server.

use crate::dsig::Digest;
use crate::id::FeedName;
use crate::trust::TrustFile;
use crate::verify::hex;
use serde::{Deserialize, Serialize};

/// Octets of a card; with a dozen certificates it has a tenth of that.
pub const CARD_MAX: usize = 256 * 1024;

/// A card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// `[feed]`.
    pub feed: CardFeed,
    /// `[trust]`.
    pub trust: TrustFile,
}

/// Where the feed is, and whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFeed {
    /// Its name; every document bears it.
    pub name: FeedName,
    /// Where the document is served.
    pub url: String,
    /// Where else, in the order in which they are tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
    /// Whom to ask about a mitigation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// Why a text is no card.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// More than [`CARD_MAX`] octets.
    #[error("expected at most {CARD_MAX} octets, found {found}")]
    TooLarge {
        /// Its size.
        found: usize,
    },
    /// Not TOML, or not these keys.
    #[error("it is no card")]
    Toml(#[from] toml::de::Error),
    /// It names a file: what is handed over must be whole.
    #[error("{key} names the file {found:?}: expected certificates in the card itself")]
    NotInline {
        /// Which list.
        key: &'static str,
        /// What stands there.
        found: String,
    },
    /// A value that TOML cannot hold.
    #[error("the card cannot be written")]
    Write(#[from] toml::ser::Error),
}

impl Card {
    /// Reads a card.
    pub fn parse(text: &str) -> Result<Card, CardError> {
        if text.len() > CARD_MAX {
            return Err(CardError::TooLarge { found: text.len() });
        }
        let card: Card = toml::from_str(text)?;
        let trust = &card.trust;
        let lists = [
            ("roots", &trust.roots),
            ("timestamp_roots", &trust.timestamp_roots),
            ("crls", &trust.crls),
            ("cosigners", &trust.cosigners),
        ];
        for (key, list) in lists {
            if let Some(found) = list.iter().find(|entry| !entry.trim_start().starts_with("-----BEGIN")) {
                let found = found.chars().take(80).collect();
                return Err(CardError::NotInline { key, found });
            }
        }
        Ok(card)
    }

    /// The card's text.
    pub fn to_toml(&self) -> Result<String, CardError> {
        let hint = "# The card of a feed of mitigations: where it is, and who may sign it.\n\
                    # Compare its SHA-256 with its owner on another way before you believe it.\n\n";
        Ok(format!("{hint}{}", toml::to_string(self)?))
    }

    /// The trust file that an agent's `[[feed]]` names.
    pub fn trust_toml(&self) -> Result<String, CardError> {
        Ok(toml::to_string(&self.trust)?)
    }

    /// An agent's `[[feed]]`; `trust` is the path of the trust file.
    pub fn feed_toml(&self, trust: &str) -> String {
        let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
        let CardFeed { name, url, mirrors, .. } = &self.feed;
        let mirrors = match mirrors.iter().map(|mirror| text(mirror)).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => String::new(),
            some => format!("mirrors = [{some}]\n"),
        };
        format!(
            "[[feed]]\nname = {}\nurl = {}\n{mirrors}trust = {}\n",
            text(name.as_str()),
            text(url),
            text(trust)
        )
    }
}

/// SHA-256 of a card as it is handed over, in lower-case hexadecimal: what two people compare.
pub fn fingerprint(text: &str) -> String {
    hex(&Digest::Sha256.of(text.as_bytes()))
}
