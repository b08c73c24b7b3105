//! `/v1/agent/*`: what agents ask and report. An agent's credential opens this and nothing else, and of this
//! only what concerns its own server.
//!
//! ```text
//!   enroll, credential ──► db (hashes alone)
//!   settings, events   ◄── roster: the organization and every server's place in it, read once a change
//!   reports            ──► db, one transaction, answered after its commit
//!   feeds, lists       ◄── mirror: documents that were verified, as they came
//! ```
//!
//! Nothing that is said here can put a mitigation on a server.

mod agent;
mod background;
mod credential;
mod enroll;
mod events;
mod fronted;
mod lines;
mod mirror;
mod places;
mod reports;
mod roster;
mod settings;
mod turn;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use axum::routing::{get, post};
use http::HeaderMap;
use jiff::Timestamp;
use stopgap_core::wire::MAX_BODY;
use stopgap_feed::Key;
use stopgap_feed::document::Mitigation;
use tokio::sync::watch;

use crate::db::{Change, DbError};
use crate::state::AppState;

pub use agent::Agent;

/// What the requests of agents share on this hub: what is known of who asks, for moments, and who was in contact,
/// until it is written.
#[derive(Debug)]
pub struct Shared {
    credentials: agent::Credentials,
    roster: roster::Newest,
    lines: Arc<lines::Lines>,
    places: places::Places,
    seen: Mutex<HashMap<String, Timestamp>>,
    mirrored: watch::Sender<Arc<mirror::Mirrored>>,
}

impl Shared {
    /// For so many agents that listen.
    pub(crate) fn new(streams: usize) -> Self {
        Shared {
            lines: Arc::new(lines::Lines::new(streams)),
            places: places::Places::default(),
            credentials: agent::Credentials::default(),
            roster: roster::Newest::default(),
            seen: Mutex::default(),
            mirrored: watch::Sender::new(Arc::default()),
        }
    }

    /// A mitigation as the mirrored feed has it, which was verified when it came, and the feed's serial.
    pub fn released(&self, key: &Key) -> Option<(u64, Mitigation)> {
        self.mirrored.borrow().released(key)
    }

    /// Tells other hubs on the same database that a server was removed, once this is committed.
    pub async fn removes(&self, change: &mut Change, server: &str) -> Result<(), DbError> {
        agent::forgotten(change, server).await
    }

    /// A server was removed, which was committed: its credentials are asked for anew.
    pub fn removed(&self, server: &str) {
        self.credentials.forget(server);
    }

    /// A server was in contact. It is written with all others, some seconds later.
    fn saw(&self, server: &str, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(server) {
            Some(at) => *at = now,
            None => {
                seen.insert(server.to_owned(), now);
            }
        }
    }

    /// Ordered, so that two hubs do not wait for each other's rows.
    fn take_seen(&self) -> BTreeMap<String, Timestamp> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        seen.into_iter().collect()
    }
}

/// The routes, below `/v1/agent`.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/enroll", post(enroll::post))
        .route("/credential", post(credential::post))
        .route("/settings", get(settings::get))
        .route("/reports", post(reports::post).layer(DefaultBodyLimit::max(MAX_BODY)))
        .route("/events", get(events::get))
        .route("/turn", post(turn::post))
        .route("/feeds/{name}", get(mirror::feed))
        .route("/lists/{hash}", get(mirror::list))
}

/// The answer to a request for settings that the agent has, in front of the routes.
pub(crate) fn unchanged(state: &AppState, headers: &HeaderMap) -> Option<Response> {
    settings::unchanged(state, headers)
}

/// What goes on in the background until the hub stops.
pub async fn run(state: AppState) {
    background::run(state).await;
}
