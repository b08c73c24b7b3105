//! `GET /v1/agent/settings`: what the organization wants of one server, in one document.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use stopgap_core::organization::{Layer, Origin, Said};
use stopgap_core::plan::sha256_hex;
use stopgap_core::policy::{Block, Level};
use stopgap_core::wire::Settings;
use stopgap_feed::FeedName;

use super::Agent;
use crate::db::agents::Known;
use crate::problem::{Answer, Problem};
use crate::settings::Organization;
use crate::state::AppState;

/// Hexadecimal digits of a version: 64 bits tell the few that a server has seen from each other.
const VERSION: usize = 16;

/// Answers with the settings, or with 304 where the agent has them.
pub async fn get(State(state): State<AppState>, agent: Agent, headers: HeaderMap) -> Answer<Response> {
    let roster = state.agents.roster.get(&state).await?;
    let feeds = state.agents.mirrored.borrow().names();
    let settings = roster.settings(&state, &agent.server.id, feeds).await?;
    let settings = settings.ok_or_else(|| Problem::unauthorized("this server was removed"))?;
    let tag = format!("\"{}\"", settings.version);
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut response = if known.flat_map(|value| value.split(',')).any(|one| one.trim() == tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(settings).into_response()
    };
    let tag = HeaderValue::from_str(&tag).map_err(Problem::unprocessable)?;
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// What the organization wants of a server that has this layer of its own.
pub(super) fn settings(
    organization: &Organization,
    server: &Known,
    layer: &Layer,
    feeds: Vec<FeedName>,
) -> Settings {
    let effective = organization.effective(&server.labels, layer);
    let enabled = effective.mitigations_enabled;
    let mut settings = Settings {
        version: String::new(),
        organization_enabled: enabled.value || enabled.origin != Origin::Organization,
        server_enabled: matches!(enabled.origin, Origin::Group(_) | Origin::Server).then_some(enabled.value),
        blocks: effective.mitigations_blocked.into_iter().map(block).collect(),
        frozen_until: effective.frozen_until.value,
        approval: effective.approval.value,
        approvals: organization.approvals_of(&server.name, &server.labels),
        rings: effective.rings.value,
        windows: effective.windows.value,
        internet_web_proxy: effective.internet_web_proxy.value,
        internet_web_proxy_bypass: effective.internet_web_proxy_bypass.value,
        data_collection_enabled: effective.data_collection_enabled.value,
        takes_turns: effective.max_parallel.value.is_some()
            && matches!(effective.max_parallel.origin, Origin::Group(_) | Origin::Organization),
        feeds,
        protected_facts: std::collections::BTreeMap::new(),
    };
    let content = sha256_hex(&serde_json::to_vec(&settings).unwrap_or_default());
    settings.version = content.get(..VERSION).unwrap_or(&content).to_owned();
    settings
}

fn block(Said { mut value, origin }: Said<Block>) -> Block {
    value.level = match origin {
        Origin::Server => Level::Server,
        Origin::Group(_) => Level::Group,
        Origin::Organization | Origin::Default => Level::Organization,
    };
    value
}
