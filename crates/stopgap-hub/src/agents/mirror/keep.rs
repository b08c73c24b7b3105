//! Keeping the mirror up to date: publishers are asked every minute, and what is new is stored, served, and told.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use stopgap_feed::FeedName;
use stopgap_feed::trust::TrustFile;

use super::Mirrored;
use super::fetch::{Publisher, client};
use crate::db::DbError;
use crate::db::mirror;
use crate::events::MIRROR;
use crate::problem::Causes;
use crate::state::AppState;

/// How often publishers are asked. One hub asks where its ten thousand servers would.
const EVERY: Duration = Duration::from_secs(60);
/// Below this a mistyped unit would have the hub hammer the publisher.
const LEAST: Duration = Duration::from_secs(1);
/// Files of configuration and trust are some KiB.
const MAX_FILE: u64 = 4 << 20;

/// The part of `hub.toml` that is about feeds.
#[derive(Debug, Default, Deserialize)]
struct HubFile {
    /// How often publishers are asked; default: [`EVERY`].
    mirror_interval: Option<SignedDuration>,
    #[serde(default)]
    feed: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: FeedName,
    url: String,
    trust: String,
}

/// Runs until the hub stops.
pub(in crate::agents) async fn run(state: &AppState) {
    if let Err(error) = reload(state).await {
        tracing::warn!(event = MIRROR, error = %Causes(&error), "mirrored feeds cannot be read");
    }
    let http = match client() {
        Ok(http) => http,
        Err(error) => {
            tracing::error!(event = MIRROR, %error, "no HTTP client can be made: nothing is mirrored");
            return std::future::pending().await;
        }
    };
    let mut complained = String::new();
    loop {
        let (every, failures) = round(state, &http).await;
        if failures != complained && !failures.is_empty() {
            tracing::warn!(event = MIRROR, "the mirror: {failures}");
        }
        complained = failures;
        tokio::time::sleep(every).await;
    }
}

/// Reads what is served anew: another hub may have stored something.
pub(in crate::agents) async fn reload(state: &AppState) -> Result<(), DbError> {
    let new = Mirrored::load(state).await?;
    state.agents.mirrored.send_if_modified(|known| {
        let differs = known.version() != new.version() || known.beside != new.beside;
        *known = Arc::new(new);
        differs
    });
    Ok(())
}

/// Asks each publisher once; when to ask again, and what went wrong, in words.
async fn round(state: &AppState, http: &reqwest::Client) -> (Duration, String) {
    let (every, publishers) = match publishers(&state.data) {
        Ok(read) => read,
        Err(message) => return (EVERY, message),
    };
    let mut failures = Vec::new();
    if let Some(publishers) = &publishers {
        let named: Vec<String> = publishers.iter().map(|publisher| publisher.name.to_string()).collect();
        if let Err(error) = drop_others(state, &named).await {
            failures.push(format!("feeds that hub.toml names no longer: {}", Causes(&error)));
        }
    }
    for publisher in publishers.unwrap_or_default() {
        let known: Arc<Mirrored> = state.agents.mirrored.borrow().clone();
        let last = known.documents.get(&publisher.name);
        let now = Timestamp::now();
        match publisher.ask(http, last, now).await {
            Ok((document, beside)) => {
                let of_it = known.beside.iter().filter(|one| one.feed == document.feed);
                if last == Some(&document) && of_it.eq(beside.iter()) {
                    continue;
                }
                let stored = async {
                    let mut change = state.db.begin().await?;
                    mirror::put(&mut change, &document, &beside, now).await?;
                    change.commit().await?;
                    reload(state).await
                };
                if let Err(error) = stored.await {
                    failures.push(format!("feed {}: {}", publisher.name, Causes(&error)));
                }
            }
            Err(message) => failures.push(format!("feed {}: {message}", publisher.name)),
        }
    }
    (every, failures.join("; "))
}

/// A feed that was taken out of `hub.toml` is served no longer. Hubs that share a database have the same file, or none.
async fn drop_others(state: &AppState, named: &[String]) -> Result<(), DbError> {
    let served: Arc<Mirrored> = state.agents.mirrored.borrow().clone();
    if served.names().iter().all(|served| named.contains(&served.to_string())) {
        return Ok(());
    }
    let mut change = state.db.begin().await?;
    mirror::keep(&mut change, named).await?;
    change.commit().await?;
    reload(state).await
}

/// How often publishers are asked, and which; `None` where there is no file that says so.
fn publishers(data: &Path) -> Result<(Duration, Option<Vec<Publisher>>), String> {
    let path = data.join("hub.toml");
    let Some(text) = read(&path)? else { return Ok((EVERY, None)) };
    let at = |error: String| format!("{}: {error}", path.display());
    let file: HubFile = toml::from_str(&text).map_err(|error| at(error.to_string()))?;
    let every = file.mirror_interval.map_or(EVERY, SignedDuration::unsigned_abs).max(LEAST);
    let publishers: Result<Vec<Publisher>, String> = file
        .feed
        .into_iter()
        .map(|entry| {
            let trust = data.join(&entry.trust);
            let at = |error: String| format!("{}: {error}", trust.display());
            let text = read(&trust)?.ok_or_else(|| at("there is no such file".into()))?;
            let file: TrustFile = toml::from_str(&text).map_err(|error| at(error.to_string()))?;
            let folder = trust.parent().unwrap_or(data).to_owned();
            let loaded = file.load_with(|named| std::fs::read(folder.join(named)));
            let trust = loaded.map_err(|error| at(error.to_string()))?.for_feed(entry.name.clone());
            Ok(Publisher { name: entry.name, url: entry.url, trust })
        })
        .collect();
    Ok((every, Some(publishers?)))
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(error)),
        Ok(found) if found.len() > MAX_FILE => {
            Err(format!("{}: expected at most {MAX_FILE} octets", path.display()))
        }
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(at),
    }
}
