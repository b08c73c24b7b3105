//! What is forgotten.

use jiff::Timestamp;

use super::{Db, DbError, time};

/// Forgets sessions and enrollment tokens that ended, answers from before `answers`, and events from before
/// `events`. A token that is used up says who joined with it in the audit log.
pub async fn forget(db: &Db, now: Timestamp, answers: Timestamp, events: Timestamp) -> Result<(), DbError> {
    let mut change = db.begin().await?;
    for (sql, before) in [
        ("DELETE FROM sessions WHERE expires_at <= $1", now),
        ("DELETE FROM enrollments WHERE expires_at <= $1", now),
        ("DELETE FROM api_tokens WHERE expires_at <= $1", now),
        ("DELETE FROM idempotency WHERE at <= $1", answers),
        ("DELETE FROM events WHERE received_at <= $1", events),
    ] {
        sqlx::query(sql).bind(time(before)).execute(change.on()).await?;
    }
    change.commit().await
}
