//! `[[target]]`: a server of this machine that takes what mitigations say, and where it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;
use serde::Deserialize;
use stopgap_feed::document::ActionType;

/// One `[[target]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetConfig {
    /// What it is.
    pub kind: TargetKind,
    /// Its name on this server; default: its kind.
    #[serde(default)]
    pub name: Option<String>,
    /// A tree laid out as the server's file system; IIS: as its drive C:.
    #[serde(default = "root")]
    pub root: PathBuf,
    /// A site name or role in a mitigation to the sites here that play it.
    #[serde(default)]
    pub sites: BTreeMap<String, Vec<String>>,
    /// Where probes go; default: as bound.
    #[serde(default)]
    pub listeners: Vec<String>,
    /// A proxy fronts another host's product.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// The group of the organization that it fronts: what the hub tells of its versions counts here, but for products
    /// that `facts` states.
    #[serde(default)]
    pub protects: Option<String>,
    /// nginx, Apache, HAProxy, php-fpm: the program; default `/usr/sbin/nginx`, `/usr/sbin/apache2`,
    /// `/usr/sbin/haproxy`, and for php-fpm the one of the version that its configuration is in the folder of.
    #[serde(default)]
    pub binary: Option<PathBuf>,
    /// nginx, Apache, HAProxy: the configuration file, below `root`; default `/etc/nginx/nginx.conf`,
    /// `/etc/apache2/apache2.conf`, `/etc/haproxy/haproxy.cfg`; php-fpm's: `/etc/php/VERSION/fpm/php-fpm.conf`, where
    /// one version alone is there.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// gateway: its control socket; default `gateway/control.sock` in the data folder. HAProxy: its stats
    /// socket; default: the one that its configuration names.
    #[serde(default)]
    pub control: Option<PathBuf>,
    /// systemd: units that are never stopped, beside those that no server can do without: names with or
    /// without their type, `*` at the end for all that begin so. Windows: services, php-fpm: pools, likewise.
    #[serde(default)]
    pub never_touch: Vec<String>,
    /// systemd, Windows, php-fpm: how many services or pools may be out of service at once because of mitigations; default 5.
    #[serde(default)]
    pub max_stopped: Option<usize>,
    /// systemd: how long a unit may take to stop or to start before the change is taken back; default two minutes, which is the most.
    #[serde(default)]
    pub stop_within: Option<SignedDuration>,
}

impl TargetConfig {
    /// Its name on this server.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(self.kind.word())
    }
}

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum TargetKind {
    Nginx,
    Apache,
    Haproxy,
    Gateway,
    Systemd,
    Winservice,
    Phpfpm,
    Iis,
}

impl TargetKind {
    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            TargetKind::Nginx => "nginx",
            TargetKind::Apache => "apache",
            TargetKind::Haproxy => "haproxy",
            TargetKind::Gateway => "gateway",
            TargetKind::Systemd => "systemd",
            TargetKind::Winservice => "winservice",
            TargetKind::Phpfpm => "phpfpm",
            TargetKind::Iis => "iis",
        }
    }

    /// The types of actions that it takes.
    pub fn takes(self) -> &'static [ActionType] {
        match self {
            TargetKind::Systemd | TargetKind::Winservice => &[ActionType::Service],
            TargetKind::Phpfpm => &[ActionType::AppPool],
            TargetKind::Nginx | TargetKind::Apache | TargetKind::Haproxy | TargetKind::Gateway => {
                &[ActionType::UrlRewrite]
            }
            TargetKind::Iis => &[ActionType::UrlRewrite, ActionType::AppPool],
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(if cfg!(windows) { "C:\\" } else { "/" })
}
