//! Signing in and out.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, StatusCode, Uri};

use super::assets;
use super::form::{Fields, Open, Sent};
use super::visit::{Fault, page, see};
use crate::people::accounts::SignedIn;
use crate::people::{Principal, accounts};
use crate::problem::Answer;
use crate::serve::Peer;
use crate::state::AppState;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page {
    refused: Option<String>,
    name: String,
    next: String,
    /// A link's secret: with it nothing else is asked.
    link: Option<String>,
}

impl Page {
    fn asset(&self, name: &str) -> &'static str {
        assets::address(name)
    }
}

pub(super) async fn ask(State(state): State<AppState>, headers: HeaderMap, uri: Uri) -> Response {
    let query = Query::<Vec<(String, String)>>::try_from_uri(&uri);
    let query = Fields(query.map(|Query(fields)| fields).unwrap_or_default());
    let next = local(query.get("next"));
    if let Ok(Some(_)) = Principal::of(&state, &headers).await {
        return see(next);
    }
    page(StatusCode::OK, &Page { refused: None, name: String::new(), next: next.to_owned(), link: None })
}

pub(super) async fn begin(
    State(state): State<AppState>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Open(fields): Open,
) -> Response {
    let next = local(fields.get("next"));
    // A password may begin or end with a space.
    let password = fields.0.iter().find(|(name, _)| name == "password").map(|(_, value)| value.as_str());
    let from = state.proxies.origin(peer.0.ip(), &headers);
    let signed = accounts::sign_in(&state, fields.get("name"), password.unwrap_or_default(), from).await;
    answer(signed, fields.get("name"), next)
}

/// A link is followed by a button: a mail program that looks at addresses does not spend it.
pub(super) async fn offer(Path(link): Path<String>) -> Response {
    page(StatusCode::OK, &Page { refused: None, name: String::new(), next: "/".into(), link: Some(link) })
}

pub(super) async fn follow(
    State(state): State<AppState>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Path(link): Path<String>,
    Open(_): Open,
) -> Response {
    let from = state.proxies.origin(peer.0.ip(), &headers);
    answer(accounts::sign_in_by_link(&state, &link, from).await, "", "/")
}

fn answer(signed: Answer<SignedIn>, name: &str, next: &str) -> Response {
    match signed {
        Ok(signed) => ([(SET_COOKIE, signed.set_cookie)], see(next)).into_response(),
        Err(problem) if problem.status < 500 => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::UNAUTHORIZED);
            let refused = Some(problem.detail);
            page(status, &Page { refused, name: name.to_owned(), next: next.to_owned(), link: None })
        }
        Err(problem) => Fault(problem).into_response(),
    }
}

pub(super) async fn end(State(state): State<AppState>, sent: Sent) -> Result<Response, Fault> {
    let cookie = accounts::sign_out(&state, &sent.by).await?;
    Ok(([(SET_COOKIE, cookie)], see("/sign-in")).into_response())
}

/// A way back that stays here: a browser takes `//host` and `/\host` for another site.
fn local(next: &str) -> &str {
    let plain = next.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\');
    if plain && next.starts_with('/') && !next.starts_with("//") { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_nowhere_else() {
        assert_eq!(local("/servers?state=quiet"), "/servers?state=quiet");
        for elsewhere in
            ["", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nSet-Cookie: x"]
        {
            assert_eq!(local(elsewhere), "/", "{elsewhere:?}");
        }
    }
}
