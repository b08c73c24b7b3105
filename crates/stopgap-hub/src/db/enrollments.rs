//! Enrollment tokens: how many servers may still join with each, until when, and with which labels.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor};

use super::{Cells, Change, DbError, time};

/// An enrollment token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Enrollment {
    /// Its identity.
    pub id: String,
    /// How many servers may still join with it.
    pub uses_left: u32,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// What they are labeled with.
    pub labels: BTreeMap<String, String>,
    /// Who made it.
    pub created_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Keeps a token.
pub async fn insert(change: &mut Change, enrollment: &Enrollment, hash: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO enrollments (id, token_hash, uses_left, expires_at, labels, created_by, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    sqlx::query(sql)
        .bind(&enrollment.id)
        .bind(hash)
        .bind(i64::from(enrollment.uses_left))
        .bind(time(enrollment.expires_at))
        .bind(serde_json::to_string(&enrollment.labels).unwrap_or_default())
        .bind(&enrollment.created_by)
        .bind(time(enrollment.created_at))
        .execute(change.on())
        .await?;
    Ok(())
}

/// Takes one use of the token whose secret hashes to this. `None`: there is no such token, it ended, or its uses
/// are taken; which of these is nobody's business who does not have the token.
pub async fn take(change: &mut Change, hash: &str, now: Timestamp) -> Result<Option<Enrollment>, DbError> {
    let sql = "UPDATE enrollments SET uses_left = uses_left - 1 WHERE token_hash = $1 AND uses_left > 0 AND \
               expires_at > $2 RETURNING id, uses_left, expires_at, labels, created_by, created_at";
    let row = sqlx::query(sql).bind(hash).bind(time(now)).fetch_optional(change.on()).await?;
    row.as_ref().map(enrollment).transpose()
}

/// Tokens after the identity `after`, at most `limit`.
pub async fn page<'c>(
    on: impl Executor<'c, Database = Any>,
    after: &str,
    limit: u32,
) -> Result<Vec<Enrollment>, DbError> {
    let sql = "SELECT id, uses_left, expires_at, labels, created_by, created_at FROM enrollments WHERE id > $1 \
               ORDER BY id LIMIT $2";
    let rows = sqlx::query(sql).bind(after).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter().map(enrollment).collect()
}

/// Removes a token; whether there was one.
pub async fn remove(change: &mut Change, id: &str) -> Result<bool, DbError> {
    let done = sqlx::query("DELETE FROM enrollments WHERE id = $1").bind(id).execute(change.on()).await?;
    Ok(done.rows_affected() == 1)
}

fn enrollment(row: &AnyRow) -> Result<Enrollment, DbError> {
    let cells = Cells { table: "enrollments", row };
    Ok(Enrollment {
        id: cells.text("id")?,
        uses_left: u32::try_from(cells.number("uses_left")?).unwrap_or(0),
        expires_at: cells.time("expires_at")?,
        labels: cells.json("labels")?,
        created_by: cells.text("created_by")?,
        created_at: cells.time("created_at")?,
    })
}
