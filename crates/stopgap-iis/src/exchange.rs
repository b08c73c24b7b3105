//! What Exchange is installed, and what lies under it: IIS, its rewrite module and Windows, from the values that
//! an adapter has read.
//!
//! A build decides which mitigations apply, so nothing is guessed: a value that is missing or contradicts another
//! makes the fact unknown, with the reason. Names of releases come from the table in `builds` and are for
//! people; a build that the table does not list is still a version.
//!
//! Not in here: reading the registry and the versions of files ([`Readings`] says which), and whether a mitigation
//! applies to a build, which the feed says.

mod build;
mod builds;
mod windows;

use std::fmt;

pub use build::{Build, BuildError};
pub use builds::{BUILDS, Product, Release};
pub use windows::{Readings as WindowsReadings, Windows, dotted, windows};

/// The name of the fact with Exchange's build, as in `<Product name="exchange">`.
pub const EXCHANGE: &str = "exchange";
/// The name of the fact with the version of IIS.
pub const IIS: &str = "iis";
/// The name of the fact with the version of the URL Rewrite module.
pub const URL_REWRITE: &str = "iis-url-rewrite";
/// The name of the fact with the version of Windows.
pub const WINDOWS: &str = "windows";

/// A value of the registry or of a file's version resource, as an adapter found it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reading {
    /// The key, the value or the file does not exist.
    #[default]
    Absent,
    /// The value; a DWORD in decimal.
    Value(String),
    /// It could not be read, and why ("access denied").
    Unreadable(String),
}

/// Everything that an adapter reads. Keys are below `HKLM\SOFTWARE\Microsoft`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings {
    /// `ExchangeServer\v15\Setup`, `MsiInstallPath`.
    pub install_path: Reading,
    /// `ExchangeServer\v15\Setup`: `MsiProductMajor`, `MsiProductMinor`, `MsiBuildMajor`, `MsiBuildMinor`. Setup
    /// writes them with a cumulative update; a security update leaves them.
    pub msi: [Reading; 4],
    /// The file version of `bin\ExSetup.exe` in the install path, which security updates raise: Microsoft's own
    /// way to the build (`Get-Command ExSetup`). `15.02.0986.005`.
    pub ex_setup: Reading,
    /// The subkeys of `ExchangeServer\v15` that are roles; others are passed over.
    pub roles: Vec<RoleKey>,
    /// `InetStp`, `VersionString` (`Version 10.0`).
    pub iis: Reading,
    /// `IIS Extensions\URL Rewrite`, `Version`, or the file version of `inetsrv\rewrite.dll`.
    pub url_rewrite: Reading,
    /// `Windows NT\CurrentVersion`.
    pub windows: WindowsReadings,
}

/// A subkey of `ExchangeServer\v15`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKey {
    /// `MailboxRole`, `CafeRole`, `EdgeTransportRole` …
    pub name: String,
    /// `ConfiguredVersion`: there once setup has finished the role.
    pub configured: Reading,
    /// `Watermark`: there while setup has begun and not finished.
    pub watermark: Reading,
}

/// What the server does for Exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Mailboxes and, from 2016 on, everything that clients reach.
    Mailbox,
    /// The web front end, a server of its own in 2013 only.
    ClientAccess,
    /// Mail at the border of a network, without IIS.
    Edge,
}

impl Role {
    /// The role that a subkey stands for. The other subkeys (`HubTransportRole`, `FrontendTransportRole`,
    /// `UnifiedMessagingRole`, `AdminTools` …) come with these or are no servers.
    fn of(key: &str) -> Option<Role> {
        let keys = [
            ("MailboxRole", Role::Mailbox),
            ("CafeRole", Role::ClientAccess),
            ("EdgeTransportRole", Role::Edge),
        ];
        keys.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, role)| role)
    }
}

/// An installed Exchange server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The build, with its security updates.
    pub build: Build,
    /// The product that the build belongs to.
    pub product: Product,
    /// The cumulative update, where the table lists it.
    pub release: Option<&'static Release>,
    /// Sorted, each once.
    pub roles: Vec<Role>,
}

impl Exchange {
    /// Whether Microsoft's emergency mitigation service comes with this build: from the cumulative updates of
    /// September 2021 on (2016 CU22, 2019 CU11), never for 2013. On such a server two services may write the
    /// same rules.
    pub fn has_mitigation_service(&self) -> bool {
        let since = match self.product {
            Product::Exchange2013 => return false,
            Product::Exchange2016 => Build::new(15, 1, 2375, 7),
            Product::Exchange2019 | Product::ExchangeSe => Build::new(15, 2, 986, 5),
        };
        self.build >= since && self.roles.contains(&Role::Mailbox)
    }
}

/// `Exchange Server 2019 CU11 (15.2.986.5)`.
impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.release {
            Some(release) => write!(f, "{} {} ({})", self.product, release.name, self.build),
            None => write!(f, "{}, a build that is not listed ({})", self.product, self.build),
        }
    }
}

/// What was found of Exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installation {
    /// No Exchange of version 15.
    None,
    /// Exchange is here, and is none of our business: an Edge server, or the management tools alone. Why.
    LeftAlone(String),
    /// Something of Exchange is here, and what exactly could not be told. Why.
    Unknown(String),
    /// A server that mitigations can be for.
    Present(Exchange),
}

/// Reads what is installed of Exchange.
pub fn exchange(readings: &Readings) -> Installation {
    match (&readings.install_path, &readings.ex_setup) {
        (Reading::Unreadable(why), _) => return Installation::Unknown(format!("MsiInstallPath: {why}")),
        (Reading::Absent, Reading::Absent) if readings.roles.is_empty() => return Installation::None,
        _ => {}
    }
    if let Some(key) = readings.roles.iter().find(|key| key.watermark != Reading::Absent) {
        return Installation::Unknown(format!(
            "setup has begun and not finished: `{}` has a Watermark; run setup to its end",
            key.name
        ));
    }
    let mut roles = Vec::new();
    for key in &readings.roles {
        match (Role::of(&key.name), &key.configured) {
            (None, _) | (Some(_), Reading::Absent) => {}
            (Some(role), Reading::Value(_)) => roles.push(role),
            (Some(_), Reading::Unreadable(why)) => {
                return Installation::Unknown(format!("{}, ConfiguredVersion: {why}", key.name));
            }
        }
    }
    roles.sort_unstable();
    roles.dedup();
    if roles.contains(&Role::Edge) {
        return Installation::LeftAlone("an Edge Transport server: it has no IIS and no mailboxes".into());
    }
    if roles.is_empty() {
        return Installation::LeftAlone("no server role is configured: the management tools alone".into());
    }
    let build = match build(readings) {
        Ok(build) => build,
        Err(why) => return Installation::Unknown(why),
    };
    match Product::of(build) {
        Some(product) => {
            Installation::Present(Exchange { build, product, release: builds::release(build), roles })
        }
        None => Installation::Unknown(format!("{build} is no build of Exchange 2013, 2016, 2019 or SE")),
    }
}

/// The build by the file, checked against what setup wrote.
fn build(readings: &Readings) -> Result<Build, String> {
    let file = match &readings.ex_setup {
        Reading::Value(text) => text.parse::<Build>().map_err(|e| format!("ExSetup.exe: {e}"))?,
        Reading::Unreadable(why) => return Err(format!("the version of ExSetup.exe: {why}")),
        Reading::Absent => {
            return Err("ExSetup.exe has no version, and the registry does not know security updates".into());
        }
    };
    let mut numbers = [0; 4];
    for (number, reading) in numbers.iter_mut().zip(&readings.msi) {
        // Without the registry's numbers the file's stand alone; it is Microsoft's own source.
        let Reading::Value(text) = reading else { return Ok(file) };
        *number =
            text.trim().parse().map_err(|_| format!("the registry's build has `{text}` for a number"))?;
    }
    let [major, minor, number, revision] = numbers;
    let registry = Build::new(major, minor, number, revision);
    if registry.branch() == file.branch() {
        Ok(file)
    } else {
        Err(format!("ExSetup.exe says {file} and the registry {registry}: an update has not been finished"))
    }
}

/// The facts that the agent can state: names and versions, or why a version is unknown. A product that is not
/// listed is not on this server, and so is an Exchange that is left alone.
pub fn facts(readings: &Readings) -> Vec<(&'static str, Result<String, String>)> {
    let mut facts = Vec::new();
    match exchange(readings) {
        Installation::None | Installation::LeftAlone(_) => {}
        Installation::Unknown(why) => facts.push((EXCHANGE, Err(why))),
        Installation::Present(exchange) => facts.push((EXCHANGE, Ok(exchange.build.to_string()))),
    }
    for (name, reading) in [(IIS, &readings.iis), (URL_REWRITE, &readings.url_rewrite)] {
        match reading {
            Reading::Absent => {}
            Reading::Value(text) => facts.push((name, dotted(text))),
            Reading::Unreadable(why) => facts.push((name, Err(why.clone()))),
        }
    }
    if let Some(windows) = windows(&readings.windows) {
        facts.push((WINDOWS, windows.map(|windows| windows.version())));
    }
    facts
}
