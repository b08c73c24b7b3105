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
//! In place of a certificate `roots` and `timestamp_roots` may name one that its owner publishes:
//! `"sha256:<64 digits> <https address>"`, the SHA-256 of its DER and where it can be had. The certificate
//! is identified by the card all the same; where it comes from does not matter.
//!
//! Not in here: adding a feed on a server, and fetching a certificate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use crate::dsig::Digest;
use crate::id::FeedName;
use crate::trust::{TrustFile, is_inline_cosigner};
use crate::verify::hex;

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
    #[error(
        "{key} names the file {found:?}: expected certificates in the card itself, or `sha256:<64 digits> <https address>`"
    )]
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
        let lists =
            [("roots", &trust.roots), ("timestamp_roots", &trust.timestamp_roots), ("crls", &trust.crls)];
        for (key, list) in lists {
            let published = |entry: &str| key.ends_with("roots") && Published::parse(entry).is_some();
            let inline = |entry: &str| entry.trim_start().starts_with("-----BEGIN");
            if let Some(found) = list.iter().find(|entry| !inline(entry) && !published(entry)) {
                let found = found.chars().take(80).collect();
                return Err(CardError::NotInline { key, found });
            }
        }
        for cosigner in &trust.cosigners {
            let named = || {
                let found = cosigner.chars().take(80).collect();
                CardError::NotInline { key: "cosigners", found }
            };
            if !is_inline_cosigner(cosigner) {
                return Err(named());
            }
            let cosigner: TrustFile = toml::from_str(cosigner)?;
            let all = cosigner.roots.iter().chain(&cosigner.timestamp_roots).chain(&cosigner.crls);
            if !all.into_iter().all(|entry| entry.trim_start().starts_with("-----BEGIN")) {
                return Err(named());
            }
        }
        Ok(card)
    }

    /// The certificates that the card names and does not hold, each once.
    pub fn missing(&self) -> Vec<Published> {
        let lists = self.trust.roots.iter().chain(&self.trust.timestamp_roots);
        let mut missing: Vec<Published> = lists.filter_map(|entry| Published::parse(entry)).collect();
        missing.dedup();
        missing
    }

    /// Whether a path may end in a certificate that is missing; without one of `timestamp_roots` alone,
    /// timestamps below it do not count.
    pub fn is_missing_a_root(&self) -> bool {
        self.trust.roots.iter().any(|entry| Published::parse(entry).is_some())
    }

    /// Puts the certificates in `octets` (PEM, one or several, or DER) where the card names them. Returns how
    /// many of the card's entries were filled; a certificate that it does not name fills none.
    pub fn fill(&mut self, octets: &[u8]) -> usize {
        const DER_SEQUENCE: u8 = 0x30;
        let found: Vec<Vec<u8>> = match octets.first() {
            Some(&DER_SEQUENCE) => vec![octets.to_vec()],
            _ => CertificateDer::pem_slice_iter(octets).flatten().map(|der| der.to_vec()).collect(),
        };
        let mut filled = 0;
        for der in found {
            let sha256 = hex(&Digest::Sha256.of(&der));
            let lists = self.trust.roots.iter_mut().chain(&mut self.trust.timestamp_roots);
            for entry in lists.filter(|entry| Published::parse(entry).is_some_and(|it| it.sha256 == sha256)) {
                *entry = pem(&der);
                filled += 1;
            }
        }
        filled
    }

    /// Goes without the timestamp roots that are missing.
    pub fn without_missing_timestamp_roots(&mut self) {
        self.trust.timestamp_roots.retain(|entry| Published::parse(entry).is_none());
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

/// A certificate that its owner publishes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Published {
    /// SHA-256 of its DER, in lower-case hexadecimal.
    pub sha256: String,
    /// Where it can be had.
    pub url: String,
}

impl Published {
    /// Reads an entry of `roots`; `None` where it is something else.
    fn parse(entry: &str) -> Option<Published> {
        let (sha256, url) = entry.trim().strip_prefix("sha256:")?.split_once(' ')?;
        let is_digest =
            sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let url = url.trim();
        (is_digest && url.starts_with("https://") && !url.contains(char::is_whitespace))
            .then(|| Published { sha256: sha256.to_owned(), url: url.to_owned() })
    }
}

/// RFC 7468, section 5.
fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, letter) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(letter);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}

/// SHA-256 of a card as it is handed over, in lower-case hexadecimal: what two people compare.
pub fn fingerprint(text: &str) -> String {
    hex(&Digest::Sha256.of(text.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const DER: &[u8] = &[0x30, 0x03, 1, 2, 3];

    fn card(roots: &str) -> Result<Card, CardError> {
        Card::parse(&format!(
            "[feed]\nname = \"example\"\nurl = \"https://feed.example.org/feed.xml\"\n[trust]\nroots = [{roots:?}]\n"
        ))
    }

    #[test]
    fn a_certificate_is_named_by_its_digest_and_filled_in_by_nothing_else() {
        let entry = format!("sha256:{} https://pki.example.org/root.crt", hex(&Digest::Sha256.of(DER)));
        let mut card = card(&entry).unwrap();
        assert_eq!(card.missing()[0].url, "https://pki.example.org/root.crt");
        assert_eq!(card.fill(&[0x30, 0x03, 1, 2, 4]), 0);
        assert!(card.is_missing_a_root());
        assert_eq!(card.fill(pem(DER).as_bytes()), 1);
        assert!(!card.is_missing_a_root() && card.missing().is_empty());
        assert_eq!(CertificateDer::from_pem_slice(card.trust.roots[0].as_bytes()).unwrap().as_ref(), DER);
    }

    #[test]
    fn a_co_signer_stands_in_the_card_with_certificates_and_nothing_else() {
        let root = pem(DER);
        let with = |cosigner: &str| {
            Card::parse(&format!(
                "[feed]\nname = \"example\"\nurl = \"https://feed.example.org/feed.xml\"\n[trust]\nroots = [{root:?}]\n\
                 signatures = 2\ncosigners = [{cosigner:?}]\n"
            ))
        };
        assert!(with(&format!("signer = \"Security\"\nroots = [{root:?}]\n")).is_ok());
        for cosigner in ["security.toml", "signer = \"Security\"\nroots = [\"root.pem\"]\n"] {
            let refused = with(cosigner);
            assert!(matches!(refused, Err(CardError::NotInline { key: "cosigners", .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_card_names_no_file_and_no_address_without_a_digest() {
        let digest = "0".repeat(64);
        for entry in [
            "root.pem".to_owned(),
            "https://pki.example.org/root.crt".to_owned(),
            format!("sha256:{} https://pki.example.org/root.crt", &digest[1..]),
            format!("sha256:{digest} http://pki.example.org/root.crt"),
            format!("sha256:{digest} file:///etc/passwd"),
        ] {
            assert!(matches!(card(&entry), Err(CardError::NotInline { key: "roots", .. })), "{entry}");
        }
    }
}
