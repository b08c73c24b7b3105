//! Accounts and sessions.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor};

use super::{Cells, DbError, time};
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
