//! The organization's settings as a whole, for computing what counts for one server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use stopgap_core::organization::{Effective, Layer, effective};
use stopgap_core::policy::Approved;
use stopgap_feed::Key;

use crate::db::approvals::{self, Approval, Scope};
use crate::db::layers::{self, Group, Place, Versioned};
use crate::db::servers;
use crate::db::{Db, DbError};

/// Everything above the level of a server.
#[derive(Debug, Clone)]
pub struct Organization {
    /// The settings counter that it was read at. What is said of a server under a lower one is old.
    pub counter: u64,
    /// The organization's layer.
    pub layer: Versioned,
    /// Groups with their layers, the nearest first.
    pub groups: Vec<(Group, Versioned)>,
    /// Approvals that count.
    pub approvals: Vec<Approval>,
}

/// The newest one that was read, so that ten thousand agents that wake at once do not read it each.
#[derive(Debug, Default)]
pub struct Latest(Mutex<Option<Arc<Organization>>>);

impl Latest {
    /// What the store says now. The counter is asked each time: another hub may have changed it.
    pub async fn get(&self, db: &Db) -> Result<Arc<Organization>, DbError> {
        let counter = db.settings_counter().await?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.counter >= counter) {
            return Ok(known);
        }
        let new = Arc::new(Organization::load(db).await?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&new));
        Ok(new)
    }
}

impl Organization {
    /// Reads it. The counter comes first: what changes meanwhile makes this old, never new under an old number.
    pub async fn load(db: &Db) -> Result<Organization, DbError> {
        let counter = db.settings_counter().await?;
        let layer = layers::layer(db.reader(), &Place::Organization).await?;
        let groups = layers::groups(db.reader()).await?;
        let approvals = approvals::approved(db.reader()).await?;
        Ok(Organization { counter, layer, groups, approvals })
    }

    /// The groups that these labels put a server into, the nearest first.
    pub fn groups_of<'a>(
        &'a self,
        labels: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a (Group, Versioned)> {
        self.groups.iter().filter(|(group, _)| labels.get(&group.label_key) == Some(&group.label_value))
    }

    /// What counts for a server with these labels and this layer of its own.
    pub fn effective(&self, labels: &BTreeMap<String, String>, server: &Layer) -> Effective {
        let groups: Vec<(String, Layer)> =
            self.groups_of(labels).map(|(group, said)| (group.name.clone(), said.layer.clone())).collect();
        effective(&self.layer.layer, &groups, server)
    }

    /// What was approved for a server: for all, for a group of its, or for it.
    pub fn approvals_of(&self, name: &str, labels: &BTreeMap<String, String>) -> Vec<Approved> {
        let groups: Vec<&str> = self.groups_of(labels).map(|(group, _)| group.name.as_str()).collect();
        let of = |approval: &&Approval| match approval.level {
            Scope::Organization => true,
            Scope::Group => groups.contains(&approval.name.as_str()),
            Scope::Server => servers::key(&approval.name) == servers::key(name),
        };
        self.approvals.iter().filter(of).filter_map(approved).collect()
    }
}

fn approved(approval: &Approval) -> Option<Approved> {
    Some(Approved {
        key: Key { feed: approval.feed.parse().ok()?, id: approval.mitigation.parse().ok()? },
        digest: approval.digest.clone(),
        at: approval.decided_at.unwrap_or(approval.requested_at),
        by: approval.decided_by.clone().unwrap_or_default(),
        reason: approval.reason.clone(),
    })
}
