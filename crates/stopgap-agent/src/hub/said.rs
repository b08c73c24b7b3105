//! What the organization wants of this server: the hub's answer as it is kept, and what it means for policy,
//! network and feeds.
//!
//! It is kept as it came and read anew by each cycle, whoever starts it. Everything here only holds back,
//! but for the approvals, which release what an organization or a server holds back until somebody approves.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_core::policy::{Approval, Policy};
use stopgap_core::report::PauseReport;
use stopgap_core::wire::Settings;
use stopgap_drivers::{Host, Machine};

use super::contact::Contact;
use super::enrollment::Enrollment;
use crate::config::{Config, ConfigError};
use crate::home::{Home, HomeError};

const FILE: &str = "hub/settings.json";

/// `hub/settings.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// What the hub said.
    pub settings: Settings,
    /// When.
    pub received_at: Timestamp,
}

impl Said {
    /// What is kept; `None` where nothing was ever said, or this server belongs to no hub: what a cut-off enrollment
    /// or leave left there does not count.
    pub fn load(home: &Home, host: &dyn Host) -> Result<Option<Said>, HomeError> {
        if !Enrollment::is_there(home, host) {
            return Ok(None);
        }
        home.load(host, FILE)
    }

    /// Replaces it. The caller holds the lock.
    pub(super) fn save(&self, home: &Home, host: &dyn Host) -> Result<(), HomeError> {
        home.make_folder(host, super::FOLDER)?;
        home.save(host, FILE, self)
    }

    /// Holds back what the organization holds back. `may_revert`: its blocks may take off what is in force.
    pub fn hold_back(&self, policy: &mut Policy, may_revert: bool, now: Timestamp) {
        let Settings {
            organization_enabled,
            server_enabled,
            blocks,
            approval,
            approvals,
            rings,
            windows,
            ..
        } = &self.settings;
        policy.organization_enabled &= organization_enabled;
        // Off wins: what an operator switched off on the server itself stays off.
        policy.server_enabled &= server_enabled.unwrap_or(true);
        let of_now = blocks.iter().filter(|block| block.until.is_none_or(|until| now < until));
        policy.blocks.extend(of_now.cloned().map(|mut block| {
            block.take_off &= may_revert;
            block
        }));
        policy.paused_until = policy.paused_until.max(self.frozen_until(now));
        if *approval == Some(Approval::Required) {
            policy.approval = Approval::Required;
        }
        policy.approvals.extend(approvals.iter().cloned());
        policy.windows.clone_from(windows);
        // The server's own stand nearer.
        if policy.rings.is_empty() {
            policy.rings.clone_from(rings);
        }
    }

    /// Whether a person approves first, whatever a feed's table says.
    pub fn requires_approval(&self) -> bool {
        self.settings.approval == Some(Approval::Required)
    }

    /// The freeze that holds now.
    pub fn frozen_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.settings.frozen_until.filter(|until| now < *until)
    }

    /// The freeze as a pause.
    pub(crate) fn pause(&self, now: Timestamp) -> Option<PauseReport> {
        self.frozen_until(now).map(|until| PauseReport {
            until,
            since: self.received_at,
            by: "the organization".into(),
            reason: None,
        })
    }

    /// Puts into `config` what the organization says of the way out and of groups, and the hub's mirror behind each
    /// feed's own addresses. What cannot be used is told, and is as if it was not said.
    fn adopt(&self, config: &mut Config, hub: &str) -> Option<String> {
        let mut wrong = None;
        if let Some(proxy) = &self.settings.internet_web_proxy {
            match config.network.through(proxy, &self.settings.internet_web_proxy_bypass) {
                Ok(network) => config.network = network,
                Err(message) => {
                    wrong = Some(format!("what the hub says of the proxy is not heeded: {message}"))
                }
            }
        }
        config.data_collection_enabled = self.settings.data_collection_enabled;
        config.groups = Some(self.settings.protected.clone());
        let base = hub.trim_end_matches('/');
        for feed in config.feeds.iter_mut().filter(|feed| self.settings.feeds.contains(&feed.name)) {
            let mirror = format!("{base}/v1/agent/feeds/{}", feed.name);
            if feed.url != mirror && !feed.mirrors.contains(&mirror) {
                feed.mirrors.push(mirror);
            }
        }
        wrong
    }
}

/// The configuration as it counts: `path` with its drop-ins, and what the organization says of network and
/// feeds. What of that cannot be read does not stop anything here: the cycle finds the same, and says so.
pub fn configured(path: &Path, hostname: &str) -> Result<Config, ConfigError> {
    let mut config = Config::load(path, hostname)?;
    let home = Home::at(&config.data);
    let said = Said::load(&home, &Machine).ok().flatten();
    let contact = Contact::load(&home, &Machine).ok().flatten();
    if let (Some(said), Some(contact)) = (said, contact)
        && let Some(wrong) = said.adopt(&mut config, &contact.hub)
    {
        tracing::warn!("{wrong}");
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopgap_core::policy::{Block, Level};

    const NOW: &str = "2026-11-22T03:00:00Z";

    fn said(settings: &str) -> Said {
        let text = format!(r#"{{"version":"1","organization_enabled":true{settings}}}"#);
        Said { settings: serde_json::from_str(&text).unwrap(), received_at: NOW.parse().unwrap() }
    }

    fn policy(settings: &str, own: Policy) -> Policy {
        let mut policy = own;
        said(settings).hold_back(&mut policy, true, NOW.parse().unwrap());
        policy
    }

    #[test]
    fn a_hub_switches_off_and_never_on() {
        let off = Policy { server_enabled: false, ..Policy::default() };
        assert_eq!(policy(r#","server_enabled":true"#, off).disabled_by(), Some(Level::Server));
        assert_eq!(
            policy(r#","server_enabled":false"#, Policy::default()).disabled_by(),
            Some(Level::Server)
        );
        let mut of_all = said("");
        of_all.settings.organization_enabled = false;
        let mut policy = Policy::default();
        of_all.hold_back(&mut policy, true, NOW.parse().unwrap());
        assert_eq!(policy.disabled_by(), Some(Level::Organization));
    }

    #[test]
    fn required_wins_over_automatic_and_never_the_reverse() {
        let required = || Policy { approval: Approval::Required, ..Policy::default() };
        for (word, own, expected) in [
            (r#","approval":"required""#, Policy::default(), Approval::Required),
            (r#","approval":"automatic""#, required(), Approval::Required),
            ("", required(), Approval::Required),
            ("", Policy::default(), Approval::Automatic),
        ] {
            assert_eq!(policy(word, own).approval, expected, "{word}");
        }
    }

    #[test]
    fn blocks_are_added_and_take_off_only_where_they_may() {
        let blocks = r#","blocks":[{"id":"M1","level":"organization","take_off":true},
            {"id":"M2","level":"group","until":"2026-11-22T02:00:00Z"}]"#;
        let own = Block {
            id: "M3".parse().unwrap(),
            feed: None,
            level: Level::Server,
            take_off: true,
            reason: None,
            until: None,
        };
        for may in [true, false] {
            let mut policy = Policy { blocks: vec![own.clone()], ..Policy::default() };
            said(blocks).hold_back(&mut policy, may, NOW.parse().unwrap());
            let found: Vec<(String, bool)> =
                policy.blocks.iter().map(|block| (block.id.to_string(), block.take_off)).collect();
            assert_eq!(found, [("M3".to_owned(), true), ("M1".to_owned(), may)]);
        }
    }

    #[test]
    fn the_longer_pause_counts_and_one_that_is_over_does_not() {
        let until = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let own = Policy { paused_until: until("2026-11-22T04:00:00Z"), ..Policy::default() };
        let frozen = |end: &str| format!(r#","frozen_until":"{end}""#);
        let later = policy(&frozen("2026-11-22T05:00:00Z"), own.clone());
        assert_eq!(later.paused_until, until("2026-11-22T05:00:00Z"));
        assert_eq!(policy(&frozen("2026-11-22T02:00:00Z"), own).paused_until, until("2026-11-22T04:00:00Z"));
        assert_eq!(policy(&frozen("2026-11-22T02:00:00Z"), Policy::default()).paused_until, None);
    }

    #[test]
    fn without_an_enrollment_nothing_that_was_said_counts() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&Machine, folder.path()).unwrap();
        said("").save(&home, &Machine).unwrap();
        assert!(Said::load(&home, &Machine).unwrap().is_none());
        home.save(&Machine, "hub/enrollment.json", &0).unwrap();
        assert!(Said::load(&home, &Machine).unwrap().is_some());
    }

    #[test]
    fn a_servers_own_rings_stand_nearer() {
        let rings = r#","rings":[{"percent":50,"after_seconds":60}]"#;
        assert_eq!(policy(rings, Policy::default()).rings.len(), 1);
        let own = vec![stopgap_feed::document::Wave { percent: 100, after_seconds: 7 }];
        assert_eq!(policy(rings, Policy { rings: own.clone(), ..Policy::default() }).rings, own);
    }

    #[test]
    fn the_mirror_comes_last_and_a_wrong_proxy_is_as_if_it_was_not_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stopgap.toml");
        std::fs::write(&path, "[[feed]]\nname = \"example\"\nurl = \"https://a/\"\ntrust = \"t\"").unwrap();
        let mut config = Config::load(&path, "server1").unwrap();
        let said = said(r#","feeds":["example","other"],"internet_web_proxy":"ftp://x""#);
        let wrong = said.adopt(&mut config, "https://hub/");
        assert!(wrong.unwrap().contains("internet_web_proxy"));
        assert_eq!(config.feeds[0].mirrors, ["https://hub/v1/agent/feeds/example"]);
        assert_eq!(config.network.proxy, None);
    }
}
