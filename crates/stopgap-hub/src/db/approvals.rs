//! Approvals: of one revision, at one level, asked for by one person and given by another.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor};

use super::{Cells, Change, DbError, time};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody decided yet.
    Requested,
    /// The revision may come into force.
    Approved,
    /// It may not.
    Rejected,
    /// It was approved, and is so no longer; what is in force stays.
    Withdrawn,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Requested => "requested",
            State::Approved => "approved",
            State::Rejected => "rejected",
            State::Withdrawn => "withdrawn",
        }
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<State, String> {
        let all = [State::Requested, State::Approved, State::Rejected, State::Withdrawn];
        all.into_iter().find(|state| state.word() == text).ok_or_else(|| "no state of an approval".into())
    }
}

/// Which servers an approval is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words say it")]
pub enum Scope {
    Organization,
    Group,
    Server,
}

impl Scope {
    fn word(self) -> &'static str {
        match self {
            Scope::Organization => "organization",
            Scope::Group => "group",
            Scope::Server => "server",
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Scope, String> {
        let all = [Scope::Organization, Scope::Group, Scope::Server];
        all.into_iter().find(|scope| scope.word() == text).ok_or_else(|| "no level".into())
    }
}

/// A request, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Approval {
    /// Its identity.
    pub id: String,
    /// The feed.
    pub feed: String,
    /// The mitigation.
    pub mitigation: String,
    /// SHA-256 of the revision's octets, in hex.
    pub digest: String,
    /// For whom.
    pub level: Scope,
    /// The group's or server's name; empty for the organization.
    pub name: String,
    /// What became of it.
    pub state: State,
    /// Who asked.
    pub requested_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub requested_at: Timestamp,
    /// Why, in their words.
    pub reason: Option<String>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub decided_at: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "id, feed, mitigation, digest, level, name, state, requested_by, requested_key, requested_at, reason, \
         decided_by, decided_at"
    };
}

/// Keeps a request. `asker` tells who asked from everybody else.
pub async fn insert(change: &mut Change, approval: &Approval, asker: &str) -> Result<(), DbError> {
    let sql = concat!(
        "INSERT INTO approvals (",
        columns!(),
        ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
    );
    sqlx::query(sql)
        .bind(&approval.id)
        .bind(&approval.feed)
        .bind(&approval.mitigation)
        .bind(&approval.digest)
        .bind(approval.level.word())
        .bind(&approval.name)
        .bind(approval.state.word())
        .bind(&approval.requested_by)
        .bind(asker)
        .bind(time(approval.requested_at))
        .bind(approval.reason.clone())
        .bind(approval.decided_by.clone())
        .bind(approval.decided_at.map(time))
        .execute(change.on())
        .await?;
    Ok(())
}

/// A request, and who asked.
pub async fn by_id<'c>(
    on: impl Executor<'c, Database = Any>,
    id: &str,
) -> Result<Option<(Approval, String)>, DbError> {
    let sql = concat!("SELECT ", columns!(), " FROM approvals WHERE id = $1");
    let Some(row) = sqlx::query(sql).bind(id).fetch_optional(on).await? else { return Ok(None) };
    let asker = Cells { table: "approvals", row: &row }.text("requested_key")?;
    Ok(Some((approval(&row)?, asker)))
}

/// Decides a request that is in the state `from`; whether it still was.
pub async fn decide(
    change: &mut Change,
    id: &str,
    from: State,
    to: State,
    by: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let sql =
        "UPDATE approvals SET state = $1, decided_by = $2, decided_at = $3 WHERE id = $4 AND state = $5";
    let query = sqlx::query(sql).bind(to.word()).bind(by).bind(time(now)).bind(id).bind(from.word());
    Ok(query.execute(change.on()).await?.rows_affected() == 1)
}

/// What was asked or approved for a group or server that is no more: it must not count for another of that name.
pub async fn end(
    change: &mut Change,
    level: Scope,
    name: &str,
    by: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = "UPDATE approvals SET state = CASE state WHEN 'approved' THEN 'withdrawn' ELSE 'rejected' END, \
               decided_by = $1, decided_at = $2 \
               WHERE level = $3 AND name = $4 AND state IN ('approved', 'requested')";
    sqlx::query(sql).bind(by).bind(time(now)).bind(level.word()).bind(name).execute(change.on()).await?;
    Ok(())
}

/// What was approved for a server stays its own under another name.
pub async fn rename(change: &mut Change, before: &str, after: &str) -> Result<(), DbError> {
    let sql = "UPDATE approvals SET name = $1 WHERE level = 'server' AND name = $2";
    sqlx::query(sql).bind(after).bind(before).execute(change.on()).await?;
    Ok(())
}

/// Requests, newest first: those before `before`, at most `limit`, in one state or in any.
pub async fn page<'c>(
    on: impl Executor<'c, Database = Any>,
    state: Option<State>,
    before: Option<(Timestamp, &str)>,
    limit: u32,
) -> Result<Vec<Approval>, DbError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM approvals WHERE ($1 = '' OR state = $1) AND ($2 = '' OR requested_at < $2 OR \
         (requested_at = $2 AND id < $3)) ORDER BY requested_at DESC, id DESC LIMIT $4"
    );
    let (at, id) = before.map_or((String::new(), ""), |(at, id)| (time(at), id));
    let word = state.map(State::word).unwrap_or_default();
    let query = sqlx::query(sql).bind(word).bind(at).bind(id).bind(i64::from(limit));
    query.fetch_all(on).await?.iter().map(approval).collect()
}

/// Every approval that counts now. Bounded: an organization approves revisions, not requests.
pub async fn approved<'c>(on: impl Executor<'c, Database = Any>) -> Result<Vec<Approval>, DbError> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM approvals WHERE state = 'approved' ORDER BY decided_at DESC, id LIMIT 10000"
    );
    sqlx::query(sql).fetch_all(on).await?.iter().map(approval).collect()
}

fn approval(row: &AnyRow) -> Result<Approval, DbError> {
    let cells = Cells { table: "approvals", row };
    Ok(Approval {
        id: cells.text("id")?,
        feed: cells.text("feed")?,
        mitigation: cells.text("mitigation")?,
        digest: cells.text("digest")?,
        level: cells.parsed("level")?,
        name: cells.text("name")?,
        state: cells.parsed("state")?,
        requested_by: cells.text("requested_by")?,
        requested_at: cells.time("requested_at")?,
        reason: cells.maybe("reason")?,
        decided_by: cells.maybe("decided_by")?,
        decided_at: cells.maybe_time("decided_at")?,
    })
}
