//! Answers that were given, so that the same request sent again does nothing a second time.

use jiff::Timestamp;
use sqlx::Row;

use super::{Change, DbError, time};

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The hash of the request.
    pub request: String,
    /// The status that was answered.
    pub status: u16,
    /// The body, without secrets.
    pub answer: String,
}

/// Takes a key for this request, or says what it stands for already. A request with the same key that is not
/// finished makes this one wait.
pub async fn take(
    change: &mut Change,
    principal: &str,
    key: &str,
    request: &str,
    now: Timestamp,
) -> Result<Option<Kept>, DbError> {
    let insert = "INSERT INTO idempotency (principal, key, request, status, answer, at) \
                  VALUES ($1, $2, $3, 0, '', $4) ON CONFLICT (principal, key) DO NOTHING";
    let query = sqlx::query(insert).bind(principal).bind(key).bind(request).bind(time(now));
    if query.execute(change.on()).await?.rows_affected() == 1 {
        return Ok(None);
    }
    let sql = "SELECT request, status, answer FROM idempotency WHERE principal = $1 AND key = $2";
    let row = sqlx::query(sql).bind(principal).bind(key).fetch_one(change.on()).await?;
    let status = u16::try_from(row.try_get::<i64, _>(1)?).unwrap_or(200);
    Ok(Some(Kept { request: row.try_get(0)?, status, answer: row.try_get(2)? }))
}

/// Keeps the answer under a key that was taken in this change.
pub async fn keep(
    change: &mut Change,
    principal: &str,
    key: &str,
    status: u16,
    answer: &str,
) -> Result<(), DbError> {
    let sql = "UPDATE idempotency SET status = $1, answer = $2 WHERE principal = $3 AND key = $4";
    let query = sqlx::query(sql).bind(i64::from(status)).bind(answer).bind(principal).bind(key);
    query.execute(change.on()).await?;
    Ok(())
}
