//! What of this server's units we have out of service, and what they were before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stopgap_core::plan::Switch;

use super::unit::Unit;

/// In the settings of a switch: what the unit's file is to systemd.
pub(super) const ENABLEMENT: &str = "enablement";
/// In the settings of a switch: what the unit does.
pub(super) const STATE: &str = "state";
/// In the settings of a switch: what keeps it from starting, and why that.
pub(super) const KEPT_OFF: &str = "kept off by";

/// The units that are out of service because of us, in the order in which they were stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Each with what it was before.
    pub units: Vec<Entry>,
    /// The name that a mitigation gave, to the unit that had it.
    pub resolved: BTreeMap<String, String>,
}

/// One unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub unit: String,
    pub how: How,
    /// Before, in systemd's word.
    pub enablement: String,
    /// Whether it ran before.
    pub ran: bool,
    /// Its state before, in words.
    pub state: String,
    /// What ran before and stopped with it.
    pub also: Vec<String>,
    /// The service that it would start, for a socket, a timer or a path: once masked, systemd has forgotten it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<String>,
}

/// What keeps a unit from starting, also after the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    /// A link to `/dev/null` in `/etc/systemd/system`, by `systemctl mask`.
    Mask,
    /// A drop-in with a condition that never holds, where the unit's own file is in the place of that link.
    Condition,
    /// Somebody had masked it before.
    MaskedBefore,
}

impl How {
    /// What fits this unit.
    pub(super) fn of(unit: &Unit) -> How {
        if unit.enablement == "masked" {
            How::MaskedBefore
        } else if unit.enablement.starts_with("linked") || unit.fragment == link(&unit.id) {
            How::Condition
        } else {
            How::Mask
        }
    }

    fn words(self) -> &'static str {
        match self {
            How::Mask => "mask",
            How::Condition => {
                "a condition that never holds (its file is in /etc, and such a unit cannot be masked)"
            }
            How::MaskedBefore => "its mask of before",
        }
    }

    /// As the settings of a switch say it.
    pub(super) fn from_settings(settings: &BTreeMap<String, String>) -> Option<How> {
        let words = settings.get(KEPT_OFF)?;
        [How::Mask, How::Condition, How::MaskedBefore].into_iter().find(|how| how.words() == words)
    }

    /// Whether a unit is kept off this way.
    pub(super) fn keeps(self, unit: &Unit) -> bool {
        match self {
            How::Mask | How::MaskedBefore => unit.load == "masked" && unit.enablement == "masked",
            How::Condition => unit.drop_ins.contains(&drop_in(&unit.id)),
        }
    }
}

/// Where the mask of a unit is.
pub(super) fn link(unit: &str) -> String {
    format!("/etc/systemd/system/{unit}")
}

/// Where the condition of a unit is.
pub(super) fn drop_in(unit: &str) -> String {
    format!("/etc/systemd/system/{unit}.d/90-stopgap.conf")
}

/// What stands there. The root folder is always there.
pub(super) const CONDITION: &str = "# The Stopgap agent keeps this unit from starting: `stopgap status` says why.\n\
                                    [Unit]\nConditionPathExists=!/\n";

impl Entry {
    /// What is to be noted of a unit before it is taken out of service.
    pub(super) fn of(unit: &Unit) -> Entry {
        Entry {
            unit: unit.id.clone(),
            how: How::of(unit),
            enablement: unit.enablement.clone(),
            ran: unit.runs(),
            state: unit.state(),
            also: Vec::new(),
            starts: None,
        }
    }

    fn out_of_service(&self) -> BTreeMap<String, String> {
        [(KEPT_OFF, self.how.words()), (STATE, "inactive")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    fn in_service(&self) -> BTreeMap<String, String> {
        let enablement = if self.enablement.is_empty() { "none" } else { &self.enablement };
        [(ENABLEMENT, enablement), (STATE, &self.state)].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    /// Out of service, from what it is now.
    pub(super) fn off(&self, now: &Unit) -> Switch {
        let mut before = Entry::of(now).in_service();
        if self.how != How::MaskedBefore && self.how.keeps(now) {
            before.insert(KEPT_OFF.to_owned(), self.how.words().to_owned());
        }
        Switch {
            name: self.unit.clone(),
            off: true,
            before,
            after: self.out_of_service(),
            also: self.also.clone(),
        }
    }

    /// Back to what it was.
    pub(super) fn on(&self) -> Switch {
        let also = if self.ran { self.also.clone() } else { Vec::new() };
        Switch {
            name: self.unit.clone(),
            off: false,
            before: self.out_of_service(),
            after: self.in_service(),
            also,
        }
    }
}

/// Whether a switch's settings say that the unit runs.
pub(super) fn runs(settings: &BTreeMap<String, String>) -> bool {
    let state = settings.get(STATE).map_or("", String::as_str);
    !state.is_empty() && !state.starts_with("inactive") && !state.starts_with("failed")
}
