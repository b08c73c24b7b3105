//! The card that subscribers get, made from the folder: the address that it has, the trust file with its certificates.

use std::path::{Path, PathBuf};

use stopgap_feed::TrustFile;
use stopgap_feed::card::{self, Card, CardError, CardFeed};

use crate::folder::{Address, FeedFolder, FolderError, read_text, replace_file};

/// The card, in the feed's folder.
pub(crate) const CARD: &str = "card.toml";
/// The trust file, in the feed's folder.
pub(crate) const TRUST: &str = "trust.toml";

/// Reads a text file of the folder, by its path in it.
type Read<'a> = &'a dyn Fn(&Path) -> Result<String, FolderError>;

/// What is to change in the card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Where the document is.
    pub url: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// Where else it is; an empty list leaves what the card has.
    pub mirrors: Vec<String>,
}

/// A card that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// SHA-256 of it, in lower-case hexadecimal.
    pub fingerprint: String,
}

/// Makes `card.toml` again: addresses as they were but for the changes, trust as `trust.toml` says it now.
pub fn make(dir: &Path, changes: Changes) -> Result<Made, FolderError> {
    let (folder, _lock) = FeedFolder::open_locked(dir)?;
    let path = folder.path(CARD);
    let text = compose(&folder, changes, &|file| read_text(&folder.path(file)))?;
    replace_file(&path, text.as_bytes())?;
    let fingerprint = card::fingerprint(&text);
    Ok(Made { path, text, fingerprint })
}

/// The text of a card, from what `read` finds in the folder.
pub(crate) fn compose(folder: &FeedFolder, changes: Changes, read: Read<'_>) -> Result<String, FolderError> {
    let before = address(folder)?;
    let Changes { url, contact, mirrors } = changes;
    let feed = CardFeed {
        name: before.name,
        url: url.unwrap_or(before.url),
        contact: contact.or(before.contact),
        mirrors: if mirrors.is_empty() { before.mirrors } else { mirrors },
    };
    let text = Card { feed, trust: trust_by(read)? }.to_toml()?;
    // Read as a subscriber reads it: what is handed over is whole, or is not written.
    Card::parse(&text)?;
    Ok(text)
}

/// What the card says of the feed; where there is no card, that it is on this machine.
pub(crate) fn address(folder: &FeedFolder) -> Result<CardFeed, FolderError> {
    let path = folder.path(CARD);
    if path.exists() {
        return Ok(Card::parse(&read_text(&path)?)?.feed);
    }
    let Address { url, contact } = Address::default();
    Ok(CardFeed { name: folder.settings().name.clone(), url, mirrors: Vec::new(), contact })
}

/// The trust file, with what it names in it.
pub(crate) fn trust(folder: &FeedFolder) -> Result<TrustFile, FolderError> {
    trust_by(&|file| read_text(&folder.path(file)))
}

fn trust_by(read: Read<'_>) -> Result<TrustFile, FolderError> {
    let mut trust = read_trust(Path::new(TRUST), read)?;
    for entry in trust.cosigners.iter_mut().filter(|entry| !entry.contains('\n')) {
        *entry = toml::to_string(&read_trust(Path::new(entry), read)?).map_err(CardError::from)?;
    }
    Ok(trust)
}

/// A trust file with its certificates in it. Those that are named by digest and address stay so.
fn read_trust(path: &Path, read: Read<'_>) -> Result<TrustFile, FolderError> {
    let mut trust: TrustFile = toml::from_str(&read(path)?).map_err(CardError::from)?;
    let named =
        |entry: &&mut String| !entry.trim_start().starts_with("-----BEGIN") && !entry.starts_with("sha256:");
    for list in [&mut trust.roots, &mut trust.timestamp_roots, &mut trust.crls] {
        for entry in list.iter_mut().filter(named) {
            *entry = read(&path.with_file_name(&*entry))?;
        }
    }
    Ok(trust)
}
