//! Files that pages name. Their addresses carry a hash of them, so that a browser keeps them and never keeps an old one.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use stopgap_core::plan::sha256_hex;

use crate::problem::Problem;

const FILES: &[(&str, &str, &str)] = &[
    ("console", "css", include_str!("../../static/console.css")),
    // htmx 2.0.11 as its authors publish it (0BSD; static/htmx.LICENSE).
    ("htmx", "js", include_str!("../../static/htmx.min.js")),
    ("icon", "svg", include_str!("../../static/icon.svg")),
];

/// The address of a file: `/static/console-0123456789abcdef.css`.
pub(super) fn address(name: &str) -> &'static str {
    static ADDRESSES: OnceLock<Vec<(&'static str, String)>> = OnceLock::new();
    let all = ADDRESSES.get_or_init(|| {
        let address = |(name, kind, content): &(&'static str, &str, &str)| {
            let hash = sha256_hex(content.as_bytes());
            (*name, format!("/static/{name}-{}.{kind}", hash.get(..16).unwrap_or_default()))
        };
        FILES.iter().map(address).collect()
    });
    all.iter().find(|(known, _)| *known == name).map(|(_, address)| address.as_str()).unwrap_or_default()
}

pub(super) async fn get(Path(file): Path<String>) -> Response {
    let wanted = format!("/static/{file}");
    let Some((_, kind, content)) = FILES.iter().find(|(name, _, _)| address(name) == wanted) else {
        return Problem::not_found("such file").into_response();
    };
    let kind = match *kind {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    };
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")], *content).into_response()
}
