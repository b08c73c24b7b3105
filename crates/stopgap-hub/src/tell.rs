//! Telling people: what happens to servers, by mail and webhook, and a digest a day.
//!
//! ```text
//! a report, a judgement ──> notes ──gather──> a message ──> a delivery for each receiver ──send──> done
//!      (one transaction)          (window)        (one transaction)         (claimed, again and again)
//! ```
//!
//! A note is written with what caused it, so that nothing which was acknowledged is untold. What is the same on many
//! servers within the window is one message. A delivery is claimed by one update, so that of several hubs on one
//! database one sends; a hub that dies while it sends leaves a claim that ends, and the same delivery is sent again
//! under the same identity.

mod api;
mod daily;
mod deliver;
mod gather;
mod standing;
mod watch;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use jiff::Timestamp;
use stopgap_core::wire::{Happened, Mitigation};
use stopgap_tell::happening::{Before, Happening, Was, changes};
use stopgap_tell::{Kind, Receivers, settings};
use tokio::sync::watch as channel;

use crate::db::reports::Mitigations;
use crate::db::{Change, DbError, telling};
use crate::state::AppState;

pub(crate) use api::{__path_list, __path_test, __path_troubles, list, send_test, test, troubles};
pub use api::{Notification, test_message};

/// `hub.toml` is some KiB.
const MAX_FILE: u64 = 4 << 20;
/// Who speaks, where `[notify] name` says nothing.
const NAME: &str = "hub";
/// Without a word from anybody, what is due is looked for so often: another hub on the same database may have made it.
const LOOK: Duration = Duration::from_secs(5);
/// After the database was away.
const AGAIN: Duration = Duration::from_secs(5);

/// What notifications share on this hub.
#[derive(Debug)]
pub struct Shared {
    receivers: Receivers,
    noted: channel::Sender<u64>,
    made: channel::Sender<u64>,
}

impl Shared {
    /// For these receivers.
    pub fn new(receivers: Receivers) -> Shared {
        Shared { receivers, noted: channel::Sender::new(0), made: channel::Sender::new(0) }
    }

    /// Who is told.
    pub fn receivers(&self) -> &Receivers {
        &self.receivers
    }

    /// Notes were committed.
    pub(crate) fn noted(&self) {
        self.noted.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Deliveries were committed.
    fn made(&self) {
        self.made.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Reads who is told, from `hub.toml` in the data folder; nobody where there is none. The error is a sentence.
pub fn receivers(data: &Path) -> Result<Receivers, String> {
    let path = data.join("hub.toml");
    let at = |error: String| format!("{}: {error}", path.display());
    let text = match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Receivers::default()),
        Err(error) => return Err(at(error.to_string())),
        Ok(found) if found.len() > MAX_FILE => return Err(at(format!("expected at most {MAX_FILE} octets"))),
        Ok(_) => std::fs::read_to_string(&path).map_err(|error| at(error.to_string()))?,
    };
    let file: settings::File = toml::from_str(&text).map_err(|error| at(error.to_string()))?;
    let name = file.notify.name.clone().unwrap_or_else(|| NAME.to_owned());
    Receivers::read(&file, data, &name).map_err(|error| at(error.to_string()))
}

/// The routes, below `/v1`.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/notifications", get(list))
        .route("/notifications/test", post(test))
        .route("/troubles", get(troubles))
}

/// What goes on in the background until the hub stops.
pub async fn run(state: AppState) {
    let mut stopping = state.stopping.subscribe();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(gather::run(state.clone()));
    tasks.spawn(watch::run(state.clone()));
    tasks.spawn(daily::run(state.clone()));
    let names: Vec<String> = state.tell.receivers.all().map(|receiver| receiver.name()).collect();
    for name in names {
        tasks.spawn(deliver::run(state.clone(), name));
    }
    let _ = stopping.wait_for(|stopping| *stopping).await;
    // What is being sent keeps its claim, and is sent again after it.
    tasks.shutdown().await;
}

/// Whether there is anybody to tell; where there is nobody, nothing is kept.
pub(crate) fn is_on(state: &AppState) -> bool {
    !state.tell.receivers.is_empty()
}

/// What a report says that is worth telling: `before` has the mitigations as they were kept, as JSON.
pub(crate) fn of_report(
    before: Option<(Timestamp, &Mitigations)>,
    at: Timestamp,
    after: &[Mitigation],
    events: &[Happened],
) -> Vec<Happening> {
    let known: Option<(Timestamp, BTreeMap<String, Was>)> = before.map(|(at, kept)| {
        let was = |((feed, id), (document, _)): (&(String, String), &(String, bool))| {
            let mitigation: Mitigation = serde_json::from_str(document).ok()?;
            Some((format!("{feed}:{id}"), Was::from(&mitigation)))
        };
        (at, kept.iter().filter_map(was).collect())
    });
    let before = known.as_ref().map(|(at, mitigations)| Before { at: *at, mitigations });
    changes(before, at, after, events)
}

/// Keeps what is to be told of a server, in the transaction of its cause.
pub(crate) async fn note(
    change: &mut Change,
    receivers: &Receivers,
    server: &str,
    happenings: &[Happening],
    now: Timestamp,
) -> Result<(), DbError> {
    let wanted = |kind: Kind| receivers.all().any(|receiver| receiver.wants(kind));
    for happening in happenings.iter().filter(|happening| wanted(happening.kind)) {
        let Happening { kind, object, text } = happening;
        telling::note(change, *kind, object, server, text, now).await?;
    }
    Ok(())
}
