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
//!   released.xml              what was released last, unsigned: what a renewal says again
//!   revoked.toml              certificates that were revoked ([`crate::revoke`])
//!   cross.pem                 after a change of the root: the new one, vouched for by the old ([`crate::rotate`])
//!   retired/                  authorities that were replaced, withdrawn mitigations, co-signatures of old releases
//!   pending/                  what a command that was cut off still has to move into place ([`change`])
//!   waiting/                  a release that waits for a signature made elsewhere ([`crate::handover`])
//!   public/feed.xml           what is served, and its co-signatures beside it
//!   public/crl/*.crl          revocation lists
//! ```
//!
//! Not in here: what goes into a release ([`crate::release`]).

mod change;
mod error;
mod file;
mod init;
mod mitigation;
mod settings;

use std::path::{Path, PathBuf};

use stopgap_feed::Id;
use stopgap_feed::document::Withdrawn;

pub(crate) use change::Change;
#[cfg(test)]
pub(crate) use change::power;
pub use error::FolderError;
pub(crate) use file::{Access, create_dir, create_file, move_file, read_octets, read_text, replace_file};
pub(crate) use init::lists_base;
pub use init::{Address, Initialized, Wishes, init, init_with};
pub use mitigation::{MitigationFolder, add, catalogue, new};
pub use settings::{FeedSettings, Withdrawal};

/// `feed.toml`: it is there in every feed's folder, and nowhere else.
pub const SETTINGS: &str = "feed.toml";
/// Where the mitigations are.
pub const MITIGATIONS: &str = "mitigations";

/// An exclusive lock on a folder, given up when dropped.
pub(crate) struct Lock {
    #[allow(dead_code, reason = "the open file is the lock")]
    file: std::fs::File,
    /// A command that was cut off has been carried to its end, and this is its note.
    pub(crate) finished: Option<String>,
}

/// A feed's folder, its settings read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedFolder {
    dir: PathBuf,
    settings: FeedSettings,
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
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
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

    /// The folder under an exclusive lock (two releases at once would give out one serial twice), and what a command
    /// that was cut off left of its work done.
    pub(crate) fn open_locked(dir: &Path) -> Result<(Self, Lock), FolderError> {
        // What is no feed gets no lock file.
        let folder = Self::open(dir)?;
        let path = folder.path(".lock");
        let lock = |source| FolderError::Io { doing: "lock", path: path.clone(), source };
        let file = std::fs::File::create(&path).map_err(lock)?;
        file.lock().map_err(lock)?;
        let finished = change::finish(&folder)?;
        if finished.is_some() {
            tracing::warn!(folder = %dir.display(), "a command was cut off here; the rest of its work is done now");
        }
        // Read again: who had the lock before may have changed it.
        Ok((Self::open(dir)?, Lock { file, finished }))
    }

    /// Where retired things are kept.
    pub(crate) fn retired(&self, name: &str) -> PathBuf {
        self.dir.join("retired").join(name)
    }

    /// A mitigation's folder, whatever its spelling of the id; `None` where there is none.
    pub(crate) fn mitigation_folder(&self, id: &Id) -> Result<Option<PathBuf>, FolderError> {
        let all = mitigation::mitigation_folders(&self.dir.join(MITIGATIONS))?;
        Ok(all.into_iter().find(|(found, _)| found == id).map(|(_, path)| path))
    }

    /// Every mitigation, in the order of their ids.
    pub fn mitigations(&self) -> Result<Vec<MitigationFolder>, FolderError> {
        catalogue(&self.dir.join(MITIGATIONS))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use stopgap_feed::FeedName;

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
