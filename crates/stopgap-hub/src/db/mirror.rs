//! Mirrored feeds: documents by the hash of their octets, and what stands beside them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use sqlx::{Any, Executor};
use stopgap_feed::freshness::LastSeen;

use super::{Cells, Change, DbError, time};

/// Documents that are served no more stay so long, for whoever asks what was released when.
const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A document as it came, and what it was verified to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The feed.
    pub feed: String,
    /// Its serial; 0 where its grammar has none.
    pub serial: u64,
    /// SHA-256 of its octets, in hex.
    pub hash: String,
    /// What the next one is compared with.
    pub last_seen: Option<LastSeen>,
    /// The octets.
    pub octets: Vec<u8>,
}

/// Something beside a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// The feed.
    pub feed: String,
    /// `cosignature-N`, or `list-` and the SHA-256 of its address.
    pub name: String,
    /// The octets.
    pub octets: Vec<u8>,
}

/// Every document that is served.
pub async fn documents<'c>(on: impl Executor<'c, Database = Any>) -> Result<Vec<Document>, DbError> {
    let sql = "SELECT m.feed, m.serial, m.hash, m.last_seen, d.octets FROM mirrored m \
               JOIN feed_documents d ON d.feed = m.feed AND d.hash = m.hash ORDER BY m.feed";
    let rows = sqlx::query(sql).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "mirrored", row };
            Ok(Document {
                feed: cells.text("feed")?,
                serial: u64::try_from(cells.number("serial")?).unwrap_or(0),
                hash: cells.text("hash")?,
                last_seen: cells.json("last_seen")?,
                octets: octets(&cells)?,
            })
        })
        .collect()
}

/// Everything beside them.
pub async fn beside<'c>(on: impl Executor<'c, Database = Any>) -> Result<Vec<Beside>, DbError> {
    let rows = sqlx::query("SELECT feed, name, octets FROM mirrored_beside ORDER BY feed, name");
    let rows = rows.fetch_all(on).await?;
    let read = rows.iter().map(|row| {
        let cells = Cells { table: "mirrored_beside", row };
        Ok(Beside { feed: cells.text("feed")?, name: cells.text("name")?, octets: octets(&cells)? })
    });
    let mut all: Vec<Beside> = read.collect::<Result<_, DbError>>()?;
    in_order(&mut all);
    Ok(all)
}

/// The order in which they are compared, whatever a database's order of text is.
pub fn in_order(beside: &mut [Beside]) {
    beside.sort_by(|one, other| (&one.feed, &one.name).cmp(&(&other.feed, &other.name)));
}

/// From here on this document is served, with this beside it and nothing else; not where another hub on the same
/// database has a later one already.
pub async fn put(
    change: &mut Change,
    document: &Document,
    beside: &[Beside],
    now: Timestamp,
) -> Result<(), DbError> {
    let serial = i64::try_from(document.serial).unwrap_or(i64::MAX);
    let sql = "INSERT INTO feed_documents (feed, serial, hash, octets, fetched_at) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (feed, hash) DO NOTHING";
    sqlx::query(sql)
        .bind(&document.feed)
        .bind(serial)
        .bind(&document.hash)
        .bind(STANDARD.encode(&document.octets))
        .bind(time(now))
        .execute(change.on())
        .await?;
    let sql = "INSERT INTO mirrored (feed, serial, hash, last_seen) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (feed) DO UPDATE SET serial = excluded.serial, hash = excluded.hash, \
               last_seen = excluded.last_seen WHERE mirrored.serial <= excluded.serial";
    let done = sqlx::query(sql)
        .bind(&document.feed)
        .bind(serial)
        .bind(&document.hash)
        .bind(serde_json::to_string(&document.last_seen).unwrap_or_default())
        .execute(change.on())
        .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query("DELETE FROM mirrored_beside WHERE feed = $1")
        .bind(&document.feed)
        .execute(change.on())
        .await?;
    for one in beside {
        let sql = "INSERT INTO mirrored_beside (feed, name, octets) VALUES ($1, $2, $3)";
        let query = sqlx::query(sql).bind(&document.feed).bind(&one.name).bind(STANDARD.encode(&one.octets));
        query.execute(change.on()).await?;
    }
    let sql = "DELETE FROM feed_documents WHERE feed = $1 AND hash <> $2 AND fetched_at < $3";
    let before = now.saturating_sub(KEPT).unwrap_or(now);
    sqlx::query(sql)
        .bind(&document.feed)
        .bind(&document.hash)
        .bind(time(before))
        .execute(change.on())
        .await?;
    change.notify("feeds").await
}

/// Serves these feeds and no others; whether one is served no longer. Its documents stay as long as others do.
pub async fn keep(change: &mut Change, feeds: &[String]) -> Result<bool, DbError> {
    let rows = sqlx::query("SELECT feed FROM mirrored").fetch_all(change.on()).await?;
    let mut gone = false;
    for row in &rows {
        let feed = Cells { table: "mirrored", row }.text("feed")?;
        if feeds.contains(&feed) {
            continue;
        }
        for sql in ["DELETE FROM mirrored WHERE feed = $1", "DELETE FROM mirrored_beside WHERE feed = $1"] {
            sqlx::query(sql).bind(&feed).execute(change.on()).await?;
        }
        gone = true;
    }
    if gone {
        change.notify("feeds").await?;
    }
    Ok(gone)
}

fn octets(cells: &Cells<'_>) -> Result<Vec<u8>, DbError> {
    let text = cells.text("octets")?;
    STANDARD.decode(&text).map_err(|error| DbError::Row {
        table: cells.table,
        column: "octets",
        found: text.chars().take(40).collect(),
        expected: error.to_string(),
    })
}
