//! Servers as their agents are dealt with: credentials, joining, and the roster that settings are computed over.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor};
use stopgap_core::facts::Fact;
use stopgap_core::organization::Layer;

use super::servers::{key, set_labels};
use super::{Cells, Change, DbError, time};

/// A server as its requests are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its identity.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What puts it into groups.
    pub labels: BTreeMap<String, String>,
}

/// The server with this credential, and whether it is the one that waits to take the place of the other.
pub async fn by_credential<'c>(
    on: impl Executor<'c, Database = Any>,
    hash: &str,
) -> Result<Option<(Known, bool)>, DbError> {
    let sql = "SELECT id, name, labels, next_credential_hash FROM servers \
               WHERE credential_hash = $1 OR next_credential_hash = $1";
    let Some(row) = sqlx::query(sql).bind(hash).fetch_optional(on).await? else { return Ok(None) };
    let waits = Cells { table: "servers", row: &row }.maybe("next_credential_hash")?;
    Ok(Some((known(&row)?, waits.as_deref() == Some(hash))))
}

/// The credential that waited was used: from here on it is the only one.
pub async fn promote(change: &mut Change, id: &str, hash: &str) -> Result<(), DbError> {
    let sql = "UPDATE servers SET credential_hash = $1, next_credential_hash = NULL \
               WHERE id = $2 AND next_credential_hash = $1";
    sqlx::query(sql).bind(hash).bind(id).execute(change.on()).await?;
    Ok(())
}

/// A credential waits for its first use.
pub async fn offer(change: &mut Change, id: &str, hash: &str) -> Result<(), DbError> {
    let sql = "UPDATE servers SET next_credential_hash = $1 WHERE id = $2";
    sqlx::query(sql).bind(hash).bind(id).execute(change.on()).await?;
    Ok(())
}

/// A server that joins.
#[derive(Debug, Clone)]
pub struct Joining<'a> {
    /// Its identity.
    pub id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What tells its machine from others.
    pub machine: &'a str,
    /// What its credential hashes to.
    pub credential_hash: &'a str,
    /// What the enrollment token labels it with.
    pub labels: &'a BTreeMap<String, String>,
    /// Its agent's version.
    pub agent_version: &'a str,
}

/// Keeps a server that joins. A name that is there already belongs to another server, unless the machine is the
/// same: then this is that server, which left and comes back.
pub async fn join(change: &mut Change, joining: &Joining<'_>, now: Timestamp) -> Result<Known, DbError> {
    let sql = "SELECT id, machine, labels FROM servers WHERE name_key = $1";
    let before = sqlx::query(sql).bind(key(joining.name)).fetch_optional(change.on()).await?;
    if let Some(row) = before {
        let cells = Cells { table: "servers", row: &row };
        if cells.text("machine")? != joining.machine {
            return Err(DbError::Taken(format!("a server {}, on another machine,", joining.name)));
        }
        let id = cells.text("id")?;
        let mut labels: BTreeMap<String, String> = cells.json("labels")?;
        labels.extend(joining.labels.clone());
        let sql = "UPDATE servers SET name = $1, credential_hash = $2, next_credential_hash = NULL, \
                   agent_version = $3, enrolled_at = $4, last_contact = $4, sequence = 0, reported_at = NULL, \
                   clone_seen_at = NULL WHERE id = $5";
        sqlx::query(sql)
            .bind(joining.name)
            .bind(joining.credential_hash)
            .bind(joining.agent_version)
            .bind(time(now))
            .bind(&id)
            .execute(change.on())
            .await?;
        set_labels(change, &id, &labels).await?;
        return Ok(Known { id, name: joining.name.to_owned(), labels });
    }
    let sql = "INSERT INTO servers (id, name, name_key, machine, credential_hash, labels, enrolled_at, \
               last_contact, agent_version) VALUES ($1, $2, $3, $4, $5, '{}', $6, $6, $7)";
    sqlx::query(sql)
        .bind(joining.id)
        .bind(joining.name)
        .bind(key(joining.name))
        .bind(joining.machine)
        .bind(joining.credential_hash)
        .bind(time(now))
        .bind(joining.agent_version)
        .execute(change.on())
        .await
        .map_err(|error| DbError::or_taken(error, format_args!("server {}", joining.name)))?;
    set_labels(change, joining.id, joining.labels).await?;
    let labels = joining.labels.clone();
    Ok(Known { id: joining.id.to_owned(), name: joining.name.to_owned(), labels })
}

/// Every server, with what puts it into groups. One row of some hundred octets each.
pub async fn roster<'c>(on: impl Executor<'c, Database = Any>) -> Result<Vec<Known>, DbError> {
    let rows = sqlx::query("SELECT id, name, labels FROM servers").fetch_all(on).await?;
    rows.iter().map(known).collect()
}

/// A server's name and its versions as it reported them last; none: it has not reported yet.
pub type Reported = (String, Option<BTreeMap<String, Fact>>);

/// What the servers with a label report of their versions.
pub async fn reported<'c>(
    on: impl Executor<'c, Database = Any>,
    label: &str,
    value: &str,
) -> Result<Vec<Reported>, DbError> {
    let sql = "SELECT s.name, s.reported_at, s.facts, s.facts_unknown FROM servers s \
               JOIN server_labels l ON l.server = s.id WHERE l.key = $1 AND l.value = $2";
    let rows = sqlx::query(sql).bind(label).bind(value).fetch_all(on).await?;
    let of_one = |row: &AnyRow| {
        let cells = Cells { table: "servers", row };
        let versions: BTreeMap<String, String> = cells.json("facts")?;
        let unread: BTreeMap<String, String> = cells.json("facts_unknown")?;
        let versions = versions.into_iter().map(|(name, version)| (name, Fact::Version(version)));
        let unread = unread.into_iter().map(|(name, why)| (name, Fact::Unknown(why)));
        let has_reported = cells.maybe_time("reported_at")?.is_some();
        Ok((cells.text("name")?, has_reported.then(|| versions.chain(unread).collect())))
    };
    rows.iter().map(of_one).collect()
}

/// One server of the roster.
pub async fn by_id<'c>(on: impl Executor<'c, Database = Any>, id: &str) -> Result<Option<Known>, DbError> {
    let row = sqlx::query("SELECT id, name, labels FROM servers WHERE id = $1").bind(id);
    row.fetch_optional(on).await?.as_ref().map(known).transpose()
}

/// The layers of servers that have one, by the server's identity.
pub async fn layers<'c>(on: impl Executor<'c, Database = Any>) -> Result<BTreeMap<String, Layer>, DbError> {
    let rows = sqlx::query("SELECT name, document FROM layers WHERE level = 'server'").fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells { table: "layers", row };
            Ok((cells.text("name")?, cells.json("document")?))
        })
        .collect()
}

/// These servers were in contact at these times.
pub async fn seen(change: &mut Change, servers: &BTreeMap<String, Timestamp>) -> Result<(), DbError> {
    for (id, at) in servers {
        let sql = "UPDATE servers SET last_contact = $1 WHERE id = $2 AND (last_contact IS NULL OR last_contact < $1)";
        sqlx::query(sql).bind(time(*at)).bind(id).execute(change.on()).await?;
    }
    Ok(())
}

pub(super) fn known(row: &AnyRow) -> Result<Known, DbError> {
    let cells = Cells { table: "servers", row };
    Ok(Known { id: cells.text("id")?, name: cells.text("name")?, labels: cells.json("labels")? })
}
