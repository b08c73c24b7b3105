//! The roster: the organization's settings and every server's place in them, read once for each change, however
//! many agents wake at it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
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
    servers: RwLock<HashMap<String, Arc<Known>>>,
    layers: BTreeMap<String, Layer>,
    read_at: Instant,
}

impl Roster {
    async fn load(state: &AppState) -> Result<Roster, DbError> {
        let organization = state.organization().await?;
        let servers = agents::roster(state.db.reader()).await?;
        let servers = servers.into_iter().map(|server| (server.id.clone(), Arc::new(server)));
        let servers = RwLock::new(servers.collect());
        let layers = agents::layers(state.db.reader()).await?;
        Ok(Roster { organization, servers, layers, read_at: Instant::now() })
    }

    /// What the organization wants of a server; `None`: there is no such server. `feeds`: those that are mirrored.
    pub(super) async fn settings(
        &self,
        state: &AppState,
        id: &str,
        feeds: Vec<FeedName>,
    ) -> Result<Option<Settings>, DbError> {
        let Some(server) = self.find(state, id).await? else { return Ok(None) };
        Ok(Some(settings(&self.organization, &server, &self.layer(id), feeds)))
    }

    /// With whom a server takes turns, and how many of them change at a time; `None`: it waits for nobody.
    pub(super) async fn turns(&self, state: &AppState, id: &str) -> Result<Option<(String, u32)>, DbError> {
        let Some(server) = self.find(state, id).await? else { return Ok(None) };
        let said = self.organization.effective(&server.labels, &self.layer(id)).max_parallel;
        let scope = match said.origin {
            Origin::Group(name) => format!("group {name}"),
            Origin::Organization => "organization".to_owned(),
            Origin::Server | Origin::Default => return Ok(None),
        };
        Ok(said.value.map(|most| (scope, most)))
    }

    fn layer(&self, id: &str) -> Layer {
        self.layers.get(id).cloned().unwrap_or_default()
    }

    /// A server; one that joined since, maybe at another hub, is asked for by itself.
    async fn find(&self, state: &AppState, id: &str) -> Result<Option<Arc<Known>>, DbError> {
        let known = self.servers.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let found = agents::by_id(state.db.reader(), id).await?;
        Ok(found.map(|server| self.join(server)))
    }

    fn join(&self, server: Known) -> Arc<Known> {
        let server = Arc::new(server);
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        servers.insert(server.id.clone(), Arc::clone(&server));
        server
    }
}

/// The newest one.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<Option<Arc<Roster>>>);

impl Newest {
    /// As it is now. Whoever comes while it is read waits for that one reading.
    pub(super) async fn get(&self, state: &AppState) -> Result<Arc<Roster>, DbError> {
        let counter = *state.settings.borrow();
        let mut newest = self.0.lock().await;
        if let Some(roster) = newest.as_ref()
            && roster.organization.counter >= counter
            && roster.read_at.elapsed() < LASTS
        {
            return Ok(Arc::clone(roster));
        }
        let new = Arc::new(Roster::load(state).await?);
        *newest = Some(Arc::clone(&new));
        Ok(new)
    }

    /// A server joined. Ten thousand that join one after another are not each a reason to read all of them.
    pub(super) async fn joined(&self, server: Known) {
        if let Some(roster) = self.0.lock().await.as_ref() {
            roster.join(server);
        }
    }
}
