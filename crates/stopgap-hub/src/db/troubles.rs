//! What is wrong with servers as a whole, as the hub judges it, and what it judges by.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{Any, Executor, Row};
use stopgap_tell::Kind;

use super::{Cells, Change, DbError, time};

/// Takes the turn to do `name`, which is done by one of all hubs and at most once since `not_since`. Returns when it
/// was done before, where this hub is the one that does it now.
pub async fn turn(
    change: &mut Change,
    name: &str,
    not_since: &str,
    mark: &str,
) -> Result<Option<Option<String>>, DbError> {
    let sql = "SELECT value FROM meta WHERE name = $1";
    let before = sqlx::query(sql).bind(name).fetch_optional(change.on()).await?;
    let before: Option<String> = before.map(|row| row.try_get(0)).transpose()?;
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE \
               SET value = excluded.value WHERE meta.value < $3";
    let done = sqlx::query(sql).bind(name).bind(mark).bind(not_since).execute(change.on()).await?;
    Ok((done.rows_affected() == 1).then_some(before))
}

/// A word that hubs keep for each other.
pub async fn word<'c>(on: impl Executor<'c, Database = Any>, name: &str) -> Result<Option<String>, DbError> {
    let row = sqlx::query("SELECT value FROM meta WHERE name = $1").bind(name).fetch_optional(on).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Keeps such a word.
pub async fn set_word(change: &mut Change, name: &str, value: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    sqlx::query(sql).bind(name).bind(value).execute(change.on()).await?;
    Ok(())
}

/// A server as it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its identity.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was heard of last; of one that never was, when it joined.
    pub heard_at: Timestamp,
    /// Milliseconds that its clock is ahead.
    pub clock_offset_ms: i64,
    /// Its feeds.
    pub feeds: Vec<FeedOf>,
}

/// A feed on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedOf {
    /// Its name.
    pub name: String,
    /// The serial that was last trusted.
    pub serial: Option<i64>,
    /// When, by the server's clock.
    pub trusted_at: Option<Timestamp>,
    /// Why nothing new comes.
    pub error: Option<String>,
}

/// All servers, with their feeds.
pub async fn judged(change: &mut Change) -> Result<Vec<Judged>, DbError> {
    let sql = "SELECT server, name, serial, trusted_at, error FROM server_feeds";
    let mut feeds: BTreeMap<String, Vec<FeedOf>> = BTreeMap::new();
    for row in &sqlx::query(sql).fetch_all(change.on()).await? {
        let cells = Cells { table: "server_feeds", row };
        let feed = FeedOf {
            name: cells.text("name")?,
            serial: row.try_get("serial")?,
            trusted_at: cells.maybe_time("trusted_at")?,
            error: cells.maybe("error")?,
        };
        feeds.entry(cells.text("server")?).or_default().push(feed);
    }
    let sql =
        "SELECT id, name, COALESCE(last_contact, enrolled_at) AS heard_at, clock_offset_ms FROM servers";
    let rows = sqlx::query(sql).fetch_all(change.on()).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "servers", row };
            let id = cells.text("id")?;
            Ok(Judged {
                name: cells.text("name")?,
                heard_at: cells.time("heard_at")?,
                clock_offset_ms: cells.number("clock_offset_ms")?,
                feeds: feeds.remove(&id).unwrap_or_default(),
                id,
            })
        })
        .collect()
}

/// The newest serial of each feed that is known, and since when.
pub async fn serials(change: &mut Change) -> Result<BTreeMap<String, (i64, Timestamp)>, DbError> {
    let rows = sqlx::query("SELECT feed, serial, since_at FROM serials").fetch_all(change.on()).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "serials", row };
            Ok((cells.text("feed")?, (cells.number("serial")?, cells.time("since_at")?)))
        })
        .collect()
}

/// The serials that this hub itself verified: those of its mirror.
pub async fn mirrored(change: &mut Change) -> Result<BTreeMap<String, i64>, DbError> {
    let rows = sqlx::query("SELECT feed, serial FROM mirrored").fetch_all(change.on()).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "mirrored", row };
            Ok((cells.text("feed")?, cells.number("serial")?))
        })
        .collect()
}

/// A feed's newest serial is this one, from now on.
pub async fn put_serial(
    change: &mut Change,
    feed: &str,
    serial: i64,
    since: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO serials (feed, serial, since_at) VALUES ($1, $2, $3) \
               ON CONFLICT (feed) DO UPDATE SET serial = excluded.serial, since_at = excluded.since_at";
    sqlx::query(sql).bind(feed).bind(serial).bind(time(since)).execute(change.on()).await?;
    Ok(())
}

/// What is known to be wrong: by the server's identity and the kind, the words.
pub async fn known(change: &mut Change) -> Result<BTreeMap<(String, Kind), String>, DbError> {
    let rows = sqlx::query("SELECT server, kind, words FROM troubles").fetch_all(change.on()).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "troubles", row };
            Ok(((cells.text("server")?, cells.parsed("kind")?), cells.text("words")?))
        })
        .collect()
}

/// Keeps that something is wrong; since when stays as it is.
pub async fn put(
    change: &mut Change,
    server: &str,
    kind: Kind,
    words: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO troubles (server, kind, since_at, words) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (server, kind) DO UPDATE SET words = excluded.words";
    sqlx::query(sql).bind(server).bind(kind.word()).bind(time(now)).bind(words).execute(change.on()).await?;
    Ok(())
}

/// It is over.
pub async fn over(change: &mut Change, server: &str, kind: Kind) -> Result<(), DbError> {
    let sql = "DELETE FROM troubles WHERE server = $1 AND kind = $2";
    sqlx::query(sql).bind(server).bind(kind.word()).execute(change.on()).await?;
    Ok(())
}

/// Something that is wrong with a server.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Trouble {
    /// The server's name.
    pub server: String,
    /// `quiet`, `cut-off`, `frozen` or `wrong-clock`.
    pub kind: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// In words.
    pub text: String,
}

/// Everything that is wrong, by the server's name after `after`, at most `limit`.
pub async fn page<'c>(
    on: impl Executor<'c, Database = Any>,
    after: &str,
    limit: u32,
) -> Result<Vec<Trouble>, DbError> {
    let sql = "SELECT s.name, t.kind, t.since_at, t.words FROM troubles t JOIN servers s ON s.id = t.server \
               WHERE s.name_key || ' ' || t.kind > $1 ORDER BY s.name_key || ' ' || t.kind LIMIT $2";
    let rows = sqlx::query(sql).bind(after).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "troubles", row };
            Ok(Trouble {
                server: cells.text("name")?,
                kind: cells.text("kind")?,
                since: cells.time("since_at")?,
                text: cells.text("words")?,
            })
        })
        .collect()
}
