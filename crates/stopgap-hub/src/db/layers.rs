//! Layers of settings, groups, and the one number that says that any of them changed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Executor};
use stopgap_core::organization::Layer;

use super::{Cells, Change, DbError, time};

/// Where a layer stands. Its words are the database's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The whole organization.
    Organization,
    /// A group, by its name.
    Group(String),
    /// A server, by its identity: its settings stay when it is renamed.
    Server(String),
}

impl Place {
    fn level(&self) -> &'static str {
        match self {
            Place::Organization => "organization",
            Place::Group(_) => "group",
            Place::Server(_) => "server",
        }
    }

    fn name(&self) -> &str {
        match self {
            Place::Organization => "",
            Place::Group(name) | Place::Server(name) => name,
        }
    }
}

/// A layer with its version. One that nobody wrote yet says nothing, and has version 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Versioned {
    /// What it says.
    pub layer: Layer,
    /// Grows with each change, and never returns to a number that it had.
    pub version: u64,
    /// When it was changed last.
    pub changed_at: Option<Timestamp>,
    /// By whom.
    pub changed_by: Option<String>,
}

/// The layer of a place.
pub async fn layer<'c>(on: impl Executor<'c, Database = Any>, place: &Place) -> Result<Versioned, DbError> {
    let sql = "SELECT document, version, changed_at, changed_by FROM layers WHERE level = $1 AND name = $2";
    let row = sqlx::query(sql).bind(place.level()).bind(place.name()).fetch_optional(on).await?;
    row.as_ref().map_or_else(|| Ok(Versioned::default()), versioned)
}

/// Replaces a place's layer where its version is `expected`; `false`: it is another one by now.
pub async fn replace(
    change: &mut Change,
    place: &Place,
    expected: u64,
    new: &Versioned,
) -> Result<bool, DbError> {
    let document = document(&new.layer)?;
    let number = |version: u64| i64::try_from(version).unwrap_or(i64::MAX);
    let query = if expected == 0 {
        sqlx::query(
            "INSERT INTO layers (level, name, document, version, changed_at, changed_by) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (level, name) DO NOTHING",
        )
    } else {
        sqlx::query(
            "UPDATE layers SET document = $3, version = $4, changed_at = $5, changed_by = $6 \
             WHERE level = $1 AND name = $2 AND version = $7",
        )
    };
    let mut query = query
        .bind(place.level())
        .bind(place.name())
        .bind(document)
        .bind(number(new.version))
        .bind(new.changed_at.map(time))
        .bind(new.changed_by.clone());
    if expected != 0 {
        query = query.bind(number(expected));
    }
    Ok(query.execute(change.on()).await?.rows_affected() == 1)
}

/// Removes a place's layer.
pub async fn remove(change: &mut Change, place: &Place) -> Result<(), DbError> {
    let sql = "DELETE FROM layers WHERE level = $1 AND name = $2";
    sqlx::query(sql).bind(place.level()).bind(place.name()).execute(change.on()).await?;
    Ok(())
}

/// Servers that have a label in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The label's key.
    pub label_key: String,
    /// The label's value.
    pub label_value: String,
    /// Of two groups of a server, the one with the lower position is nearer.
    pub position: u32,
}

/// Every group with its layer, the nearest first. There are at most [`crate::settings::MAX_GROUPS`].
pub async fn groups<'c>(on: impl Executor<'c, Database = Any>) -> Result<Vec<(Group, Versioned)>, DbError> {
    let sql = "SELECT g.name, g.label_key, g.label_value, g.position, l.document, l.version, l.changed_at, \
               l.changed_by FROM server_groups g LEFT JOIN layers l ON l.level = 'group' AND l.name = g.name \
               ORDER BY g.position, g.name";
    sqlx::query(sql).fetch_all(on).await?.iter().map(group_with_layer).collect()
}

/// One group with its layer.
pub async fn group<'c>(
    on: impl Executor<'c, Database = Any>,
    name: &str,
) -> Result<Option<(Group, Versioned)>, DbError> {
    let sql = "SELECT g.name, g.label_key, g.label_value, g.position, l.document, l.version, l.changed_at, \
               l.changed_by FROM server_groups g LEFT JOIN layers l ON l.level = 'group' AND l.name = g.name \
               WHERE g.name = $1";
    sqlx::query(sql).bind(name).fetch_optional(on).await?.as_ref().map(group_with_layer).transpose()
}

/// Makes a group, or changes it.
pub async fn put_group(change: &mut Change, group: &Group) -> Result<(), DbError> {
    let sql = "INSERT INTO server_groups (name, label_key, label_value, position) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (name) DO UPDATE SET label_key = excluded.label_key, \
               label_value = excluded.label_value, position = excluded.position";
    sqlx::query(sql)
        .bind(&group.name)
        .bind(&group.label_key)
        .bind(&group.label_value)
        .bind(i64::from(group.position))
        .execute(change.on())
        .await?;
    Ok(())
}

/// Removes a group and what it said.
pub async fn remove_group(change: &mut Change, name: &str) -> Result<(), DbError> {
    remove(change, &Place::Group(name.to_owned())).await?;
    sqlx::query("DELETE FROM server_groups WHERE name = $1").bind(name).execute(change.on()).await?;
    Ok(())
}

fn group_with_layer(row: &AnyRow) -> Result<(Group, Versioned), DbError> {
    let cells = Cells { table: "server_groups", row };
    let group = Group {
        name: cells.text("name")?,
        label_key: cells.text("label_key")?,
        label_value: cells.text("label_value")?,
        position: u32::try_from(cells.number("position")?).unwrap_or(u32::MAX),
    };
    let layer = if cells.maybe("document")?.is_some() { versioned(row)? } else { Versioned::default() };
    Ok((group, layer))
}

fn versioned(row: &AnyRow) -> Result<Versioned, DbError> {
    let cells = Cells { table: "layers", row };
    Ok(Versioned {
        layer: cells.json("document")?,
        version: u64::try_from(cells.number("version")?).unwrap_or(0),
        changed_at: cells.maybe_time("changed_at")?,
        changed_by: cells.maybe("changed_by")?,
    })
}

fn document(layer: &Layer) -> Result<String, DbError> {
    serde_json::to_string(layer).map_err(|error| DbError::Row {
        table: "layers",
        column: "document",
        found: "settings".into(),
        expected: error.to_string(),
    })
}
