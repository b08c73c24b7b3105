//! Servers: listed, shown, labeled, renamed, removed.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::extract::{Asked, At, Body, Page, Part, Why};
use crate::db::approvals::{self, Scope};
use crate::db::servers::{self, Event, Filter, Server};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::settings::{self, Target};
use crate::state::AppState;

/// Labels of a server.
pub const MAX_LABELS: usize = 50;
/// Letters of a name, a label's key or a label's value.
pub const MAX_WORD: usize = 128;

/// Which servers.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Those with this label: `KEY=VALUE`.
    #[param(pattern = "^[^=]+=")]
    pub label: Option<String>,
    /// Those of this group.
    pub group: Option<String>,
    /// Those whose name holds this.
    pub name: Option<String>,
    /// Those that have a mitigation with this status.
    pub status: Option<String>,
}

/// Servers, by name.
#[utoipa::path(get, path = "/v1/servers", tag = "servers", params(Part, Which),
    responses((status = 200, body = Page<Server>), (status = 404, body = Problem)))]
pub async fn list(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
    Asked(which): Asked<Which>,
) -> Answer<Json<Page<Server>>> {
    by.may(Right::See)?;
    let filter = filter(&state, which).await?;
    let limit = part.limit();
    let found = servers::page(state.db.reader(), &filter, part.after(), limit + 1).await?;
    Ok(Page::of(found, limit, |server| server.name.clone()))
}

/// What a query of servers means. A group is its label.
pub(super) async fn filter(state: &AppState, which: Which) -> Answer<Filter> {
    let mut label = match which.label {
        None => None,
        Some(text) => {
            let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
            let wrong = || Problem::bad_request(format_args!("label={text:?}; expected KEY=VALUE"));
            Some(pair.filter(|(key, _)| !key.is_empty()).ok_or_else(wrong)?)
        }
    };
    if let Some(name) = which.group {
        let organization = state.organization().await?;
        let found = organization.groups.iter().find(|(group, _)| group.name == name);
        let (group, _) = found.ok_or_else(|| Problem::not_found(format_args!("group {name:?}")))?;
        if label.is_some() {
            return Err(Problem::unprocessable("either a label or a group, not both"));
        }
        label = Some((group.label_key.clone(), group.label_value.clone()));
    }
    Ok(Filter { label, name: which.name, status: which.status })
}

/// A server, with what Exchange says of one.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerDetail {
    /// What it said of itself last.
    #[serde(flatten)]
    pub server: Server,
    /// Its groups, the nearest first.
    pub groups: Vec<String>,
    /// What its own settings, its groups and the organization come to.
    pub effective: Value,
    /// The version of its own settings, for If-Match.
    pub own_version: u64,
    /// MitigationsEnabled of the server, without the organization's word over it.
    pub enabled: bool,
    /// MitigationsApplied: ids that are in force.
    pub applied: Vec<String>,
    /// MitigationsBlocked, of every level and of the server itself.
    pub blocked: Vec<String>,
}

/// One server.
#[utoipa::path(get, path = "/v1/servers/{name}", tag = "servers", params(("name" = String, Path)),
    responses((status = 200, body = ServerDetail), (status = 404, body = Problem)))]
pub async fn get(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
) -> Answer<Json<ServerDetail>> {
    by.may(Right::See)?;
    Ok(Json(detail(&state, &name).await?))
}

/// A server with everything that counts for it.
pub async fn detail(state: &AppState, name: &str) -> Answer<ServerDetail> {
    let (server, target) = Target::server(state, name).await?;
    let own = settings::get(state, &target).await?;
    let organization = state.organization().await?;
    let effective = organization.effective(&server.labels, &own.layer);
    let groups: Vec<String> =
        organization.groups_of(&server.labels).map(|(group, _)| group.name.clone()).collect();
    let nearest = organization.groups_of(&server.labels).find_map(|(_, said)| said.layer.mitigations_enabled);
    let enabled = server.mitigations_enabled && own.layer.mitigations_enabled.or(nearest).unwrap_or(true);
    let applied = servers::mitigations(state.db.reader(), &server.id).await?;
    let applied = applied.iter().filter(|m| m.in_force).map(|m| m.id.to_string()).collect();
    let mut blocked: Vec<String> = effective
        .mitigations_blocked
        .iter()
        .map(|said| match &said.value.feed {
            Some(feed) => format!("{feed}:{}", said.value.id),
            None => said.value.id.to_string(),
        })
        .chain(server.mitigations_blocked.iter().cloned())
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    blocked.retain(|id| seen.insert(id.clone()));
    let effective = serde_json::to_value(&effective).unwrap_or_default();
    Ok(ServerDetail { server, groups, effective, own_version: own.version, enabled, applied, blocked })
}

/// What may be changed of a server beside its settings; what is missing stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerPatch {
    /// Another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// These labels and no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// Label or rename a server.
#[utoipa::path(patch, path = "/v1/servers/{name}", tag = "servers", params(("name" = String, Path), Why),
    request_body = ServerPatch,
    responses((status = 200, body = Server), (status = 404, body = Problem), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn patch(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Asked(why): Asked<Why>,
    Body(patch): Body<ServerPatch>,
) -> Answer<Json<Server>> {
    by.may(Right::Administer)?;
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    let found = servers::by_name(change.on(), &name).await?;
    let before = found.ok_or_else(|| Problem::not_found(format_args!("server {name:?}")))?;
    if let Some(new) = &patch.name {
        server_name(new)?;
        servers::rename(&mut change, &before.id, new).await?;
        approvals::rename(&mut change, &before.name, new).await?;
    }
    if let Some(new) = &patch.labels {
        labels(new)?;
        servers::set_labels(&mut change, &before.id, new).await?;
    }
    let after =
        servers::by_id(change.on(), &before.id).await?.ok_or_else(|| Problem::not_found("such server"))?;
    if (&after.name, &after.labels) == (&before.name, &before.labels) {
        return Ok(Json(after));
    }
    let json = |server: &Server| json!({"name": server.name, "labels": server.labels});
    let said = by.said("server.set", &format!("server {}", before.name)).from(json(&before)).to(json(&after));
    change.audit(now, &said.because(why.reason)).await?;
    // Labels make groups, and groups have settings.
    let counter = change.bump_settings().await?;
    change.commit().await?;
    state.wake(counter);
    Ok(Json(after))
}

/// Forget a server. Its agent's credential works no longer; what is in force on it stays.
#[utoipa::path(delete, path = "/v1/servers/{name}", tag = "servers", params(("name" = String, Path), Why),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn remove(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Asked(why): Asked<Why>,
) -> Answer<StatusCode> {
    by.may(Right::Administer)?;
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    let found = servers::by_name(change.on(), &name).await?;
    let server = found.ok_or_else(|| Problem::not_found(format_args!("server {name:?}")))?;
    servers::remove(&mut change, &server.id, now).await?;
    approvals::end(&mut change, Scope::Server, &server.name, &by.user, now).await?;
    let about = json!({"id": server.id, "labels": server.labels});
    let said = by.said("server.remove", &format!("server {}", server.name)).from(about);
    change.audit(now, &said.because(why.reason)).await?;
    state.agents.removes(&mut change, &server.id).await?;
    let counter = change.bump_settings().await?;
    change.commit().await?;
    state.agents.removed(&server.id);
    state.wake(counter);
    Ok(StatusCode::NO_CONTENT)
}

/// Everything that a server said of its mitigations.
#[utoipa::path(get, path = "/v1/servers/{name}/mitigations", tag = "servers", params(("name" = String, Path)),
    responses((status = 200, body = Vec<Object>), (status = 404, body = Problem)))]
pub async fn mitigations(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
) -> Answer<Json<Vec<stopgap_core::wire::Mitigation>>> {
    by.may(Right::See)?;
    let (server, _) = Target::server(&state, &name).await?;
    Ok(Json(servers::mitigations(state.db.reader(), &server.id).await?))
}

/// What happened on a server, newest first.
#[utoipa::path(get, path = "/v1/servers/{name}/events", tag = "servers", params(("name" = String, Path), Part),
    responses((status = 200, body = Page<Event>), (status = 404, body = Problem)))]
pub async fn events(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Asked(part): Asked<Part>,
) -> Answer<Json<Page<Event>>> {
    by.may(Right::See)?;
    let (server, _) = Target::server(&state, &name).await?;
    let limit = part.limit();
    let found = servers::events(state.db.reader(), &server.id, part.after_number()?, limit + 1).await?;
    Ok(Page::of(found, limit, |event| event.seq.to_string()))
}

/// Refuses what cannot be a server's name.
pub fn server_name(name: &str) -> Answer<()> {
    let letters = name.chars().count();
    let plain = !name.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/');
    if letters == 0 || letters > MAX_WORD || !plain {
        return Err(Problem::unprocessable(format_args!(
            "{name:?} is no server's name; expected up to {MAX_WORD} letters, without spaces and slashes"
        )));
    }
    Ok(())
}

/// Refuses labels that are too many or too long.
pub fn labels(labels: &BTreeMap<String, String>) -> Answer<()> {
    let fits = |word: &str| word.chars().count() <= MAX_WORD && !word.chars().any(char::is_control);
    let wrong =
        labels.iter().find(|(key, value)| key.is_empty() || key.contains('=') || !fits(key) || !fits(value));
    if let Some((key, value)) = wrong {
        return Err(Problem::unprocessable(format_args!(
            "the label {key:?}={value:?}; expected a key without `=`, and up to {MAX_WORD} letters each"
        )));
    }
    if labels.len() > MAX_LABELS {
        return Err(Problem::unprocessable(format_args!("{} labels; at most {MAX_LABELS}", labels.len())));
    }
    Ok(())
}
