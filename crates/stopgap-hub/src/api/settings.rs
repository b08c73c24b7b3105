//! Settings of the organization, of groups and of servers: read, replaced, patched.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use stopgap_core::organization::{Effective, Layer};

use super::extract::{Asked, At, Body, IfMatch, Tagged, Why};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::settings::{self, Target};
use crate::state::AppState;

/// What a level says; what is missing is said by no one at this level.
///
/// The document of the API's description. The type itself is `stopgap_core::organization::Layer`.
#[derive(utoipa::ToSchema)]
#[schema(as = Settings)]
#[allow(dead_code, reason = "it is only described")]
pub struct SettingsDocument {
    /// MitigationsEnabled.
    mitigations_enabled: Option<bool>,
    /// MitigationsBlocked: ids (`M1`, `example:M1`), or blocks with reason and end.
    mitigations_blocked: Option<Vec<BlockDocument>>,
    /// InternetWebProxy; an empty text: none, whatever a farther level says.
    internet_web_proxy: Option<String>,
    /// Hosts that are asked without it.
    internet_web_proxy_bypass: Option<Vec<String>>,
    /// DataCollectionEnabled.
    data_collection_enabled: Option<bool>,
    /// `automatic` or `required`: whether a person approves first.
    #[schema(pattern = "^(automatic|required)$")]
    approval: Option<String>,
    /// Rings.
    #[schema(value_type = Option<Vec<Object>>)]
    rings: Option<Vec<Value>>,
    /// Maintenance windows, in UTC: `sat,sun 02:00 6h`, `mon-fri 23:30 90m`, `22:00 4h`. An empty list: none.
    #[schema(max_items = 50)]
    windows: Option<Vec<String>>,
    /// Every change is held until then.
    #[schema(format = DateTime)]
    frozen_until: Option<String>,
    /// How many servers of a group change at a time.
    #[schema(minimum = 1, maximum = 4_294_967_295_u32)]
    max_parallel: Option<i64>,
    /// How many servers of a group may have a service or a pool stopped at a time.
    #[schema(minimum = 1, maximum = 4_294_967_295_u32)]
    max_stopped: Option<i64>,
}

/// A block. Its level is the settings' own.
#[derive(utoipa::ToSchema)]
#[schema(as = Block)]
#[allow(dead_code, reason = "it is only described")]
pub struct BlockDocument {
    /// The mitigation; everything below it is blocked too.
    id: String,
    /// In this feed only.
    feed: Option<String>,
    /// Takes it off where it is in force; a block alone does not.
    take_off: Option<bool>,
    /// Why.
    reason: Option<String>,
    /// When the block lapses.
    #[schema(format = DateTime)]
    until: Option<String>,
}

async fn read(
    state: &AppState,
    by: &Principal,
    target: &Target,
    headers: HeaderMap,
) -> Answer<Tagged<Layer>> {
    by.may(Right::See)?;
    let found = settings::get(state, target).await?;
    Ok(Tagged(found.version, headers, found.layer))
}

async fn replace(
    state: &AppState,
    by: &Principal,
    target: &Target,
    IfMatch(version): IfMatch,
    document: Value,
    why: Why,
) -> Answer<Tagged<Layer>> {
    by.may(Right::Operate)?;
    let layer = settings::layer_of(document, target.level())?;
    let new = settings::put(state, by, target, version, layer, why.reason).await?;
    Ok(Tagged(new.version, HeaderMap::new(), new.layer))
}

async fn patch(
    state: &AppState,
    by: &Principal,
    target: &Target,
    IfMatch(version): IfMatch,
    patch: Value,
    why: Why,
) -> Answer<Tagged<Layer>> {
    by.may(Right::Operate)?;
    let before = settings::get(state, target).await?;
    if before.version != version {
        return Err(Problem::stale(format_args!(
            "it is at version {} by now; read it again",
            before.version
        )));
    }
    let document = settings::merged(&before.layer, patch)?;
    replace(state, by, target, IfMatch(version), document, why).await
}

/// The organization's settings.
#[utoipa::path(get, path = "/v1/organization/settings", tag = "settings",
    responses((status = 200, body = SettingsDocument, headers(("ETag" = String))), (status = 304)))]
pub async fn organization(
    State(state): State<AppState>,
    by: Principal,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    read(&state, &by, &Target::organization(), headers).await
}

/// Replace the organization's settings.
#[utoipa::path(put, path = "/v1/organization/settings", tag = "settings", request_body = SettingsDocument,
    params(Why, ("If-Match" = String, Header)),
    responses((status = 200, body = SettingsDocument), (status = 412, body = Problem), (status = 428, body = Problem)))]
pub async fn replace_organization(
    State(state): State<AppState>,
    by: Principal,
    Asked(why): Asked<Why>,
    version: IfMatch,
    Body(document): Body<Value>,
) -> Answer<impl IntoResponse> {
    replace(&state, &by, &Target::organization(), version, document, why).await
}

/// Change some of the organization's settings (RFC 7396).
#[utoipa::path(patch, path = "/v1/organization/settings", tag = "settings", request_body = SettingsDocument,
    params(Why, ("If-Match" = String, Header)),
    responses((status = 200, body = SettingsDocument), (status = 412, body = Problem), (status = 428, body = Problem)))]
pub async fn patch_organization(
    State(state): State<AppState>,
    by: Principal,
    Asked(why): Asked<Why>,
    version: IfMatch,
    Body(document): Body<Value>,
) -> Answer<impl IntoResponse> {
    patch(&state, &by, &Target::organization(), version, document, why).await
}

/// A group's settings.
#[utoipa::path(get, path = "/v1/groups/{name}/settings", tag = "settings", params(("name" = String, Path)),
    responses((status = 200, body = SettingsDocument, headers(("ETag" = String))), (status = 304), (status = 404, body = Problem)))]
pub async fn group(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    by.may(Right::See)?;
    read(&state, &by, &Target::group(&state, &name).await?, headers).await
}

/// Replace a group's settings.
#[utoipa::path(put, path = "/v1/groups/{name}/settings", tag = "settings", request_body = SettingsDocument,
    params(("name" = String, Path), Why, ("If-Match" = String, Header)),
    responses((status = 200, body = SettingsDocument), (status = 412, body = Problem), (status = 428, body = Problem)))]
pub async fn replace_group(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Asked(why): Asked<Why>,
    version: IfMatch,
    Body(document): Body<Value>,
) -> Answer<impl IntoResponse> {
    by.may(Right::Operate)?;
    replace(&state, &by, &Target::group(&state, &name).await?, version, document, why).await
}

/// Change some of a group's settings (RFC 7396).
#[utoipa::path(patch, path = "/v1/groups/{name}/settings", tag = "settings", request_body = SettingsDocument,
    params(("name" = String, Path), Why, ("If-Match" = String, Header)),
    responses((status = 200, body = SettingsDocument), (status = 412, body = Problem), (status = 428, body = Problem)))]
pub async fn patch_group(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Asked(why): Asked<Why>,
    version: IfMatch,
    Body(document): Body<Value>,
) -> Answer<impl IntoResponse> {
    by.may(Right::Operate)?;
    patch(&state, &by, &Target::group(&state, &name).await?, version, document, why).await
}

/// A server's own settings.
#[utoipa::path(get, path = "/v1/servers/{name}/settings", tag = "settings", params(("name" = String, Path)),
    responses((status = 200, body = SettingsDocument, headers(("ETag" = String))), (status = 304), (status = 404, body = Problem)))]
pub async fn server(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    headers: HeaderMap,
) -> Answer<impl IntoResponse> {
    by.may(Right::See)?;
    read(&state, &by, &Target::server(&state, &name).await?.1, headers).await
}

/// Replace a server's own settings.
#[utoipa::path(put, path = "/v1/servers/{name}/settings", tag = "settings", request_body = SettingsDocument,
    params(("name" = String, Path), Why, ("If-Match" = String, Header)),
    responses((status = 200, body = SettingsDocument), (status = 412, body = Problem), (status = 428, body = Problem)))]
pub async fn replace_server(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Asked(why): Asked<Why>,
    version: IfMatch,
    Body(document): Body<Value>,
) -> Answer<impl IntoResponse> {
    by.may(Right::Operate)?;
    replace(&state, &by, &Target::server(&state, &name).await?.1, version, document, why).await
}

/// Change some of a server's own settings (RFC 7396).
#[utoipa::path(patch, path = "/v1/servers/{name}/settings", tag = "settings", request_body = SettingsDocument,
    params(("name" = String, Path), Why, ("If-Match" = String, Header)),
    responses((status = 200, body = SettingsDocument), (status = 412, body = Problem), (status = 428, body = Problem)))]
pub async fn patch_server(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Asked(why): Asked<Why>,
    version: IfMatch,
    Body(document): Body<Value>,
) -> Answer<impl IntoResponse> {
    by.may(Right::Operate)?;
    patch(&state, &by, &Target::server(&state, &name).await?.1, version, document, why).await
}

/// What counts for a server, with who said it.
#[derive(Serialize)]
pub struct EffectiveAnswer {
    #[serde(flatten)]
    effective: Effective,
}

/// What counts for a server: organization, groups and its own settings, each with its origin.
#[utoipa::path(get, path = "/v1/servers/{name}/effective", tag = "settings", params(("name" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub async fn effective(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
) -> Answer<Json<EffectiveAnswer>> {
    by.may(Right::See)?;
    let (server, target) = Target::server(&state, &name).await?;
    let own = settings::get(&state, &target).await?;
    let effective = state.organization().await?.effective(&server.labels, &own.layer);
    Ok(Json(EffectiveAnswer { effective }))
}
