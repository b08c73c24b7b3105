//! Targets: from their tables in the configuration to drivers.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use stopgap_core::facts::Facts;
use stopgap_core::fronted::Group;
use stopgap_core::observed::Listener;
use stopgap_core::select::TargetView;
use stopgap_drivers::apache::{self, Apache};
use stopgap_drivers::gateway::{self, Gateway};
use stopgap_drivers::haproxy::{self, Haproxy};
use stopgap_drivers::hook::Hooked;
use stopgap_drivers::iis::{self, Iis};
use stopgap_drivers::nginx::{self, Nginx};
use stopgap_drivers::phpfpm::{self, Phpfpm};
use stopgap_drivers::server::Settings;
use stopgap_drivers::systemd::{self, Systemd};
use stopgap_drivers::winservice::{self, WinService};
use stopgap_drivers::{Driver, Machine};

use crate::config::{Config, ConfigError, TargetConfig, TargetKind};
use crate::cycle::Target;
use crate::facts::target_facts;

/// Every target of the configuration, in order.
pub fn targets(config: &Config, facts: &Facts) -> Result<Vec<Target>, ConfigError> {
    config.targets.iter().map(|target| build(config, target, facts)).collect()
}

fn build(config: &Config, target: &TargetConfig, facts: &Facts) -> Result<Target, ConfigError> {
    let view = TargetView {
        name: target.name().to_owned(),
        facts: facts_of(config, target, facts),
        sites: match target.kind {
            TargetKind::Iis => iis::roles(&Machine, &target.root, &target.sites),
            _ => target.sites.clone(),
        },
        takes: target.kind.takes(),
    };
    let driver: Box<dyn Driver> = match target.kind {
        TargetKind::Nginx => Box::new(Nginx::new(settings(config, target, nginx::settings)?)),
        TargetKind::Apache => Box::new(Apache::new(settings(config, target, apache::settings)?)),
        TargetKind::Haproxy => Box::new(haproxy(config, target)?),
        TargetKind::Gateway => Box::new(Gateway::new(gateway_settings(config, target)?)),
        TargetKind::Systemd => Box::new(Systemd::new(systemd_settings(config, target))),
        TargetKind::Winservice => Box::new(WinService::new(winservice_settings(config, target))),
        TargetKind::Phpfpm => Box::new(Phpfpm::new(phpfpm_settings(config, target))),
        TargetKind::Iis => Box::new(Iis::new(iis_settings(config, target)?)),
    };
    Ok(Target { driver, view })
}

/// What counts at a target: this server's facts, those of the group that it fronts, and its own.
fn facts_of(config: &Config, target: &TargetConfig, facts: &Facts) -> Facts {
    let own = target_facts(target);
    let all = facts.overlaid(&own);
    match fronted(config, target) {
        None => all,
        Some((name, group)) => all.fronting(name, group, &own),
    }
}

/// The group that a target fronts, as the hub told of it last. Where it told nothing, everything of it is unknown, and
/// the reason says what to do.
pub fn fronted<'a>(config: &Config, target: &'a TargetConfig) -> Option<(&'a str, Group)> {
    let name = target.protects.as_deref()?;
    let group = match &config.groups {
        None => Group::unknown(
            "no hub has told this server of it yet: `stopgap agent enroll` joins one; without, state the versions \
             under [target.facts]",
        ),
        Some(groups) => groups.get(name).cloned().unwrap_or_else(|| {
            Group::unknown(format!(
                "the hub does not tell this server of it: an administrator gives it there the label protects={name}"
            ))
        }),
    };
    Some((name, group))
}

/// The folder of a target's sets.
fn folder(config: &Config, target: &TargetConfig) -> PathBuf {
    config.data.join(target.name())
}

/// The driver of a target whose hook stands in the operator's files, for `agent hook`; `None`: it needs none.
pub fn hooked(config: &Config, target: &TargetConfig) -> Result<Option<Box<dyn Hooked>>, ConfigError> {
    Ok(match target.kind {
        TargetKind::Nginx => Some(Box::new(Nginx::new(settings(config, target, nginx::settings)?))),
        TargetKind::Apache => Some(Box::new(Apache::new(settings(config, target, apache::settings)?))),
        TargetKind::Haproxy => Some(Box::new(haproxy(config, target)?)),
        TargetKind::Systemd
        | TargetKind::Winservice
        | TargetKind::Phpfpm
        | TargetKind::Gateway
        | TargetKind::Iis => None,
    })
}

fn haproxy(config: &Config, target: &TargetConfig) -> Result<Haproxy, ConfigError> {
    let socket = target.control.as_ref().map(|socket| folder_of(config).join(socket));
    Ok(Haproxy::new(settings(config, target, haproxy::settings)?, socket))
}

/// What relative paths of the configuration are relative to.
fn folder_of(config: &Config) -> PathBuf {
    config.path.parent().map(PathBuf::from).unwrap_or_default()
}

/// `places`: where a distribution has the server, from its name, the folder of its sets and its root.
fn settings(
    config: &Config,
    target: &TargetConfig,
    places: fn(&str, PathBuf, PathBuf) -> Settings,
) -> Result<Settings, ConfigError> {
    let mut settings = places(target.name(), folder(config, target), target.root.clone());
    if let Some(binary) = &target.binary {
        settings.binary.clone_from(binary);
    }
    if let Some(file) = &target.config {
        settings.config = target.root.join(file.strip_prefix("/").unwrap_or(file));
    }
    settings.listeners = listeners(config, target)?;
    Ok(settings)
}

fn iis_settings(config: &Config, target: &TargetConfig) -> Result<iis::Settings, ConfigError> {
    Ok(iis::Settings {
        name: target.name().to_owned(),
        folder: folder(config, target),
        root: target.root.clone(),
        listeners: listeners(config, target)?,
        probed: target.sites.values().flatten().cloned().collect(),
    })
}

fn systemd_settings(config: &Config, target: &TargetConfig) -> systemd::Settings {
    systemd::Settings {
        name: target.name().to_owned(),
        folder: folder(config, target),
        never_touch: target.never_touch.clone(),
        max_stopped: target.max_stopped.unwrap_or(systemd::MAX_STOPPED),
        stop_within: target.stop_within.map_or(systemd::JOB, SignedDuration::unsigned_abs),
    }
}

fn winservice_settings(config: &Config, target: &TargetConfig) -> winservice::Settings {
    winservice::Settings {
        name: target.name().to_owned(),
        folder: folder(config, target),
        never_touch: target.never_touch.clone(),
        max_stopped: target.max_stopped.unwrap_or(winservice::MAX_STOPPED),
    }
}

/// Of several versions that are installed, `config` says which. That it does not is an error of this target alone,
/// since the next version may come with an update.
fn phpfpm_settings(config: &Config, target: &TargetConfig) -> phpfpm::Settings {
    let versions = target.root.join("etc/php");
    let named = target.config.as_ref().map(|file| target.root.join(file.strip_prefix("/").unwrap_or(file)));
    let mut found = match &named {
        Some(file) => {
            let below = file.strip_prefix(&versions).ok().and_then(|below| below.components().next());
            below.map(|version| version.as_os_str().to_string_lossy().into_owned()).into_iter().collect()
        }
        None => php_versions(&versions),
    };
    let unclear = match found.as_slice() {
        _ if named.is_some() => None,
        [_] => None,
        [] => {
            Some(format!("there is no php-fpm below {}: give its main file as `config`", versions.display()))
        }
        several => Some(format!(
            "there are several versions of php-fpm ({}): give the main file of one as `config`, and a target to each",
            several.join(", ")
        )),
    };
    let version = found.pop().unwrap_or_default();
    let (name, folder) = (target.name(), folder(config, target));
    let mut settings = phpfpm::settings(name, folder, target.root.clone(), &version);
    if let Some(file) = named {
        settings.server.config = file;
    }
    if let Some(binary) = &target.binary {
        settings.server.binary.clone_from(binary);
    }
    settings.unclear = unclear;
    settings.never_touch.clone_from(&target.never_touch);
    settings.max_stopped = target.max_stopped.unwrap_or(phpfpm::MAX_STOPPED);
    settings
}

/// The versions of PHP with an fpm, as Debian has them side by side.
fn php_versions(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter(|entry| entry.path().join("fpm/php-fpm.conf").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}

/// The gateway fronts one site; its name is the first that the configuration gives to a role.
fn gateway_settings(config: &Config, target: &TargetConfig) -> Result<gateway::Settings, ConfigError> {
    let folder = folder(config, target);
    let site = target.sites.values().flatten().next();
    Ok(gateway::Settings {
        name: target.name().to_owned(),
        control: match &target.control {
            Some(socket) => folder_of(config).join(socket),
            None => gateway::Settings::default_control(&folder),
        },
        listeners: listeners(config, target)?,
        site: site.cloned().unwrap_or_else(|| target.name().to_owned()),
        folder,
    })
}

/// `https://127.0.0.1:443`, or with a name: `https://mail.example.org:8443`.
fn listeners(config: &Config, target: &TargetConfig) -> Result<Vec<Listener>, ConfigError> {
    target
        .listeners
        .iter()
        .map(|text| {
            parse_listener(text).ok_or_else(|| ConfigError::Invalid {
                path: config.path.clone(),
                message: format!(
                    "target {}: `{text}` is not a listener: expected http://ADDRESS:PORT or https://ADDRESS:PORT",
                    target.name()
                ),
            })
        })
        .collect()
}

fn parse_listener(text: &str) -> Option<Listener> {
    let (tls, rest) = match text.split_once("://")? {
        ("https", rest) => (true, rest),
        ("http", rest) => (false, rest),
        _ => return None,
    };
    let authority = rest.trim_end_matches('/');
    let with_port = match authority.parse::<SocketAddr>() {
        Ok(_) => authority.to_owned(),
        Err(_) if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
            authority.to_owned()
        }
        Err(_) => format!("{authority}:{}", if tls { 443 } else { 80 }),
    };
    let host = with_port.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']).to_owned())?;
    // Windows takes no name for the name of this machine.
    let address = (!host.is_empty()).then(|| with_port.to_socket_addrs().ok()?.next())??;
    Some(Listener { tls, address, host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_as_written() {
        let read = |text| parse_listener(text).map(|listener| (listener.to_string(), listener.host));
        assert_eq!(
            read("https://127.0.0.1:8443"),
            Some(("https://127.0.0.1:8443".into(), "127.0.0.1".into()))
        );
        assert_eq!(read("http://127.0.0.1"), Some(("http://127.0.0.1:80".into(), "127.0.0.1".into())));
        assert_eq!(read("http://[::1]:80/"), Some(("http://[::1]:80".into(), "::1".into())));
        for bad in ["127.0.0.1:443", "ftp://127.0.0.1", "https://", "http://:x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    /// A configuration with one target, with `word` in its table, and what a hub says of groups.
    fn config(word: &str, groups: Option<&str>) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stopgap.toml");
        let text =
            format!("data = \"data\"\n[facts]\nexchange = \"2\"\n[[target]]\nkind = \"gateway\"\n{word}");
        std::fs::write(&path, text).unwrap();
        let mut config = Config::load(&path, "Server1").unwrap();
        config.groups = groups.map(|text| serde_json::from_str(text).unwrap());
        config
    }

    #[test]
    fn a_hubs_word_of_a_group_counts_at_a_target_that_names_it_and_nowhere_else() {
        use stopgap_core::applicability::{Applicability, judge};
        use stopgap_feed::document::{Condition, Product, Range, VersionScheme};
        let below_two = Condition::Product(Product {
            name: "exchange".into(),
            scheme: VersionScheme::Dotted,
            ecosystem: None,
            detect: Vec::new(),
            ranges: vec![Range { from: None, below: Some("2".into()), through: None }],
        });
        let web = r#"{"web":{"products":{"exchange":{"versions":[{"version":"1","server":"mail3"}]}}}}"#;
        let judged = |word: &str, groups: Option<&str>| {
            let config = config(word, groups);
            let facts: Facts = config.facts.iter().collect();
            judge(Some(&below_two), &facts_of(&config, &config.targets[0], &facts))
        };
        let fixed = Applicability::DoesNotHold("exchange 2 is in none of the affected ranges".into());
        assert_eq!(judged("", Some(web)), fixed, "nobody here asked for it");
        let affected = Applicability::Holds("exchange 1 (group web: mail3) is below 2".into());
        assert_eq!(judged("protects = \"web\"", Some(web)), affected);
        assert_eq!(judged("protects = \"web\"\nfacts = { exchange = \"2\" }", Some(web)), fixed);
        for (groups, to_do) in [(None, "agent enroll"), (Some("{}"), "label protects=web")] {
            let unknown = judged("protects = \"web\"", groups);
            assert!(matches!(&unknown, Applicability::Unknown(why) if why.contains(to_do)), "{unknown:?}");
        }
    }
}
