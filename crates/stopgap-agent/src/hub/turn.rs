//! Turns: where an organization's servers change one after another, this one asks its hub before it puts
//! anything on, and waits while another is at it. Where only so many of them may have something stopped, it asks
//! before it stops a service or a pool, and only that waits.
//!
//! Only a hub that says "not yet" makes it wait for its turn. One that does not answer holds up nobody: protection
//! does not depend on it. A stop that nobody granted waits, though: a hub that is away for a minute must not stop
//! a service on every server of a group.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_core::report::PauseReport;
use stopgap_core::stops;
use stopgap_core::wire::{Turn, TurnAnswer};
use stopgap_drivers::host::remove_if_there;
use stopgap_drivers::{Host, Machine};
use tokio::time::timeout;

use super::books::Books;
use super::client::Client;
use super::enrollment::Enrollment;
use super::said::Said;
use crate::config::Config;
use crate::cycle::Done;
use crate::home::{Home, HomeError};

const FILE: &str = "hub/turn.json";

/// Until it asks again, and at most as much longer at random.
const AGAIN: i64 = 20;
/// What asking again may take, with the fetching before it.
const ASKING: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);
/// What the question may take.
const QUESTION: Duration = Duration::from_secs(10);
/// What is named at a time; of more, those that come first.
const MAX_NAMED: usize = 1000;
/// Why what nobody granted is not stopped.
const UNANSWERED: &str = "the organization caps how many servers have something stopped, and its hub does not answer \
    whether this one may; `stopgap apply --now ID` asks nobody";

/// `hub/turn.json`: it is another server's turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// When this server asks again.
    pub(crate) until: Timestamp,
    since: Timestamp,
    /// Whose turn it is.
    #[serde(default)]
    reason: Option<String>,
    /// Why nothing may be stopped. Then all else goes on.
    #[serde(default)]
    stops: Option<String>,
}

impl Waiting {
    /// What holds now.
    pub(crate) fn load(home: &Home, host: &dyn Host, now: Timestamp) -> Result<Option<Waiting>, HomeError> {
        let kept: Option<Waiting> = home.load(host, FILE)?;
        // One that began in the future was written by a clock that was wrong.
        Ok(kept.filter(|waiting| waiting.since <= now && now < waiting.end()))
    }

    /// As a pause; `None`: only stops wait.
    pub(crate) fn pause(&self) -> Option<PauseReport> {
        self.stops.is_none().then(|| PauseReport {
            until: self.until,
            since: self.since,
            by: "the organization, whose servers change one after another".into(),
            reason: self.reason.clone(),
        })
    }

    /// Why nothing may be stopped, where only that waits.
    pub(crate) fn stops(&self) -> Option<&str> {
        self.stops.as_deref()
    }

    /// A stop waits also while the question is asked again: nobody's cycle in between takes it for granted.
    fn end(&self) -> Timestamp {
        let more = if self.stops.is_some() { ASKING } else { jiff::SignedDuration::ZERO };
        self.until.saturating_add(more).unwrap_or(self.until)
    }

    fn save(&self, home: &Home) {
        if let Err(error) = home.save(&Machine, FILE, self) {
            tracing::warn!("this server does not wait for its turn: {}", crate::cycle::words(&error));
        }
    }
}

/// Whether this server asks before it puts something on, or before it stops something.
pub(crate) fn asks_first(config: &Config) -> bool {
    said(&Home::at(&config.data)).is_some_and(|said| said.settings.takes_turns || said.settings.caps_stops)
}

fn said(home: &Home) -> Option<Said> {
    Said::load(home, &Machine).ok().flatten()
}

/// Waits for nobody's turn: a plan shows what this server would do if it were its own. What waits to be stopped is
/// told from the rest, and goes on waiting.
pub(crate) fn forget_turn(config: &Config) {
    let home = Home::at(&config.data);
    let waiting = Waiting::load(&home, &Machine, Timestamp::now()).ok().flatten();
    if waiting.is_none_or(|waiting| waiting.stops.is_none()) {
        forget(&home);
    }
}

fn forget(home: &Home) {
    let path = home.path(FILE);
    // One that stays is over in a moment.
    let _ = remove_if_there(&Machine, &path);
}

/// Asks for the turn that this plan needs, and for the place of what it stops; keeps what makes this server wait.
pub(crate) async fn ask(config: &Config, planned: &Done) {
    let home = Home::at(&config.data);
    let Some(said) = said(&home) else { return };
    let puts_on = planned.plan.changes.iter().flat_map(|change| &change.puts_on);
    let mut mitigations: Vec<String> = puts_on.map(|what| what.key.to_string()).collect();
    let wanted = stops::wanted(&planned.plan, &planned.selection);
    mitigations.extend(wanted.iter().cloned());
    mitigations.sort();
    mitigations.dedup();
    mitigations.truncate(MAX_NAMED);
    let mut stops = Vec::new();
    // A server counts once, whatever else it stops.
    if said.settings.caps_stops && stops::in_force(&planned.report, &planned.selection).is_empty() {
        stops = wanted;
        stops.truncate(MAX_NAMED);
    }
    if mitigations.is_empty() || (stops.is_empty() && !said.settings.takes_turns) {
        return forget(&home);
    }
    let unanswered = (!stops.is_empty()).then(|| UNANSWERED.to_owned());
    let answer = match timeout(QUESTION, answered(config, &home, mitigations, stops)).await {
        Ok(Some(answer)) => answer,
        Ok(None) | Err(_) => TurnAnswer { granted: true, reason: None, stops_held: unanswered },
    };
    if answer.granted && answer.stops_held.is_none() {
        return forget(&home);
    }
    let now = Timestamp::now();
    let wait = jiff::SignedDuration::from_secs(AGAIN + fastrand::i64(0..=AGAIN));
    let until = now.checked_add(wait).unwrap_or(now);
    let stops = answer.stops_held.filter(|_| answer.granted);
    Waiting { until, since: now, reason: answer.reason, stops }.save(&home);
}

async fn answered(
    config: &Config,
    home: &Home,
    mitigations: Vec<String>,
    stops: Vec<String>,
) -> Option<TurnAnswer> {
    let enrollment = Enrollment::load(home, &Machine).ok().flatten()?;
    let client = Client::new(&enrollment, &config.network).ok()?;
    let sequence = Books::load(home, &Machine).map_or(0, |books| books.sequence);
    client.turn(&Turn { mitigations, stops, sequence }).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_wrong_makes_nobody_wait_for_years() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&Machine, folder.path()).unwrap();
        home.make_folder(&Machine, "hub").unwrap();
        let [before, since, during, until] =
            [0, 10, 20, 30].map(|second| Timestamp::from_second(second).unwrap());
        home.save(&Machine, FILE, &Waiting { until, since, reason: None, stops: None }).unwrap();
        let holds = |now| Waiting::load(&home, &Machine, now).unwrap().is_some();
        assert_eq!([before, since, during, until].map(holds), [false, true, true, false]);
        // A stop waits until the next answer, and for minutes where none comes.
        home.save(&Machine, FILE, &Waiting { until, since, reason: None, stops: Some("cap".into()) })
            .unwrap();
        assert_eq!([before, since, until, until + ASKING].map(holds), [false, true, true, false]);
    }
}
