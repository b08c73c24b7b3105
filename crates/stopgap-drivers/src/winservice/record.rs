//! What of this server's services we have out of service, and what they were before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stopgap_core::plan::Switch;

use crate::host::services::{Service, Start, State};

/// In the settings of a switch: when the service starts.
const START: &str = "start type";
/// In the settings of a switch: what the service does.
const STATE: &str = "state";

/// The services that are out of service because of us, in the order in which they were stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Each with what it was before.
    pub services: Vec<Entry>,
    /// The name that a mitigation gave, to the service that had it.
    pub resolved: BTreeMap<String, String>,
}

impl Record {
    pub(super) fn entry(&self, service: &str) -> Option<&Entry> {
        self.services.iter().find(|entry| entry.service.eq_ignore_ascii_case(service))
    }
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub service: String,
    /// Before.
    pub start: Start,
    /// Before.
    pub state: State,
    /// What ran before and stopped with it, in the order in which it was stopped.
    pub also: Vec<String>,
    /// It would have started others again: it goes with them, and no mitigation named it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watchdog: bool,
}

impl Entry {
    /// What is to be noted of a service before it is taken out of service.
    pub(super) fn of(service: &Service) -> Entry {
        Entry {
            service: service.name.clone(),
            start: service.start,
            state: service.state,
            also: Vec::new(),
            watchdog: false,
        }
    }

    /// Out of service, from what it is now.
    pub(super) fn off(&self, now: &Service) -> Switch {
        Switch {
            name: self.service.clone(),
            off: true,
            before: settings(now.start, now.state),
            after: settings(Start::Disabled, State::Stopped),
            also: self.also.clone(),
        }
    }

    /// Back to what it was.
    pub(super) fn on(&self) -> Switch {
        Switch {
            name: self.service.clone(),
            off: false,
            before: settings(Start::Disabled, State::Stopped),
            after: settings(self.start, self.state),
            also: if self.state.runs() { self.also.clone() } else { Vec::new() },
        }
    }
}

fn settings(start: Start, state: State) -> BTreeMap<String, String> {
    [(START, start.to_string()), (STATE, state.to_string())].map(|(k, v)| (k.to_owned(), v)).into()
}

/// When it starts, as a switch's settings say it.
pub(super) fn start(settings: &BTreeMap<String, String>) -> Option<Start> {
    let words = settings.get(START)?;
    Start::ALL.into_iter().find(|start| start.to_string() == *words)
}

/// Whether a switch's settings say that the service runs.
pub(super) fn runs(settings: &BTreeMap<String, String>) -> bool {
    settings.get(STATE).is_some_and(|state| *state != State::Stopped.to_string())
}

/// Stopped, and nobody starts it.
pub(super) fn is_off(service: &Service) -> bool {
    !service.state.runs() && service.start == Start::Disabled
}
