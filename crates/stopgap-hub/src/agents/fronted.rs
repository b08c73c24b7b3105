//! What a server that fronts a group is told of it: the versions that the group's members reported last.
//!
//! Two people's words are needed. An administrator of the hub gives the server the label [`LABEL`], which names the
//! groups whose versions it is told: who has not patched yet is nothing for every server of an organization to know.
//! And the server's own configuration names the group at a target (`protects`), without which nothing comes of it.
//!
//! Not in here: what a mitigation makes of the versions (`stopgap_core::fronted`).

use std::collections::{BTreeMap, BTreeSet};

use stopgap_core::fronted::{self, Group, Member};

use crate::db::agents::{self, Known};
use crate::db::{Db, DbError};
use crate::settings::Organization;

/// The label of a server that is told of groups: their names, with commas between.
pub(super) const LABEL: &str = "protects";

/// The groups that are told of, by name.
pub(super) type Groups = BTreeMap<String, Group>;

/// The groups that these labels name.
pub(super) fn named(labels: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let names = labels.get(LABEL).into_iter().flat_map(|names| names.split(','));
    names.map(str::trim).filter(|name| !name.is_empty())
}

/// Reads every group that some server is told of.
pub(super) async fn read(
    db: &Db,
    organization: &Organization,
    servers: impl Iterator<Item = &Known>,
) -> Result<Groups, DbError> {
    let names: BTreeSet<&str> = servers.flat_map(|server| named(&server.labels)).collect();
    let mut groups = Groups::new();
    for name in names {
        let Some((group, _)) = organization.groups.iter().find(|(group, _)| group.name == name) else {
            continue;
        };
        let reported = agents::reported(db.reader(), &group.label_key, &group.label_value).await?;
        let members: Vec<Member<'_>> =
            reported.iter().map(|(name, facts)| Member { name, facts: facts.as_ref() }).collect();
        groups.insert(name.to_owned(), fronted::of(&members));
    }
    Ok(groups)
}

/// What a server with these labels is told.
pub(super) fn told(groups: &Groups, labels: &BTreeMap<String, String>) -> Groups {
    let one = |name: &str| {
        let group = groups.get(name).cloned();
        (name.to_owned(), group.unwrap_or_else(|| Group::unknown("the hub has no group of this name")))
    };
    named(labels).map(one).collect()
}

/// Whether a server with these labels is a member of a group that somebody is told of.
pub(super) fn concerns(
    groups: &Groups,
    organization: &Organization,
    labels: &BTreeMap<String, String>,
) -> bool {
    organization.groups_of(labels).any(|(group, _)| groups.contains_key(&group.name))
}
