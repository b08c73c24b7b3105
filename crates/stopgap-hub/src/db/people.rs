//! Accounts and sessions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor};

use super::servers::key;
use super::{Cells, Change, DbError, time};
use crate::people::Role;

/// An account, without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct User {
    /// Its name, as it was written first; names differ in more than upper and lower case.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they may no longer sign in.
    pub disabled: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When they signed in last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub signed_in_at: Option<Timestamp>,
}

/// A signed-in browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose.
    pub user: User,
    /// Goes into every form.
    pub csrf: String,
}

/// The session whose secret hashes to this, where it has not ended and its account is not disabled.
pub async fn session<'c>(
    on: impl Executor<'c, Database = Any>,
    hash: &str,
    now: Timestamp,
) -> Result<Option<Session>, DbError> {
    let sql = "SELECT s.csrf, u.name, u.role, u.disabled, u.created_at, u.signed_in_at FROM sessions s \
               JOIN users u ON u.name_key = s.user_key WHERE s.hash = $1 AND s.expires_at > $2 AND u.disabled = 0";
    let row = sqlx::query(sql).bind(hash).bind(time(now)).fetch_optional(on).await?;
    let Some(row) = row else { return Ok(None) };
    let csrf = Cells { table: "sessions", row: &row }.text("csrf")?;
    Ok(Some(Session { user: user(&row)?, csrf }))
}

/// An account and its password's hash.
pub async fn with_password<'c>(
    on: impl Executor<'c, Database = Any>,
    name: &str,
) -> Result<Option<(User, String)>, DbError> {
    let sql =
        "SELECT name, role, disabled, created_at, signed_in_at, password FROM users WHERE name_key = $1";
    let Some(row) = sqlx::query(sql).bind(key(name)).fetch_optional(on).await? else { return Ok(None) };
    let password = Cells { table: "users", row: &row }.text("password")?;
    Ok(Some((user(&row)?, password)))
}

/// Keeps a new account.
pub async fn insert(change: &mut Change, user: &User, password: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO users (name_key, name, role, password, disabled, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    let done = sqlx::query(sql)
        .bind(key(&user.name))
        .bind(&user.name)
        .bind(user.role.word())
        .bind(password)
        .bind(i64::from(user.disabled))
        .bind(time(user.created_at))
        .execute(change.on())
        .await;
    done.map_err(|error| DbError::or_taken(error, format_args!("user {}", user.name)))?;
    Ok(())
}

/// Changes what an account may do.
pub async fn update(change: &mut Change, name: &str, role: Role, disabled: bool) -> Result<(), DbError> {
    let sql = "UPDATE users SET role = $1, disabled = $2 WHERE name_key = $3";
    let query = sqlx::query(sql).bind(role.word()).bind(i64::from(disabled)).bind(key(name));
    query.execute(change.on()).await?;
    Ok(())
}

/// Gives an account another password; every session of it ends.
pub async fn set_password(change: &mut Change, name: &str, password: &str) -> Result<(), DbError> {
    let sql = "UPDATE users SET password = $1 WHERE name_key = $2";
    sqlx::query(sql).bind(password).bind(key(name)).execute(change.on()).await?;
    end_sessions(change, name).await
}

/// Removes an account and its sessions; whether there was one.
pub async fn remove(change: &mut Change, name: &str) -> Result<bool, DbError> {
    end_sessions(change, name).await?;
    let done =
        sqlx::query("DELETE FROM users WHERE name_key = $1").bind(key(name)).execute(change.on()).await?;
    Ok(done.rows_affected() == 1)
}

/// Accounts after the name `after`, at most `limit`.
pub async fn page<'c>(
    on: impl Executor<'c, Database = Any>,
    after: &str,
    limit: u32,
) -> Result<Vec<User>, DbError> {
    let sql = "SELECT name, role, disabled, created_at, signed_in_at FROM users WHERE name_key > $1 \
               ORDER BY name_key LIMIT $2";
    let rows = sqlx::query(sql).bind(key(after)).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter().map(user).collect()
}

/// How many accounts can sign in as administrators: the last one must stay.
pub async fn administrators<'c>(on: impl Executor<'c, Database = Any>) -> Result<u64, DbError> {
    let sql = "SELECT COUNT(*) AS n FROM users WHERE role = 'administrator' AND disabled = 0";
    let row = sqlx::query(sql).fetch_one(on).await?;
    Ok(u64::try_from(Cells { table: "users", row: &row }.number("n")?).unwrap_or(0))
}

/// Keeps a session.
pub async fn insert_session(
    change: &mut Change,
    name: &str,
    hash: &str,
    csrf: &str,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), DbError> {
    let sql = "INSERT INTO sessions (hash, user_key, csrf, created_at, seen_at, expires_at) \
               VALUES ($1, $2, $3, $4, $4, $5)";
    let query = sqlx::query(sql).bind(hash).bind(key(name)).bind(csrf).bind(time(now)).bind(time(expires));
    query.execute(change.on()).await?;
    let signed_in = "UPDATE users SET signed_in_at = $1 WHERE name_key = $2";
    sqlx::query(signed_in).bind(time(now)).bind(key(name)).execute(change.on()).await?;
    Ok(())
}

/// Ends one session.
pub async fn end_session(change: &mut Change, hash: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM sessions WHERE hash = $1").bind(hash).execute(change.on()).await?;
    Ok(())
}

/// Ends every session of an account, and every way into a new one.
pub async fn end_sessions(change: &mut Change, name: &str) -> Result<(), DbError> {
    for sql in ["DELETE FROM sessions WHERE user_key = $1", "DELETE FROM sign_in_links WHERE user_key = $1"] {
        sqlx::query(sql).bind(key(name)).execute(change.on()).await?;
    }
    Ok(())
}

/// Keeps a way in for one time; those that nobody took in time go.
pub async fn insert_link(
    change: &mut Change,
    name: &str,
    hash: &str,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(), DbError> {
    let lapsed = sqlx::query("DELETE FROM sign_in_links WHERE expires_at <= $1").bind(time(now));
    lapsed.execute(change.on()).await?;
    let sql = "INSERT INTO sign_in_links (hash, user_key, expires_at) VALUES ($1, $2, $3)";
    sqlx::query(sql).bind(hash).bind(key(name)).bind(time(expires)).execute(change.on()).await?;
    Ok(())
}

/// Takes a way in: whose it was, where there was one and its time is not over.
pub async fn take_link(change: &mut Change, hash: &str, now: Timestamp) -> Result<Option<User>, DbError> {
    let sql = "SELECT u.name, u.role, u.disabled, u.created_at, u.signed_in_at FROM sign_in_links l \
               JOIN users u ON u.name_key = l.user_key WHERE l.hash = $1 AND l.expires_at > $2 AND u.disabled = 0";
    let row = sqlx::query(sql).bind(hash).bind(time(now)).fetch_optional(change.on()).await?;
    let Some(row) = row else { return Ok(None) };
    // Of two who take it at the same moment, one removes it.
    let taken =
        sqlx::query("DELETE FROM sign_in_links WHERE hash = $1").bind(hash).execute(change.on()).await?;
    if taken.rows_affected() == 1 { user(&row).map(Some) } else { Ok(None) }
}

fn user(row: &AnyRow) -> Result<User, DbError> {
    let cells = Cells { table: "users", row };
    Ok(User {
        name: cells.text("name")?,
        role: cells.parsed("role")?,
        disabled: cells.truth("disabled")?,
        created_at: cells.time("created_at")?,
        signed_in_at: cells.maybe_time("signed_in_at")?,
    })
}
