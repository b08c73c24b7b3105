//! `feed.toml`: what it says, and the text of a new one.

use serde::Deserialize;
use stopgap_feed::{FeedName, Id};

/// `feed.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedSettings {
    /// The feed's name; it stands in every document and never changes.
    pub name: FeedName,
    /// Days from a release's `issued` to its `expires`.
    #[serde(default = "default_horizon_days")]
    pub horizon_days: u16,
    /// The longest time in which nobody of the publisher's is there to renew the feed (holidays). A
    /// horizon shorter than this would let the feed expire unattended.
    #[serde(default = "default_on_call_gap_days")]
    pub on_call_gap_days: u16,
    /// What was recalled; it stays in the list for as long as any server may still have it.
    #[serde(default)]
    pub withdrawn: Vec<Withdrawal>,
}

fn default_horizon_days() -> u16 {
    14
}

fn default_on_call_gap_days() -> u16 {
    4
}

/// `[[withdrawn]]` in `feed.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// The mitigation.
    pub id: Id,
    /// Why, for the people whose servers had it.
    pub reason: String,
}

/// A new feed's `feed.toml`.
pub(super) fn settings_toml(name: &FeedName) -> String {
    format!(
        "# This feed. The name stands in every release and in every subscriber's settings: keep it.
name = \"{name}\"

# Days for which a release is valid. An expired feed brings nothing new; nothing is taken off.
horizon_days = {}

# The longest time in which nobody is there to renew it. `lint` refuses a shorter horizon.
on_call_gap_days = {}

# What was recalled; `stopgap feed withdraw` writes it.
# [[withdrawn]]
# id = \"M0\"
# reason = \"Superseded by the vendor's hotfix.\"
",
        default_horizon_days(),
        default_on_call_gap_days(),
    )
}
