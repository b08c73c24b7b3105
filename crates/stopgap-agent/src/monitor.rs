//! Who watches the service from outside: systemd, which is told that it is up, what it is doing and that it has
//! not hung, and Prometheus, which reads a text file (`metrics`). Where nobody watches, nothing happens.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use stopgap_core::report::Report;
use stopgap_drivers::Machine;
use stopgap_drivers::host::replace;

use crate::config::Config;
use crate::cycle::Done;
use crate::events::Event;
use crate::metrics::Metrics;
use crate::service::AgentError;

/// Every step of a cycle is bounded, and no sum of them that was seen comes near this: a cycle that lasts longer
/// hangs, and the watchdog has systemd start the service anew, which takes back what that cycle began.
const LONGEST_CYCLE: Duration = Duration::from_secs(3600);

/// Readable for a collector that is not root.
const FILE_MODE: u32 = 0o644;

/// Lives as long as the service.
pub struct Monitor {
    metrics: Metrics,
    began: Arc<Mutex<Option<Instant>>>,
    ticker: Option<tokio::task::AbortHandle>,
    /// The file could not be written the last time: told once.
    complained: bool,
}

impl Monitor {
    /// Says that the service is up, and goes on saying so for as long as that is true. Within a runtime.
    pub fn begin() -> Monitor {
        let began = Arc::new(Mutex::new(None));
        systemd::ready();
        let ticker = systemd::watchdog().map(|every| tokio::spawn(tick(every, began.clone())).abort_handle());
        Monitor { metrics: Metrics::default(), began, ticker, complained: false }
    }

    /// A cycle begins.
    pub fn cycle_begins(&self) {
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// It ended.
    pub fn cycle_ended(&mut self, config: &Config, done: &Result<Done, AgentError>) {
        let began = self.began.lock().unwrap_or_else(PoisonError::into_inner).take();
        let now = Timestamp::now();
        let done = done.as_ref().ok();
        self.metrics.count(done, now);
        systemd::status(&match done {
            Some(done) => words(&done.report, now),
            None => format!("no cycle could be run at {now:.0}"),
        });
        let (Some(path), Some(done)) = (&config.metrics, done) else { return };
        let took = began.map(|began| began.elapsed()).unwrap_or_default();
        self.write(path, &self.metrics.text(&done.report, now, took));
    }

    fn write(&mut self, path: &Path, text: &str) {
        let written = replace(&Machine, path, text.as_bytes(), FILE_MODE);
        if let (Err(error), false) = (&written, self.complained) {
            let path = path.display();
            Event::Failed { detail: format!("cannot write the metrics to {path}: {error}") }.log();
        }
        self.complained = written.is_err();
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
        systemd::stopping();
    }
}

/// The service is asked to stop while a cycle runs, which is carried to its end. What that takes beside hooks is
/// `TimeoutStopSec` of the unit; programs of the operator's take what `[hooks]` gives them.
pub fn stop_takes(config: &Config) {
    if let Some(takes) = longest_stop(config) {
        systemd::stop_takes(takes);
    }
}

/// `TimeoutStopSec` of our unit.
const STOP: Duration = Duration::from_secs(130);

/// How long the end of a cycle may take, where its hooks may take any time: one change a target, every hook to its
/// own end.
fn longest_stop(config: &Config) -> Option<Duration> {
    let hooks = &config.hooks;
    let programs = u32::try_from(hooks.before.len().saturating_add(hooks.after.len())).unwrap_or(u32::MAX);
    let changes = u32::try_from(config.targets.len()).unwrap_or(u32::MAX);
    let of_hooks = hooks.timeout.unsigned_abs().saturating_mul(programs).saturating_mul(changes);
    (!of_hooks.is_zero()).then(|| STOP.saturating_add(of_hooks).min(LONGEST_CYCLE))
}

/// A line for `systemctl status`.
fn words(report: &Report, now: Timestamp) -> String {
    let in_force = report.mitigations.iter().filter(|mitigation| mitigation.in_force).count();
    let wanting = report.mitigations.iter().filter(|mitigation| mitigation.status.is_wanting()).count();
    let silent = report.feeds.iter().filter(|feed| feed.error.is_some()).count();
    let mut text = format!("{in_force} in force");
    for (count, what) in [(wanting, "to be looked at"), (silent, "feeds bring nothing new")] {
        if count > 0 {
            text = format!("{text}, {count} {what}");
        }
    }
    format!("{text}; last cycle {now:.0}")
}

/// Tells the watchdog that the service lives: this runtime turns, and no cycle hangs.
async fn tick(every: Duration, began: Arc<Mutex<Option<Instant>>>) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        let began = *began.lock().unwrap_or_else(PoisonError::into_inner);
        if began.is_none_or(|began| began.elapsed() < LONGEST_CYCLE) {
            systemd::alive();
        }
    }
}

#[cfg(target_os = "linux")]
mod systemd {
    //! sd_notify(3). A manager that does not listen is no reason to stop.

    use std::time::Duration;

    use sd_notify::{NotifyState, notify, watchdog_enabled};

    pub fn ready() {
        let _ = notify(&[NotifyState::Ready]);
    }

    pub fn status(text: &str) {
        let _ = notify(&[NotifyState::Status(text)]);
    }

    pub fn alive() {
        let _ = notify(&[NotifyState::Watchdog]);
    }

    pub fn stopping() {
        let _ = notify(&[NotifyState::Stopping]);
    }

    /// In place of the unit's `TimeoutStopSec`, from now on.
    pub fn stop_takes(longest: Duration) {
        let microseconds = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
        let _ = notify(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
    }

    /// How often the watchdog wants to hear of the service: in half of what it waits.
    pub fn watchdog() -> Option<Duration> {
        watchdog_enabled().map(|limit| limit / 2).filter(|every| !every.is_zero())
    }
}

#[cfg(not(target_os = "linux"))]
mod systemd {
    pub fn ready() {}
    pub fn status(_: &str) {}
    pub fn alive() {}
    pub fn stopping() {}
    pub fn stop_takes(_: std::time::Duration) {}
    pub fn watchdog() -> Option<std::time::Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_an_operator_wants_to_know_first() {
        let report = Report {
            mitigations: vec![],
            steps: None,
            feeds: vec![],
            warnings: vec![],
            paused: None,
            hub: None,
        };
        let now = "2026-11-22T03:00:01.5Z".parse().unwrap();
        assert_eq!(words(&report, now), "0 in force; last cycle 2026-11-22T03:00:01Z");
    }

    #[tokio::test]
    async fn the_metrics_are_replaced_and_a_folder_that_is_missing_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut monitor = Monitor::begin();
        monitor.write(&folder.path().join("a.prom"), "1\n");
        monitor.write(&folder.path().join("a.prom"), "2\n");
        assert_eq!(std::fs::read_to_string(folder.path().join("a.prom")).unwrap(), "2\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        monitor.write(&folder.path().join("none/a.prom"), "3\n");
        assert!(monitor.complained);
    }
}
