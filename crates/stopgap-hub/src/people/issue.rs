//! Making API tokens and enrollment tokens.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Principal, Role, Scope};
use crate::audit::Said;
use crate::db::enrollments::{self, Enrollment};
use crate::db::tokens::{self, Token};
use crate::db::{Change, DbError};
use crate::secret::{self, NoRandomness};

/// What an API token begins with, for scanners of leaked secrets.
pub const TOKEN_PREFIX: &str = "sgt_";

/// What an enrollment token begins with.
pub const ENROLLMENT_PREFIX: &str = "sge_";

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

/// Who makes a token.
#[derive(Debug, Clone)]
pub struct Maker {
    /// As the audit log has it.
    pub name: String,
    /// Whose the token is; empty: it stands for itself.
    pub owner: String,
}

impl From<&Principal> for Maker {
    fn from(by: &Principal) -> Maker {
        Maker { name: by.user.clone(), owner: by.person() }
    }
}

/// What a token of the API is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it is for.
    pub label: String,
    /// What it may do.
    pub role: Role,
    /// What it reaches; nothing: all of it.
    pub scopes: Vec<Scope>,
    /// Until when it works; `None`: until it is removed.
    pub expires_at: Option<Timestamp>,
}

/// Makes a token and its entry of the log, in this change. The second value is the secret, told once.
pub async fn token(
    change: &mut Change,
    by: &Maker,
    wanted: Wanted,
    now: Timestamp,
) -> Result<(Token, String), IssueError> {
    let secret = secret::new(TOKEN_PREFIX)?;
    let Wanted { label, role, scopes, expires_at } = wanted;
    let token = Token {
        id: secret::identity()?,
        label,
        role,
        scopes,
        user: by.name.clone(),
        owner: by.owner.clone(),
        created_at: now,
        expires_at,
        used_at: None,
    };
    tokens::insert(change, &token, &secret::hash(&secret)).await?;
    let said = Said {
        user: by.name.clone(),
        action: "token.create".into(),
        object: format!("token {}", token.label),
        after: Some(serde_json::json!({
            "id": token.id, "role": role, "scopes": token.scopes, "expires_at": expires_at
        })),
        ..Said::default()
    };
    change.audit(now, &said).await?;
    Ok((token, secret))
}

/// What an enrollment token is to be.
#[derive(Debug, Clone)]
pub struct Enrolling {
    /// How many servers may join with it.
    pub uses: u32,
    /// Until when.
    pub expires: Timestamp,
    /// What they are labeled with.
    pub labels: BTreeMap<String, String>,
    /// SHA-256, in hex, of the certificate of the hub's own authority: the agent believes that one alone.
    pub pin: Option<String>,
}

/// Makes an enrollment token and its entry of the log, in this change. The second value is told once: the secret,
/// and behind a dot the pin. What is hashed is the secret, without the pin.
pub async fn enrollment(
    change: &mut Change,
    by: &str,
    wanted: Enrolling,
    now: Timestamp,
) -> Result<(Enrollment, String), IssueError> {
    let secret = secret::new(ENROLLMENT_PREFIX)?;
    let enrollment = Enrollment {
        id: secret::identity()?,
        uses_left: wanted.uses,
        expires_at: wanted.expires,
        labels: wanted.labels,
        created_by: by.to_owned(),
        created_at: now,
    };
    enrollments::insert(change, &enrollment, &secret::hash(&secret)).await?;
    let said = Said {
        user: by.to_owned(),
        action: "enrollment.create".into(),
        object: format!("enrollment {}", enrollment.id),
        after: Some(
            serde_json::json!({"uses": wanted.uses, "expires_at": wanted.expires, "labels": enrollment.labels}),
        ),
        ..Said::default()
    };
    change.audit(now, &said).await?;
    let told = match &wanted.pin {
        Some(pin) => format!("{secret}.{pin}"),
        None => secret,
    };
    Ok((enrollment, told))
}
