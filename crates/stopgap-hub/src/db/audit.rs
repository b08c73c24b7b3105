//! The audit log, as it is read. Writing it is part of a [`super::Change`].

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, Row};

use super::{Cells, DbError};
use crate::audit::Entry;

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

/// The number and the hash of the last entry; 0 and nothing where there is none.
pub async fn head<'c>(on: impl Executor<'c, Database = Any>) -> Result<(u64, String), DbError> {
    let row = sqlx::query("SELECT seq, hash FROM audit_head WHERE one = 1").fetch_one(on).await?;
    Ok((u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0), row.try_get(1)?))
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
