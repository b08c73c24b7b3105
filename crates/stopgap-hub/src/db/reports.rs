//! What servers report, row by row: only rows that say something else than before are written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::Row;
use stopgap_core::wire::{Feed, Happened, Mitigation, ServerReport};

use super::{Cells, Change, DbError, time};

/// A server as its last report left it.
#[derive(Debug, Clone)]
pub struct Last {
    /// The number of its last report.
    pub sequence: u64,
    /// Its time, by the server's clock.
    pub reported_at: Option<Timestamp>,
    /// What tells its machine from others.
    pub machine: String,
    /// The number of its last event.
    pub event_seq: i64,
    /// Its versions as they are kept, and what it could not read.
    pub facts: (String, String),
}

impl Last {
    /// Whether a report says other versions than the last one, which said some.
    pub fn has_other_facts(&self, report: &ServerReport) -> bool {
        self.reported_at.is_none() || self.facts != facts(report)
    }
}

fn facts(report: &ServerReport) -> (String, String) {
    (json(&report.facts), json(&report.facts_unknown))
}

/// Reads it, and keeps others from reporting for the same server until this change is over.
pub async fn lock(change: &mut Change, id: &str, now: Timestamp) -> Result<Option<Last>, DbError> {
    let sql = "UPDATE servers SET last_contact = $1 WHERE id = $2 \
               RETURNING sequence, reported_at, machine, event_seq, facts, facts_unknown";
    let row = sqlx::query(sql).bind(time(now)).bind(id).fetch_optional(change.on()).await?;
    let Some(row) = row else { return Ok(None) };
    let cells = Cells { table: "servers", row: &row };
    Ok(Some(Last {
        sequence: u64::try_from(cells.number("sequence")?).unwrap_or(0),
        reported_at: cells.maybe_time("reported_at")?,
        machine: cells.text("machine")?,
        event_seq: cells.number("event_seq")?,
        facts: (cells.text("facts")?, cells.text("facts_unknown")?),
    }))
}

/// What the server says of itself now. `ahead`: milliseconds that its clock is ahead of ours, where that is known.
pub async fn state(
    change: &mut Change,
    id: &str,
    report: &ServerReport,
    event_seq: i64,
    ahead: Option<i64>,
) -> Result<(), DbError> {
    let sql = "UPDATE servers SET sequence = $1, reported_at = $2, agent_version = $3, system = $4, \
               settings_version = $5, mitigations_enabled = $6, mitigations_blocked = $7, paused_until = $8, \
               facts = $9, warnings = $10, event_seq = $11, clock_offset_ms = COALESCE($12, clock_offset_ms), \
               facts_unknown = $13 WHERE id = $14";
    let (facts, unknown) = facts(report);
    sqlx::query(sql)
        .bind(i64::try_from(report.sequence).unwrap_or(i64::MAX))
        .bind(time(report.at))
        .bind(&report.agent_version)
        .bind(&report.system)
        .bind(&report.settings)
        .bind(i64::from(report.mitigations_enabled))
        .bind(json(&report.mitigations_blocked))
        .bind(report.paused_until.map(time))
        .bind(facts)
        .bind(json(&report.warnings))
        .bind(event_seq)
        .bind(ahead)
        .bind(unknown)
        .bind(id)
        .execute(change.on())
        .await?;
    Ok(())
}

/// Another machine uses this server's credential, or its disk was put back.
pub async fn clone_seen(change: &mut Change, id: &str, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE servers SET clone_seen_at = $1 WHERE id = $2";
    sqlx::query(sql).bind(time(now)).bind(id).execute(change.on()).await?;
    Ok(())
}

/// A mitigation's name on a server.
pub type Name = (String, String);

/// What is kept of a server's mitigations: the document, and whether it was in force.
pub type Mitigations = BTreeMap<Name, (String, bool)>;

/// What is kept of a server's mitigations.
pub async fn mitigations(change: &mut Change, id: &str) -> Result<Mitigations, DbError> {
    let sql = "SELECT feed, id, document, in_force FROM server_mitigations WHERE server = $1";
    let rows = sqlx::query(sql).bind(id).fetch_all(change.on()).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "server_mitigations", row };
            let name = (cells.text("feed")?, cells.text("id")?);
            Ok((name, (cells.text("document")?, cells.truth("in_force")?)))
        })
        .collect()
}

/// Keeps a mitigation as it is now; `document` is it as JSON.
pub async fn put_mitigation(
    change: &mut Change,
    server: &str,
    mitigation: &Mitigation,
    document: &str,
) -> Result<(), DbError> {
    let sql = "INSERT INTO server_mitigations (server, feed, id, digest, verdict, status, reason, in_force, \
               applied_at, proven_at, document) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
               ON CONFLICT (server, feed, id) DO UPDATE SET digest = excluded.digest, \
               verdict = excluded.verdict, status = excluded.status, reason = excluded.reason, \
               in_force = excluded.in_force, applied_at = excluded.applied_at, \
               proven_at = excluded.proven_at, document = excluded.document";
    sqlx::query(sql)
        .bind(server)
        .bind(mitigation.feed.to_string())
        .bind(mitigation.id.to_string())
        .bind(&mitigation.digest)
        .bind(&mitigation.verdict)
        .bind(&mitigation.status)
        .bind(mitigation.reason.clone())
        .bind(i64::from(mitigation.in_force))
        .bind(mitigation.applied_at.map(time))
        .bind(mitigation.proven_at.map(time))
        .bind(document)
        .execute(change.on())
        .await?;
    Ok(())
}

/// Verdicts of a server that does not need it. A word of a later agent is none of these.
const NOT_NEEDED: &[&str] = &["NotApplicable", "Withdrawn", "Expired", "Unsupported"];

/// Notes when a mitigation was first needed anywhere, where this server needs it.
pub async fn note_need(change: &mut Change, mitigation: &Mitigation, at: Timestamp) -> Result<(), DbError> {
    if NOT_NEEDED.contains(&mitigation.verdict.as_str()) {
        return Ok(());
    }
    let sql = "INSERT INTO needs (feed, id, since_at) VALUES ($1, $2, $3) ON CONFLICT (feed, id) DO NOTHING";
    let query = sqlx::query(sql).bind(mitigation.feed.to_string()).bind(mitigation.id.to_string());
    query.bind(time(at)).execute(change.on()).await?;
    Ok(())
}

/// The server knows a mitigation no longer.
pub async fn drop_mitigation(change: &mut Change, server: &str, (feed, id): &Name) -> Result<(), DbError> {
    let sql = "DELETE FROM server_mitigations WHERE server = $1 AND feed = $2 AND id = $3";
    sqlx::query(sql).bind(server).bind(feed).bind(id).execute(change.on()).await?;
    Ok(())
}

/// It came into force.
pub async fn begin_span(
    change: &mut Change,
    server: &str,
    (feed, id): &Name,
    from: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO spans (server, feed, id, from_at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (server, feed, id, from_at) DO UPDATE SET until_at = NULL";
    sqlx::query(sql).bind(server).bind(feed).bind(id).bind(time(from)).execute(change.on()).await?;
    Ok(())
}

/// It is in force no longer.
pub async fn end_span(
    change: &mut Change,
    server: &str,
    (feed, id): &Name,
    until: Timestamp,
) -> Result<(), DbError> {
    let sql =
        "UPDATE spans SET until_at = $1 WHERE server = $2 AND feed = $3 AND id = $4 AND until_at IS NULL";
    sqlx::query(sql).bind(time(until)).bind(server).bind(feed).bind(id).execute(change.on()).await?;
    Ok(())
}

/// The server's feeds as they are now.
pub async fn put_feeds(change: &mut Change, server: &str, feeds: &[Feed]) -> Result<(), DbError> {
    let kept = "SELECT name, serial, trusted_at, expires_at, error FROM server_feeds WHERE server = $1";
    let mut before = BTreeMap::new();
    for row in sqlx::query(kept).bind(server).fetch_all(change.on()).await? {
        let cells = Cells { table: "server_feeds", row: &row };
        let serial: Option<i64> = row.try_get("serial")?;
        let rest = (serial, cells.maybe("trusted_at")?, cells.maybe("expires_at")?, cells.maybe("error")?);
        before.insert(cells.text("name")?, rest);
    }
    for feed in feeds {
        let serial = feed.serial.map(|serial| i64::try_from(serial).unwrap_or(i64::MAX));
        let new = (serial, feed.trusted_at.map(time), feed.expires.map(time), feed.error.clone());
        if before.remove(feed.name.as_str()).is_some_and(|old| old == new) {
            continue;
        }
        let sql = "INSERT INTO server_feeds (server, name, serial, trusted_at, expires_at, error) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (server, name) DO UPDATE SET \
                   serial = excluded.serial, trusted_at = excluded.trusted_at, \
                   expires_at = excluded.expires_at, error = excluded.error";
        let (serial, trusted_at, expires_at, error) = new;
        sqlx::query(sql)
            .bind(server)
            .bind(feed.name.to_string())
            .bind(serial)
            .bind(trusted_at)
            .bind(expires_at)
            .bind(error)
            .execute(change.on())
            .await?;
    }
    for name in before.into_keys() {
        let sql = "DELETE FROM server_feeds WHERE server = $1 AND name = $2";
        sqlx::query(sql).bind(server).bind(name).execute(change.on()).await?;
    }
    Ok(())
}

/// The newest events that are kept already, among those that happened at `since` or later: time, number and words.
pub async fn events_since(
    change: &mut Change,
    server: &str,
    since: Timestamp,
) -> Result<Vec<(String, i64, String)>, DbError> {
    let sql =
        "SELECT at, event, text FROM events WHERE server = $1 AND at >= $2 ORDER BY seq DESC LIMIT 10000";
    let rows = sqlx::query(sql).bind(server).bind(time(since)).fetch_all(change.on()).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "events", row };
            Ok((cells.text("at")?, cells.number("event")?, cells.text("text")?))
        })
        .collect()
}

/// Keeps an event under its number.
pub async fn put_event(
    change: &mut Change,
    server: &str,
    seq: i64,
    event: &Happened,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO events (server, seq, at, received_at, event, mitigation, text) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(sql)
        .bind(server)
        .bind(seq)
        .bind(time(event.at))
        .bind(time(now))
        .bind(i64::from(event.event))
        .bind(event.mitigation.clone())
        .bind(&event.text)
        .execute(change.on())
        .await?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
