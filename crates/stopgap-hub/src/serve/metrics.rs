//! `/metrics`, as Prometheus reads it: for whoever may see the hub at all, with a token of any role.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::db::servers;
use crate::events::REQUEST_FAILED;
use crate::people::{Principal, Right};
use crate::problem::Answer;
use crate::state::AppState;

/// What is counted on this hub.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<Asked, Counter<u64, AtomicU64>>,
    seconds: Family<Place, Histogram, fn() -> Histogram>,
    unchanged: OnceLock<(Counter, Histogram)>,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(buckets),
            unchanged: OnceLock::new(),
        }
    }
}

impl Metrics {
    /// Counts a GET of this route that was answered 304 in front of the routes, as [`count`] counts those behind.
    /// There is one such route, and what it counts with is looked up once.
    pub(super) fn unchanged(&self, route: &str, began: Instant) {
        let (requests, seconds) = self.unchanged.get_or_init(|| {
            let asked = Asked { method: "GET".to_owned(), route: route.to_owned(), status: 304 };
            let requests = self.requests.get_or_create(&asked).clone();
            (requests, self.seconds.get_or_create(&Place { route: route.to_owned() }).clone())
        });
        requests.inc();
        seconds.observe(began.elapsed().as_secs_f64());
    }
}

/// Routes and not addresses: a name in an address would be a series of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMitigation {
    feed: String,
    id: String,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: String,
}

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/metrics", get(show))
}

/// Counts a request, and how long its answer took to begin.
pub(super) async fn count(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().as_str();
    let known =
        ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].into_iter().find(|one| *one == method);
    let method = known.unwrap_or("other").to_owned();
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    state
        .metrics
        .seconds
        .get_or_create(&Place { route: route.clone() })
        .observe(began.elapsed().as_secs_f64());
    state.metrics.requests.get_or_create(&Asked { method, route, status }).inc();
    response
}

async fn show(State(state): State<AppState>, by: Principal) -> Answer<Response> {
    by.may(Right::See)?;
    let mut registry = Registry::with_prefix("stopgap_hub");
    let metrics = &state.metrics;
    registry.register("requests", "Requests by method, route and status", metrics.requests.clone());
    registry.register("request_seconds", "How long answers took to begin", metrics.seconds.clone());
    let gauge = |value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge
    };
    let now = Timestamp::now();
    let reader = state.db.reader();
    registry.register("servers", "Servers that joined", gauge(servers::count(reader).await?));
    let quiet = servers::quiet(reader, now - jiff::SignedDuration::from_hours(3)).await?;
    registry.register("servers_quiet", "Servers not heard for three hours", gauge(quiet));
    let (entries, _) = crate::db::audit::head(reader).await?;
    registry.register("audit_entries", "Entries of the audit log", gauge(entries));
    let deliveries: Family<InState, Gauge> = Family::default();
    for (state, count) in crate::db::telling::states(reader).await? {
        deliveries.get_or_create(&InState { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("deliveries", "Messages to people by what became of them", deliveries);
    let mitigations: Family<OfMitigation, Gauge> = Family::default();
    for count in servers::counts(reader).await? {
        let of = OfMitigation { feed: count.feed, id: count.id, status: count.status };
        mitigations.get_or_create(&of).inc_by(i64::try_from(count.servers).unwrap_or(i64::MAX));
    }
    registry.register("mitigation_servers", "Servers that have a mitigation in a status", mitigations);
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
        tracing::warn!(event = REQUEST_FAILED, "metrics could not be written");
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}

fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 8))
}
