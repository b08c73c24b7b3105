//! A feed's folder on the publisher's machine.
//!
//! ```text
//! DIR/
//!   feed.toml                 name, how long a release is valid, what is withdrawn
//!   mitigations/<id>/         mitigation.xml, attack.http, benign.http, README.md;
//!                             where needed: responses.http, mutations.toml
//!   root.pem  root.key.pem    the key belongs offline once the intermediate is issued
//!   intermediate.pem  intermediate.key.pem
//!   chain.pem  signing.key.pem
//!   card.toml                 what subscribers get: address, contact, certificates ([`stopgap_feed::card`])
//!   trust.toml                the same trust, with root.pem, as a file of its own
//!   serial                    the last serial that was given out
//!   public/feed.xml           what is served
//! ```
//!
//! Not in here: what goes into a release ([`crate::release`]).

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use stopgap_feed::card::{self, Card, CardError, CardFeed};
use stopgap_feed::document::Withdrawn;
use stopgap_feed::{FeedName, Id, IdError};

use crate::builtin::Builtin;
use crate::forge::Declared;
use crate::pki::{Pki, PkiError};
use crate::requests::{self, RequestsError, SampleRequest};
use crate::responses::{self, ResponsesError, SampleResponse};

/// `feed.toml`: it is there in every feed's folder, and nowhere else.
pub const SETTINGS: &str = "feed.toml";
/// Where the mitigations are.
pub const MITIGATIONS: &str = "mitigations";
/// A mitigation's files; `mitigation.xml` is the one that must be there.
const MITIGATION_FILES: [&str; 6] =
    ["mitigation.xml", "attack.http", "benign.http", "README.md", "responses.http", "mutations.toml"];

/// Mitigations in one feed. The document's own limits come sooner.
const MITIGATIONS_MAX: usize = 10_000;

/// Why a folder could not be made, read or added to.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is a feed in it, whose keys must not be lost.
    #[error("{} holds a feed already ({file}): choose another folder", dir.display())]
    AlreadyAFeed {
        /// The folder.
        dir: PathBuf,
        /// What of a feed was found.
        file: &'static str,
    },
    /// No `feed.toml` in it.
    #[error("{} holds no feed: expected {SETTINGS} in it (`stopgap feed init` makes one)", dir.display())]
    NotAFeed {
        /// The folder.
        dir: PathBuf,
    },
    /// A mitigation of that id is there.
    #[error("{} exists already", path.display())]
    Exists {
        /// Its folder.
        path: PathBuf,
    },
    /// A folder's name is no id.
    #[error("{}: a mitigation's folder is named after its id", path.display())]
    NotAnId {
        /// The folder.
        path: PathBuf,
        /// What is wrong with the name.
        #[source]
        source: IdError,
    },
    /// A file is larger than any of its kind needs to be.
    #[error("{} is too large: expected at most {limit} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// More mitigations than a feed holds.
    #[error("{} holds too many mitigations: expected at most {limit}", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// `feed.toml` or a `mutations.toml` does not say what it should.
    #[error("{} cannot be understood", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// The cause, with its line.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// `attack.http` or `benign.http` is no list of request heads.
    #[error("{} cannot be understood", path.display())]
    Requests {
        /// The file.
        path: PathBuf,
        /// The cause, with its line.
        #[source]
        source: RequestsError,
    },
    /// `responses.http` is no list of requests with answers.
    #[error("{} cannot be understood", path.display())]
    Responses {
        /// The file.
        path: PathBuf,
        /// The cause, with its line.
        #[source]
        source: ResponsesError,
    },
    /// The system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// "read", "write", "create" or "replace".
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The card.
    #[error("no card could be made for the feed")]
    Card(#[from] CardError),
    /// The certificates.
    #[error("no certificates could be made for the feed")]
    Pki(#[from] PkiError),
}

impl FolderError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlreadyAFeed { .. } => "already-a-feed",
            Self::NotAFeed { .. } => "not-a-feed",
            Self::Exists { .. } => "mitigation-exists",
            Self::NotAnId { .. } => "not-an-id",
            Self::TooLarge { .. } => "file-too-large",
            Self::TooMany { .. } => "too-many-mitigations",
            Self::Settings { .. } => "bad-settings",
            Self::Requests { .. } => "bad-requests",
            Self::Responses { .. } => "bad-responses",
            Self::Io { .. } => "io",
            Self::Card(_) => "card",
            Self::Pki(_) => "pki",
        }
    }
}

/// `feed.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedSettings {
    /// The feed's name; it stands in every document and never changes.
    pub name: FeedName,
    /// Days from a release's `issued` to its `expires`.
    #[serde(default = "default_horizon_days")]
    pub horizon_days: u16,
    /// The longest time in which nobody of the publisher's is there to renew the feed (holidays). A
    /// horizon shorter than this would let the feed expire unattended.
    #[serde(default = "default_on_call_gap_days")]
    pub on_call_gap_days: u16,
    /// What was recalled; it stays in the list for as long as any server may still have it.
    #[serde(default)]
    pub withdrawn: Vec<Withdrawal>,
}

fn default_horizon_days() -> u16 {
    14
}

fn default_on_call_gap_days() -> u16 {
    4
}

/// `[[withdrawn]]` in `feed.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// The mitigation.
    pub id: Id,
    /// Why, for the people whose servers had it.
    pub reason: String,
}

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
    init_with(dir, name, organization, from, &Address::default(), now)
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

/// [`init`], with what the card says.
pub fn init_with(
    dir: &Path,
    name: &FeedName,
    organization: Option<&str>,
    from: Option<&Path>,
    address: &Address,
    now: Timestamp,
) -> Result<Initialized, FolderError> {
    let taken =
        [SETTINGS, "root.key.pem", "signing.key.pem"].into_iter().find(|file| dir.join(file).exists());
    if let Some(file) = taken {
        return Err(FolderError::AlreadyAFeed { dir: dir.to_owned(), file });
    }
    // What can be refused is refused before anything is written.
    let sources = from.map(mitigation_folders).transpose()?.unwrap_or_default();
    let pki = Pki::create(organization.unwrap_or(name.as_str()), now)?;
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
        create_file(&dir.join(file), pem.as_bytes(), Access::Owner)?;
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
    let mitigations = sources.into_iter().map(|(id, _)| id).collect();
    Ok(Initialized { root_fingerprint: pki.root_fingerprint(), trust, card, card_fingerprint, mitigations })
}

fn settings_toml(name: &FeedName) -> String {
    format!(
        "# This feed. The name stands in every release and in every subscriber's settings: keep it.
name = \"{name}\"

# Days for which a release is valid. An expired feed brings nothing new; nothing is taken off.
horizon_days = {}

# The longest time in which nobody is there to renew it. `lint` refuses a shorter horizon.
on_call_gap_days = {}

# What was recalled. Remove the folder under mitigations/ as well.
# [[withdrawn]]
# id = \"M0\"
# reason = \"Superseded by the vendor's hotfix.\"
",
        default_horizon_days(),
        default_on_call_gap_days(),
    )
}

/// Starts a mitigation: a commented `mitigation.xml` that refuses one harmless path, with requests
/// that show it. Returns its folder.
pub fn new(dir: &Path, id: &Id, description: &str) -> Result<PathBuf, FolderError> {
    FeedFolder::open(dir)?;
    let path = fresh_mitigation(dir, id)?;
    let config = include_str!("skeleton.xml")
        .replace("{id}", id.as_str())
        .replace("{desc}", &crate::assemble::attribute(description));
    let attack = format!("### what must be refused\nGET /replace-me/{id} HTTP/1.1\nHost: www.example.org\n");
    let benign = "### what must pass\nGET / HTTP/1.1\nHost: www.example.org\n";
    let readme = format!("# {id}\n\n{description}\n\n## Sources\n");
    write_mitigation(&path, [&config, &attack, benign, &readme])?;
    Ok(path)
}

/// Adds one of this project's own mitigations. Returns its folder.
pub fn add(dir: &Path, builtin: &Builtin) -> Result<PathBuf, FolderError> {
    FeedFolder::open(dir)?;
    let id: Id = builtin
        .id
        .parse()
        .map_err(|source| FolderError::NotAnId { path: PathBuf::from(builtin.id), source })?;
    let path = fresh_mitigation(dir, &id)?;
    write_mitigation(&path, [builtin.config, builtin.attack, builtin.benign, builtin.readme])?;
    Ok(path)
}

/// A feed's folder, its settings read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedFolder {
    dir: PathBuf,
    settings: FeedSettings,
}

/// One folder under `mitigations/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MitigationFolder {
    /// The folder's name.
    pub id: Id,
    /// `mitigation.xml` as it is.
    pub config: String,
    /// `attack.http`; none where there is no such file.
    pub attack: Vec<SampleRequest>,
    /// `benign.http`; none where there is no such file.
    pub benign: Vec<SampleRequest>,
    /// `responses.http`; none where there is no such file.
    pub responses: Vec<SampleResponse>,
    /// `mutations.toml`; nothing where there is no such file.
    pub declared: Declared,
}

impl FeedFolder {
    /// Reads the settings.
    pub fn open(dir: &Path) -> Result<Self, FolderError> {
        let path = dir.join(SETTINGS);
        if !path.is_file() {
            return Err(FolderError::NotAFeed { dir: dir.to_owned() });
        }
        let settings = toml::from_str(&read_text(&path)?)
            .map_err(|source| FolderError::Settings { path, source: Box::new(source) })?;
        Ok(Self { dir: dir.to_owned(), settings })
    }

    /// What `feed.toml` says.
    pub fn settings(&self) -> &FeedSettings {
        &self.settings
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What is served: `public/feed.xml`.
    pub fn public_feed(&self) -> PathBuf {
        self.dir.join("public").join("feed.xml")
    }

    /// The withdrawn ones, as the document writes them.
    pub fn withdrawn(&self) -> Vec<Withdrawn> {
        let withdrawn = self.settings.withdrawn.iter();
        withdrawn.map(|w| Withdrawn { id: w.id.clone(), reason: w.reason.clone() }).collect()
    }

    /// Every mitigation, in the order of their ids.
    pub fn mitigations(&self) -> Result<Vec<MitigationFolder>, FolderError> {
        catalogue(&self.dir.join(MITIGATIONS))
    }
}

/// Every mitigation of a folder like this project's `mitigations/`, in the order of their ids.
pub fn catalogue(dir: &Path) -> Result<Vec<MitigationFolder>, FolderError> {
    let read = |(id, path): (Id, PathBuf)| {
        Ok(MitigationFolder {
            id,
            config: read_text(&path.join("mitigation.xml"))?,
            attack: read_requests(&path.join("attack.http"))?,
            benign: read_requests(&path.join("benign.http"))?,
            responses: read_responses(&path.join("responses.http"))?,
            declared: read_declared(&path.join("mutations.toml"))?,
        })
    };
    mitigation_folders(dir)?.into_iter().map(read).collect()
}

/// The folders with a `mitigation.xml`, by id.
fn mitigation_folders(dir: &Path) -> Result<Vec<(Id, PathBuf)>, FolderError> {
    let read = |source| FolderError::Io { doing: "read", path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if !path.join("mitigation.xml").is_file() {
            continue;
        }
        if found.len() == MITIGATIONS_MAX {
            return Err(FolderError::TooMany { path: dir.to_owned(), limit: MITIGATIONS_MAX });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id = name.parse().map_err(|source| FolderError::NotAnId { path: path.clone(), source })?;
        found.push((id, path));
    }
    found.sort();
    Ok(found)
}

fn fresh_mitigation(dir: &Path, id: &Id) -> Result<PathBuf, FolderError> {
    let path = dir.join(MITIGATIONS).join(id.as_str());
    if path.exists() { Err(FolderError::Exists { path }) } else { Ok(path) }
}

fn write_mitigation(path: &Path, texts: [&str; 4]) -> Result<(), FolderError> {
    create_dir(path)?;
    for (name, text) in MITIGATION_FILES.into_iter().zip(texts) {
        create_file(&path.join(name), text.as_bytes(), Access::Everyone)?;
    }
    Ok(())
}

fn copy_mitigation(from: &Path, to: &Path) -> Result<(), FolderError> {
    create_dir(to)?;
    for name in MITIGATION_FILES {
        let source = from.join(name);
        if source.is_file() {
            create_file(&to.join(name), read_text(&source)?.as_bytes(), Access::Everyone)?;
        }
    }
    Ok(())
}

fn read_responses(path: &Path) -> Result<Vec<SampleResponse>, FolderError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    responses::parse(&read_text(path)?)
        .map_err(|source| FolderError::Responses { path: path.to_owned(), source })
}

fn read_declared(path: &Path) -> Result<Declared, FolderError> {
    if !path.is_file() {
        return Ok(Declared::default());
    }
    toml::from_str(&read_text(path)?)
        .map_err(|source| FolderError::Settings { path: path.to_owned(), source: Box::new(source) })
}

fn read_requests(path: &Path) -> Result<Vec<SampleRequest>, FolderError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    requests::parse(&read_text(path)?)
        .map_err(|source| FolderError::Requests { path: path.to_owned(), source })
}

/// A UTF-8 file of bounded size.
pub(crate) fn read_text(path: &Path) -> Result<String, FolderError> {
    let read = |source| FolderError::Io { doing: "read", path: path.to_owned(), source };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(read)?;
    file.take(requests::FILE_MAX as u64 + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() > requests::FILE_MAX {
        return Err(FolderError::TooLarge { path: path.to_owned(), limit: requests::FILE_MAX });
    }
    Ok(text)
}

fn create_dir(path: &Path) -> Result<(), FolderError> {
    fs::create_dir_all(path).map_err(|source| FolderError::Io {
        doing: "create",
        path: path.to_owned(),
        source,
    })
}

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Owner,
    Everyone,
}

/// Never overwrites. On Windows a file has its folder's access list; keys there belong into a folder
/// of the publisher's own.
fn create_file(path: &Path, octets: &[u8], access: Access) -> Result<(), FolderError> {
    let create = |source| FolderError::Io { doing: "create", path: path.to_owned(), source };
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    let mut file = options.open(path).map_err(create)?;
    file.write_all(octets).and_then(|()| file.sync_all()).map_err(create)
}

/// Replaces a file as a whole: a reader finds the old octets or the new ones, also after a crash.
pub(crate) fn replace_file(path: &Path, octets: &[u8]) -> Result<(), FolderError> {
    let replace = |source| FolderError::Io { doing: "replace", path: path.to_owned(), source };
    let staged = path.with_extension("staged");
    let mut file = fs::File::create(&staged).map_err(replace)?;
    // Whatever the umask: another user's web server may serve it.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).map_err(replace)?;
    file.write_all(octets).and_then(|()| file.sync_all()).map_err(replace)?;
    drop(file);
    fs::rename(&staged, path).map_err(replace)?;
    // The rename itself is on disk only once its folder is.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(replace)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-22T03:00:00Z";

    fn start(dir: &Path) -> Initialized {
        init(dir, &"example".parse().unwrap(), None, None, NOW.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_new_feed_has_everything_and_keeps_its_keys_to_itself() {
        let dir = tempfile::tempdir().unwrap();
        let made = start(dir.path());
        assert_eq!(made.root_fingerprint.len(), 64);
        let folder = FeedFolder::open(dir.path()).unwrap();
        assert_eq!(folder.settings().name.as_str(), "example");
        assert_eq!((folder.settings().horizon_days, folder.settings().on_call_gap_days), (14, 4));
        assert_eq!(folder.mitigations().unwrap(), []);
        let chain = fs::read_to_string(dir.path().join("chain.pem")).unwrap();
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
        #[cfg(unix)]
        for key in ["root.key.pem", "intermediate.key.pem", "signing.key.pem"] {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(dir.path().join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }

    #[test]
    fn a_folder_with_a_feed_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        start(dir.path());
        let key = fs::read(dir.path().join("root.key.pem")).unwrap();
        let again = init(dir.path(), &"other".parse().unwrap(), None, None, NOW.parse().unwrap());
        assert_eq!(again.unwrap_err().code(), "already-a-feed");
        // Half a feed has keys too.
        fs::remove_file(dir.path().join(SETTINGS)).unwrap();
        let again = init(dir.path(), &"other".parse().unwrap(), None, None, NOW.parse().unwrap());
        assert_eq!(again.unwrap_err().code(), "already-a-feed");
        assert_eq!(fs::read(dir.path().join("root.key.pem")).unwrap(), key);
    }

    #[test]
    fn a_feed_can_start_with_a_folder_of_mitigations() {
        let dir = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mitigations");
        let name: FeedName = "example".parse().unwrap();
        let feed = dir.path().join("feed");
        let made = init(&feed, &name, Some("Example Org"), Some(&from), NOW.parse().unwrap()).unwrap();
        let copied = FeedFolder::open(&feed).unwrap().mitigations().unwrap();
        assert_eq!(copied, catalogue(&from).unwrap());
        assert!(made.mitigations.iter().eq(copied.iter().map(|mitigation| &mitigation.id)));
        for builtin in crate::builtin::BUILTIN {
            let copied = copied.iter().find(|mitigation| mitigation.id.as_str() == builtin.id).unwrap();
            assert_eq!(copied.config, builtin.config);
        }
    }

    #[test]
    fn a_mitigation_is_started_once() {
        let dir = tempfile::tempdir().unwrap();
        start(dir.path());
        let id: Id = "X1".parse().unwrap();
        let path = new(dir.path(), &id, "A \"quoted\" & <odd> one").unwrap();
        assert_eq!(new(dir.path(), &id, "again").unwrap_err().code(), "mitigation-exists");
        let config = fs::read_to_string(path.join("mitigation.xml")).unwrap();
        let tree = roxmltree::Document::parse(&config).unwrap();
        assert_eq!(tree.root_element().attribute("desc"), Some("A \"quoted\" & <odd> one"));
        assert_eq!(tree.root_element().attribute("id"), Some("X1"));
        let started = FeedFolder::open(dir.path()).unwrap().mitigations().unwrap();
        assert_eq!((started[0].attack.len(), started[0].benign.len()), (1, 1));
    }

    #[test]
    fn what_is_no_feed_or_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(FeedFolder::open(dir.path()).unwrap_err().code(), "not-a-feed");
        assert_eq!(new(dir.path(), &"X1".parse().unwrap(), "").unwrap_err().code(), "not-a-feed");
        fs::write(dir.path().join(SETTINGS), "name = \"example\"\nhorizon = 3\n").unwrap();
        assert_eq!(FeedFolder::open(dir.path()).unwrap_err().code(), "bad-settings");
        fs::write(dir.path().join(SETTINGS), "name = \"example\"\n").unwrap();
        let odd = dir.path().join(MITIGATIONS).join("not an id");
        fs::create_dir_all(&odd).unwrap();
        fs::write(odd.join("mitigation.xml"), "").unwrap();
        assert_eq!(FeedFolder::open(dir.path()).unwrap().mitigations().unwrap_err().code(), "not-an-id");
    }
}
