//! Which server asks: its bearer credential, of which the store has the hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;

use crate::db::agents::{self, Known};
use crate::db::{Change, DbError};
use crate::problem::Problem;
use crate::secret::Hash;
use crate::state::AppState;

/// What is in front of every credential.
pub(super) const PREFIX: &str = "sga_";

/// So long a credential is not asked for again. That it ended is heard sooner: here at once, from another hub on the same
/// database with its word; this is for a word that was lost.
const LASTS: Duration = Duration::from_secs(60);
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
        let credentials = &state.agents.credentials;
        let hash = Hash::of(credential(&parts.headers).ok_or_else(unknown)?);
        let server = match credentials.get(hash) {
            Some(server) => server,
            None => {
                let asked = credentials.asked();
                let found = agents::by_credential(state.db.reader(), &hash.text()).await?;
                let (server, waits) = found.ok_or_else(unknown)?;
                if waits {
                    let mut change = state.db.begin().await?;
                    agents::promote(&mut change, &server.id, &hash.text()).await?;
                    forgotten(&mut change, &server.id).await?;
                    change.commit().await?;
                    credentials.forget(&server.id);
                }
                let server = Arc::new(server);
                // What was just promoted is asked for once more, as any answer from before something was forgotten.
                credentials.put(asked, hash, &server);
                server
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

/// Tells other hubs on the same database that a server's credentials are another, once this is committed.
pub(super) async fn forgotten(change: &mut Change, server: &str) -> Result<(), DbError> {
    change.notify(&format!("{FORGOTTEN}{server}")).await
}

/// What hubs say to each other of a server whose credentials are asked for anew.
pub(super) const FORGOTTEN: &str = "server ";

/// Credentials that were seen a moment ago.
#[derive(Debug, Default)]
pub(super) struct Credentials(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    servers: HashMap<Hash, (Arc<Known>, Instant)>,
    /// How often something was forgotten.
    forgotten: u64,
}

/// When the store was asked, by how often something had been forgotten.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskedAt(u64);

impl Credentials {
    pub(super) fn get(&self, hash: Hash) -> Option<Arc<Known>> {
        let known = self.remembered();
        known.servers.get(&hash).filter(|(_, at)| at.elapsed() < LASTS).map(|(server, _)| Arc::clone(server))
    }

    /// Taken before the store is asked.
    fn asked(&self) -> AskedAt {
        AskedAt(self.remembered().forgotten)
    }

    /// Remembers what the store said, unless something was forgotten since: the answer may be of before that.
    fn put(&self, asked: AskedAt, hash: Hash, server: &Arc<Known>) {
        let mut known = self.remembered();
        if known.forgotten != asked.0 {
            return;
        }
        if known.servers.len() >= MOST {
            known.servers.clear();
        }
        known.servers.insert(hash, (Arc::clone(server), Instant::now()));
    }

    /// Asks for this server's credentials anew.
    pub(super) fn forget(&self, server: &str) {
        let mut known = self.remembered();
        known.forgotten += 1;
        known.servers.retain(|_, (one, _)| one.id != server);
    }

    /// Asks for all anew: it is not known which of them ended.
    pub(super) fn forget_all(&self) {
        let mut known = self.remembered();
        known.forgotten += 1;
        known.servers.clear();
    }

    /// Forgets what is too old.
    pub(super) fn tidy(&self) {
        self.remembered().servers.retain(|_, (_, at)| at.elapsed() < LASTS);
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str) -> Arc<Known> {
        Arc::new(Known { id: id.to_owned(), name: id.to_owned(), labels: [].into() })
    }

    #[test]
    fn an_answer_from_before_a_server_was_forgotten_is_not_remembered() {
        let credentials = Credentials::default();
        let hash = Hash::of("sga_1");
        let asked = credentials.asked();
        credentials.forget("a");
        credentials.put(asked, hash, &known("a"));
        assert_eq!(credentials.get(hash), None);
        let asked = credentials.asked();
        credentials.forget_all();
        credentials.put(asked, hash, &known("a"));
        assert_eq!(credentials.get(hash), None);
        credentials.put(credentials.asked(), hash, &known("a"));
        assert_eq!(credentials.get(hash), Some(known("a")));
    }

    #[test]
    fn one_server_is_forgotten_and_the_others_are_not() {
        let credentials = Credentials::default();
        let [one, other] = ["sga_1", "sga_2"].map(Hash::of);
        credentials.put(credentials.asked(), one, &known("a"));
        credentials.put(credentials.asked(), other, &known("b"));
        credentials.forget("a");
        assert_eq!((credentials.get(one), credentials.get(other)), (None, Some(known("b"))));
        credentials.forget_all();
        assert_eq!(credentials.get(other), None);
    }
}
