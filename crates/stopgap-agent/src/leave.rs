//! The end of the agent on this server: everything is taken off by a cycle, through the journal, as anything
//! else is; or it stays, and what stays is told.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use stopgap_core::policy::{Block, Level};
use stopgap_drivers::Machine;
use stopgap_feed::Key;

use crate::config::Config;
use crate::cycle::{Done, Mode};
use crate::home::{Home, HomeError};
use crate::service::{self, AgentError};

/// The reason of the blocks that take everything off.
const REASON: &str = "the agent is uninstalled";
/// How long they hold: a service that runs on puts nothing back while the operator removes it.
const AFTERWARDS: SignedDuration = SignedDuration::from_hours(1);

/// What the agent has put on this server, by the ledger.
pub fn held(config: &Config) -> Result<Vec<Key>, HomeError> {
    let ledger = Home::at(&config.data).ledger(&Machine)?;
    Ok(ledger.mitigations.keys().cloned().collect())
}

/// What servers read from the data folder: the link of each target that holds rules.
pub fn live(config: &Config) -> Vec<PathBuf> {
    let home = Home::at(&config.data);
    let links = config.targets.iter().map(|target| home.path(target.name()).join("live"));
    links.filter(|link| link.symlink_metadata().is_ok()).collect()
}

/// Takes everything off. Also returns what could not be taken off.
pub async fn take_all_off(config: &Config) -> Result<(Done, Vec<Key>), AgentError> {
    let home = Home::open(&Machine, &config.data)?;
    let until = Timestamp::now().checked_add(AFTERWARDS).unwrap_or(Timestamp::MAX);
    {
        let _lock = home.lock()?;
        let mut operator = home.operator(&Machine)?;
        operator.blocks.retain(|block| block.reason.as_deref() != Some(REASON));
        for Key { feed, id } in home.ledger(&Machine)?.mitigations.into_keys() {
            // Beside the operator's own block, if there is one: that outlives this.
            operator.blocks.push(Block {
                id,
                feed: Some(feed),
                level: Level::Server,
                take_off: true,
                reason: Some(REASON.to_owned()),
                until: Some(until),
            });
        }
        home.save_operator(&Machine, &operator)?;
    }
    let done = service::once_offline(config.clone(), Mode::Apply).await?;
    Ok((done, held(config)?))
}
