//! `stopgap.toml` and its drop-in folders: what packages and configuration management own. What an
//! operator says on the command line is kept elsewhere (`operator`).
//!
//! Beside `stopgap.toml`, every `*.toml` in `feeds.d` and `targets.d` adds `[[feed]]` and
//! `[[target]]` tables, and every one in `facts.d` adds facts, in the order of their names. A
//! `*.trust.toml` in `feeds.d` is a trust file that one of these tables names.

mod life;
mod network;
mod target;

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde::Deserialize;
use stopgap_core::fronted::Group;
use stopgap_core::policy::{Approval, DEFAULT_SOAK_SECONDS, Removal};
use stopgap_feed::document::Wave;
use stopgap_feed::{FeedName, Id};

pub use life::HooksConfig;
use life::RingConfig;
pub use network::{Bypass, NetworkConfig};
pub use target::{TargetConfig, TargetKind};

/// Where the configuration is looked for when nobody says otherwise.
pub fn default_path() -> PathBuf {
    if cfg!(windows) {
        program_data().join("stopgap.toml")
    } else {
        PathBuf::from("/etc/stopgap/stopgap.toml")
    }
}

/// The agent's folder on Windows: `%ProgramData%\\Stopgap`, with everything in it. The variable itself is not asked where the
/// registry says it: a prompt's and a service's may differ, and they must mean one folder.
pub fn program_data() -> PathBuf {
    #[cfg(windows)]
    let set = crate::windows::folder::program_data();
    #[cfg(not(windows))]
    let set = None;
    let set = set.or_else(|| std::env::var_os("ProgramData").map(PathBuf::from));
    let set = set.filter(|path| path.is_absolute());
    set.unwrap_or_else(|| PathBuf::from("C:\\ProgramData")).join("Stopgap")
}

/// A configuration file of more than this is a mistake.
const MAX_BYTES: u64 = 4 << 20;

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Larger than any configuration.
    #[error("{path} holds more than {MAX_BYTES} bytes, which no configuration needs")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, an unknown key, or a value of the wrong type; the message names line and column.
    #[error("{path}: {message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The parser's words, with the place.
        message: String,
    },
    /// Two tables that contradict each other, or a value that cannot be.
    #[error("{path}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What, and what to do.
        message: String,
    },
}

/// An agent's configuration, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file that it came from; relative paths in it are relative to its folder.
    pub path: PathBuf,
    /// Where the ledger, the journal and the generated files are.
    pub data: PathBuf,
    /// Where the log files are, one a day.
    pub logs: PathBuf,
    /// This server's name in reports and waves.
    pub server: String,
    /// How often the feeds are looked at, whatever else happens.
    pub interval: SignedDuration,
    /// MitigationsEnabled of this server, as configuration management states it.
    pub mitigations_enabled: bool,
    /// MitigationsBlocked, likewise.
    pub mitigations_blocked: Vec<Id>,
    /// Who takes a mitigation off once the server is fixed.
    pub removal: Removal,
    /// How long a fixed version must have been seen before that.
    pub soak_seconds: u64,
    /// How long an application may take to answer again after a change.
    pub settle: SignedDuration,
    /// Whether a person has to approve what feeds bring.
    pub approval: Approval,
    /// Whether rules only count and log what they would refuse.
    pub observe: bool,
    /// The organization's rings.
    pub rings: Vec<Wave>,
    /// Whether a `critical` mitigation waits for neither wave nor ring.
    pub critical_at_once: bool,
    /// What an operator runs before and after a change.
    pub hooks: HooksConfig,
    /// The text file with metrics, for node_exporter; `None`: none is written.
    pub metrics: Option<PathBuf>,
    /// Which way requests go out.
    pub network: NetworkConfig,
    /// What the organization's hub may do here.
    pub hub: HubConfig,
    /// DataCollectionEnabled: whether publishers are told what became of their mitigations.
    pub data_collection_enabled: bool,
    /// Who is told of what happens here, where this server belongs to no hub.
    pub tell: stopgap_tell::settings::File,
    /// Feeds, in order.
    pub feeds: Vec<FeedConfig>,
    /// Targets, in order.
    pub targets: Vec<TargetConfig>,
    /// Products that only the administrator knows, by name.
    pub facts: BTreeMap<String, String>,
    /// What the organization's hub says of groups that this server may front. It is in no file; `None`: no hub has said
    /// anything yet.
    pub groups: Option<BTreeMap<String, Group>>,
}

/// `[hub]`. That this server belongs to one, and to which, is kept by `stopgap agent enroll`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// Whether the organization's blocks may take off what is in force here; otherwise they only hold back.
    #[serde(default = "yes")]
    pub hub_may_revert: bool,
}

impl Default for HubConfig {
    fn default() -> Self {
        HubConfig { hub_may_revert: true }
    }
}

fn yes() -> bool {
    true
}

/// One `[[feed]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedConfig {
    /// Its name; the document must bear the same one.
    pub name: FeedName,
    /// `https://…`, `http://…` or `file:///…`, which may be a folder of documents.
    pub url: String,
    /// Tried in order when `url` does not answer, or answers with a document that is refused.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// The trust file, relative to the file that names it.
    pub trust: PathBuf,
    /// The event stream; default: the one that the feed's server announces.
    #[serde(default)]
    pub events: Option<String>,
    /// Whether a server whose version cannot be read counts as affected.
    #[serde(default)]
    pub unknown_applies: bool,
    /// Whether a server on the internet may send the agent on to an address of a private network, of
    /// this machine or of its neighborhood. A feed that stands at such an address itself may in any case.
    #[serde(default)]
    pub redirects_to_private: bool,
    /// Whether a person has to approve what it brings; left out: as for the server.
    #[serde(default)]
    pub approval: Option<Approval>,
    /// Whether its rules only count and log what they would refuse; left out: as for the server.
    #[serde(default)]
    pub observe: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MainFile {
    #[serde(default = "default_data")]
    data: PathBuf,
    #[serde(default = "default_logs")]
    logs: PathBuf,
    server: Option<String>,
    interval: Option<SignedDuration>,
    mitigations_enabled: Option<bool>,
    #[serde(default)]
    mitigations_blocked: Vec<Id>,
    #[serde(default)]
    removal: Removal,
    soak: Option<SignedDuration>,
    settle: Option<SignedDuration>,
    metrics: Option<PathBuf>,
    #[serde(default)]
    approval: Approval,
    #[serde(default)]
    observe: bool,
    #[serde(default)]
    rings: Vec<RingConfig>,
    #[serde(default)]
    critical_at_once: bool,
    #[serde(default)]
    hooks: HooksConfig,
    internet_web_proxy: Option<String>,
    #[serde(default)]
    internet_web_proxy_bypass: Vec<String>,
    internet_web_proxy_credentials: Option<PathBuf>,
    ca_bundle: Option<PathBuf>,
    #[serde(default)]
    hub: HubConfig,
    #[serde(default)]
    data_collection_enabled: bool,
    #[serde(default)]
    notify: stopgap_tell::Notify,
    mail: Option<stopgap_tell::settings::MailTable>,
    #[serde(default)]
    webhook: Vec<stopgap_tell::settings::WebhookTable>,
    #[serde(default)]
    feed: Vec<FeedConfig>,
    #[serde(default)]
    target: Vec<TargetConfig>,
    #[serde(default)]
    facts: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedsFile {
    feed: Vec<FeedConfig>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetsFile {
    target: Vec<TargetConfig>,
}

fn default_data() -> PathBuf {
    if cfg!(windows) { program_data().join("Data") } else { PathBuf::from("/var/lib/stopgap") }
}
fn default_logs() -> PathBuf {
    if cfg!(windows) { program_data().join("Logs") } else { PathBuf::from("/var/log/stopgap") }
}

/// A cycle waits no longer than two minutes for one unit: the agent's own unit counts on that (`TimeoutStopSec`).
const STOP_WITHIN: RangeInclusive<SignedDuration> =
    SignedDuration::from_secs(1)..=SignedDuration::from_mins(2);

/// An hour, as Exchange does it: the floor under every push.
const DEFAULT_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// Below this a mistyped unit would have every server hammer the feed.
const MIN_INTERVAL: SignedDuration = SignedDuration::from_secs(1);
/// An ASP.NET application starts once more after a change, which may take that long.
const DEFAULT_SETTLE: SignedDuration = SignedDuration::from_secs(120);

impl Config {
    /// Reads `path` and the drop-in folders beside it. `hostname` is this server's name where the
    /// file gives none.
    pub fn load(path: &Path, hostname: &str) -> Result<Config, ConfigError> {
        let path = std::path::absolute(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let main: MainFile = parse(&path)?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let folder = folder.as_path();
        let of_machine = main.internet_web_proxy.is_none() && main.internet_web_proxy_bypass.is_empty();
        let network = NetworkConfig::from_keys(
            main.internet_web_proxy,
            &main.internet_web_proxy_bypass,
            main.internet_web_proxy_credentials,
            main.ca_bundle,
            folder,
        )
        .map_err(|message| ConfigError::Invalid { path: path.clone(), message })?;
        let network = if of_machine { with_machine_proxy(network) } else { network };
        let mut config = Config {
            path: path.clone(),
            data: folder.join(main.data),
            logs: folder.join(main.logs),
            server: main.server.unwrap_or_else(|| hostname.to_owned()),
            interval: main.interval.unwrap_or(DEFAULT_INTERVAL),
            mitigations_enabled: main.mitigations_enabled.unwrap_or(true),
            mitigations_blocked: main.mitigations_blocked,
            removal: main.removal,
            soak_seconds: main
                .soak
                .map_or(DEFAULT_SOAK_SECONDS, |soak| u64::try_from(soak.as_secs()).unwrap_or(0)),
            settle: main.settle.unwrap_or(DEFAULT_SETTLE),
            approval: main.approval,
            observe: main.observe,
            rings: life::rings(&main.rings)
                .map_err(|message| ConfigError::Invalid { path: path.clone(), message })?,
            critical_at_once: main.critical_at_once,
            hooks: main.hooks,
            metrics: main.metrics.map(|path| folder.join(path)),
            network,
            hub: main.hub,
            data_collection_enabled: main.data_collection_enabled,
            tell: stopgap_tell::settings::File {
                notify: main.notify,
                mail: main.mail,
                webhook: main.webhook,
            },
            feeds: anchored(main.feed, folder),
            targets: main.target,
            facts: main.facts,
            groups: None,
        };
        for file in drop_ins(&folder.join("feeds.d"))?.into_iter().filter(|file| !is_trust_file(file)) {
            let here = folder.join("feeds.d");
            config.feeds.extend(anchored(parse::<FeedsFile>(&file)?.feed, &here));
        }
        for file in drop_ins(&folder.join("targets.d"))? {
            config.targets.extend(parse::<TargetsFile>(&file)?.target);
        }
        for file in drop_ins(&folder.join("facts.d"))? {
            config.facts.extend(parse::<BTreeMap<String, String>>(&file)?);
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |message: String| Err(ConfigError::Invalid { path: self.path.clone(), message });
        let twice = |names: Vec<&str>| {
            let mut seen = std::collections::BTreeSet::new();
            names.into_iter().find(|name| !seen.insert(*name)).map(str::to_owned)
        };
        if let Some(name) = twice(self.feeds.iter().map(|feed| feed.name.as_str()).collect()) {
            return invalid(format!("two [[feed]] tables are named `{name}`: give each its own name"));
        }
        if let Some(name) = twice(self.targets.iter().map(TargetConfig::name).collect()) {
            return invalid(format!(
                "two [[target]] tables are named `{name}`: give one a `name` of its own"
            ));
        }
        for target in &self.targets {
            // It becomes a folder name below `data`, beside our own files there.
            let taken =
                matches!(target.name(), "feeds" | "crls" | "hub") || target.name().starts_with("lock");
            if taken || target.name().parse::<FeedName>().is_err() {
                return invalid(format!(
                    "a target cannot be named `{}`: use letters, digits, `-`, `_`, and none of `feeds`, `crls`, `hub`, `lock…`",
                    target.name()
                ));
            }
        }
        // The label at the hub that names groups has them with commas between.
        let nobody = |target: &&TargetConfig| {
            target
                .protects
                .as_deref()
                .is_some_and(|group| group.trim() != group || group.is_empty() || group.contains(','))
        };
        if let Some(target) = self.targets.iter().find(nobody) {
            return invalid(format!(
                "`protects` of target `{}`: expected the name of one group, without blanks around it and without commas",
                target.name()
            ));
        }
        let odd =
            |target: &&TargetConfig| target.stop_within.is_some_and(|time| !STOP_WITHIN.contains(&time));
        if let Some(target) = self.targets.iter().find(odd) {
            return invalid(format!(
                "`stop_within` of target `{}`: expected {:#} to {:#}",
                target.name(),
                STOP_WITHIN.start(),
                STOP_WITHIN.end()
            ));
        }
        if self.interval < MIN_INTERVAL {
            return invalid(format!("`interval` is {:#}: expected at least {MIN_INTERVAL:#}", self.interval));
        }
        self.hooks.check().or_else(invalid)
    }
}

/// On Windows, the proxy that is set for the machine's services: an administrator has set it for programs like this.
#[cfg(windows)]
fn with_machine_proxy(network: NetworkConfig) -> NetworkConfig {
    let read = stopgap_windows::machine_proxy().map_err(|error| error.to_string());
    match read
        .and_then(|found| found.map(|(at, bypass)| NetworkConfig::from_machine(&at, &bypass)).transpose())
    {
        Ok(None) => network,
        Ok(Some(machine)) => NetworkConfig { proxy: machine.proxy, bypass: machine.bypass, ..network },
        Err(error) => {
            tracing::warn!("the machine's proxy (`netsh winhttp show proxy`) is not used: {error}");
            network
        }
    }
}

#[cfg(not(windows))]
fn with_machine_proxy(network: NetworkConfig) -> NetworkConfig {
    network
}

/// `NAME.trust.toml`, as `stopgap feed add` places it beside its `NAME.toml`.
fn is_trust_file(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(".trust.toml"))
}

/// Trust files are named relative to the file that names them.
fn anchored(feeds: Vec<FeedConfig>, folder: &Path) -> Vec<FeedConfig> {
    feeds.into_iter().map(|feed| FeedConfig { trust: folder.join(&feed.trust), ..feed }).collect()
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(read)?.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    toml::from_str(&text)
        .map_err(|error| ConfigError::Toml { path: path.to_owned(), message: error.to_string() })
}

/// The `*.toml` files of a folder, by name; none where there is no such folder.
fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let read = |source| ConfigError::Read { path: folder.to_owned(), source };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(read)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(read)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(main: &str, drop_ins: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stopgap.toml");
        std::fs::write(&path, main).unwrap();
        for (name, text) in drop_ins {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        Config::load(&path, "server1")
    }

    #[test]
    fn the_documented_example_is_read() {
        let config = load(
            r#"
            data = "/var/lib/stopgap"
            logs = "/var/log/stopgap"
            soak = "5m"
            [[feed]]
            name = "example"
            url = "https://feed.example.org/feed.xml"
            trust = "trust.toml"
            [[target]]
            kind = "nginx"
            sites = { "Default Web Site" = ["mail.example.org"] }
            listeners = ["https://127.0.0.1:443"]
            [target.facts]
            exchange = "15.2.986.5"
            [facts]
            linux = "6.1"
            "#,
            &[
                ("facts.d/b.toml", "php = \"8.2\""),
                ("facts.d/a.toml", "php = \"8.1\""),
                (
                    "feeds.d/other.toml",
                    "[[feed]]\nname = \"other\"\nurl = \"\"\ntrust = \"other.trust.toml\"",
                ),
                ("feeds.d/other.trust.toml", "roots = []"),
            ],
        )
        .unwrap();
        assert_eq!(config.soak_seconds, 300);
        assert_eq!(config.interval, SignedDuration::from_hours(1));
        assert_eq!(config.server, "server1");
        assert_eq!(config.targets[0].name(), "nginx");
        assert_eq!(config.targets[0].facts["exchange"], "15.2.986.5");
        assert_eq!(config.facts["php"], "8.2");
        assert_eq!(config.feeds[0].trust.file_name().unwrap(), "trust.toml");
        assert!(config.feeds[0].trust.is_absolute());
        assert!(config.feeds[1].trust.ends_with("feeds.d/other.trust.toml"));
        assert_eq!(config.feeds.len(), 2, "a trust file is no table of feeds");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (main, expected) in [
            ("dta = \"/x\"", "unknown field `dta`"),
            ("interval = \"0s\"", "expected at least 1s"),
            ("[[feed]]\nname = \"../x\"\nurl = \"\"\ntrust = \"\"", "not a feed name"),
            (
                "[[target]]\nkind = \"nginx\"\n[[target]]\nkind = \"nginx\"",
                "two [[target]] tables are named `nginx`",
            ),
            ("[[target]]\nkind = \"iis7\"", "unknown variant `iis7`"),
            ("[[target]]\nkind = \"nginx\"\nname = \"feeds\"", "cannot be named `feeds`"),
            ("[[target]]\nkind = \"nginx\"\nname = \"crls\"", "cannot be named `crls`"),
            (
                "[[target]]\nkind = \"systemd\"\nstop_within = \"3m\"",
                "`stop_within` of target `systemd`: expected 1s to 2m",
            ),
            (
                "[[target]]\nkind = \"nginx\"\nprotects = \"web,edge\"",
                "`protects` of target `nginx`: expected the name of one group",
            ),
            ("internet_web_proxy = \"proxy\"", "`internet_web_proxy`: expected an address"),
            ("data = ", "TOML parse error at line 1"),
        ] {
            let message = load(main, &[]).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert!(message.contains("stopgap.toml"), "{message}");
        }
    }
}
