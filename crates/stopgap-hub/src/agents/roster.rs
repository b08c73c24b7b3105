//! The roster: the organization's settings and every server's place in them, read once for each change, however
//! many agents wake at it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stopgap_core::organization::{Layer, Origin};
use stopgap_core::wire::Settings;
use stopgap_feed::FeedName;
use tokio::sync::Mutex;

use super::settings::settings;
use crate::db::DbError;
use crate::db::agents::{self, Known};
use crate::settings::Organization;
use crate::state::AppState;

/// Names and labels change without a change of settings where they put nobody into another group; they are read
/// again after this time.
const LASTS: Duration = Duration::from_secs(60);

/// All that settings are computed from.
#[derive(Debug)]
pub(super) struct Roster {
    organization: Arc<Organization>,
    servers: HashMap<String, Known>,
    layers: BTreeMap<String, Layer>,
    read_at: Instant,
}

impl Roster {
    async fn load(state: &AppState) -> Result<Roster, DbError> {
        let organization = state.organization().await?;
        let servers = agents::roster(state.db.reader()).await?;
        let servers = servers.into_iter().map(|server| (server.id.clone(), server)).collect();
        let layers = agents::layers(state.db.reader()).await?;
        Ok(Roster { organization, servers, layers, read_at: Instant::now() })
    }

    /// What the organization wants of a server; `None`: there is no such server. `feeds`: those that are mirrored.
    pub(super) fn settings(&self, id: &str, feeds: Vec<FeedName>) -> Option<Settings> {
        let nothing = Layer::default();
        let layer = self.layers.get(id).unwrap_or(&nothing);
        self.servers.get(id).map(|server| settings(&self.organization, server, layer, feeds))
    }

    /// With whom a server takes turns, and how many of them change at a time; `None`: it waits for nobody.
    pub(super) fn turns(&self, id: &str) -> Option<(String, u32)> {
        let nothing = Layer::default();
        let layer = self.layers.get(id).unwrap_or(&nothing);
        let said = self.organization.effective(&self.servers.get(id)?.labels, layer).max_parallel;
        let scope = match said.origin {
            Origin::Group(name) => format!("group {name}"),
            Origin::Organization => "organization".to_owned(),
            Origin::Server | Origin::Default => return None,
        };
        Some((scope, said.value?))
    }
}

/// The newest one.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Option<Arc<Roster>>>, std::sync::atomic::AtomicBool);

impl Newest {
    /// As it is now. Whoever comes while it is read waits for that one reading.
    pub(super) async fn get(&self, state: &AppState) -> Result<Arc<Roster>, DbError> {
        let counter = *state.settings.borrow();
        let mut newest = self.0.lock().await;
        let forgotten = self.1.swap(false, std::sync::atomic::Ordering::AcqRel);
        if let Some(roster) = newest.as_ref().filter(|_| !forgotten)
            && roster.organization.counter >= counter
            && roster.read_at.elapsed() < LASTS
        {
            return Ok(Arc::clone(roster));
        }
        let new = Arc::new(Roster::load(state).await?);
        *newest = Some(Arc::clone(&new));
        Ok(new)
    }

    /// A server joined: it is read anew.
    pub(super) fn forget(&self) {
        self.1.store(true, std::sync::atomic::Ordering::Release);
    }
}
