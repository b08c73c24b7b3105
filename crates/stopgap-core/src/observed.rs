//! What a driver saw on a target. In force means observed: status is made of this, not of memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stopgap_feed::{Id, Key};

/// One target as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The target's name, unique on this server.
    pub target: String,
    /// What of ours is in force.
    pub live: Live,
    /// Its sites, in the order of its configuration.
    pub sites: Vec<Site>,
    /// What an operator should know: a missing hook, a foreign edit, an unreadable file.
    pub warnings: Vec<String>,
    /// What only some rules need and the server lacks, with what to do: by a word of its driver's own, or for rules
    /// of one site alone by [`lack_at`].
    pub lacks: BTreeMap<String, String>,
    /// What rendering reads of a server whose own files are edited: their octets, or why they cannot be read, by
    /// path; under a program's path, what it answered.
    pub files: BTreeMap<PathBuf, Result<Vec<u8>, String>>,
}

/// The word in [`Observed::lacks`] for what a site lacks for rules that are not for every site.
pub fn lack_at(site: &str) -> String {
    format!("site {site}")
}

/// Our own files on a target, as found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// The set that the server is pointed at, by its digest; `None`: nothing of ours.
    pub set: Option<String>,
    /// What that set holds. Empty where the set is not what we wrote.
    pub holds: Vec<Hold>,
    /// What differs from what we wrote (a file edited or deleted by hand), as sentences.
    pub foreign: Vec<String>,
    /// Whether the running server uses that set, where it can say so (the gateway); `None` where
    /// only a probe can tell.
    pub active: Option<bool>,
    /// Where what it holds is not in force all the same, although its site is covered.
    pub gaps: Vec<Gap>,
}

/// A part of a site where an action is not in force: an application below it that undoes its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The mitigation.
    pub key: Key,
    /// The action of it.
    pub action: Id,
    /// Which part, as the server names it: `Default Web Site/owa/Calendar`.
    pub place: String,
    /// Why.
    pub why: String,
}

/// One action of one mitigation in a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hold {
    /// The mitigation.
    pub key: Key,
    /// The action of it.
    pub action: Id,
    /// SHA-256 of the mitigation's octets, in hex: which revision of it this is.
    pub digest: String,
    /// The sites where it works, by name.
    pub sites: Vec<String>,
    /// Its rules are asked, and count and log what they would have refused; they refuse nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observe: bool,
}

/// One site: an IIS site, an nginx server block, the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name, as its server knows it.
    pub name: String,
    /// Whether the server reads our rules there; if not, what is missing.
    pub hook: Hook,
    /// Where it listens.
    pub listeners: Vec<Listener>,
}

/// Whether a site has what makes its server read our rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// It has.
    Present,
    /// It has not: what to place, and where.
    Missing(String),
}

/// One address of a site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// TLS or plain.
    pub tls: bool,
    /// The bound address; a wildcard is replaced by loopback.
    pub address: SocketAddr,
    /// The name for SNI and `Host`.
    pub host: String,
}

impl std::fmt::Display for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.address)
    }
}
