//! What is forgotten.

use jiff::Timestamp;

use super::{Db, DbError, time};

/// Forgets sessions and enrollment tokens that ended, answers from before `answers`, and events from before
/// `events`, and messages from before `messages`, unless one still waits. A token that is used up says who joined with it in the audit log.
pub async fn forget(
    db: &Db,
    now: Timestamp,
    answers: Timestamp,
    events: Timestamp,
    messages: Timestamp,
) -> Result<(), DbError> {
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
    for sql in [
        "DELETE FROM deliveries WHERE made_at <= $1 AND state <> 'waits'",
        "DELETE FROM messages WHERE made_at <= $1 AND \
         NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.message = messages.seq)",
    ] {
        sqlx::query(sql).bind(time(messages)).execute(change.on()).await?;
    }
    change.commit().await
}
