//! API tokens: kept by hash.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor};

use super::{Cells, Change, DbError, time};
use crate::people::{Role, Scope};

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Token {
    /// Its identity.
    pub id: String,
    /// What it is for, in its maker's words.
    pub label: String,
    /// What it may do.
    pub role: Role,
    /// What of the API it reaches; nothing named: all that its role may.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Scope>,
    /// Who made it.
    pub user: String,
    /// Whose it is, as approvals compare people; empty: it stands for itself.
    #[serde(skip)]
    pub owner: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Until when it works; `None`: until it is removed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub used_at: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "id, label, role, scopes, user_name, owner, created_at, expires_at, used_at"
    };
}

/// The token whose secret hashes to this.
pub async fn by_hash<'c>(
    on: impl Executor<'c, Database = Any>,
    hash: &str,
) -> Result<Option<Token>, DbError> {
    let sql = concat!("SELECT ", columns!(), " FROM api_tokens WHERE hash = $1");
    sqlx::query(sql).bind(hash).fetch_optional(on).await?.as_ref().map(token).transpose()
}

/// Keeps a token.
pub async fn insert(change: &mut Change, token: &Token, hash: &str) -> Result<(), DbError> {
    let sql = "INSERT INTO api_tokens (id, hash, label, role, user_name, created_at, expires_at, owner, scopes) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    sqlx::query(sql)
        .bind(&token.id)
        .bind(hash)
        .bind(&token.label)
        .bind(token.role.word())
        .bind(&token.user)
        .bind(time(token.created_at))
        .bind(token.expires_at.map(time))
        .bind(&token.owner)
        .bind(serde_json::to_string(&token.scopes).unwrap_or_default())
        .execute(change.on())
        .await?;
    Ok(())
}

/// Notes that a token was used.
pub async fn touch(change: &mut Change, id: &str, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE api_tokens SET used_at = $1 WHERE id = $2";
    sqlx::query(sql).bind(time(now)).bind(id).execute(change.on()).await?;
    Ok(())
}

/// Tokens after the identity `after`, at most `limit`.
pub async fn page<'c>(
    on: impl Executor<'c, Database = Any>,
    after: &str,
    limit: u32,
) -> Result<Vec<Token>, DbError> {
    let sql = concat!("SELECT ", columns!(), " FROM api_tokens WHERE id > $1 ORDER BY id LIMIT $2");
    let rows = sqlx::query(sql).bind(after).bind(i64::from(limit)).fetch_all(on).await?;
    rows.iter().map(token).collect()
}

/// The token with this identity.
pub async fn by_id<'c>(on: impl Executor<'c, Database = Any>, id: &str) -> Result<Option<Token>, DbError> {
    let sql = concat!("SELECT ", columns!(), " FROM api_tokens WHERE id = $1");
    sqlx::query(sql).bind(id).fetch_optional(on).await?.as_ref().map(token).transpose()
}

/// Removes a token.
pub async fn remove(change: &mut Change, id: &str) -> Result<(), DbError> {
    sqlx::query("DELETE FROM api_tokens WHERE id = $1").bind(id).execute(change.on()).await?;
    Ok(())
}

fn token(row: &AnyRow) -> Result<Token, DbError> {
    let cells = Cells { table: "api_tokens", row };
    Ok(Token {
        id: cells.text("id")?,
        label: cells.text("label")?,
        role: cells.parsed("role")?,
        scopes: cells.json("scopes")?,
        user: cells.text("user_name")?,
        owner: cells.text("owner")?,
        created_at: cells.time("created_at")?,
        expires_at: cells.maybe_time("expires_at")?,
        used_at: cells.maybe_time("used_at")?,
    })
}
