//! What the commands for this server share: its configuration, a cycle without the network, and how
//! its outcome is printed.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use stopgap_agent::config::Config;
use stopgap_agent::cycle::{Done, Mode};
use stopgap_agent::events::{self, Event};
use stopgap_agent::home::Home;
use stopgap_agent::journal::{self, Journal};
use stopgap_agent::{hub, log, service};
use stopgap_core::report::{MitigationReport, Report};
use stopgap_drivers::Machine;
use tracing_subscriber::layer::SubscriberExt;

use crate::exit::{Code, Failure, Outcome};
use crate::output;
use crate::system;

/// The configuration, with a hint where there is none.
pub fn config(path: &Path) -> Result<Config, Failure> {
    hub::configured(path, &system::hostname()).map_err(|error| {
        let missing = !path.exists();
        let failure = Failure::new(error);
        if missing { failure.hint("`--config FILE` names another configuration") } else { failure }
    })
}

/// A cycle that asks nobody: what is known here decides.
pub fn offline(config: &Config, mode: Mode) -> Result<Done, Failure> {
    Ok(system::runtime()?.block_on(service::once_offline(config.clone(), mode))?)
}

/// Changes the operator's word, under the lock of the data folder. `said`: what the history keeps of it, with
/// the account; nothing where nothing changed.
pub fn change_operator<T>(
    config: &Config,
    said: &str,
    change: impl FnOnce(&mut stopgap_agent::operator::Operator) -> T,
) -> Result<T, Failure> {
    let home = Home::open(&Machine, &config.data)?;
    let _lock = home.lock()?;
    let before = home.operator(&Machine)?;
    let mut operator = before.clone();
    let result = change(&mut operator);
    if operator != before {
        home.save_operator(&Machine, &operator)?;
        note_word(&home, said)?;
    }
    Ok(result)
}

/// Keeps an operator's word in the history. The caller holds the lock.
pub fn note_word(home: &Home, said: &str) -> Result<(), Failure> {
    let word = journal::Event::Word { by: system::user(), said: said.to_owned() };
    Ok(Journal::new(home, &Machine).note(Timestamp::now(), word)?)
}

/// The end of `--for`.
pub fn from_now(lasting: SignedDuration) -> Result<Timestamp, Failure> {
    if !lasting.is_positive() {
        return Err(Failure::usage(format_args!("--for {lasting:#}: expected a time to come, such as 4h")));
    }
    let end = Timestamp::now().checked_add(lasting);
    end.map_err(|_| Failure::usage(format_args!("--for {lasting:#} is too long")))
}

/// A reason as the history keeps it.
pub fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// The first digits of a digest, which suffice for people.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// The cycle after an operator's word, and what it did.
pub fn carry_out(config: &Config, json: bool) -> Outcome {
    let done = offline(config, Mode::Apply)?;
    tell_events(config, &done);
    finish(&done, json)
}

/// The events of a cycle: as words, into the daily log and the machine's own.
pub fn tell_events(config: &Config, done: &Done) {
    let daily = events::daily_log(&config.logs)
        .map_err(|message| output::say(format_args!("warning: not in the daily log: {message}")));
    let daily = daily.ok().map(|daily| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::sync::Mutex::new(daily))
            .with_ansi(false)
            .with_target(false)
    });
    let log = tracing_subscriber::registry().with(daily).with(log::machine());
    tracing::subscriber::with_default(log, || done.events.iter().for_each(Event::log));
    for event in &done.events {
        output::say(format_args!("{} {event}", event.id()));
    }
}

/// The exit code of a cycle that applied.
pub fn code(done: &Done) -> Code {
    match done {
        Done { reverted: true, .. } => Code::Reverted,
        Done { untrusted: true, .. } => Code::NotTrusted,
        Done { failed: true, .. } => Code::Failed,
        _ => Code::Done,
    }
}

/// The mitigations as a table, with what else an operator has to know below it.
pub fn print_report(report: &Report) -> std::io::Result<()> {
    if let Some(pause) = &report.paused {
        output::line(format_args!(
            "Paused until {:.0}, by {} at {:.0}{}. Nothing is changed until then; `stopgap resume` ends it.\n",
            pause.until,
            pause.by,
            pause.since,
            because(pause.reason.as_deref())
        ))?;
    }
    if report.mitigations.is_empty() {
        output::say("no mitigation is known here: no feed was trusted yet");
    } else {
        output::line(format_args!("{}\n", summary(report)))?;
        let rows = report.mitigations.iter().map(row);
        output::line(output::table(&["ID", "STATUS", "IN FORCE", "VERDICT", "WHY", "DESCRIPTION"], rows))?;
    }
    if let Some(hub) = &report.hub {
        match (hub.silent_since, &hub.error) {
            (Some(since), Some(error)) => output::say(format_args!(
                "warning: the hub {} was not heard since {since:.0}: {error}; what it said last goes on counting",
                hub.url
            )),
            _ => output::line(format_args!("\nHub: {}, heard at {:.0}", hub.url, hub.heard_at))?,
        }
    }
    for feed in report.feeds.iter().filter(|feed| feed.error.is_some()) {
        let message = feed.message.as_deref().unwrap_or_default();
        output::say(format_args!("warning: feed {} brings nothing new: {message}", feed.name));
    }
    for warning in &report.warnings {
        output::say(format_args!("warning: {warning}"));
    }
    Ok(())
}

/// What an operator wants to know first, in one line.
fn summary(report: &Report) -> String {
    use stopgap_core::report::Status;
    let count = |is: &dyn Fn(&MitigationReport) -> bool| report.mitigations.iter().filter(|m| is(m)).count();
    let parts = [
        (count(&|m| m.in_force), "in force"),
        (count(&|m| m.status == Status::Observing), "observing"),
        (count(&|m| m.status.is_wanting()), "to be looked at"),
        (count(&|m| m.status == Status::AwaitingApproval), "waiting for approval"),
        (count(&|m| m.status == Status::Scheduled), "waiting for their turn"),
        (count(&|m| matches!(m.status, Status::Blocked | Status::Disabled | Status::Frozen)), "held back"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .enumerate()
        .filter(|(at, (count, _))| *at == 0 || *count > 0)
        .map(|(_, (count, what))| format!("{count} {what}"))
        .collect();
    format!("Of {} known here: {}.", report.mitigations.len(), parts.join(", "))
}

fn row(mitigation: &MitigationReport) -> Vec<String> {
    vec![
        format!("{}:{}", mitigation.feed, mitigation.id),
        format!("{:?}", mitigation.status),
        if mitigation.in_force { "yes" } else { "no" }.to_owned(),
        mitigation.verdict.to_owned(),
        mitigation.reason.clone().unwrap_or_default(),
        mitigation.description.clone(),
    ]
}

/// Prints what a cycle did, and its exit code.
pub fn finish(done: &Done, json: bool) -> Outcome {
    if json {
        output::json(&done.report)?;
    } else {
        print_report(&done.report)?;
    }
    Ok(code(done))
}
