//! Once a day: the audit log's head into the hub's own log, the digest, and the table of all servers where it is due.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use stopgap_tell::settings::{Daily, Often};
use stopgap_tell::{Attachment, Kind, Message, table};

use super::{gather, is_on};
use crate::db::{DbError, audit, fleet, servers, telling, troubles};
use crate::events::{AUDIT_HEAD, CHORE_FAILED};
use crate::problem::Causes;
use crate::state::AppState;

const DONE: &str = "digest_on";
/// Where the digest is off, the audit log's head is still told to the log.
const MORNING: Time = Time::constant(6, 0, 0, 0);
/// Lines of the digest about servers in trouble; how many more there are is said.
const LINES: u32 = 30;
/// Servers of the table that is sent, and its octets: a mail server takes some MiB.
const ROWS: u32 = 20_000;
const OCTETS: usize = 5 << 20;

pub(super) async fn run(state: AppState) {
    loop {
        if let Err(error) = round(&state, Timestamp::now()).await {
            tracing::warn!(event = CHORE_FAILED, error = %Causes(&error), "the day's digest was not made");
        }
        let pause = if state.tell.receivers().notify.window.is_zero() { 1 } else { 30 };
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

/// The day whose work is due at `now`: a date as text, which compares as time does.
fn day(now: Timestamp, Daily(at): Daily) -> Date {
    let now = now.to_zoned(TimeZone::UTC);
    let today = now.date();
    if now.time() >= at.unwrap_or(MORNING) { today } else { today.yesterday().unwrap_or(today) }
}

fn reports_on(often: Often, day: Date) -> bool {
    match often {
        Often::Off => false,
        Often::Daily => true,
        Often::Weekly => day.weekday() == Weekday::Monday,
        Often::Monthly => day.day() == 1,
    }
}

async fn round(state: &AppState, now: Timestamp) -> Result<(), DbError> {
    let notify = &state.tell.receivers().notify;
    let day = day(now, notify.digest);
    let mark = day.to_string();
    if troubles::word(state.db.reader(), DONE).await?.is_some_and(|done| done >= mark) {
        return Ok(());
    }
    let digest =
        if is_on(state) && notify.digest.0.is_some() { Some(digest(state, now).await?) } else { None };
    let report =
        if is_on(state) && reports_on(notify.report, day) { Some(report(state, day).await?) } else { None };
    let (entries, head) = audit::head(state.db.reader()).await?;
    let mut change = state.db.begin().await?;
    // One of several hubs does it. A hub that never did begins with the next morning.
    let Some(before) = troubles::turn(&mut change, DONE, &mark, &mark).await? else { return Ok(()) };
    if before.is_some() {
        let message = |id, kind, title, text, attachment| Message {
            id,
            kind,
            object: String::new(),
            at: now,
            until: now,
            count: 0,
            servers: Vec::new(),
            title,
            text,
            attachment,
        };
        if let Some((title, text)) = digest {
            let about = |id| message(id, Kind::Digest, title, text, None);
            gather::make(state, &mut change, Kind::Digest, about, now).await?;
        }
        if let Some(attachment) = report {
            let title = format!("mitigations by server, {day}");
            let text = format!("The table is attached as {}; mails carry it.", attachment.name);
            let about = |id| message(id, Kind::Report, title, text, Some(attachment));
            gather::make(state, &mut change, Kind::Report, about, now).await?;
        }
    }
    change.commit().await?;
    if entries > 0 {
        tracing::info!(event = AUDIT_HEAD, "the audit log ends with entry {entries}, hash {head}");
    }
    state.tell.made();
    Ok(())
}

/// How things stand: the title and the text.
async fn digest(state: &AppState, now: Timestamp) -> Result<(String, String), DbError> {
    let db = state.db.reader();
    let states = fleet::states(db, now).await?;
    let total: u64 = states.values().sum();
    let parts: Vec<String> =
        states.iter().map(|(state, count)| format!("{count} {}", state.word())).collect();
    let mut text = format!("Servers: {total} ({})\n", parts.join(", "));
    let mut mitigations: BTreeMap<(String, String), Vec<(String, u64)>> = BTreeMap::new();
    for count in servers::counts(db).await? {
        let of = mitigations.entry((count.feed, count.id)).or_default();
        match of.iter_mut().find(|(status, _)| *status == count.status) {
            Some((_, servers)) => *servers += count.servers,
            None => of.push((count.status, count.servers)),
        }
    }
    text.push_str("\nMitigations:\n");
    if mitigations.is_empty() {
        text.push_str("  none\n");
    }
    for ((feed, id), of) in &mitigations {
        let of: Vec<String> = of.iter().map(|(status, servers)| format!("{status} on {servers}")).collect();
        let _ = writeln!(text, "  {feed}:{id}: {}", of.join(", "));
    }
    let wrong = troubles::page(db, "", LINES + 1).await?;
    if !wrong.is_empty() {
        text.push_str("\nServers in trouble:\n");
        for one in wrong.iter().take(LINES as usize) {
            let _ = writeln!(text, "  {}: {} since {:.0}: {}", one.server, one.kind, one.since, one.text);
        }
        if wrong.len() > LINES as usize {
            text.push_str("  and more: GET /v1/troubles has all\n");
        }
    }
    for (state, deliveries) in telling::states(db).await? {
        if state == "given-up" {
            let _ = writeln!(text, "\nMessages that could not be delivered: {deliveries}");
        }
    }
    let (entries, head) = audit::head(db).await?;
    let _ = writeln!(
        text,
        "\nThe audit log ends with entry {entries}, hash\n  {head}\nKeep this: it shows later that nobody wrote another log."
    );
    Ok((format!("digest: {total} servers, {} in trouble", wrong.len()), text))
}

/// Every mitigation on every server.
async fn report(state: &AppState, day: Date) -> Result<Attachment, DbError> {
    let header = ["Server", "Mitigation", "Status", "InForce", "AppliedAt", "ProvenAt", "Reason"];
    let rows = servers::on_all(state.db.reader(), ROWS).await?;
    let rows = rows.into_iter().map(|one| {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        let of = one.mitigation;
        vec![
            one.server,
            format!("{}:{}", of.feed, of.id),
            of.status,
            of.in_force.to_string(),
            text(of.applied_at),
            text(of.proven_at),
            of.reason.unwrap_or_default(),
        ]
    });
    let mut octets = 0;
    let rows = rows.take_while(|row| {
        octets += row.iter().map(|cell| cell.len() + 3).sum::<usize>();
        octets <= OCTETS
    });
    let csv = String::from_utf8(table(&header, rows)).unwrap_or_default();
    Ok(Attachment { name: format!("mitigations-{day}.csv"), csv })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_the_hour_of_the_digest() {
        let six = Daily(Some(Time::constant(6, 0, 0, 0)));
        let of = |text: &str, at: Daily| day(text.parse().unwrap(), at).to_string();
        assert_eq!(of("2026-11-22T06:00:00Z", six), "2026-11-22");
        assert_eq!(of("2026-11-22T05:59:59Z", six), "2026-11-21");
        assert_eq!(of("2026-11-22T06:30:00Z", Daily(None)), "2026-11-22");
    }

    #[test]
    fn a_report_comes_on_its_day() {
        let on = |often, day: &str| reports_on(often, day.parse().unwrap());
        assert!(on(Often::Weekly, "2026-11-23") && !on(Often::Weekly, "2026-11-24"));
        assert!(on(Often::Monthly, "2026-12-01") && !on(Often::Monthly, "2026-12-02"));
        assert!(on(Often::Daily, "2026-11-24") && !on(Often::Off, "2026-11-23"));
    }
}
