//! `GET /v1/agent/settings`: what the organization wants of one server, in one document.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use stopgap_core::organization::{Layer, Origin, Said};
use stopgap_core::plan::sha256_hex;
use stopgap_core::policy::{Block, Level};
use stopgap_core::wire::{Settings, event};

use super::Agent;
use super::fronted::{self, Groups};
use super::mirror::Mirrored;
use super::{agent, events};
use crate::db::agents::Known;
use crate::problem::{Answer, Problem};
use crate::secret::Hash;
use crate::settings::Organization;
use crate::state::AppState;

/// Hexadecimal digits of a version: 64 bits tell the few that a server has seen from each other.
const VERSION: usize = 16;

/// Answers with the settings, or with 304 where the agent has them.
pub async fn get(State(state): State<AppState>, agent: Agent, headers: HeaderMap) -> Answer<Response> {
    let roster = state.agents.roster.get(&state).await?;
    let mirrored = state.agents.mirrored.borrow().clone();
    let told = roster.settings(&state, &agent.server.id, &mirrored).await?;
    let told = told.ok_or_else(|| Problem::unauthorized("this server was removed"))?;
    if told.is_known(&headers) {
        return Ok(told.not_modified());
    }
    let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(told.tagged(([kind], told.document.clone()).into_response()))
}

/// Answers 304 to an agent that has the settings of now, where all that says so is in memory: most of what agents
/// ask, all day. `None`: it is [`get`]'s to answer, which also refuses. A credential counts no longer here than there.
pub(super) fn unchanged(state: &AppState, headers: &HeaderMap) -> Option<Response> {
    if !headers.contains_key(IF_NONE_MATCH) {
        return None;
    }
    let server = state.agents.credentials.get(Hash::of(agent::credential(headers)?))?;
    let roster = state.agents.roster.fresh(state)?;
    let told = roster.answered(&server.id, &state.agents.mirrored.borrow());
    let told = told.filter(|told| told.is_known(headers))?;
    state.agents.saw(&server.id, Timestamp::now());
    Some(told.not_modified())
}

/// An answer, ready to be sent, and the event that says that it is there to be asked for.
#[derive(Debug)]
pub(super) struct Told {
    /// See [`Settings::version`].
    pub(super) version: String,
    /// What a stream's event names: this version, and that of the mirror.
    pub(super) id: Arc<str>,
    /// As it goes over the wire.
    pub(super) event: Bytes,
    /// The mirror that it was computed with.
    pub(super) of: Arc<Mirrored>,
    tag: HeaderValue,
    document: Bytes,
}

impl Told {
    fn is_known(&self, asked: &HeaderMap) -> bool {
        let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        known.flat_map(|value| value.split(',')).any(|one| one.trim() == self.tag)
    }

    fn not_modified(&self) -> Response {
        self.tagged(StatusCode::NOT_MODIFIED.into_response())
    }

    fn tagged(&self, mut response: Response) -> Response {
        response.headers_mut().insert(ETAG, self.tag.clone());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// What the organization wants of a server that has this layer of its own.
pub(super) fn settings(
    organization: &Organization,
    server: &Known,
    layer: &Layer,
    mirrored: &Arc<Mirrored>,
    fronted: &Groups,
) -> Arc<Told> {
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
        takes_turns: counts_with_others(&effective.max_parallel),
        caps_stops: counts_with_others(&effective.max_stopped),
        feeds: mirrored.names(),
        protected_facts: std::collections::BTreeMap::new(),
        protected: fronted::told(fronted, &server.labels),
    };
    let content = sha256_hex(&serde_json::to_vec(&settings).unwrap_or_default());
    settings.version = content.get(..VERSION).unwrap_or(&content).to_owned();
    let document = serde_json::to_vec(&settings).unwrap_or_default().into();
    let version = settings.version;
    // Hexadecimal digits between quotes are a header's value.
    let tag = HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    let id: Arc<str> = format!("{version}.{}", mirrored.version()).into();
    let event = events::text(event::SETTINGS, &id, &json!({ "version": version })).into();
    Arc::new(Told { version, id, event, of: Arc::clone(mirrored), tag, document })
}

/// Whether a number is of several servers: one that is said of a server alone has nobody to count with.
fn counts_with_others(said: &Said<Option<u32>>) -> bool {
    said.value.is_some() && matches!(said.origin, Origin::Group(_) | Origin::Organization)
}

fn block(Said { mut value, origin }: Said<Block>) -> Block {
    value.level = match origin {
        Origin::Server => Level::Server,
        Origin::Group(_) => Level::Group,
        Origin::Organization | Origin::Default => Level::Organization,
    };
    value
}
