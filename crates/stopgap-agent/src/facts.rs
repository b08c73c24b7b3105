//! Facts as this agent has them: stated in `stopgap.toml` and `facts.d`, and what the system says
//! of itself. Reading packages comes with the packages' own version comparison.

use stopgap_core::facts::{Fact, Facts};

use crate::config::{Config, TargetConfig};

/// This server's facts: the operating system's name, with what the configuration states on top.
pub fn facts(config: &Config) -> Facts {
    let mut facts = Facts::default();
    facts.insert(std::env::consts::OS, Fact::Unknown("this build does not read its version".into()));
    facts.overlaid(&config.facts.iter().map(|(name, version)| (name.clone(), version.clone())).collect())
}

/// What a target states of what it fronts.
pub fn target_facts(target: &TargetConfig) -> Facts {
    target.facts.iter().map(|(name, version)| (name.clone(), version.clone())).collect()
}
