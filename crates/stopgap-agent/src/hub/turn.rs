//! Turns: where an organization's servers change one after another, this one asks its hub before it puts
//! anything on, and waits while another is at it.
//!
//! Only a hub that says "not yet" makes it wait. One that does not answer holds up nobody: protection does not
//! depend on it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_core::plan::Plan;
use stopgap_core::report::PauseReport;
use stopgap_core::wire::Turn;
use stopgap_drivers::host::remove_if_there;
use stopgap_drivers::{Host, Machine};
use tokio::time::timeout;

use super::books::Books;
use super::client::Client;
use super::enrollment::Enrollment;
use super::said::Said;
use crate::config::Config;
use crate::home::{Home, HomeError};

const FILE: &str = "hub/turn.json";

/// Until it asks again, and at most as much longer at random.
const AGAIN: i64 = 20;
/// What the question may take.
const QUESTION: Duration = Duration::from_secs(10);
/// What is named at a time; of more, those that come first.
const MAX_NAMED: usize = 1000;

/// `hub/turn.json`: it is another server's turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// When this server asks again.
    pub(crate) until: Timestamp,
    since: Timestamp,
    /// Whose turn it is.
    #[serde(default)]
    reason: Option<String>,
}

impl Waiting {
    /// What holds now.
    pub(crate) fn load(home: &Home, host: &dyn Host, now: Timestamp) -> Result<Option<Waiting>, HomeError> {
        let kept: Option<Waiting> = home.load(host, FILE)?;
        // One that began in the future was written by a clock that was wrong.
        Ok(kept.filter(|waiting| waiting.since <= now && now < waiting.until))
    }

    /// As a pause.
    pub(crate) fn pause(&self) -> PauseReport {
        PauseReport {
            until: self.until,
            since: self.since,
            by: "the organization, whose servers change one after another".into(),
            reason: self.reason.clone(),
        }
    }
}

/// Whether this server asks before it puts something on.
pub(crate) fn takes_turns(config: &Config) -> bool {
    let home = Home::at(&config.data);
    Enrollment::is_there(&home, &Machine)
        && Said::load(&home, &Machine).ok().flatten().is_some_and(|said| said.settings.takes_turns)
}

/// Waits for nobody: a plan shows what this server would do if it were its turn.
pub(crate) fn forget(config: &Config) {
    let path = Home::at(&config.data).path(FILE);
    // One that stays is over in a moment.
    let _ = remove_if_there(&Machine, &path);
}

/// Asks for the turn that this plan needs, and keeps what makes this server wait.
pub(crate) async fn ask(config: &Config, plan: &Plan) {
    let puts_on = plan.changes.iter().flat_map(|change| &change.puts_on);
    let mut mitigations: Vec<String> = puts_on.map(|what| what.key.to_string()).collect();
    mitigations.sort();
    mitigations.dedup();
    mitigations.truncate(MAX_NAMED);
    if mitigations.is_empty() {
        return;
    }
    let home = Home::at(&config.data);
    let Ok(Some(enrollment)) = Enrollment::load(&home, &Machine) else { return };
    let Ok(client) = Client::new(&enrollment, &config.network) else { return };
    let sequence = Books::load(&home, &Machine).map_or(0, |books| books.sequence);
    let turn = Turn { mitigations, sequence };
    let Ok(Ok(answer)) = timeout(QUESTION, client.turn(&turn)).await else { return };
    if answer.granted {
        return;
    }
    let now = Timestamp::now();
    let wait = jiff::SignedDuration::from_secs(AGAIN + fastrand::i64(0..=AGAIN));
    let until = now.checked_add(wait).unwrap_or(now);
    let waiting = Waiting { until, since: now, reason: answer.reason };
    if let Err(error) = home.save(&Machine, FILE, &waiting) {
        tracing::warn!("this server does not wait for its turn: {}", crate::cycle::words(&error));
    }
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
        home.save(&Machine, FILE, &Waiting { until, since, reason: None }).unwrap();
        let holds = |now| Waiting::load(&home, &Machine, now).unwrap().is_some();
        assert_eq!([before, since, during, until].map(holds), [false, true, true, false]);
    }
}
