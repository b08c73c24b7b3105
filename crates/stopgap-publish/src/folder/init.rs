//! Makes a feed's folder: keys and certificates, trust file, card, settings.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use stopgap_feed::card::{self, Card, CardError, CardFeed};
use stopgap_feed::{FeedName, Id};

use super::file::{Access, create_dir, create_file};
use super::mitigation::{copy_mitigation, mitigation_folders};
use super::settings::settings_toml;
use super::{Change, FeedFolder, FolderError, MITIGATIONS, SETTINGS};
use crate::key::{Passphrase, protect};
use crate::pki::{Pki, Profile};
use crate::revoke::first_list;

/// What [`init`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialized {
    /// SHA-256 of the root certificate, in lower-case hexadecimal.
    pub root_fingerprint: String,
    /// The trust file for subscribers.
    pub trust: PathBuf,
    /// The card for subscribers, which holds all of it.
    pub card: PathBuf,
    /// SHA-256 of the card, in lower-case hexadecimal.
    pub card_fingerprint: String,
    /// The mitigations that were copied.
    pub mitigations: Vec<Id>,
}

/// Where subscribers will find the feed, and whom they ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The document's address.
    pub url: String,
    /// An address of people.
    pub contact: Option<String>,
}

impl Default for Address {
    /// That of `stopgap feed serve` on this machine.
    fn default() -> Self {
        Address { url: "http://127.0.0.1:8780/feed.xml".to_owned(), contact: None }
    }
}

/// Makes a feed's folder: keys and certificates, trust file, settings, and the mitigations of `from`
/// (a folder like this project's `mitigations/`). `organization` stands in the certificates; the
/// feed's name where there is none.
pub fn init(
    dir: &Path,
    name: &FeedName,
    organization: Option<&str>,
    from: Option<&Path>,
    now: Timestamp,
) -> Result<Initialized, FolderError> {
    init_with(dir, name, &Wishes { organization, from, ..Wishes::default() }, now)
}

/// What [`init_with`] can be asked for.
#[derive(Default)]
pub struct Wishes<'a> {
    /// Whose name stands in the certificates; `None`: the feed's.
    pub organization: Option<&'a str>,
    /// A folder of mitigations to start with.
    pub from: Option<&'a Path>,
    /// What the card says.
    pub address: Address,
    /// Certificates say where their revocation lists are: under the address of the feed.
    pub lists: bool,
    /// Put the keys under this passphrase.
    pub protect: Option<&'a Passphrase>,
}

/// [`init`], with more to ask for.
pub fn init_with(
    dir: &Path,
    name: &FeedName,
    wishes: &Wishes<'_>,
    now: Timestamp,
) -> Result<Initialized, FolderError> {
    let address = &wishes.address;
    let taken =
        [SETTINGS, "root.key.pem", "signing.key.pem"].into_iter().find(|file| dir.join(file).exists());
    if let Some(file) = taken {
        return Err(FolderError::AlreadyAFeed { dir: dir.to_owned(), file });
    }
    // What can be refused is refused before anything is written.
    let sources = wishes.from.map(mitigation_folders).transpose()?.unwrap_or_default();
    let organization = wishes.organization.unwrap_or(name.as_str()).to_owned();
    let lists = wishes.lists.then(|| lists_base(&address.url));
    let pki = Pki::create_with(&Profile { organization, lists, now })?;
    let trust_inline = toml::from_str(&pki.trust_toml(&pki.root.certificate_pem)).map_err(CardError::from)?;
    let feed = CardFeed {
        name: name.clone(),
        url: address.url.clone(),
        mirrors: Vec::new(),
        contact: address.contact.clone(),
    };
    let card_text = Card { feed, trust: trust_inline }.to_toml()?;

    create_dir(dir)?;
    create_dir(&dir.join("public"))?;
    create_dir(&dir.join(MITIGATIONS))?;
    for (id, source) in &sources {
        copy_mitigation(source, &dir.join(MITIGATIONS).join(id.as_str()))?;
    }
    for (file, pem) in [
        ("root.key.pem", &pki.root.key_pem),
        ("intermediate.key.pem", &pki.intermediate.key_pem),
        ("signing.key.pem", &pki.signing.key_pem),
    ] {
        let sealed = wishes.protect.map(|passphrase| protect(pem, passphrase)).transpose()?;
        create_file(&dir.join(file), sealed.as_ref().unwrap_or(pem).as_bytes(), Access::Owner)?;
    }
    let trust = dir.join("trust.toml");
    let card = dir.join("card.toml");
    let card_fingerprint = card::fingerprint(&card_text);
    for (path, text) in [
        (card.clone(), card_text),
        (dir.join("root.pem"), pki.root.certificate_pem.clone()),
        (dir.join("intermediate.pem"), pki.intermediate.certificate_pem.clone()),
        (dir.join("chain.pem"), pki.chain_pem()),
        (trust.clone(), pki.trust_toml("root.pem")),
        // Last: what has this file is a whole feed.
        (dir.join(SETTINGS), settings_toml(name)),
    ] {
        create_file(&path, text.as_bytes(), Access::Everyone)?;
    }
    if wishes.lists {
        let folder = FeedFolder::open(dir)?;
        let mut change = Change::new(&folder);
        for authority in [&pki.root, &pki.intermediate] {
            first_list(&mut change, &folder, &authority.authority()?, now)?;
        }
        change.commit("init")?;
    }
    let mitigations = sources.into_iter().map(|(id, _)| id).collect();
    Ok(Initialized { root_fingerprint: pki.root_fingerprint(), trust, card, card_fingerprint, mitigations })
}

/// Where revocation lists are, for a document at `url`: in the folder `crl` beside it.
pub(crate) fn lists_base(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let path = url.get(..end).unwrap_or(url);
    // The slashes of `https://` are no folder's.
    let from = path.find("://").map_or(0, |at| at + 3);
    let folder = path.get(from..).and_then(|rest| rest.rfind('/')).map_or(path.len(), |at| from + at);
    format!("{}/crl/", path.get(..folder).unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::lists_base;

    #[test]
    fn lists_are_beside_the_document() {
        for (url, base) in [
            ("https://feed.example.org/feed.xml", "https://feed.example.org/crl/"),
            ("https://a.example/x/y.xml?key=1/2", "https://a.example/x/crl/"),
            ("https://a.example", "https://a.example/crl/"),
        ] {
            assert_eq!(lists_base(url), base);
        }
    }
}
