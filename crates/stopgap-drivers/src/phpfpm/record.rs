//! What of this php-fpm's pools we have out of service, and where their files are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stopgap_core::plan::Switch;

use super::config::same;

const FILE: &str = "file";
const SHA256: &str = "sha256";
const STATE: &str = "state";
/// The state that only our pools have.
const OUT: &str = "out of service";
/// In the settings of a switch: where a pool takes its requests.
pub(super) const LISTEN: &str = "listen";

/// The pools that are out of service because of us, in the order in which they were taken out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub pools: Vec<Entry>,
    /// The name that a mitigation gave, to the pool that had it.
    pub resolved: BTreeMap<String, String>,
    /// How the unit was stopped, where the last pool went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Switch>,
}

impl Record {
    pub(super) fn pool(&self, name: &str) -> Option<&Entry> {
        self.pools.iter().find(|entry| same(&entry.pool, name))
    }
}

/// One pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub pool: String,
    pub listen: Option<String>,
    /// Its files, in the order in which php-fpm read them.
    pub moves: Vec<Move>,
    /// Files that were moved aside before somebody put others in their place. They stay where they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<PathBuf>,
}

/// A file that was moved aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Move {
    pub from: PathBuf,
    pub aside: PathBuf,
    /// What it held then.
    pub sha256: String,
}

impl Entry {
    /// With `moves` of its own: out of service, or back where not `off`.
    pub(super) fn switch(&self, off: bool, moves: &[&Move]) -> Switch {
        let mut inside = BTreeMap::from([(STATE.to_owned(), "in service".to_owned())]);
        let mut outside = BTreeMap::from([(STATE.to_owned(), OUT.to_owned())]);
        inside.extend(self.listen.iter().map(|listen| (LISTEN.to_owned(), listen.clone())));
        for (n, one) in moves.iter().enumerate() {
            inside.insert(key(FILE, n), one.from.display().to_string());
            inside.insert(key(SHA256, n), one.sha256.clone());
            outside.insert(key(FILE, n), one.aside.display().to_string());
        }
        let (before, after) = if off { (inside, outside) } else { (outside, inside) };
        Switch { name: self.pool.clone(), off, before, after, also: Vec::new() }
    }
}

fn key(word: &str, n: usize) -> String {
    if n == 0 { word.to_owned() } else { format!("{word} {}", n + 1) }
}

/// The files that a switch moves, from where they are to where they come; and what one that goes out holds.
pub(super) fn moves(switch: &Switch) -> Vec<(PathBuf, PathBuf, Option<String>)> {
    let at = |settings: &BTreeMap<String, String>, n| settings.get(&key(FILE, n)).map(PathBuf::from);
    let one = |n| {
        let sha256 = switch.before.get(&key(SHA256, n)).cloned();
        Some((at(&switch.before, n)?, at(&switch.after, n)?, sha256))
    };
    (0..).map_while(one).collect()
}

/// A switch of the unit, and none of a pool.
pub(super) fn is_unit(switch: &Switch) -> bool {
    let is_pool = |settings: &BTreeMap<String, String>| settings.get(STATE).is_some_and(|state| state == OUT);
    !is_pool(&switch.before) && !is_pool(&switch.after)
}

/// Where the pool of a switch takes its requests.
pub(super) fn listen(switch: &Switch) -> Option<&str> {
    switch.before.get(LISTEN).or(switch.after.get(LISTEN)).map(String::as_str)
}

/// The other way.
pub(super) fn reversed(switch: &Switch) -> Switch {
    Switch {
        name: switch.name.clone(),
        off: !switch.off,
        before: switch.after.clone(),
        after: switch.before.clone(),
        also: switch.also.clone(),
    }
}

/// The name of a file, for sentences.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
