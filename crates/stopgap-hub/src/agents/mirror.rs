//! The mirror: feeds as they came from their publisher, for servers without a way to the internet. `hub.toml` in
//! the data folder names them:
//!
//! ```toml
//! mirror_interval = "1m"                      # how often publishers are asked
//! [[feed]]
//! name = "example"
//! url = "https://feed.example.org/feed.xml"   # or http://, or file:///
//! trust = "example.trust.toml"                # relative to hub.toml, as an agent's
//! ```
//!
//! A document is served after it was verified, byte for byte. That keeps rubbish from ten thousand servers; it is
//! not what they rely on: each verifies again by the trust that it has itself.

mod fetch;
mod keep;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use stopgap_core::plan::sha256_hex;
use stopgap_feed::document::{self as feed, Mitigation};
use stopgap_feed::{FeedName, Key, Limits};

use super::Agent;
use crate::db::DbError;
use crate::db::mirror::{self, Beside, Document};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

pub(super) use keep::{reload, run};

/// Everything that is served, in memory: a feed has some hundred KiB.
#[derive(Debug, Default)]
pub(super) struct Mirrored {
    documents: BTreeMap<FeedName, Document>,
    beside: Vec<Beside>,
    version: OnceLock<String>,
}

impl Mirrored {
    pub(super) async fn load(state: &AppState) -> Result<Mirrored, DbError> {
        let documents = mirror::documents(state.db.reader()).await?;
        let named = documents.into_iter().filter_map(|one| Some((one.feed.parse().ok()?, one)));
        let beside = mirror::beside(state.db.reader()).await?;
        Ok(Mirrored { documents: named.collect(), beside, version: OnceLock::new() })
    }

    /// The feeds.
    pub(super) fn names(&self) -> Vec<FeedName> {
        self.documents.keys().cloned().collect()
    }

    /// Each feed's serial, and the hash of what is served of it.
    pub(super) fn serials(&self) -> impl Iterator<Item = (&FeedName, u64, &str)> {
        self.documents.iter().map(|(name, document)| (name, document.serial, document.hash.as_str()))
    }

    /// One name for all that is served.
    pub(super) fn version(&self) -> &str {
        self.version.get_or_init(|| {
            let all: Vec<&str> = self.documents.values().map(|document| document.hash.as_str()).collect();
            sha256_hex(all.concat().as_bytes()).chars().take(16).collect()
        })
    }

    /// A mitigation as it is served, and the feed's serial.
    pub(super) fn released(&self, key: &Key) -> Option<(u64, Mitigation)> {
        let document = self.documents.get(&key.feed)?;
        // It was verified before it was stored.
        let read = feed::Document::from_unsigned(&document.octets, &Limits::default()).ok()?;
        let found = read.mitigations.into_iter().find(|one| one.id == key.id)?;
        Some((document.serial, found))
    }

    fn beside(&self, feed: &str, name: &str) -> Option<&[u8]> {
        let is = |one: &&Beside| one.feed == feed && one.name == name;
        self.beside.iter().find(is).map(|one| one.octets.as_slice())
    }
}

/// `GET /v1/agent/feeds/NAME`, and `NAME.cosignature-N.xml` beside it.
pub(super) async fn feed(
    State(state): State<AppState>,
    _: Agent,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let mirrored: Arc<Mirrored> = state.agents.mirrored.borrow().clone();
    let nothing = || Problem::not_found(format_args!("feed {name:?} at this hub"));
    if let Some((feed, beside)) = name.split_once('.') {
        let beside = beside.strip_suffix(".xml").and_then(|beside| mirrored.beside(feed, beside));
        return answered(beside.ok_or_else(nothing)?, "application/xml", &headers);
    }
    let document = name.parse().ok().and_then(|name: FeedName| mirrored.documents.get(&name));
    answered(&document.ok_or_else(nothing)?.octets, "application/xml", &headers)
}

/// `GET /v1/agent/lists/SHA256`: the revocation list of the address with this hash.
pub(super) async fn list(
    State(state): State<AppState>,
    _: Agent,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let mirrored: Arc<Mirrored> = state.agents.mirrored.borrow().clone();
    let name = format!("list-{hash}");
    let found = mirrored.beside.iter().find(|one| one.name == name);
    let found = found.ok_or_else(|| Problem::not_found("such revocation list at this hub"))?;
    answered(&found.octets, "application/pkix-crl", &headers)
}

fn answered(octets: &[u8], kind: &'static str, headers: &HeaderMap) -> Answer<Response> {
    let tag = format!("\"{}\"", sha256_hex(octets));
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut response = if known.flat_map(|value| value.split(',')).any(|one| one.trim() == tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        octets.to_vec().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_str(&tag).map_err(Problem::unprocessable)?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
