//! What a feed says, as values. [`Document::parse`] makes them from verified octets; nothing here
//! reads XML.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{FeedName, Id};

/// One feed document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// `EOCS@version` as written, such as `1.0.4` or `2.0`.
    pub version: String,
    /// `EOCS@feed`; absent in Microsoft's grammar (1.x).
    pub feed: Option<FeedName>,
    /// `EOCS@serial`; absent in 1.x.
    pub serial: Option<u64>,
    /// `EOCS@issued`; absent in 1.x.
    pub issued: Option<Timestamp>,
    /// `EOCS@expires`; absent in 1.x.
    pub expires: Option<Timestamp>,
    /// `Config` elements in document order, ids unique.
    pub mitigations: Vec<Mitigation>,
    /// `Withdrawn` elements in document order.
    pub withdrawn: Vec<Withdrawn>,
    /// What the root holds that this build does not know, each as a sentence. It is ignored.
    pub warnings: Vec<String>,
}

/// A recalled mitigation: it is taken off at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// What is recalled.
    pub id: Id,
    /// Why, in the publisher's words.
    pub reason: String,
}

/// One mitigation (`Config`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mitigation {
    /// `@id`.
    pub id: Id,
    /// `@desc`.
    pub description: String,
    /// `@severity`.
    pub severity: Option<Severity>,
    /// `@cve`, a list separated by blanks or commas.
    pub cve: Vec<String>,
    /// `@supersedes`: the new in, the old out, one step.
    pub supersedes: Option<Id>,
    /// `@expires`: its own end, at which it is taken off.
    pub expires: Option<Timestamp>,
    /// `Applicability`; `None` is every server.
    pub applicability: Option<Condition>,
    /// `ActionList/Action` in order; revert is the reverse order.
    pub actions: Vec<Action>,
    /// `Probes/Request`.
    pub probes: Vec<Probe>,
    /// `Rollout/Wave`, in order.
    pub rollout: Vec<Wave>,
    /// `SideEffects/Effect`.
    pub side_effects: Vec<SideEffect>,
    /// `Rollback`: how a person takes it off by hand.
    pub rollback: Option<String>,
    /// What in it this build does not know (an element, an attribute, an action type, a version
    /// scheme), each as a sentence. Not empty: the mitigation is `Unsupported` and the rest of the
    /// feed still applies.
    pub unsupported: Vec<String>,
    /// The `Config` element itself, cut from the octets whose digest was checked (UTF-8). Kept in
    /// the ledger, so that repair and revert need no feed: [`Mitigation::from_octets`].
    pub octets: String,
}

/// How bad the vulnerability is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

/// When a mitigation concerns a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Every part must hold (`<All>`).
    All(Vec<Condition>),
    /// One part suffices (`<Applicability>` itself).
    Any(Vec<Condition>),
    /// A product in one of the ranges. No range: any version.
    Product(Product),
}

/// `Product`: a name, a version scheme and ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// `@name`: the fact's name.
    pub name: String,
    /// `@versions`.
    pub scheme: VersionScheme,
    /// `@ecosystem`, such as `Debian:12`: required of distribution packages, since backports
    /// differ by release. A package that a vendor builds for all of them is named by `Detect` instead.
    pub ecosystem: Option<String>,
    /// `Detect` elements in document order: where its version is found. None: it is a fact, or a
    /// package of that name.
    pub detect: Vec<Detect>,
    /// `Range` elements; any that holds suffices.
    pub ranges: Vec<Range>,
}

/// `Detect`: where the version of a product is found that the agent does not know. It says what to read;
/// nothing is run for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detect {
    /// `kind="dpkg"`: an installed Debian package.
    Dpkg {
        /// `@package`: its name, or that of its source.
        package: String,
    },
    /// `kind="rpm"`: an installed rpm package.
    Rpm {
        /// `@package`: its name, or that of its source.
        package: String,
    },
    /// `kind="file"`: a text file.
    File {
        /// `@path`: absolute, without `.` and `..`; of Windows where it begins with a drive.
        path: String,
        /// `@pattern`: ECMAScript, held against each line; its first group is the version. Only its length
        /// was checked here.
        pattern: String,
    },
    /// `kind="registry"`: a value of the Windows registry.
    Registry {
        /// `@key`, below `HKLM\`.
        key: String,
        /// `@value`: its name.
        value: String,
    },
    /// `kind="pe"`: the file version in the resources of a Windows program or library.
    Pe {
        /// `@path`, as of a file.
        path: String,
    },
}

/// How versions compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum VersionScheme {
    Dotted,
    Dpkg,
    Rpm,
    Semver,
}

/// `from` inclusive, `below` exclusive (the first fixed version), `through` inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Range {
    pub from: Option<String>,
    pub below: Option<String>,
    pub through: Option<String>,
}

/// One action of a mitigation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// `@id`; where Microsoft's grammar has none, the mitigation's own.
    pub id: Id,
    /// `@desc`.
    pub description: String,
    /// `@scope`.
    pub scope: Scope,
    /// `@target`: a site name or role, or an application path; absent: every site of the product.
    pub target: Option<String>,
    /// `@platform`.
    pub platform: Option<Platform>,
    /// What it does.
    pub kind: ActionKind,
}

/// Where an action works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Scope {
    Server,
    Site,
    VDir,
}

/// `@platform`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Platform {
    Windows,
    Linux,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionKind {
    /// Nothing: a heartbeat.
    DoNothing,
    /// One `<rewrite>` element in IIS's own schema, as its octets (UTF-8 XML).
    UrlRewrite {
        /// The `<rewrite>` element's text; `stopgap-rules` reads it.
        rewrite: String,
    },
    /// Stopped, and kept from starting: the first of these names that exists.
    Service {
        /// `Value` elements in order.
        names: Vec<String>,
    },
    /// The same for an application pool.
    AppPool {
        /// `Value` elements in order.
        names: Vec<String>,
    },
}

/// The type of an action, as `allow` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ActionType {
    DoNothing,
    UrlRewrite,
    Service,
    AppPool,
}

impl ActionKind {
    /// Its type.
    pub fn action_type(&self) -> ActionType {
        match self {
            ActionKind::DoNothing => ActionType::DoNothing,
            ActionKind::UrlRewrite { .. } => ActionType::UrlRewrite,
            ActionKind::Service { .. } => ActionType::Service,
            ActionKind::AppPool { .. } => ActionType::AppPool,
        }
    }
}

/// One request that proves the mitigation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The request head as the feed writes it, line ends normalized to CRLF, ending in an empty
    /// line. `Host` may be missing: the prober adds the site's.
    pub head: String,
    /// What must come back.
    pub expect: Expect,
}

/// What a probe expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The mitigation's own form of refusal.
    Blocked,
    /// The same as before the change.
    Allowed,
    /// A response header whose value matches.
    Header {
        /// Its name.
        name: String,
        /// An ECMAScript pattern.
        pattern: String,
    },
}

/// `Rollout/Wave`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// How many of all servers, 0 to 100.
    pub percent: u8,
    /// Seconds after `issued`.
    pub after_seconds: u64,
}

/// `SideEffects/Effect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideEffect {
    /// What will be disturbed.
    pub description: String,
    /// The health check that will complain.
    pub monitor: Option<String>,
}

impl Document {
    /// The mitigations by id.
    pub fn by_id(&self) -> BTreeMap<&Id, &Mitigation> {
        self.mitigations.iter().map(|m| (&m.id, m)).collect()
    }
}
