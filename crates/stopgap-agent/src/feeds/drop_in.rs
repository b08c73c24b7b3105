//! The two files of a feed that was added by its card, in `feeds.d` beside `stopgap.toml`:
//!
//! ```text
//!   feeds.d/example.toml          [[feed]]; its first line says who wrote it
//!   feeds.d/example.trust.toml    whom the feed is believed from, certificates inline
//! ```
//!
//! A feed that stands anywhere else is somebody else's to change.

use std::io;
use std::path::{Path, PathBuf};

use stopgap_drivers::Host;
use stopgap_drivers::host::{remove_if_there, replace};
use stopgap_feed::FeedName;

use crate::config::Config;
use crate::home::{FILE_MODE, FOLDER_MODE, MAX_BYTES};

/// The first line of both files; what does not start with it is not ours.
const MARK: &str = "# Written by `stopgap feed add`; `stopgap feed remove` takes it away.\n";
/// Write permission of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why the files were not written or removed.
#[derive(Debug, thiserror::Error)]
pub enum DropInError {
    /// The machine refused.
    #[error("cannot {what} {path}")]
    Io {
        /// `read`, `write`, `create`, `remove`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Others could add feeds there.
    #[error(
        "{path} has mode {found:04o}: expected one that only its owner can write to, since whoever can write \
         there decides whom this server believes"
    )]
    WritableByOthers {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        found: u32,
    },
}

/// The files of one feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropIn {
    folder: PathBuf,
    /// `feeds.d/NAME.toml`.
    pub feed: PathBuf,
    /// `feeds.d/NAME.trust.toml`.
    pub trust: PathBuf,
}

impl DropIn {
    /// Where a feed's files stand.
    pub fn of(config: &Config, name: &FeedName) -> DropIn {
        let folder = config.path.parent().unwrap_or(Path::new("/")).join("feeds.d");
        let file = |end: &str| folder.join(format!("{name}{end}"));
        DropIn { feed: file(".toml"), trust: file(".trust.toml"), folder }
    }

    /// The trust file's name as `[[feed]]` has it.
    pub fn trust_name(&self) -> String {
        self.trust.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The contents of both; `None`: neither is there, or one is missing.
    pub fn read(&self, host: &dyn Host) -> Result<Option<(String, String)>, DropInError> {
        Ok(read(host, &self.feed)?.zip(read(host, &self.trust)?))
    }

    /// The file that stands where one of them would. A trust file of ours without its `[[feed]]` is none: an
    /// `add` or a `remove` that was interrupted left it.
    pub fn taken(&self, host: &dyn Host) -> Result<Option<&Path>, DropInError> {
        if read(host, &self.feed)?.is_some() {
            return Ok(Some(&self.feed));
        }
        let is_anothers = read(host, &self.trust)?.is_some_and(|text| !text.starts_with(MARK));
        Ok(is_anothers.then_some(&*self.trust))
    }

    /// Whether `stopgap feed add` wrote them.
    pub fn is_ours(&self, host: &dyn Host) -> Result<bool, DropInError> {
        Ok(read(host, &self.feed)?.is_some_and(|text| text.starts_with(MARK)))
    }

    /// Writes both: the trust file first, since the other makes it count.
    pub fn write(&self, host: &dyn Host, feed: &str, trust: &str) -> Result<(), DropInError> {
        let create = |source| DropInError::Io { what: "create", path: self.folder.clone(), source };
        host.create_dir_all(&self.folder, FOLDER_MODE).map_err(create)?;
        let found = host.mode(&self.folder).map_err(create)?;
        if cfg!(unix) && found & WRITABLE_BY_OTHERS != 0 {
            return Err(DropInError::WritableByOthers { path: self.folder.clone(), found: found & 0o7777 });
        }
        for (path, text) in [(&self.trust, trust), (&self.feed, feed)] {
            replace(host, path, text.as_bytes(), FILE_MODE).map_err(|source| DropInError::Io {
                what: "write",
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Removes both, in the reverse order.
    pub fn remove(&self, host: &dyn Host) -> Result<(), DropInError> {
        for path in [&self.feed, &self.trust] {
            remove_if_there(host, path).map_err(|source| DropInError::Io {
                what: "remove",
                path: path.clone(),
                source,
            })?;
        }
        host.sync_dir(&self.folder).map_err(|source| DropInError::Io {
            what: "write",
            path: self.folder.clone(),
            source,
        })
    }
}

/// A file's text with our mark before it.
pub(super) fn marked(text: &str) -> String {
    format!("{MARK}{text}")
}

fn read(host: &dyn Host, path: &Path) -> Result<Option<String>, DropInError> {
    match host.read(path, MAX_BYTES) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DropInError::Io { what: "read", path: path.to_owned(), source }),
    }
}
