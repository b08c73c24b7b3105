//! `Idempotency-Key`: a POST that is sent again does nothing a second time, and gets the same answer.
//!
//! The key and the answer are kept in the transaction that did it, for a day. A secret is in the first answer
//! alone: it is not kept, so it cannot be told again.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use crate::db::{Change, idempotency};
use crate::people::Principal;
use crate::problem::{Answer, Problem};
use crate::secret;

const HEADER: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY: usize = 128;

/// A request's key, where it has one.
pub struct Once {
    key: Option<String>,
    address: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = match parts.headers.get(HEADER) {
            None => None,
            Some(value) => {
                let text = value.to_str().unwrap_or_default();
                if text.is_empty()
                    || text.len() > MAX_KEY
                    || !text.bytes().all(|octet| octet.is_ascii_graphic())
                {
                    return Err(Problem::bad_request(format_args!(
                        "Idempotency-Key is 1 to {MAX_KEY} visible characters of ASCII"
                    )));
                }
                Some(text.to_owned())
            }
        };
        Ok(Once { key, address: format!("{} {}", parts.method, parts.uri) })
    }
}

impl Once {
    /// Takes the key; the answer that was given already, where there is one.
    pub async fn begin(
        &self,
        change: &mut Change,
        by: &Principal,
        body: &impl Serialize,
        now: Timestamp,
    ) -> Answer<Option<Response>> {
        let Some(key) = &self.key else { return Ok(None) };
        let body = serde_json::to_string(body).unwrap_or_default();
        let request = secret::hash(&format!("{}\n{body}", self.address));
        let Some(kept) = idempotency::take(change, &by.key(), key, &request, now).await? else {
            return Ok(None);
        };
        if kept.request != request {
            return Err(Problem::unprocessable("this Idempotency-Key was used for another request"));
        }
        let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let replayed = [(REPLAYED, HeaderValue::from_static("true"))];
        Ok(Some((status, json, replayed, kept.answer).into_response()))
    }

    /// Keeps what is answered, without secrets.
    pub async fn keep(
        &self,
        change: &mut Change,
        by: &Principal,
        status: StatusCode,
        answer: &impl Serialize,
    ) -> Answer<()> {
        let Some(key) = &self.key else { return Ok(()) };
        let answer = serde_json::to_string(answer).unwrap_or_default();
        Ok(idempotency::keep(change, &by.key(), key, status.as_u16(), &answer).await?)
    }
}
