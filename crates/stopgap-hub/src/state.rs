//! What every handler has at hand.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::db::tokens::{self, Token};
use crate::db::{Db, DbError};
use crate::people::{Limits, PLAIN_COOKIE, Passwords, SECURE_COOKIE};
use crate::serve::{Metrics, Proxies};
use crate::settings::{Latest, Organization};
use crate::{agents, console, tell};

/// Shared by all requests; cheap to clone. It holds nothing that another hub on the same database would miss.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

/// See [`AppState`].
pub struct Inner {
    /// The store.
    pub db: Db,
    /// The data folder.
    pub data: PathBuf,
    /// Whether the hub is reached over TLS.
    pub secure: bool,
    /// SHA-256, in hex, of the certificate of the hub's own authority; `None`: its certificate is another's.
    pub pin: Option<String>,
    /// The settings counter, for whoever waits for a change.
    pub settings: watch::Sender<u64>,
    /// Turns true when the hub is about to stop: streams end, and `/readyz` says so.
    pub stopping: watch::Sender<bool>,
    /// The organization's settings, as they were read last.
    pub latest: Latest,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// How often somebody may try one.
    pub limits: Limits,
    /// Who may say where a request comes from.
    pub proxies: Proxies,
    /// What `/metrics` counts.
    pub metrics: Metrics,
    /// What the agents' part shares among its requests.
    pub agents: agents::Shared,
    /// What the console shares among its requests.
    pub console: console::Shared,
    /// What notifications share.
    pub tell: tell::Shared,
}

impl AppState {
    /// For a store that is open. `streams`: how many agents may listen at a time.
    pub async fn new(
        db: Db,
        data: PathBuf,
        secure: bool,
        pin: Option<String>,
        tell: tell::Shared,
        proxies: Proxies,
        streams: usize,
    ) -> Result<AppState, DbError> {
        let settings = watch::Sender::new(db.settings_counter().await?);
        Ok(AppState(Arc::new(Inner {
            db,
            data,
            secure,
            pin,
            settings,
            stopping: watch::Sender::new(false),
            latest: Latest::default(),
            passwords: Passwords::default(),
            limits: Limits::default(),
            proxies,
            metrics: Metrics::default(),
            agents: agents::Shared::new(streams),
            console: console::Shared::default(),
            tell,
        })))
    }

    /// The name of the session's cookie.
    pub fn cookie_name(&self) -> &'static str {
        if self.secure { SECURE_COOKIE } else { PLAIN_COOKIE }
    }

    /// The organization's settings as they are now.
    pub async fn organization(&self) -> Result<Arc<Organization>, DbError> {
        self.latest.get(&self.db).await
    }

    /// Wakes whoever waits for settings. The counter never steps back, whatever order commits are told in.
    pub fn wake(&self, counter: u64) {
        self.settings.send_if_modified(|known| {
            let newer = counter > *known;
            *known = counter.max(*known);
            newer
        });
    }

    /// Notes a token's use, at most once a minute: reading must not write each time, and must not fail for it.
    pub(crate) async fn touch_token(&self, token: &Token, now: Timestamp) {
        let recent = |used: Timestamp| now.duration_since(used) < SignedDuration::from_mins(1);
        if token.used_at.is_some_and(recent) {
            return;
        }
        let noted = async {
            let mut change = self.db.begin().await?;
            tokens::touch(&mut change, &token.id, now).await?;
            change.commit().await
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, "a token's use was not noted");
        }
    }
}

impl Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
