//! What the agents of these tests are told: one feed, and targets that each test brings itself.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use stopgap_agent::config::{Config, FeedConfig, HooksConfig, HubConfig, NetworkConfig};
use stopgap_core::policy::{Approval, DEFAULT_SOAK_SECONDS, Removal};

use crate::world::DATA;

pub fn config() -> Config {
    Config {
        path: "/etc/stopgap/stopgap.toml".into(),
        data: DATA.into(),
        logs: "/logs".into(),
        server: "server1".into(),
        interval: SignedDuration::from_hours(1),
        mitigations_enabled: true,
        mitigations_blocked: Vec::new(),
        removal: Removal::Automatic,
        soak_seconds: DEFAULT_SOAK_SECONDS,
        metrics: None,
        settle: SignedDuration::from_secs(120),
        approval: Approval::Automatic,
        observe: false,
        rings: Vec::new(),
        critical_at_once: false,
        hooks: HooksConfig::default(),
        network: NetworkConfig::default(),
        hub: HubConfig::default(),
        data_collection_enabled: false,
        tell: Default::default(),
        feeds: vec![FeedConfig {
            name: "example".parse().unwrap(),
            url: "https://feed.example.org/feed.xml".into(),
            mirrors: Vec::new(),
            trust: "/etc/stopgap/trust.toml".into(),
            events: None,
            unknown_applies: false,
            redirects_to_private: false,
            approval: None,
            observe: None,
        }],
        targets: Vec::new(),
        facts: BTreeMap::new(),
        groups: None,
    }
}
