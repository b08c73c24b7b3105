//! Forms: what was sent, and that it was sent from here.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName};

use super::visit::Fault;
use crate::people::Principal;
use crate::problem::{Answer, Problem};
use crate::state::AppState;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Letters of a reason: what the audit log takes.
const MAX_REASON: usize = 2000;

/// Fields by name, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    /// The first field of this name without the spaces around it; nothing where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim()).unwrap_or_default()
    }

    /// The same, where there is something in it.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// Why somebody changes something. People say it here; scripts may leave it away.
    pub(super) fn reason(&self) -> Answer<String> {
        let reason = self.get("reason");
        if reason.is_empty() {
            return Err(Problem::unprocessable(
                "the reason is missing: whoever reads the audit log will want it",
            ));
        }
        Ok(reason.chars().take(MAX_REASON).collect())
    }
}

/// A form that somebody who is signed in sent from a page of theirs.
pub(super) struct Sent {
    /// Who.
    pub(super) by: Principal,
    /// What.
    pub(super) fields: Fields,
}

impl FromRequest<AppState> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Response> {
        let headers = request.headers().clone();
        let sent = async {
            from_here(&headers)?;
            let by = Principal::of(state, &headers).await?;
            let by = by
                .ok_or_else(|| Problem::unauthorized("your session has ended: sign in, and send it again"))?;
            let fields = read(request, state).await?;
            by.form(fields.get("csrf"))?;
            Ok(Sent { by, fields })
        };
        sent.await.map_err(|problem: Problem| Fault(problem).into_response())
    }
}

/// A form that anybody may send: the sign-in.
pub(super) struct Open(pub(super) Fields);

impl FromRequest<AppState> for Open {
    type Rejection = Response;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Response> {
        let sent = async {
            from_here(request.headers())?;
            Ok(Open(read(request, state).await?))
        };
        sent.await.map_err(|problem: Problem| Fault(problem).into_response())
    }
}

async fn read(request: Request, state: &AppState) -> Answer<Fields> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Problem::bad_request("expected a form"));
    }
    let body = Bytes::from_request(request, state).await;
    let body = body.map_err(|refused| Problem::new(refused.status(), "body", refused.body_text()))?;
    Ok(Fields(pairs(&body)))
}

/// A sign-in has no session yet whose token could be asked for, so a form's origin is looked at as well. A browser
/// says where a form comes from, in one header or the other; what is no browser sends what it likes, and has no
/// cookie that it was not given.
fn from_here(headers: &HeaderMap) -> Answer<()> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let here = match (text(&FETCH_SITE), text(&ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) == text(&HOST),
        (None, None) => true,
    };
    if here { Ok(()) } else { Err(Problem::forbidden("the form was sent from another site")) }
}

/// `application/x-www-form-urlencoded`, as the URL standard reads it; nothing in it is an error.
fn pairs(body: &[u8]) -> Vec<(String, String)> {
    body.split(|octet| *octet == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let cut = pair.iter().position(|octet| *octet == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(cut);
            (decoded(name), decoded(value.get(1..).unwrap_or_default()))
        })
        .collect()
}

fn decoded(text: &[u8]) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let hex = |at: usize| after.get(at).and_then(|octet| char::from(*octet).to_digit(16));
        rest = after;
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                octets.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _, _) => octets.push(b' '),
            (other, _, _) => octets.push(*other),
        }
    }
    String::from_utf8_lossy(&octets).replace("\r\n", "\n")
}

/// A text as a part of an address: what is neither letter, digit nor `-._~` in percent form.
pub(super) fn escaped(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut all, octet| {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            all.push(char::from(octet));
        } else {
            let _ = write!(all, "%{octet:02X}");
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_the_url_standard_has_it() {
        let read = pairs(b"a=1&reason=because+of%20caf%C3%A9%0D%0Aline&b&&broken=%zz%4");
        let expected = [("a", "1"), ("reason", "because of caf\u{e9}\nline"), ("b", ""), ("broken", "%zz%4")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn an_escaped_text_is_read_as_itself() {
        let text = "/servers?name=a b&c=\u{e9}%";
        assert_eq!(decoded(escaped(text).as_bytes()), text);
    }

    #[test]
    fn a_form_from_another_site_is_refused() {
        let with = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            from_here(&headers).is_ok()
        };
        assert!(with(&[("sec-fetch-site", "same-origin")]) && with(&[]));
        assert!(!with(&[("sec-fetch-site", "cross-site")]) && !with(&[("sec-fetch-site", "same-site")]));
        assert!(with(&[("origin", "https://hub:8443"), ("host", "hub:8443")]));
        assert!(!with(&[("origin", "https://elsewhere"), ("host", "hub:8443")]));
        assert!(!with(&[("origin", "null"), ("host", "hub:8443")]));
    }
}
