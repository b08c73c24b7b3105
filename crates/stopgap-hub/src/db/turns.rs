//! Whose turn it is, where servers change one after another; and who holds a place, where only so many of them may
//! have something stopped.

use jiff::Timestamp;

use super::agents::{Known, known};
use super::{Cells, Change, DbError, time};

/// The scope of all who were told that they may stop something. Whose cap it is stands in the settings, and changes.
pub const STOPS: &str = "stops";

/// A server that has its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// With whom it takes turns, or [`STOPS`].
    pub scope: String,
    /// Its identity.
    pub server: String,
    /// Its name.
    pub name: String,
    /// What it changes, as `feed:id`.
    pub mitigations: Vec<String>,
    /// Since when.
    pub granted_at: Timestamp,
    /// Reports up to this one were made before it began.
    pub after: u64,
    /// Why nobody else may follow.
    pub failed: Option<String>,
}

/// Keeps others from asking until this change is over.
pub async fn lock(change: &mut Change) -> Result<(), DbError> {
    let sql = "UPDATE counters SET value = value + 1 WHERE name = 'turns'";
    sqlx::query(sql).execute(change.on()).await?;
    Ok(())
}

/// Forgets turns since before `before` whose servers never said what became of them.
pub async fn forget(change: &mut Change, before: Timestamp) -> Result<(), DbError> {
    let sql = "DELETE FROM turns WHERE failed IS NULL AND granted_at < $1";
    sqlx::query(sql).bind(time(before)).execute(change.on()).await?;
    Ok(())
}

/// Who has a turn in a scope. A server that was removed has none.
pub async fn of_scope(change: &mut Change, scope: &str) -> Result<Vec<Turn>, DbError> {
    let sql = "SELECT t.scope, t.server, s.name, t.mitigations, t.granted_at, t.after_sequence, t.failed FROM turns t \
               JOIN servers s ON s.id = t.server WHERE t.scope = $1 ORDER BY t.granted_at";
    let rows = sqlx::query(sql).bind(scope).fetch_all(change.on()).await?;
    rows.iter().map(turn).collect()
}

/// The turns that a server has.
pub async fn of_server(change: &mut Change, server: &str) -> Result<Vec<Turn>, DbError> {
    let sql = "SELECT t.scope, t.server, s.name, t.mitigations, t.granted_at, t.after_sequence, t.failed FROM turns t \
               JOIN servers s ON s.id = t.server WHERE t.server = $1";
    let rows = sqlx::query(sql).bind(server).fetch_all(change.on()).await?;
    rows.iter().map(turn).collect()
}

/// It is a server's turn. That it tries again does not make what failed well: a report does.
pub async fn grant(
    change: &mut Change,
    scope: &str,
    server: &str,
    mitigations: &[String],
    after: u64,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO turns (scope, server, mitigations, granted_at, after_sequence) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (scope, server) DO UPDATE SET \
               after_sequence = CASE WHEN turns.mitigations = excluded.mitigations \
               THEN turns.after_sequence ELSE excluded.after_sequence END, \
               mitigations = excluded.mitigations, granted_at = excluded.granted_at";
    sqlx::query(sql)
        .bind(scope)
        .bind(server)
        .bind(serde_json::to_string(mitigations).unwrap_or_default())
        .bind(time(now))
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .execute(change.on())
        .await?;
    Ok(())
}

/// A server's turn is over.
pub async fn end(change: &mut Change, turn: &Turn) -> Result<(), DbError> {
    let sql = "DELETE FROM turns WHERE scope = $1 AND server = $2";
    sqlx::query(sql).bind(&turn.scope).bind(&turn.server).execute(change.on()).await?;
    Ok(())
}

/// What a server changed failed.
pub async fn fail(change: &mut Change, turn: &Turn, why: &str) -> Result<(), DbError> {
    let sql = "UPDATE turns SET failed = $1 WHERE scope = $2 AND server = $3";
    sqlx::query(sql).bind(why).bind(&turn.scope).bind(&turn.server).execute(change.on()).await?;
    Ok(())
}

/// Servers that have something stopped, or may stop it now, by name. One statement: a server whose turn becomes what
/// its report says is in it once, and never twice or not at all.
pub async fn holders(change: &mut Change) -> Result<Vec<Known>, DbError> {
    let sql = "SELECT id, name, labels FROM servers WHERE stopped = 1 \
               OR id IN (SELECT server FROM turns WHERE scope = $1) ORDER BY name";
    let rows = sqlx::query(sql).bind(STOPS).fetch_all(change.on()).await?;
    rows.iter().map(known).collect()
}

/// Keeps whether a server has something stopped; the answer is whether it had.
pub async fn put_stopped(change: &mut Change, server: &str, stopped: bool) -> Result<bool, DbError> {
    let sql = "SELECT stopped FROM servers WHERE id = $1";
    let row = sqlx::query(sql).bind(server).fetch_one(change.on()).await?;
    let had = Cells { table: "servers", row: &row }.truth("stopped")?;
    if had != stopped {
        let sql = "UPDATE servers SET stopped = $1 WHERE id = $2";
        sqlx::query(sql).bind(i64::from(stopped)).bind(server).execute(change.on()).await?;
    }
    Ok(had)
}

fn turn(row: &sqlx::any::AnyRow) -> Result<Turn, DbError> {
    let cells = Cells { table: "turns", row };
    Ok(Turn {
        scope: cells.text("scope")?,
        server: cells.text("server")?,
        name: cells.text("name")?,
        mitigations: cells.json("mitigations")?,
        granted_at: cells.time("granted_at")?,
        after: u64::try_from(cells.number("after_sequence")?).unwrap_or(0),
        failed: cells.maybe("failed")?,
    })
}
