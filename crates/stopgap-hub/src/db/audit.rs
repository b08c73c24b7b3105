//! The audit log, as it is read. Writing it is part of a [`super::Change`].

use jiff::Timestamp;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::{Cells, Db, DbError, time};
use crate::audit::{Chain, Entry, Verified};

/// Entries after number `after`, oldest first, at most `limit`.
pub async fn page<'c>(
    on: impl Executor<'c, Database = Any>,
    after: u64,
    limit: u32,
) -> Result<Vec<Entry>, DbError> {
    let sql = "SELECT seq, at, user_name, action, object, before_text, after_text, reason, previous, hash \
               FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = sqlx::query(sql).bind(after).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter().map(entry).collect()
}

/// What a search of the log looks for; an empty text is everything.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// What was done: a whole word, or its beginning before a dot (`settings`).
    pub action: String,
    /// Who.
    pub user: String,
    /// To what: `server Server1`.
    pub object: String,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// Entries that a search finds, newest first: those before number `before`, at most `limit`.
pub async fn search<'c>(
    on: impl Executor<'c, Database = Any>,
    search: &Search,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Entry>, DbError> {
    let sql = "SELECT seq, at, user_name, action, object, before_text, after_text, reason, previous, hash \
               FROM audit WHERE seq < $1 AND ($2 = '' OR action = $2 OR action LIKE $3 ESCAPE '!') AND \
               ($4 = '' OR user_name = $4) AND ($5 = '' OR object = $5) AND at >= $6 AND ($7 = '' OR at < $7) \
               ORDER BY seq DESC LIMIT $8";
    let before = before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let mut below: String = search.action.chars().filter(|c| !matches!(c, '%' | '_' | '!')).collect();
    below.push_str(".%");
    let rows = sqlx::query(sql)
        .bind(before)
        .bind(&search.action)
        .bind(below)
        .bind(&search.user)
        .bind(&search.object)
        .bind(search.since.map(time).unwrap_or_default())
        .bind(search.until.map(time).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(on)
        .await?;
    rows.iter().map(entry).collect()
}

/// The number and the hash of the last entry; 0 and nothing where there is none.
pub async fn head<'c>(on: impl Executor<'c, Database = Any>) -> Result<(u64, String), DbError> {
    let row = sqlx::query("SELECT seq, hash FROM audit_head WHERE one = 1").fetch_one(on).await?;
    Ok((u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0), row.try_get(1)?))
}

/// Follows the whole chain, a thousand entries at a time.
pub async fn verify(db: &Db) -> Result<Verified, DbError> {
    // The head first: what is appended meanwhile is beyond what is looked at.
    let (last, hash) = head(db.reader()).await?;
    let mut chain = Chain::default();
    let mut after = 0;
    while after < last {
        let entries = page(db.reader(), after, 1000).await?;
        let Some(end) = entries.last().map(|entry| entry.seq) else { break };
        if !entries.iter().filter(|entry| entry.seq <= last).all(|entry| chain.take(entry)) {
            break;
        }
        after = end;
    }
    Ok(chain.end(last, &hash))
}

fn entry(row: &AnyRow) -> Result<Entry, DbError> {
    let cells = Cells { table: "audit", row };
    // Text that is no JSON is no text that this build wrote: it stays, and the chain's check tells.
    let value = |column| {
        Ok::<_, DbError>(
            cells.maybe(column)?.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
        )
    };
    Ok(Entry {
        seq: u64::try_from(cells.number("seq")?).unwrap_or(0),
        time: cells.text("at")?,
        user: cells.text("user_name")?,
        action: cells.text("action")?,
        object: cells.text("object")?,
        before: value("before_text")?,
        after: value("after_text")?,
        reason: cells.maybe("reason")?,
        previous: cells.text("previous")?,
        hash: cells.text("hash")?,
    })
}
