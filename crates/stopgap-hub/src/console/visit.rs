//! A visit to a page: who asks, and how the answer is put together.

use askama::Template;
use axum::extract::{FromRequestParts, Query};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode, Uri};
use jiff::Timestamp;
use stopgap_core::plan::sha256_hex;

use super::assets;
use super::form::Fields;
use super::marks::Time;
use crate::db::DbError;
use crate::events::REQUEST_FAILED;
use crate::people::{Principal, Right};
use crate::problem::Problem;
use crate::state::AppState;

const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
const SEEN: HeaderName = HeaderName::from_static("x-seen");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Somebody who is signed in asks for a page. As an extractor it leads everybody else to the sign-in.
pub(super) struct Visit {
    /// Who.
    pub(super) by: Principal,
    /// What stands behind the `?`.
    pub(super) query: Fields,
    /// One moment for the whole page.
    pub(super) now: Timestamp,
    uri: Uri,
    polls: bool,
    seen: Option<String>,
}

impl FromRequestParts<AppState> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let found = Principal::of(state, &parts.headers).await;
        let by = match found {
            Ok(Some(by)) if by.scopes().is_empty() => by,
            Ok(Some(_)) => {
                let why = Problem::forbidden("a token with scopes is for the API; it shows no page");
                return Err(Fault(why).into_response());
            }
            Ok(None) => return Err(sign_in_first(&parts.headers, &parts.uri)),
            Err(problem) => return Err(Fault(problem).into_response()),
        };
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Visit {
            by,
            query: Fields(query.map(|Query(fields)| fields).unwrap_or_default()),
            now: Timestamp::now(),
            uri: parts.uri.clone(),
            polls: text(HX_REQUEST).is_some(),
            seen: text(SEEN),
        })
    }
}

/// The sign-in, and the way back. A browser that comes from a link elsewhere keeps its cookie to itself on the first
/// request (SameSite=Strict): it is told to ask once more, which then comes from here.
fn sign_in_first(headers: &HeaderMap, uri: &Uri) -> Response {
    let back = uri.path_and_query().map_or("/", |path| path.as_str());
    if headers.contains_key(&HX_REQUEST) {
        return (StatusCode::UNAUTHORIZED, [(HX_REDIRECT, "/sign-in")]).into_response();
    }
    if headers.get(&FETCH_SITE).is_some_and(|site| site == "cross-site") {
        return page(StatusCode::OK, &Again { address: back });
    }
    let back = super::form::escaped(back);
    Redirect::to(&format!("/sign-in?next={back}")).into_response()
}

#[derive(Template)]
#[template(path = "again.html")]
struct Again<'a> {
    address: &'a str,
}

impl Visit {
    /// Refuses who may not see this.
    pub(super) fn may(&self, right: Right) -> Result<(), Fault> {
        Ok(self.by.may(right)?)
    }

    /// What every page has around it. `here`: the entry of the navigation.
    pub(super) fn shell(&self, title: impl Into<String>, here: &'static str) -> Shell {
        Shell {
            title: title.into(),
            here,
            user: self.by.user.clone(),
            role: self.by.role.word(),
            csrf: self.by.csrf().unwrap_or_default().to_owned(),
            notice: notice(self.query.get("done")),
            operates: self.by.may(Right::Operate).is_ok() && self.by.csrf().is_some(),
            administers: self.by.may(Right::Administer).is_ok() && self.by.csrf().is_some(),
            audits: self.by.may(Right::Audit).is_ok(),
            now: Time(self.now),
            live: false,
        }
    }

    /// Whether a spreadsheet is asked for.
    pub(super) fn wants_csv(&self) -> bool {
        self.query.get("format") == "csv"
    }

    /// This page's address with other values of the query; an empty value takes one away.
    pub(super) fn address_with(&self, changes: &[(&str, &str)]) -> String {
        let kept = self.query.0.iter().filter(|(name, _)| {
            name != "done" && name != "format" && !changes.iter().any(|(other, _)| other == name)
        });
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let all = kept.chain(changes.iter().copied()).filter(|(_, value)| !value.is_empty());
        let query: Vec<String> = all
            .map(|(name, value)| format!("{}={}", super::form::escaped(name), super::form::escaped(value)))
            .collect();
        if query.is_empty() {
            self.uri.path().to_owned()
        } else {
            format!("{}?{}", self.uri.path(), query.join("&"))
        }
    }

    /// A page that stays as it is.
    pub(super) fn page(&self, template: &impl Template) -> Shown {
        Ok(page(StatusCode::OK, template))
    }

    /// A page of which a part changes by itself. `whole` is not asked where only that part is wanted.
    pub(super) fn live_page<T: Template>(
        &self,
        part: &impl Template,
        whole: impl FnOnce(Live) -> T,
    ) -> Shown {
        let html = part.render().map_err(failed)?;
        let seen = sha256_hex(html.as_bytes()).chars().take(16).collect();
        let still = self.query.get("still") == "1";
        let toggle = self.address_with(&[("still", if still { "" } else { "1" })]);
        let live = Live { html, seen, address: self.address_with(&[]), toggle, still };
        if !self.polls {
            return self.page(&whole(live));
        }
        if self.seen.as_deref() == Some(live.seen.as_str()) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        self.page(&live)
    }
}

/// What every page has around it.
pub(super) struct Shell {
    pub(super) title: String,
    pub(super) here: &'static str,
    pub(super) user: String,
    pub(super) role: &'static str,
    pub(super) csrf: String,
    pub(super) notice: &'static str,
    pub(super) operates: bool,
    pub(super) administers: bool,
    pub(super) audits: bool,
    pub(super) now: Time,
    pub(super) live: bool,
}

impl Shell {
    /// A file's address.
    pub(super) fn asset(&self, name: &str) -> &'static str {
        assets::address(name)
    }

    /// With what a page of a part that changes needs.
    pub(super) fn with_live(self) -> Shell {
        Shell { live: true, ..self }
    }
}

/// The part of a page that changes by itself. A reader who wants it to hold still can have that (WCAG 2.2.2).
#[derive(Template)]
#[template(path = "live.html")]
pub(super) struct Live {
    html: String,
    seen: String,
    address: String,
    toggle: String,
    still: bool,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What handlers of pages return.
pub(super) type Shown = Result<Response, Fault>;

/// A problem, told as a page.
pub(super) struct Fault(pub(super) Problem);

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        Fault(problem)
    }
}

impl From<DbError> for Fault {
    fn from(error: DbError) -> Fault {
        Fault(error.into())
    }
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    problem: Problem,
}

impl FaultPage {
    fn asset(&self, name: &str) -> &'static str {
        assets::address(name)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let told = FaultPage { problem: self.0 };
        let mut answer = page(status, &told);
        told.problem.mark(&mut answer);
        answer
    }
}

/// A template with a status.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => failed(error).into_response(),
    }
}

fn failed(error: askama::Error) -> Problem {
    tracing::error!(event = REQUEST_FAILED, %error, "a page could not be made");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the hub's log says what went wrong")
}

/// What was done, by the word that an address carries after a change: never text from the address itself.
fn notice(word: &str) -> &'static str {
    match word {
        "blocked" => "Blocked. Servers heed it as soon as they hear of it; where it is in force it stays.",
        "reverting" => "Blocked, and taken off: each server reports here when it has left.",
        "unblocked" => "No longer blocked. Servers put it on in their next cycle, where it applies.",
        "requested" => "Asked for. Somebody else approves it.",
        "approved" => "Approved. Servers that wait for it go on in their next cycle.",
        "rejected" => "Rejected.",
        "withdrawn" => "The approval is withdrawn. What is in force stays.",
        "test-sent" => "A test message is on its way to everybody who is told.",
        "saved" => "Saved.",
        "removed" => "Removed.",
        _ => "",
    }
}

/// After a change: on to a page that a reload may ask for again.
pub(super) fn see(address: &str) -> Response {
    Redirect::to(address).into_response()
}
