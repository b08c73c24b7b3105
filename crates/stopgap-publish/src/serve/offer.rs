//! What is offered at this moment, and the answers to those who ask for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use jiff::Timestamp;
use stopgap_core::diagnostics::MAX_OCTETS;

use super::adoption::Book;
use crate::events::Events;

/// Where the document is.
pub const FEED_PATH: &str = "/feed.xml";
/// Where the event stream is; the feed's `Link` header names it.
pub const EVENTS_PATH: &str = "/events";

/// Where servers tell what became of the mitigations, where their DataCollectionEnabled says so.
pub const DIAGNOSTICS_PATH: &str = "/diagnostics";

/// `rel="monitor"` (RFC 5989, section 4): a resource that tells of changes of this one.
const LINK: HeaderValue = HeaderValue::from_static("</events>; rel=\"monitor\"; type=\"text/event-stream\"");
const XML: HeaderValue = HeaderValue::from_static("application/xml; charset=utf-8");
/// A cache may keep the document and must ask each time: a stale feed is a server unprotected.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

const LIST: HeaderValue = HeaderValue::from_static("application/pkix-crl");

/// What is served now, and who follows it.
pub(super) struct Offers {
    pub(super) now: ArcSwap<Offer>,
    pub(super) events: Events,
    /// Where what servers tell is counted.
    pub(super) book: Option<Book>,
}

impl Offers {
    pub(super) fn new(subscribers: usize, book: Option<Book>) -> Self {
        Self { now: ArcSwap::default(), events: Events::new(subscribers), book }
    }
}

/// A document and what stands beside it: swapped as one, so that no document is seen with another's co-signatures.
#[derive(Default, Clone)]
pub(super) struct Offer {
    pub(super) feed: Option<Arc<Document>>,
    /// Co-signatures and revocation lists, by their path.
    pub(super) beside: BTreeMap<String, Arc<Document>>,
}

/// Octets, and what is known of them.
pub(super) struct Document {
    pub(super) octets: Bytes,
    /// Strong (RFC 9110, section 8.8.3): the SHA-256 of the octets.
    pub(super) etag: HeaderValue,
    pub(super) sha256: String,
    /// Of a feed and its co-signatures: which release it is.
    pub(super) release: Option<(String, u64)>,
    /// Of a feed or a list: when it ends.
    pub(super) expires: Option<Timestamp>,
    /// Of a list: when another should have taken its place.
    pub(super) due: Option<Timestamp>,
}

pub(super) fn router(offers: Arc<Offers>) -> Router {
    Router::new()
        .route(FEED_PATH, get(feed))
        .route(EVENTS_PATH, get(async |State(offers): State<Arc<Offers>>| offers.events.respond()))
        .route(DIAGNOSTICS_PATH, post(diagnostics).layer(DefaultBodyLimit::max(MAX_OCTETS)))
        .fallback(get(beside))
        .with_state(offers)
}

/// `HEAD` comes here too; the router cuts the body and keeps its length.
async fn feed(State(offers): State<Arc<Offers>>, headers: HeaderMap) -> Response {
    let link = (header::LINK, LINK);
    match &offers.now.load().feed {
        Some(feed) => ([link], answer(feed, XML, &headers)).into_response(),
        None => {
            let common = [(header::CACHE_CONTROL, NO_CACHE), link];
            (StatusCode::NOT_FOUND, common, "no feed has been published here yet\n").into_response()
        }
    }
}

/// Counted, and forgotten: nothing of who sent it is kept.
async fn diagnostics(State(offers): State<Arc<Offers>>, octets: Bytes) -> Response {
    let Some(book) = &offers.book else { return StatusCode::NOT_FOUND.into_response() };
    let now = offers.now.load();
    let Some((feed, _)) = now.feed.as_ref().and_then(|feed| feed.release.as_ref()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match book.take(feed, &octets, Timestamp::now()) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")).into_response(),
    }
}

/// Looked up in what was read before: a path names nothing in the file system.
async fn beside(State(offers): State<Arc<Offers>>, uri: Uri, headers: HeaderMap) -> Response {
    match offers.now.load().beside.get(uri.path()) {
        Some(document) => {
            let kind = if uri.path().ends_with(".crl") { LIST } else { XML };
            answer(document, kind, &headers)
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn answer(document: &Document, kind: HeaderValue, headers: &HeaderMap) -> Response {
    let common = [(header::CACHE_CONTROL, NO_CACHE)];
    let etag: (HeaderName, HeaderValue) = (header::ETAG, document.etag.clone());
    if is_known(headers, &document.etag) {
        return (StatusCode::NOT_MODIFIED, common, [etag]).into_response();
    }
    (common, [etag, (header::CONTENT_TYPE, kind)], document.octets.clone()).into_response()
}

/// `If-None-Match` (RFC 9110, section 13.1.2): weak comparison, a list, or `*`.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|known| {
            known == "*" || known.strip_prefix("W/").unwrap_or(known).as_bytes() == etag.as_bytes()
        })
    })
}
