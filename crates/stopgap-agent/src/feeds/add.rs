//! First trust: from a publisher's card to a feed that this server follows.
//!
//! Everything hangs on the card's fingerprint, which the operator has from its owner on another way: with it
//! the card is the owner's, whoever carried it here. What the card asks for is not what it gets: a new feed may
//! bring rewrite rules, and more only where the operator says so.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use stopgap_drivers::Host;
use stopgap_feed::card::{self, Card, CardError};
use stopgap_feed::document::ActionType;
use stopgap_feed::{FeedName, Refusal, Trust, TrustError, VerifiedFeed};
use url::Url;

use super::drop_in::{DropIn, DropInError, marked};
use crate::config::{Config, FeedConfig};
use crate::fetch::{Fetched, Fetcher, without_secrets};
use crate::home::{Home, HomeError};
use crate::trust::Standing;

/// What a new feed may bring without being asked for.
const WITHOUT_ASKING: [ActionType; 2] = [ActionType::DoNothing, ActionType::UrlRewrite];

/// Why a feed was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Nobody says whose card it is.
    #[error("nobody vouches for this card: expected --fingerprint, its SHA-256 as its owner gave it to you")]
    NoFingerprint,
    /// It is another card, or another version of it.
    #[error("this is not the card that you mean: expected the fingerprint {expected}, found {found}")]
    WrongFingerprint {
        /// What the operator has from the owner.
        expected: String,
        /// The card's.
        found: String,
    },
    /// Not a card.
    #[error("it cannot be used as a card")]
    Card(#[from] CardError),
    /// What it says about trust does not hold.
    #[error("the card's trust cannot be used")]
    Trust(#[from] TrustError),
    /// A root that the card names is not at hand.
    #[error("the root with SHA-256 {sha256} is missing: {why}")]
    MissingRoot {
        /// Which.
        sha256: String,
        /// What was tried.
        why: String,
    },
    /// A feed of that name is there, and is another one.
    #[error("a feed named `{name}` is there, and it is not this one: expected a new name, found {place}")]
    Exists {
        /// The name.
        name: FeedName,
        /// Where it is said.
        place: String,
    },
    /// The feed's own document is not what its card promises.
    #[error("the feed is not what its card says: {code}")]
    Refused {
        /// The refusal's code.
        code: &'static str,
        /// The refusal.
        #[source]
        refusal: Box<Refusal>,
    },
    /// The files.
    #[error(transparent)]
    Files(#[from] DropInError),
    /// The data folder, whose lock is waited for.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl AddError {
    /// The stable name of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            AddError::NoFingerprint => "no-fingerprint",
            AddError::WrongFingerprint { .. } => "wrong-fingerprint",
            AddError::Card(_) => "card",
            AddError::Trust(_) => "trust-file",
            AddError::MissingRoot { .. } => "missing-root",
            AddError::Exists { .. } => "feed-exists",
            AddError::Refused { code, .. } => code,
            AddError::Files(_) | AddError::Home(_) => "files",
        }
    }

    /// Whether somebody is not trusted, rather than something failed.
    pub fn is_distrust(&self) -> bool {
        matches!(self, AddError::NoFingerprint | AddError::WrongFingerprint { .. } | AddError::Refused { .. })
    }
}

/// A card whose fingerprint is the one that the operator gave, and that fingerprint.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// The card.
    pub card: Card,
    /// SHA-256 of its octets.
    pub fingerprint: String,
}

/// Compares the fingerprint, and only then reads the card. The operator's may have upper-case letters, colons
/// and blanks.
pub fn vouch(text: &str, fingerprint: Option<&str>) -> Result<Vouched, AddError> {
    let expected: String = fingerprint
        .ok_or(AddError::NoFingerprint)?
        .chars()
        .filter(|letter| !letter.is_whitespace() && *letter != ':')
        .map(|letter| letter.to_ascii_lowercase())
        .take(128)
        .collect();
    let found = card::fingerprint(text);
    if expected != found {
        return Err(AddError::WrongFingerprint { expected, found });
    }
    Ok(Vouched { card: Card::parse(text)?, fingerprint: found })
}

/// Fetches a card, or a certificate that a card names: small, and compared with a digest afterwards.
pub async fn fetch(fetcher: &Fetcher, url: &str) -> Result<Vec<u8>, String> {
    let answer = fetcher.octets(url, card::CARD_MAX, false).await;
    answer.map(|answer| answer.bytes).map_err(|failure| failure.to_string())
}

/// The same from a file of this machine; a pipe or device, which might never end, is none.
pub async fn read(fetcher: &Fetcher, path: &Path) -> Result<Vec<u8>, String> {
    let absolute = std::path::absolute(path).ok();
    let url = absolute.and_then(|path| Url::from_file_path(path).ok());
    fetch(fetcher, url.ok_or("not a path on this machine")?.as_str()).await
}

/// Puts in place the certificates that the card names: from `given`, the octets of files, else from where they
/// are published. Returns warnings; a root that nobody has is an error.
pub async fn complete(
    fetcher: &Fetcher,
    card: &mut Card,
    given: &[Vec<u8>],
) -> Result<Vec<String>, AddError> {
    let mut warnings = Vec::new();
    for octets in given {
        if card.fill(octets) == 0 {
            warnings.push("a file of --root holds no certificate that the card names".to_owned());
        }
    }
    let mut troubles = Vec::new();
    for missing in card.missing() {
        let why = match fetch(fetcher, &missing.url).await {
            Ok(octets) if card.fill(&octets) > 0 => continue,
            Ok(_) => format!("{} is another certificate", missing.url),
            Err(why) => why,
        };
        troubles.push((missing.sha256, why));
    }
    if card.is_missing_a_root()
        && let Some(missing) = card.missing().first()
    {
        let why = troubles.iter().find(|(sha256, _)| *sha256 == missing.sha256).map(|(_, why)| why.clone());
        return Err(AddError::MissingRoot { sha256: missing.sha256.clone(), why: why.unwrap_or_default() });
    }
    warnings.extend(troubles.into_iter().map(|(sha256, why)| {
        format!("without the timestamp root with SHA-256 {sha256}, timestamps below it do not count: {why}")
    }));
    card.without_missing_timestamp_roots();
    Ok(warnings)
}

/// What would be added.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The card, with the action types that it gets.
    pub card: Card,
    /// Whom the feed is believed from.
    pub trust: Trust,
    /// Action types that the card asks for and does not get.
    pub beyond: Vec<ActionType>,
    /// The very same is there: nothing is to be written.
    pub is_there: bool,
    drop_in: DropIn,
    feed_text: String,
    trust_text: String,
}

/// Narrows what the feed may bring, and looks whether it is there. `allow` widens.
pub fn propose(
    host: &dyn Host,
    config: &Config,
    vouched: Vouched,
    allow: &[ActionType],
) -> Result<Proposal, AddError> {
    let Vouched { mut card, fingerprint } = vouched;
    let asked = std::mem::take(&mut card.trust.allow);
    let (mut granted, beyond): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|kind| WITHOUT_ASKING.contains(kind) || allow.contains(kind));
    granted.extend(allow.iter().copied());
    granted.sort();
    granted.dedup();
    card.trust.allow = granted;
    let name = card.feed.name.clone();
    let trust = card
        .trust
        .clone()
        .load_with(|entry| Err(std::io::Error::other(format!("`{entry}` is not in the card"))))?
        .for_feed(name.clone());
    let drop_in = DropIn::of(config, &name);
    let contact =
        card.feed.contact.as_deref().map(|contact| format!("# Contact: {}\n", contact.escape_debug()));
    let feed_text = marked(&format!(
        "# Card with SHA-256 {fingerprint}\n{}{}",
        contact.unwrap_or_default(),
        card.feed_toml(&drop_in.trust_name())
    ));
    let trust_text = marked(&card.trust_toml()?);
    let there = drop_in.read(host)?;
    let is_there = there.as_ref() == Some(&(feed_text.clone(), trust_text.clone()));
    if !is_there {
        let exists = |place: String| AddError::Exists { name: name.clone(), place };
        if let Some(file) = drop_in.taken(host)? {
            return Err(exists(file.display().to_string()));
        }
        if let Some(other) = config.feeds.iter().find(|feed| feed.name == name) {
            let url = without_secrets(&other.url);
            return Err(exists(format!("its [[feed]] for {url} in or beside {}", config.path.display())));
        }
    }
    Ok(Proposal { card, trust, beyond, is_there, drop_in, feed_text, trust_text })
}

/// What the feed itself showed before anything was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FirstLook {
    /// It was there and verified; else it could not be had.
    pub trusted: bool,
    /// The document's serial.
    pub serial: Option<u64>,
    /// Who signed it.
    pub signer: Option<String>,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// How many mitigations it brings.
    pub mitigations: usize,
    /// Why it could not be had.
    pub message: Option<String>,
}

impl Proposal {
    /// Fetches the feed once and judges it. That it cannot be had is no refusal: a server may be set up before
    /// its network is.
    pub async fn first_look(&self, fetcher: &Fetcher, now: Timestamp) -> Result<FirstLook, AddError> {
        let feed = &self.card.feed;
        let seen = |verified: &VerifiedFeed| FirstLook {
            trusted: true,
            serial: verified.document().serial,
            signer: Some(verified.signer().to_owned()),
            expires: verified.document().expires,
            mitigations: verified.document().mitigations.len(),
            message: None,
        };
        let unseen = |message: String| FirstLook {
            trusted: false,
            serial: None,
            signer: None,
            expires: None,
            mitigations: 0,
            message: Some(message),
        };
        let followed = match followed(&feed.name, &feed.url, &feed.mirrors) {
            Ok(followed) => followed,
            Err(message) => return Ok(unseen(message)),
        };
        let standing = Standing::new(self.trust.clone());
        let delivery = fetcher.fetch(&followed, &standing, now).await;
        let Some(shown) = standing.presented(&delivery) else {
            return Ok(unseen(match &delivery.fetched {
                Fetched::Failed(failure) => failure.to_string(),
                _ => "no answer".to_owned(),
            }));
        };
        match standing.judge(&shown.as_presented(), &delivery.lists, now) {
            Ok(verified) => Ok(seen(&verified)),
            Err(refusal) => Err(AddError::Refused { code: refusal.code(), refusal: Box::new(refusal) }),
        }
    }

    /// Writes the two files, and returns them. Somebody else may have added a feed of this name since it was
    /// proposed: under the lock of the data folder it is looked at once more.
    pub fn place(&self, host: &dyn Host, config: &Config) -> Result<[PathBuf; 2], AddError> {
        let _lock = Home::open(host, &config.data)?.lock()?;
        let wanted = (self.feed_text.clone(), self.trust_text.clone());
        if self.drop_in.read(host)?.as_ref() != Some(&wanted) {
            if let Some(file) = self.drop_in.taken(host)? {
                let (name, place) = (self.card.feed.name.clone(), file.display().to_string());
                return Err(AddError::Exists { name, place });
            }
            self.drop_in.write(host, &self.feed_text, &self.trust_text)?;
        }
        Ok([self.drop_in.feed.clone(), self.drop_in.trust.clone()])
    }
}

/// A feed as the fetcher wants it, of which only the addresses count; everything else is as it is by default.
fn followed(name: &FeedName, url: &str, mirrors: &[String]) -> Result<FeedConfig, String> {
    let feed = serde_json::json!({ "name": name, "url": url, "mirrors": mirrors, "trust": "" });
    serde_json::from_value(feed).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use stopgap_drivers::Machine;
    use stopgap_testkit::pki::{Options, TestPki};

    use super::*;

    #[test]
    fn of_two_who_add_a_name_at_once_one_is_told_that_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stopgap.toml");
        std::fs::write(&path, format!("data = {:?}\n", folder.path().join("data"))).unwrap();
        let config = Config::load(&path, "server").unwrap();
        let proposed = || {
            let trust = TestPki::new(Options::default()).trust_toml();
            let url = "https://feed.example.org/feed.xml";
            let text = format!("[feed]\nname = \"example\"\nurl = \"{url}\"\n[trust]\n{trust}");
            propose(&Machine, &config, vouch(&text, Some(&card::fingerprint(&text))).unwrap(), &[]).unwrap()
        };
        // Neither is there when either looks.
        let (first, second) = (proposed(), proposed());
        let [feed, trust] = first.place(&Machine, &config).unwrap();
        assert_eq!(second.place(&Machine, &config).unwrap_err().code(), "feed-exists");
        assert_eq!(std::fs::read_to_string(&feed).unwrap(), first.feed_text);
        assert_eq!(std::fs::read_to_string(&trust).unwrap(), first.trust_text);
        // The same once more is no harm.
        first.place(&Machine, &config).unwrap();
    }
}
