//! Settings of the organization, its groups and its servers: layers with a version, and what of them counts.
//!
//! A layer is replaced whole, by somebody who names the version that they saw: nobody overwrites what they have
//! not read. Each change grows the one settings counter, which wakes agents.

mod check;
mod organization;

use jiff::Timestamp;
use serde_json::Value;
use stopgap_core::organization::Layer;
use stopgap_core::policy::Level;

use crate::db::layers::{self, Place, Versioned};
use crate::db::servers::{self, Server};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

pub use check::{layer_of, merged};
pub use organization::{Latest, Organization};

/// Groups of an organization: each server's settings are computed over all of them.
pub const MAX_GROUPS: usize = 500;
/// Blocks of one layer. Exchange has had twenty mitigations in its whole life.
pub const MAX_BLOCKS: usize = 1000;

/// A place, as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The place.
    pub place: Place,
    /// What the audit log calls it: `organization`, `group mail`, `server Server1`.
    pub object: String,
}

impl Target {
    /// The whole organization.
    pub fn organization() -> Target {
        Target { place: Place::Organization, object: "organization".into() }
    }

    /// A group that is there.
    pub async fn group(state: &AppState, name: &str) -> Answer<Target> {
        if layers::group(state.db.reader(), name).await?.is_none() {
            return Err(Problem::not_found(format_args!("group {name:?}")));
        }
        Ok(Target { place: Place::Group(name.to_owned()), object: format!("group {name}") })
    }

    /// A server that is there.
    pub async fn server(state: &AppState, name: &str) -> Answer<(Server, Target)> {
        let server = servers::by_name(state.db.reader(), name).await?;
        let server = server.ok_or_else(|| Problem::not_found(format_args!("server {name:?}")))?;
        let target =
            Target { place: Place::Server(server.id.clone()), object: format!("server {}", server.name) };
        Ok((server, target))
    }

    /// The level of its blocks.
    pub fn level(&self) -> Level {
        match self.place {
            Place::Organization => Level::Organization,
            Place::Group(_) => Level::Group,
            Place::Server(_) => Level::Server,
        }
    }
}

/// What a place says.
pub async fn get(state: &AppState, target: &Target) -> Answer<Versioned> {
    Ok(layers::layer(state.db.reader(), &target.place).await?)
}

/// Replaces what a place says, where its version is still `expected`. The same again changes nothing.
pub async fn put(
    state: &AppState,
    by: &Principal,
    target: &Target,
    expected: u64,
    layer: Layer,
    reason: Option<String>,
) -> Answer<Versioned> {
    by.may(Right::Operate)?;
    let layer = check::checked(layer, target.level())?;
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    let before = layers::layer(change.on(), &target.place).await?;
    if before.version != expected {
        return Err(stale(target, before.version));
    }
    if before.layer == layer {
        return Ok(before);
    }
    let version = change.bump_settings().await?;
    let new = Versioned { layer, version, changed_at: Some(now), changed_by: Some(by.user.clone()) };
    if !layers::replace(&mut change, &target.place, expected, &new).await? {
        return Err(Problem::stale(format_args!(
            "{} changed at the same moment; read it again",
            target.object
        )));
    }
    let said = by.said("settings.set", &target.object).from(json(&before.layer)).to(json(&new.layer));
    change.audit(now, &said.because(reason)).await?;
    change.commit().await?;
    state.wake(version);
    Ok(new)
}

fn stale(target: &Target, present: u64) -> Problem {
    Problem::stale(format_args!(
        "{} is at version {present} by now; read it again, and change that",
        target.object
    ))
}

fn json(layer: &Layer) -> Value {
    serde_json::to_value(layer).unwrap_or_default()
}
