//! Which server asks: its bearer credential, of which the store has the hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;

use crate::db::agents::{self, Known};
use crate::problem::Problem;
use crate::secret;
use crate::state::AppState;

/// What is in front of every credential.
pub(super) const PREFIX: &str = "sga_";

/// So long a credential is not asked for again: a server that was removed elsewhere is heard no longer than that.
const LASTS: Duration = Duration::from_secs(10);
/// Credentials that are remembered at a time. What is beyond is asked of the store.
const MOST: usize = 100_000;

/// The server that asks. As an extractor it answers 401 where the credential is none.
#[derive(Debug, Clone)]
pub struct Agent {
    /// The server.
    pub server: Arc<Known>,
}

impl FromRequestParts<AppState> for Agent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let unknown = || {
            Problem::unauthorized(
                "no server has this credential: it was removed here, or enrolled again; `stopgap agent leave` and \
                 `stopgap agent enroll` on the server join it anew",
            )
        };
        let hash = secret::hash(credential(&parts.headers).ok_or_else(unknown)?);
        let server = match state.agents.credentials.get(&hash) {
            Some(server) => server,
            None => {
                let found = agents::by_credential(state.db.reader(), &hash).await?;
                let (server, waits) = found.ok_or_else(unknown)?;
                if waits {
                    let mut change = state.db.begin().await?;
                    agents::promote(&mut change, &server.id, &hash).await?;
                    change.commit().await?;
                    state.agents.credentials.forget(&server.id);
                }
                state.agents.credentials.put(&hash, server)
            }
        };
        state.agents.saw(&server.id, Timestamp::now());
        Ok(Agent { server })
    }
}

/// What was sent as a server's credential.
pub(super) fn credential(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credential) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && credential.starts_with(PREFIX)).then_some(credential)
}

/// Credentials that were seen a moment ago, by their hash.
#[derive(Debug, Default)]
pub(super) struct Credentials(Mutex<HashMap<String, (Arc<Known>, Instant)>>);

impl Credentials {
    pub(super) fn get(&self, hash: &str) -> Option<Arc<Known>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(hash).filter(|(_, at)| at.elapsed() < LASTS).map(|(server, _)| Arc::clone(server))
    }

    fn put(&self, hash: &str, server: Known) -> Arc<Known> {
        let server = Arc::new(server);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(hash.to_owned(), (Arc::clone(&server), Instant::now()));
        server
    }

    /// Asks for this server's credentials anew.
    pub(super) fn forget(&self, server: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (one, _)| one.id != server);
    }

    /// Forgets what is too old.
    pub(super) fn tidy(&self) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, at)| at.elapsed() < LASTS);
    }
}
