//! The past: when a mitigation was in force on a server. Reading alone.

use jiff::Timestamp;
use sqlx::{Any, Executor, Row};

use super::{Cells, DbError, time};

/// Spans that a chart is drawn of: ten thousand servers with some that came back.
const MAX_SPANS: i64 = 50_000;

/// A stretch of time on one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The server's name; its identity where it is no longer there.
    pub server: String,
    /// From then on.
    pub from: Timestamp,
    /// Until then; `None`: still.
    pub until: Option<Timestamp>,
}

/// When a mitigation was in force between two moments, on any server or on this one, by server and time.
pub async fn spans<'c>(
    on: impl Executor<'c, Database = Any>,
    feed: &str,
    id: &str,
    server: Option<&str>,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<Span>, DbError> {
    let sql = "SELECT COALESCE(s.name, p.server) AS server, p.from_at, p.until_at FROM spans p \
               LEFT JOIN servers s ON s.id = p.server WHERE p.feed = $1 AND p.id = $2 AND p.from_at < $4 AND \
               (p.until_at IS NULL OR p.until_at > $3) AND \
               ($6 = '' OR s.name_key = $6 OR (s.name IS NULL AND p.server = $7)) ORDER BY 1, 2 LIMIT $5";
    let query = sqlx::query(sql).bind(feed).bind(id).bind(time(from)).bind(time(until)).bind(MAX_SPANS);
    let server = server.unwrap_or_default();
    let query = query.bind(server.to_lowercase()).bind(server);
    let rows = query.fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "spans", row };
            Ok(Span {
                server: cells.text("server")?,
                from: cells.time("from_at")?,
                until: cells.maybe_time("until_at")?,
            })
        })
        .collect()
}

/// Mitigations that a page of the past may be of.
const MAX_MITIGATIONS: i64 = 10_000;

/// What was in force on any server between two moments, as `feed:id`.
pub async fn mitigations<'c>(
    on: impl Executor<'c, Database = Any>,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<String>, DbError> {
    let sql = "SELECT DISTINCT feed || ':' || id AS name FROM spans WHERE from_at < $2 AND \
               (until_at IS NULL OR until_at > $1) LIMIT $3";
    let query = sqlx::query(sql).bind(time(from)).bind(time(until)).bind(MAX_MITIGATIONS);
    let rows = query.fetch_all(on).await?;
    rows.iter().map(|row| Cells { table: "spans", row }.text("name")).collect()
}

/// A feed on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its name.
    pub name: String,
    /// The serial that was last trusted.
    pub serial: Option<i64>,
    /// When it was last verified.
    pub trusted_at: Option<Timestamp>,
    /// When the trusted document ends.
    pub expires_at: Option<Timestamp>,
    /// Why nothing new comes from it.
    pub error: Option<String>,
}

/// The feeds of one server.
pub async fn feeds_of<'c>(on: impl Executor<'c, Database = Any>, server: &str) -> Result<Vec<Feed>, DbError> {
    let sql = "SELECT name, serial, trusted_at, expires_at, error FROM server_feeds \
               WHERE server = $1 ORDER BY name LIMIT 1000";
    let rows = sqlx::query(sql).bind(server).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "server_feeds", row };
            Ok(Feed {
                name: cells.text("name")?,
                serial: row.try_get("serial")?,
                trusted_at: cells.maybe_time("trusted_at")?,
                expires_at: cells.maybe_time("expires_at")?,
                error: cells.maybe("error")?,
            })
        })
        .collect()
}

/// Servers that were there before a moment, with the time that they joined.
pub async fn enrolled_before<'c>(
    on: impl Executor<'c, Database = Any>,
    moment: Timestamp,
) -> Result<Vec<(String, Timestamp)>, DbError> {
    let sql = "SELECT name, enrolled_at FROM servers WHERE enrolled_at < $1 ORDER BY name_key LIMIT $2";
    let rows = sqlx::query(sql).bind(time(moment)).bind(MAX_SPANS).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "servers", row };
            Ok((cells.text("name")?, cells.time("enrolled_at")?))
        })
        .collect()
}
