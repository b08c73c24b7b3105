//! How requests are read: bodies, queries, paths and preconditions, each refused as a problem.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::problem::{Answer, Problem};

/// Items of a page where nobody says how many, and at most.
const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;

/// A body of JSON.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
            let detail = format_args!("the body is {kind:?}; expected application/json");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail));
        }
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|refused| Problem::new(refused.status(), "body", refused.body_text()))?;
        // Serde takes a list for a struct; nothing here is one.
        if body.iter().find(|octet| !octet.is_ascii_whitespace()).is_some_and(|first| *first == b'[') {
            return Err(Problem::unprocessable("the body is a list; expected a JSON object"));
        }
        let value = serde_json::from_slice(&body);
        value.map(Body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                Problem::unprocessable(format_args!("the body is not what this address takes: {error}"))
            }
            _ => Problem::bad_request(format_args!("the body is no JSON: {error}")),
        })
    }
}

/// What stands behind the `?`.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(value)| Asked(value)).map_err(|refused| Problem::bad_request(refused.body_text()))
    }
}

/// Parts of the path.
pub struct At<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(value)| At(value)).map_err(|refused| Problem::bad_request(refused.body_text()))
    }
}

/// Which part of a list.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Part {
    /// The `next` of the page before.
    pub after: Option<String>,
    /// How many, at most 1000.
    #[param(minimum = 1, maximum = 1000)]
    #[serde(default, deserialize_with = "within")]
    pub limit: Option<u32>,
}

/// What nobody gets is refused, and not made into something else.
fn within<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let limit = Option::<u32>::deserialize(from)?;
    match limit {
        Some(limit) if limit == 0 || limit > MAX_PAGE => {
            Err(serde::de::Error::custom(format_args!("limit={limit}; expected 1 to {MAX_PAGE}")))
        }
        limit => Ok(limit),
    }
}

impl Part {
    /// Items of the page.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE)
    }

    /// Where it begins, as text.
    pub fn after(&self) -> &str {
        self.after.as_deref().unwrap_or_default()
    }

    /// Where it begins, as a number.
    pub fn after_number(&self) -> Answer<Option<u64>> {
        let parse = |text: &String| {
            text.parse()
                .map_err(|_| Problem::unprocessable(format_args!("after={text:?} is no `next` of a page")))
        };
        self.after.as_ref().filter(|text| !text.is_empty()).map(parse).transpose()
    }
}

/// A part of a list.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; nothing where this is the last one.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Of items that were asked for with `limit` and one more.
    pub fn of(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Json<Page<T>> {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Json(Page { items, next })
    }
}

/// Why somebody changes something.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Why {
    /// Why, for the audit log.
    #[param(max_length = 2000)]
    #[serde(default, deserialize_with = "short")]
    pub reason: Option<String>,
}

/// Letters of a reason.
const MAX_REASON: usize = 2000;

/// A reason that the log takes; a longer one is refused, since what is cut is not what somebody said.
pub fn short<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let reason = Option::<String>::deserialize(from)?;
    match reason.as_ref().map(|reason| reason.chars().count()) {
        Some(letters) if letters > MAX_REASON => Err(serde::de::Error::custom(format_args!(
            "the reason has {letters} letters; expected at most {MAX_REASON}"
        ))),
        _ => Ok(reason),
    }
}

/// The version that a change is of: `If-Match: "17"`.
pub struct IfMatch(pub u64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let value = parts.headers.get(IF_MATCH).ok_or_else(Problem::precondition_required)?;
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Err(Problem::precondition_required());
        }
        let version =
            text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
        version
            .map(IfMatch)
            .ok_or_else(|| Problem::stale(format_args!("{text:?} is no version of this; read it again")))
    }
}

/// JSON with its version as the ETag; 304 where the asker has it.
pub struct Tagged<T>(pub u64, pub HeaderMap, pub T);

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let Tagged(version, asked, value) = self;
        let tag = format!("\"{version}\"");
        let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let known =
            known.flat_map(|value| value.split(',')).any(|one| one.trim().trim_start_matches("W/") == tag);
        let mut response =
            if known { StatusCode::NOT_MODIFIED.into_response() } else { Json(value).into_response() };
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(ETAG, tag);
        }
        response
    }
}
