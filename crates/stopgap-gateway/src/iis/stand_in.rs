//! What stands in for the applications: a page that says for whom, with the header fields that rules for responses
//! look at. Outlook on the web and the admin center send a Content-Security-Policy, to which M2 adds a directive.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::answer::{Answer, text};

/// The policy of the stand-ins.
const POLICY: &str = "script-src 'self' 'unsafe-inline'";
/// The applications, below their site, that send it.
const WITH_POLICY: [&str; 2] = ["owa", "ecp"];

/// The page of an application.
pub(super) fn page(method: &Method, application: &str, path: &str) -> Response<Answer> {
    let body = format!(
        "<!doctype html>\n<title>stand-in</title>\n<p>{} {} reached {}</p>\n",
        plain(method.as_str()),
        plain(path),
        plain(application),
    );
    let mut response = text(StatusCode::OK, body);
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let first = application.split('/').nth(1).unwrap_or_default();
    if WITH_POLICY.iter().any(|name| name.eq_ignore_ascii_case(first)) {
        fields.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
    response
}

/// Text within HTML.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
