//! Sending diagnostics, where DataCollectionEnabled: one document a day for each feed that comes over HTTP, to
//! `diagnostics` beside the feed. What is in it is `stopgap_core::diagnostics`; what is sent is in the log, word for word.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use stopgap_core::diagnostics::{Diagnostics, diagnostics};
use stopgap_core::report::Report;
use stopgap_drivers::Machine;
use stopgap_feed::FeedName;
use url::Url;

use crate::config::Config;
use crate::cycle::words;
use crate::fetch::Fetcher;
use crate::home::Home;

const FILE: &str = "diagnostics.json";
/// Cycles come about once an hour, a tenth early or late: that spreads a fleet's documents over the hour.
const EVERY: SignedDuration = SignedDuration::from_hours(24);

/// What is kept: when each feed's publisher was told last, or tried to be.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sent {
    #[serde(default)]
    sent_at: BTreeMap<FeedName, Timestamp>,
}

/// What this server would send now, and where to.
pub fn documents(config: &Config, report: &Report) -> Vec<(Url, Diagnostics)> {
    let address = |url: &str| {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
        // A password in the feed's address goes to the same server.
        url.join("diagnostics").ok()
    };
    let system = match std::env::consts::OS {
        known @ ("linux" | "windows") => known,
        _ => "other",
    };
    let document = |name: &FeedName| diagnostics(report, name, env!("CARGO_PKG_VERSION"), system);
    let feeds = config.feeds.iter();
    feeds.filter_map(|feed| Some((address(&feed.url)?, document(&feed.name)))).collect()
}

/// After a cycle of the service: sends what is due, in the background, and once.
pub(crate) fn after(config: &Config, documents: Vec<(Url, Diagnostics)>, fetcher: &Fetcher, now: Timestamp) {
    if !config.data_collection_enabled {
        return;
    }
    let home = Home::at(&config.data);
    // What is damaged begins anew: a day's document may be sent twice.
    let mut sent: Sent = home.load(&Machine, FILE).ok().flatten().unwrap_or_default();
    let is_due =
        |name: &FeedName| sent.sent_at.get(name).is_none_or(|at| now.duration_since(*at).abs() >= EVERY);
    let due: Vec<(Url, Diagnostics)> =
        documents.into_iter().filter(|(_, document)| is_due(&document.feed)).collect();
    if due.is_empty() {
        return;
    }
    // Noted before it is sent: a server that does not take it is asked again tomorrow, and not in a moment.
    sent.sent_at.extend(due.iter().map(|(_, document)| (document.feed.clone(), now)));
    if let Err(error) = home.save(&Machine, FILE, &sent) {
        tracing::warn!("diagnostics are not sent: {}", words(&error));
        return;
    }
    let fetcher = fetcher.clone();
    tokio::spawn(async move {
        for (url, document) in due {
            let json = serde_json::to_string(&document).unwrap_or_default();
            let host = url.host_str().unwrap_or_default().to_owned();
            match fetcher.post(&url, json.clone().into_bytes()).await {
                Ok(()) => tracing::info!("diagnostics sent to {host}: {json}"),
                Err(error) => tracing::info!("diagnostics not taken by {host}: {error}: {json}"),
            }
        }
    });
}
