//! Servers, and what each said of itself last. Reports are written by the agents' part.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};
use stopgap_core::wire;

use super::{Cells, Change, DbError, time};

/// A server as the hub knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Server {
    /// Its identity, a UUID; it stays when the server is renamed.
    pub id: String,
    /// Its name; names differ in more than upper and lower case.
    pub name: String,
    /// What puts it into groups.
    pub labels: BTreeMap<String, String>,
    /// When it joined.
    #[schema(value_type = String, format = DateTime)]
    pub enrolled_at: Timestamp,
    /// When it was heard of last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_contact: Option<Timestamp>,
    /// When it reported last, by its own clock.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub reported_at: Option<Timestamp>,
    /// The agent's version.
    pub agent_version: String,
    /// `linux` or `windows`, and what the system calls itself.
    pub system: String,
    /// The number of its last report.
    pub sequence: u64,
    /// The version of the settings that its last report was made under.
    pub settings_version: String,
    /// MitigationsEnabled on the server itself.
    pub mitigations_enabled: bool,
    /// MitigationsBlocked on the server itself.
    pub mitigations_blocked: Vec<String>,
    /// Until when an operator paused it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_until: Option<Timestamp>,
    /// Milliseconds that its clock is ahead of the hub's.
    pub clock_offset_ms: i64,
    /// When another machine used its credential.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub clone_seen_at: Option<Timestamp>,
    /// Versions: product to version.
    pub facts: BTreeMap<String, String>,
    /// What an operator should know about it.
    pub warnings: Vec<String>,
}

/// What a list of servers holds. Nothing set: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Servers with this label.
    pub label: Option<(String, String)>,
    /// Servers whose name holds this text, whatever its case.
    pub name: Option<String>,
    /// Servers that have a mitigation with this status.
    pub status: Option<String>,
}

/// One mitigation on one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnServer {
    /// The server's name.
    pub server: String,
    /// Its identity.
    pub server_id: String,
    /// The mitigation as the server reported it.
    pub mitigation: wire::Mitigation,
}

macro_rules! columns {
    () => {
        "s.id, s.name, s.labels, s.enrolled_at, s.last_contact, s.reported_at, s.agent_version, s.system, \
         s.sequence, s.settings_version, s.mitigations_enabled, s.mitigations_blocked, s.paused_until, \
         s.clock_offset_ms, s.clone_seen_at, s.facts, s.warnings"
    };
}

/// The server of this name, in any case.
pub async fn by_name<'c>(
    on: impl Executor<'c, Database = Any>,
    name: &str,
) -> Result<Option<Server>, DbError> {
    let sql = concat!("SELECT ", columns!(), " FROM servers s WHERE s.name_key = $1");
    sqlx::query(sql).bind(key(name)).fetch_optional(on).await?.as_ref().map(server).transpose()
}

/// The server with this identity.
pub async fn by_id<'c>(on: impl Executor<'c, Database = Any>, id: &str) -> Result<Option<Server>, DbError> {
    let sql = concat!("SELECT ", columns!(), " FROM servers s WHERE s.id = $1");
    sqlx::query(sql).bind(id).fetch_optional(on).await?.as_ref().map(server).transpose()
}

/// Servers after the name `after`, by name, at most `limit`.
pub async fn page<'c>(
    on: impl Executor<'c, Database = Any>,
    filter: &Filter,
    after: &str,
    limit: u32,
) -> Result<Vec<Server>, DbError> {
    // An empty text stands for no filter: both databases know its type.
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM servers s WHERE s.name_key > $1 AND ($2 = '' OR s.name_key LIKE $2 ESCAPE '!') AND ($3 = '' OR \
         EXISTS (SELECT 1 FROM server_labels l WHERE l.server = s.id AND l.key = $3 AND l.value = $4)) AND \
         ($5 = '' OR EXISTS (SELECT 1 FROM server_mitigations m WHERE m.server = s.id AND m.status = $5)) \
         ORDER BY s.name_key LIMIT $6"
    );
    let (label, value) = filter.label.clone().unwrap_or_default();
    let rows = sqlx::query(sql)
        .bind(key(after))
        .bind(filter.name.as_deref().map(holding).unwrap_or_default())
        .bind(label)
        .bind(value)
        .bind(filter.status.clone().unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(on)
        .await?;
    rows.iter().map(server).collect()
}

/// How many servers there are.
pub async fn count<'c>(on: impl Executor<'c, Database = Any>) -> Result<u64, DbError> {
    let row = sqlx::query("SELECT COUNT(*) FROM servers").fetch_one(on).await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

/// How many servers were not heard since this time.
pub async fn quiet<'c>(on: impl Executor<'c, Database = Any>, since: Timestamp) -> Result<u64, DbError> {
    let sql = "SELECT COUNT(*) FROM servers WHERE COALESCE(last_contact, enrolled_at) < $1";
    let row = sqlx::query(sql).bind(time(since)).fetch_one(on).await?;
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

/// Gives a server these labels and no others.
pub async fn set_labels(
    change: &mut Change,
    id: &str,
    labels: &BTreeMap<String, String>,
) -> Result<(), DbError> {
    let json = serde_json::to_string(labels).unwrap_or_default();
    sqlx::query("UPDATE servers SET labels = $1 WHERE id = $2")
        .bind(json)
        .bind(id)
        .execute(change.on())
        .await?;
    sqlx::query("DELETE FROM server_labels WHERE server = $1").bind(id).execute(change.on()).await?;
    for (label, value) in labels {
        sqlx::query("INSERT INTO server_labels (server, key, value) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(label)
            .bind(value)
            .execute(change.on())
            .await?;
    }
    Ok(())
}

/// Gives a server another name.
pub async fn rename(change: &mut Change, id: &str, name: &str) -> Result<(), DbError> {
    let sql = "UPDATE servers SET name = $1, name_key = $2 WHERE id = $3";
    let done = sqlx::query(sql).bind(name).bind(key(name)).bind(id).execute(change.on()).await;
    done.map_err(|error| DbError::or_taken(error, format_args!("server {name}")))?;
    Ok(())
}

/// Forgets a server, with everything that it said. When its mitigations were in force stays known, since
/// questions about the past are asked after a server is gone.
pub async fn remove(change: &mut Change, id: &str, now: Timestamp) -> Result<(), DbError> {
    for sql in [
        "DELETE FROM server_labels WHERE server = $1",
        "DELETE FROM server_mitigations WHERE server = $1",
        "DELETE FROM server_feeds WHERE server = $1",
        "DELETE FROM events WHERE server = $1",
        "DELETE FROM turns WHERE server = $1",
        "DELETE FROM layers WHERE level = 'server' AND name = $1",
        "DELETE FROM servers WHERE id = $1",
    ] {
        sqlx::query(sql).bind(id).execute(change.on()).await?;
    }
    let sql = "UPDATE spans SET until_at = $1 WHERE server = $2 AND until_at IS NULL";
    sqlx::query(sql).bind(time(now)).bind(id).execute(change.on()).await?;
    Ok(())
}

/// Everything that a server said of its mitigations. A feed has at most 10,000.
pub async fn mitigations<'c>(
    on: impl Executor<'c, Database = Any>,
    id: &str,
) -> Result<Vec<wire::Mitigation>, DbError> {
    let sql = "SELECT document FROM server_mitigations WHERE server = $1 ORDER BY feed, id LIMIT 10000";
    let rows = sqlx::query(sql).bind(id).fetch_all(on).await?;
    rows.iter().map(|row| Cells { table: "server_mitigations", row }.json("document")).collect()
}

/// Every mitigation on every server, by the server's name, at most `limit`.
pub async fn on_all<'c>(on: impl Executor<'c, Database = Any>, limit: u32) -> Result<Vec<OnServer>, DbError> {
    let sql = "SELECT s.name, s.id, m.document FROM server_mitigations m JOIN servers s ON s.id = m.server \
               ORDER BY s.name_key, m.feed, m.id LIMIT $1";
    let rows = sqlx::query(sql).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter().map(on_server).collect()
}

/// One mitigation on every server that knows of it, after the name `after`.
pub async fn with_mitigation<'c>(
    on: impl Executor<'c, Database = Any>,
    feed: &str,
    id: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<OnServer>, DbError> {
    let sql = "SELECT s.name, s.id, m.document FROM server_mitigations m JOIN servers s ON s.id = m.server \
               WHERE m.feed = $1 AND m.id = $2 AND s.name_key > $3 ORDER BY s.name_key LIMIT $4";
    let query = sqlx::query(sql).bind(feed).bind(id).bind(key(after)).bind(i64::from(limit));
    let rows = query.fetch_all(on).await?;
    rows.iter().map(on_server).collect()
}

fn on_server(row: &AnyRow) -> Result<OnServer, DbError> {
    let cells = Cells { table: "server_mitigations", row };
    Ok(OnServer {
        server: cells.text("name")?,
        server_id: cells.text("id")?,
        mitigation: cells.json("document")?,
    })
}

/// How many servers have a mitigation in a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The feed.
    pub feed: String,
    /// The mitigation.
    pub id: String,
    /// One word.
    pub status: String,
    /// What was observed.
    pub in_force: bool,
    /// Servers.
    pub servers: u64,
}

/// Every mitigation, counted over all servers: one row for each status that there is.
pub async fn counts<'c>(on: impl Executor<'c, Database = Any>) -> Result<Vec<Count>, DbError> {
    let sql = "SELECT feed, id, status, in_force, COUNT(*) AS servers FROM server_mitigations \
               GROUP BY feed, id, status, in_force ORDER BY feed, id, status, in_force LIMIT 100000";
    let rows = sqlx::query(sql).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "server_mitigations", row };
            Ok(Count {
                feed: cells.text("feed")?,
                id: cells.text("id")?,
                status: cells.text("status")?,
                in_force: cells.truth("in_force")?,
                servers: u64::try_from(cells.number("servers")?).unwrap_or(0),
            })
        })
        .collect()
}

/// A mitigation as some server reported it: for its type and description.
pub async fn example<'c>(
    on: impl Executor<'c, Database = Any>,
    feed: &str,
    id: &str,
) -> Result<Option<wire::Mitigation>, DbError> {
    let sql = "SELECT document FROM server_mitigations WHERE feed = $1 AND id = $2 LIMIT 1";
    let row = sqlx::query(sql).bind(feed).bind(id).fetch_optional(on).await?;
    row.as_ref().map(|row| Cells { table: "server_mitigations", row }.json("document")).transpose()
}

/// Every revision of a mitigation that some server reports, by digest; at most 10.
pub async fn digests<'c>(
    on: impl Executor<'c, Database = Any>,
    feed: &str,
    id: &str,
) -> Result<Vec<String>, DbError> {
    let sql = "SELECT DISTINCT digest FROM server_mitigations WHERE feed = $1 AND id = $2 AND digest <> '' LIMIT 10";
    let rows = sqlx::query(sql).bind(feed).bind(id).fetch_all(on).await?;
    rows.iter().map(|row| Cells { table: "server_mitigations", row }.text("digest")).collect()
}

/// What a server tells of itself over time, newest first: those before number `before`, at most `limit`.
pub async fn events<'c>(
    on: impl Executor<'c, Database = Any>,
    id: &str,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Event>, DbError> {
    let sql = "SELECT seq, at, event, mitigation, text FROM events WHERE server = $1 AND seq < $2 \
               ORDER BY seq DESC LIMIT $3";
    let before = before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql).bind(id).bind(before).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "events", row };
            Ok(Event {
                seq: u64::try_from(cells.number("seq")?).unwrap_or(0),
                at: cells.time("at")?,
                event: u16::try_from(cells.number("event")?).unwrap_or(0),
                mitigation: cells.maybe("mitigation")?,
                text: cells.text("text")?,
            })
        })
        .collect()
}

/// One event of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Its number on this server.
    pub seq: u64,
    /// When, by the server's clock.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// 1005 applied, 1006 taken off, ...
    pub event: u16,
    /// `feed:id`, where it is about one mitigation.
    pub mitigation: Option<String>,
    /// In words.
    pub text: String,
}

/// A name as it is compared.
pub fn key(name: &str) -> String {
    name.to_lowercase()
}

/// A pattern of LIKE: any text that holds this one.
pub(super) fn holding(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in key(text).chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

fn server(row: &AnyRow) -> Result<Server, DbError> {
    let cells = Cells { table: "servers", row };
    Ok(Server {
        id: cells.text("id")?,
        name: cells.text("name")?,
        labels: cells.json("labels")?,
        enrolled_at: cells.time("enrolled_at")?,
        last_contact: cells.maybe_time("last_contact")?,
        reported_at: cells.maybe_time("reported_at")?,
        agent_version: cells.text("agent_version")?,
        system: cells.text("system")?,
        sequence: u64::try_from(cells.number("sequence")?).unwrap_or(0),
        settings_version: cells.text("settings_version")?,
        mitigations_enabled: cells.truth("mitigations_enabled")?,
        mitigations_blocked: cells.json("mitigations_blocked")?,
        paused_until: cells.maybe_time("paused_until")?,
        clock_offset_ms: cells.number("clock_offset_ms")?,
        clone_seen_at: cells.maybe_time("clone_seen_at")?,
        facts: cells.json("facts")?,
        warnings: cells.json("warnings")?,
    })
}
