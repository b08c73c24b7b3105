//! Making API tokens.

use jiff::Timestamp;

use super::Role;
use crate::audit::Said;
use crate::db::tokens::{self, Token};
use crate::db::{Change, DbError};
use crate::secret::{self, NoRandomness};

/// What an API token begins with, for scanners of leaked secrets.
pub const TOKEN_PREFIX: &str = "sgt_";

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The store.
    #[error("cannot keep the token")]
    Db(#[from] DbError),
    /// The system.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Makes a token and its entry of the log, in this change. The second value is the secret, told once.
pub async fn token(
    change: &mut Change,
    by: &str,
    label: &str,
    role: Role,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Token, String), IssueError> {
    let secret = secret::new(TOKEN_PREFIX)?;
    let token = Token {
        id: secret::identity()?,
        label: label.to_owned(),
        role,
        user: by.to_owned(),
        created_at: now,
        expires_at,
        used_at: None,
    };
    tokens::insert(change, &token, &secret::hash(&secret)).await?;
    let said = Said {
        user: by.to_owned(),
        action: "token.create".into(),
        object: format!("token {label}"),
        after: Some(serde_json::json!({"id": token.id, "role": role, "expires_at": expires_at})),
        ..Said::default()
    };
    change.audit(now, &said).await?;
    Ok((token, secret))
}
