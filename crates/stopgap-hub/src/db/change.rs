//! A change: one transaction, what it writes to the audit log, and whom it wakes.

use jiff::Timestamp;
use sqlx::{Any, AnyConnection, Row, Transaction};

use super::{DbError, Kind, time};
use crate::audit::{Entry, Said};

/// An open transaction. Dropped without [`Change::commit`], it leaves nothing behind.
pub struct Change {
    kind: Kind,
    transaction: Transaction<'static, Any>,
}

impl Change {
    pub(super) fn new(kind: Kind, transaction: Transaction<'static, Any>) -> Change {
        Change { kind, transaction }
    }

    /// The transaction's connection, for the functions of the tables.
    pub fn on(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    /// Waits for whoever else writes to the audit log, and keeps them waiting. Taken before any other row.
    pub(super) async fn lock(&mut self) -> Result<(), DbError> {
        sqlx::query("UPDATE audit_head SET seq = seq WHERE one = 1").execute(self.on()).await?;
        Ok(())
    }

    /// Grows the settings counter, which wakes agents on this hub and, once committed, on every other.
    pub async fn bump_settings(&mut self) -> Result<u64, DbError> {
        let sql = "UPDATE counters SET value = value + 1 WHERE name = 'settings' RETURNING value";
        let value: i64 = sqlx::query(sql).fetch_one(self.on()).await?.try_get(0)?;
        self.notify(&format!("settings {value}")).await?;
        Ok(u64::try_from(value).unwrap_or(0))
    }

    /// Tells other hubs on the same database, once this is committed. SQLite has no others.
    pub async fn notify(&mut self, text: &str) -> Result<(), DbError> {
        if self.kind == Kind::Postgres {
            sqlx::query("SELECT CAST(pg_notify('stopgap', $1) AS TEXT)")
                .bind(text)
                .execute(self.on())
                .await?;
        }
        Ok(())
    }

    /// Appends to the audit log. The head's row is the lock that keeps the chain one chain.
    pub async fn audit(&mut self, at: Timestamp, said: &Said) -> Result<Entry, DbError> {
        let lock = "UPDATE audit_head SET seq = seq + 1 WHERE one = 1 RETURNING seq, hash";
        let head = sqlx::query(lock).fetch_one(self.on()).await?;
        let (seq, previous): (i64, String) = (head.try_get(0)?, head.try_get(1)?);
        let entry = Entry::chained(u64::try_from(seq).unwrap_or(0), &time(at), said, &previous);
        let insert = "INSERT INTO audit (seq, at, user_name, action, object, before_text, after_text, reason, \
                      previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        sqlx::query(insert)
            .bind(seq)
            .bind(&entry.time)
            .bind(&entry.user)
            .bind(&entry.action)
            .bind(&entry.object)
            .bind(entry.before.as_ref().map(ToString::to_string))
            .bind(entry.after.as_ref().map(ToString::to_string))
            .bind(&entry.reason)
            .bind(&entry.previous)
            .bind(&entry.hash)
            .execute(self.on())
            .await?;
        sqlx::query("UPDATE audit_head SET hash = $1 WHERE one = 1")
            .bind(&entry.hash)
            .execute(self.on())
            .await?;
        Ok(entry)
    }

    /// Makes it so. What is answered afterwards was kept.
    pub async fn commit(self) -> Result<(), DbError> {
        Ok(self.transaction.commit().await?)
    }
}
