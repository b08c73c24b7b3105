//! The end of a feed on this server. What it brought is the operator's to decide: it stays, or a cycle takes it
//! off as it takes off everything, through the journal.

use std::io;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use stopgap_core::Ledger;
use stopgap_core::policy::{Block, Level};
use stopgap_drivers::Machine;
use stopgap_drivers::host::Host;
use stopgap_feed::{FeedName, Key};

use super::drop_in::{DropIn, DropInError};
use crate::config::Config;
use crate::cycle::{Done, Mode};
use crate::home::{Home, HomeError};
use crate::operator::Operator;
use crate::service::{self, AgentError};

/// What happens to what the feed brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays in force, is repaired, and leaves when the server is fixed.
    Keep,
    /// It is taken off.
    Revert,
}

/// Why a feed is still there.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is none of that name.
    #[error("no feed is named `{name}`: expected one of: {found}")]
    Unknown {
        /// The name.
        name: FeedName,
        /// Those that there are.
        found: String,
    },
    /// Somebody else wrote it.
    #[error(
        "feed `{name}` was not added by `stopgap feed add`: take its [[feed]] out of the file that it stands in"
    )]
    NotOurs {
        /// The name.
        name: FeedName,
    },
    /// A change failed, so that something of it is still in force.
    #[error("{stays} could not be taken off: the feed stays, and every cycle tries again")]
    Stays {
        /// What is in force.
        stays: String,
        /// What the cycle did.
        done: Box<Done>,
    },
    /// The files.
    #[error(transparent)]
    Files(#[from] DropInError),
    /// The data folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The cycle.
    #[error(transparent)]
    Cycle(#[from] AgentError),
}

/// What was removed.
#[derive(Debug)]
pub struct Removed {
    /// What the feed brought and was in the ledger.
    pub brought: Vec<Key>,
    /// The cycle that took it off.
    pub done: Option<Done>,
}

/// The reason of the blocks that take a feed's mitigations off.
const REASON: &str = "its feed was removed";
/// How long they stay after that: longer than a cycle that began before the feed was gone.
const AFTERWARDS: SignedDuration = SignedDuration::from_hours(1);

/// Removes a feed that `stopgap feed add` added, and with it all that was remembered of it: if it is ever
/// added again, that is first trust again.
pub async fn remove(config: &Config, name: &FeedName, fate: Fate) -> Result<Removed, RemoveError> {
    let host = &Machine;
    let drop_in = DropIn::of(config, name);
    if !config.feeds.iter().any(|feed| feed.name == *name) {
        let found = config.feeds.iter().map(|feed| feed.name.to_string()).collect::<Vec<_>>().join(", ");
        return Err(RemoveError::Unknown { name: name.clone(), found });
    }
    if !drop_in.is_ours(host)? {
        return Err(RemoveError::NotOurs { name: name.clone() });
    }
    let home = Home::open(host, &config.data)?;
    let brought = brought(&home.ledger(host)?, name);
    let done = match fate {
        Fate::Revert if !brought.is_empty() => Some(take_off(config, &home, &brought).await?),
        Fate::Revert | Fate::Keep => None,
    };
    let _lock = home.lock()?;
    drop_in.remove(host)?;
    forget(host, &home, name)?;
    if done.is_some() {
        let until = Timestamp::now().checked_add(AFTERWARDS).unwrap_or(Timestamp::MAX);
        change(host, &home, |operator| {
            let ours = operator.blocks.iter_mut().filter(|block| is_of_removal(block, name));
            ours.for_each(|block| block.until = Some(until));
        })?;
    }
    Ok(Removed { brought, done })
}

/// Blocks everything that the feed brought, and lets a cycle take it off.
async fn take_off(config: &Config, home: &Home, brought: &[Key]) -> Result<Done, RemoveError> {
    {
        let _lock = home.lock()?;
        change(&Machine, home, |operator| {
            for key in brought {
                operator.blocks.retain(|block| block.id != key.id || !is_of_removal(block, &key.feed));
                // Beside the operator's own block, if there is one: that outlives the feed.
                operator.blocks.push(Block {
                    id: key.id.clone(),
                    feed: Some(key.feed.clone()),
                    level: Level::Server,
                    take_off: true,
                    reason: Some(REASON.to_owned()),
                    until: None,
                });
            }
        })?;
    }
    let done = service::once_offline(config.clone(), Mode::Apply).await?;
    let ledger = home.ledger(&Machine)?;
    let stays: Vec<String> =
        brought.iter().filter(|key| ledger.mitigations.contains_key(key)).map(Key::to_string).collect();
    if stays.is_empty() {
        Ok(done)
    } else {
        Err(RemoveError::Stays { stays: stays.join(", "), done: Box::new(done) })
    }
}

/// A feed that is added again starts anew: what took its mitigations off then no longer counts.
pub fn forget_removal(config: &Config, name: &FeedName) -> Result<(), HomeError> {
    let host = &Machine;
    let home = Home::at(&config.data);
    if !home.operator(host)?.blocks.iter().any(|block| is_of_removal(block, name)) {
        return Ok(());
    }
    let _lock = home.lock()?;
    change(host, &home, |operator| operator.blocks.retain(|block| !is_of_removal(block, name)))
}

fn brought(ledger: &Ledger, name: &FeedName) -> Vec<Key> {
    ledger.mitigations.keys().filter(|key| key.feed == *name).cloned().collect()
}

/// Whether a block is one by which this feed's removal takes something off.
fn is_of_removal(block: &Block, name: &FeedName) -> bool {
    block.feed.as_ref() == Some(name) && block.reason.as_deref() == Some(REASON)
}

fn change(host: &dyn Host, home: &Home, change: impl FnOnce(&mut Operator)) -> Result<(), HomeError> {
    let mut operator = home.operator(host)?;
    change(&mut operator);
    home.save_operator(host, &operator)
}

/// Removes `feeds/NAME.*` and `crls/NAME.*`: a feed's name holds no dot.
fn forget(host: &dyn Host, home: &Home, name: &FeedName) -> Result<(), HomeError> {
    ["feeds", "crls"].iter().try_for_each(|folder| forget_in(host, home.path(folder), name))
}

fn forget_in(host: &dyn Host, folder: PathBuf, name: &FeedName) -> Result<(), HomeError> {
    let failed = |path, source: io::Error| HomeError::Io { what: "remove", path, source };
    let names = match host.list(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(|source| failed(folder.clone(), source))?,
    };
    let prefix = format!("{name}.");
    for file in names.iter().filter(|file| file.starts_with(&prefix)) {
        let path = folder.join(file);
        host.remove_file(&path).map_err(|source| failed(path, source))?;
    }
    host.sync_dir(&folder).map_err(|source| failed(folder, source))
}
