//! The walk with a USB stick: a feed to a server that has no way to it.
//!
//! ```text
//!   stick/example.xml                      the document, as it came
//!   stick/example.xml.cosignature-1.xml    what stands beside it
//!   stick/example.1.crl                    revocation lists
//! ```
//!
//! An import is a fetch from that folder: the same judge, the same protection against older documents, the same
//! cycle. What is refused leaves no trace.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use stopgap_drivers::Machine;
use stopgap_feed::FeedName;
use stopgap_feed::cosignature::{MAX_COSIGNATURES, beside};
use url::Url;

use crate::config::{Config, FeedConfig};
use crate::cycle::Done;
use crate::fetch::Fetcher;
use crate::home::{Home, HomeError};
use crate::service::{self, AgentError};
use crate::trust::{self, Standing, merged};

/// Why nothing was carried.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// Not a path that a file can be read from.
    #[error("{path}: expected a document of a feed, or a folder of them, found neither")]
    Path {
        /// What was given.
        path: PathBuf,
    },
    /// No feed that could be meant.
    #[error("no feed is configured: expected at least one, found none")]
    NoFeed,
    /// Nothing that was given is believed, by any feed.
    #[error("nothing was imported: {}", .refusals.iter().map(Refused::to_string).collect::<Vec<_>>().join("; "))]
    Refused {
        /// Why, feed by feed.
        refusals: Vec<Refused>,
    },
    /// It was never fetched, or the file is gone.
    #[error("feed {name} has no document that is trusted here: expected one, found none")]
    Nothing {
        /// The feed.
        name: FeedName,
    },
    /// Its trust file.
    #[error("{0}")]
    Trust(String),
    /// Writing.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The data folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The cycle.
    #[error(transparent)]
    Cycle(#[from] AgentError),
}

/// Why one feed does not take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The feed.
    pub feed: FeedName,
    /// The refusal's code.
    pub code: String,
    /// In words.
    pub message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "feed {}: {}: {}", self.feed, self.code, self.message)
    }
}

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The feed that believes it.
    pub feed: FeedName,
    /// Its serial.
    pub serial: Option<u64>,
    /// The cycle that followed.
    pub done: Done,
}

/// Imports from files and folders, and runs a cycle. Co-signatures and lists lie beside a document and need
/// not be named. Without `only` the feed is the one that believes the document.
pub async fn import(
    config: &Config,
    fetcher: &Fetcher,
    only: Option<&FeedName>,
    paths: &[PathBuf],
    now: Timestamp,
) -> Result<Imported, CarryError> {
    let addresses = addresses(paths)?;
    let home = Home::at(&config.data);
    let mut refusals = Vec::new();
    for feed in config.feeds.iter().filter(|feed| only.is_none_or(|only| feed.name == *only)) {
        let Some((url, mirrors)) = addresses.split_first() else { break };
        let carried = FeedConfig { url: url.clone(), mirrors: mirrors.to_vec(), ..feed.clone() };
        let standing = standing(&home, feed)?;
        let delivery = fetcher.fetch(&carried, &standing, now).await;
        // Judged once without leaving a trace, so that a refusal moves nothing.
        let judged = trust::judge(&home, &Machine, feed, delivery.clone(), now);
        if let (Some(code), message) = (judged.report.error, judged.report.message) {
            let message = message.unwrap_or_default();
            refusals.push(Refused { feed: feed.name.clone(), code, message });
            continue;
        }
        let serial = judged.report.serial;
        let done =
            service::once_with(config.clone(), BTreeMap::from([(feed.name.clone(), delivery)])).await?;
        return Ok(Imported { feed: feed.name.clone(), serial, done });
    }
    if refusals.is_empty() { Err(CarryError::NoFeed) } else { Err(CarryError::Refused { refusals }) }
}

/// Documents and folders as addresses; what lies beside a document goes along with it.
fn addresses(paths: &[PathBuf]) -> Result<Vec<String>, CarryError> {
    let goes_along = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".crl") || name.contains(".cosignature-")
    };
    let address = |path: &PathBuf| {
        let absolute = std::path::absolute(path).ok().filter(|path| path.exists());
        let url = absolute.and_then(|path| Url::from_file_path(path).ok());
        url.map(String::from).ok_or_else(|| CarryError::Path { path: path.clone() })
    };
    let all: Vec<String> =
        paths.iter().filter(|path| !goes_along(path)).map(address).collect::<Result<_, _>>()?;
    match (all.is_empty(), paths.first()) {
        (true, path) => Err(CarryError::Path { path: path.cloned().unwrap_or_default() }),
        (false, _) => Ok(all),
    }
}

fn standing(home: &Home, feed: &FeedConfig) -> Result<Standing, CarryError> {
    let trust = trust::load_trust(&Machine, feed).map_err(CarryError::Trust)?;
    Ok(Standing::load(home, &Machine, &feed.name, trust)?)
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The files, the document first.
    pub files: Vec<PathBuf>,
    /// The document's serial.
    pub serial: Option<u64>,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// Writes the document that was last trusted and all that it was trusted with into a folder, in the place of
/// what an earlier export of the same feed left there. Nobody is asked.
pub fn export(config: &Config, feed: &FeedConfig, folder: &Path) -> Result<Exported, CarryError> {
    let standing = standing(&Home::at(&config.data), feed)?;
    let nothing = || CarryError::Nothing { name: feed.name.clone() };
    let kept = standing.kept.as_ref().ok_or_else(nothing)?;
    let seen = standing.seen.as_ref().ok_or_else(nothing)?;
    let written = |path: PathBuf| move |source| CarryError::Write { path, source };
    std::fs::create_dir_all(folder).map_err(written(folder.to_owned()))?;
    let document = format!("{}.xml", feed.name);
    let mut wanted = vec![(folder.join(&document), Some(&kept.bytes))];
    for number in 1..=MAX_COSIGNATURES {
        wanted.push((folder.join(beside(&document, number)), kept.cosignatures.get(number - 1)));
    }
    let lists = merged(&standing.lists, &[]);
    for (at, list) in lists.iter().enumerate() {
        wanted.push((folder.join(format!("{}.{}.crl", feed.name, at + 1)), Some(&list.bytes)));
    }
    let mut files = Vec::new();
    for (path, bytes) in wanted {
        match bytes {
            Some(bytes) => {
                put(&path, bytes).map_err(written(path.clone()))?;
                files.push(path);
            }
            None => match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(written(path)(error)),
                _ => {}
            },
        }
    }
    Ok(Exported { files, serial: seen.last.as_ref().map(|last| last.serial), expires: seen.expires })
}

/// Replaces a file on whatever the stick is formatted with: some know neither modes nor owners.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_added_extension("new");
    // Whoever else may write to this folder could have laid a link to another file there.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::File::create_new(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
