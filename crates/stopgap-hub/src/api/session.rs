//! A browser's session.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::extract::Body;
use super::me::Me;
use crate::people::Principal;
use crate::people::accounts;
use crate::problem::{Answer, Problem};
use crate::serve::Peer;
use crate::state::AppState;

/// Name and password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The account.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// Sign in: sets a cookie, and tells the CSRF token that each change has to send as `X-CSRF-Token`.
#[utoipa::path(post, path = "/v1/session", tag = "people", request_body = Credentials, security(()),
    responses((status = 200, body = Me), (status = 401, body = Problem), (status = 429, body = Problem)))]
pub async fn sign_in(
    State(state): State<AppState>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    Body(credentials): Body<Credentials>,
) -> Answer<Response> {
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(Peer(address))| address.ip());
    let from = state.proxies.origin(peer, &headers);
    let signed_in = accounts::sign_in(&state, &credentials.user, &credentials.password, from).await?;
    let me = Me { user: signed_in.user.name, role: signed_in.user.role, csrf: Some(signed_in.csrf) };
    Ok(([(SET_COOKIE, signed_in.set_cookie)], Json(me)).into_response())
}

/// Sign out.
#[utoipa::path(delete, path = "/v1/session", tag = "people", responses((status = 204)))]
pub async fn sign_out(State(state): State<AppState>, by: Principal) -> Answer<Response> {
    let cookie = accounts::sign_out(&state, &by).await?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
}
