//! The roster: the organization's settings and every server's place in them, read once for each change, however
//! many agents wake at it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex as Lock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use stopgap_core::organization::{Layer, Origin};
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::fronted::{self, Groups};
use super::mirror::Mirrored;
use super::settings::{Told, settings};
use crate::db::DbError;
use crate::db::agents::{self, Known};
use crate::db::approvals::{Approval, Scope};
use crate::settings::Organization;
use crate::state::AppState;

/// Names and labels change without a change of settings where they put nobody into another group; they are read
/// again after this time.
const LASTS: Duration = Duration::from_secs(60);

/// All that settings are computed from.
#[derive(Debug)]
pub(super) struct Roster {
    organization: Arc<Organization>,
    servers: RwLock<HashMap<String, Arc<Member>>>,
    layers: BTreeMap<String, Layer>,
    fronted: Groups,
    told: Lock<Answers>,
    read_at: Instant,
}

/// A server, and what it was told last.
#[derive(Debug)]
struct Member {
    known: Known,
    told: ArcSwapOption<Told>,
}

impl Member {
    fn new(known: Known) -> Arc<Member> {
        Arc::new(Member { known, told: ArcSwapOption::default() })
    }
}

/// What was computed, with the mirror that it names. Most servers of a fleet share a few answers.
#[derive(Debug, Default)]
struct Answers {
    of: Arc<Mirrored>,
    to: HashMap<Whom, Arc<Told>>,
}

/// For whom an answer is.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Whom {
    /// Whoever has these labels, and nothing of its own.
    Labels(BTreeMap<String, String>),
    /// The server with this identity.
    Server(String),
}

impl Roster {
    async fn load(state: &AppState) -> Result<Roster, DbError> {
        let organization = state.organization().await?;
        let servers = agents::roster(state.db.reader()).await?;
        let fronted = fronted::read(&state.db, &organization, servers.iter()).await?;
        let servers = servers.into_iter().map(|server| (server.id.clone(), Member::new(server)));
        let servers = RwLock::new(servers.collect());
        let layers = agents::layers(state.db.reader()).await?;
        let (told, read_at) = (Lock::default(), Instant::now());
        Ok(Roster { organization, servers, layers, fronted, told, read_at })
    }

    /// What the organization wants of a server; `None`: there is no such server. Computed once for all to whom the
    /// same is said.
    pub(super) async fn settings(
        &self,
        state: &AppState,
        id: &str,
        mirrored: &Arc<Mirrored>,
    ) -> Result<Option<Arc<Told>>, DbError> {
        let Some(member) = self.find(state, id).await? else { return Ok(None) };
        if let Some(told) = self.told(&member, mirrored) {
            return Ok(Some(told));
        }
        let mut answers = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&answers.of, mirrored) {
            *answers = Answers { of: Arc::clone(mirrored), to: HashMap::new() };
        }
        let told = settings(&self.organization, &member.known, &self.layer(id), mirrored, &self.fronted);
        answers.to.insert(self.whom(&member.known), Arc::clone(&told));
        member.told.store(Some(Arc::clone(&told)));
        Ok(Some(told))
    }

    /// The same where it was computed before; `None`: it was not, or the server is not known here.
    pub(super) fn answered(&self, id: &str, mirrored: &Arc<Mirrored>) -> Option<Arc<Told>> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        self.told(servers.get(id)?, mirrored)
    }

    fn told(&self, member: &Member, mirrored: &Arc<Mirrored>) -> Option<Arc<Told>> {
        let last = member.told.load();
        if let Some(last) = last.as_ref().filter(|last| Arc::ptr_eq(&last.of, mirrored)) {
            return Some(Arc::clone(last));
        }
        let answers = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let found = answers.to.get(&self.whom(&member.known));
        let told = found.filter(|_| Arc::ptr_eq(&answers.of, mirrored)).cloned()?;
        member.told.store(Some(Arc::clone(&told)));
        Some(told)
    }

    fn whom(&self, server: &Known) -> Whom {
        let of_one = |approval: &Approval| approval.level == Scope::Server;
        if self.layers.contains_key(&server.id) || self.organization.approvals.iter().any(of_one) {
            return Whom::Server(server.id.clone());
        }
        Whom::Labels(server.labels.clone())
    }

    /// With whom a server takes turns, and how many of them change at a time; `None`: it waits for nobody.
    pub(super) async fn turns(&self, state: &AppState, id: &str) -> Result<Option<(String, u32)>, DbError> {
        let Some(member) = self.find(state, id).await? else { return Ok(None) };
        let said = self.organization.effective(&member.known.labels, &self.layer(id)).max_parallel;
        let scope = match said.origin {
            Origin::Group(name) => format!("group {name}"),
            Origin::Organization => "organization".to_owned(),
            Origin::Server | Origin::Default => return Ok(None),
        };
        Ok(said.value.map(|most| (scope, most)))
    }

    /// Whether another server is told what this one reports of its versions: it fronts a group of its.
    pub(super) async fn is_fronted(&self, state: &AppState, id: &str) -> Result<bool, DbError> {
        let member = self.find(state, id).await?;
        let labels = member.as_ref().map(|member| &member.known.labels);
        Ok(labels.is_some_and(|labels| fronted::concerns(&self.fronted, &self.organization, labels)))
    }

    /// Whether one that joins with these labels changes what others are told, or is told of groups itself.
    pub(super) fn is_of_a_front(&self, labels: &BTreeMap<String, String>) -> bool {
        fronted::named(labels).next().is_some()
            || fronted::concerns(&self.fronted, &self.organization, labels)
    }

    /// The cap on servers that have something stopped, where this server is under one. A server's own value takes it
    /// out of its groups' cap, as with turns; others go on counting it.
    pub(super) async fn cap(&self, state: &AppState, id: &str) -> Result<Option<Cap>, DbError> {
        let Some(server) = self.find(state, id).await? else { return Ok(None) };
        let said = self.organization.effective(&server.known.labels, &self.layer(id)).max_stopped;
        let Some(most) = said.value else { return Ok(None) };
        Ok(match said.origin {
            Origin::Group(name) => {
                let group = self.organization.groups.iter().find(|(group, _)| group.name == name);
                let label = group.map(|(group, _)| (group.label_key.clone(), group.label_value.clone()));
                label.map(|label| Cap { whose: format!("group {name}"), most, label: Some(label) })
            }
            Origin::Organization => Some(Cap { whose: "the organization".to_owned(), most, label: None }),
            Origin::Server | Origin::Default => None,
        })
    }

    fn layer(&self, id: &str) -> Layer {
        self.layers.get(id).cloned().unwrap_or_default()
    }

    /// A server; one that joined since, maybe at another hub, is asked for by itself.
    async fn find(&self, state: &AppState, id: &str) -> Result<Option<Arc<Member>>, DbError> {
        let known = self.servers.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let found = agents::by_id(state.db.reader(), id).await?;
        Ok(found.map(|server| self.join(server)))
    }

    fn join(&self, server: Known) -> Arc<Member> {
        let member = Member::new(server);
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        servers.insert(member.known.id.clone(), Arc::clone(&member));
        member
    }
}

/// How many servers may have something stopped, and which of them count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cap {
    /// Whose word it is: `group web`, `the organization`.
    pub(super) whose: String,
    /// So many.
    pub(super) most: u32,
    /// The label of the group's members; `None`: every server.
    label: Option<(String, String)>,
}

impl Cap {
    /// Whether a server with these labels counts.
    pub(super) fn counts(&self, labels: &BTreeMap<String, String>) -> bool {
        self.label.as_ref().is_none_or(|(key, value)| labels.get(key) == Some(value))
    }
}

/// The newest one, and whose turn it is to read another.
#[derive(Debug, Default)]
pub(super) struct Newest {
    known: ArcSwapOption<Roster>,
    reading: Mutex<()>,
    read: Notify,
}

impl Newest {
    /// As it is now. Whoever comes while it is read waits for that one reading, and then they all go on at once: by the
    /// lock alone each would wait for the one before, on one core.
    pub(super) async fn get(&self, state: &AppState) -> Result<Arc<Roster>, DbError> {
        loop {
            let read = self.read.notified();
            if let Some(roster) = self.fresh(state) {
                return Ok(roster);
            }
            let Ok(alone) = self.reading.try_lock() else {
                read.await;
                continue;
            };
            let _reading = Reading { alone: Some(alone), read: &self.read };
            if let Some(roster) = self.fresh(state) {
                return Ok(roster);
            }
            let new = Arc::new(Roster::load(state).await?);
            self.known.store(Some(Arc::clone(&new)));
            return Ok(new);
        }
    }

    /// As it is now, where that was read before.
    pub(super) fn fresh(&self, state: &AppState) -> Option<Arc<Roster>> {
        let counter = *state.settings.borrow();
        let known = self.known.load_full()?;
        (known.organization.counter >= counter && known.read_at.elapsed() < LASTS).then_some(known)
    }

    /// A server joined. Ten thousand that join one after another are not each a reason to read all of them.
    pub(super) async fn joined(&self, server: Known) {
        // One that is being read may have missed it.
        let _reading = Reading { alone: Some(self.reading.lock().await), read: &self.read };
        if let Some(roster) = self.known.load().as_ref() {
            roster.join(server);
        }
    }
}

/// Whoever reads. Its end, also where that failed or was given up, lets go those who wait, after the lock: they try that.
struct Reading<'a> {
    alone: Option<MutexGuard<'a, ()>>,
    read: &'a Notify,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        drop(self.alone.take());
        self.read.notify_waiters();
    }
}
