//! Header fields that a proxy removes and adds.
//!
//! | field | to the origin | to the client |
//! |---|---|---|
//! | those named by `Connection`, and `Connection`, `Keep-Alive`, `Proxy-Connection`, `TE`, `Transfer-Encoding`, `Upgrade` (RFC 9110, 7.6.1) | removed; a WebSocket's `Upgrade` goes on | removed; a WebSocket's `Upgrade` goes on |
//! | `Expect` | removed: the gateway answers 100 when it begins to read the body | |
//! | `Host` | unchanged | |
//! | `X-Forwarded-For` | the client's address is appended; only that last entry is ours to vouch for | |
//! | `X-Forwarded-Proto` | `http` where absent; a TLS terminator in front has said `https` | |
//! | `Via` | appended where [`Settings::via`](crate::Settings::via) is set | |

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE, VIA,
};

use crate::framing::has_token;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Marks a request with which an agent proves its rules on the live server.
pub(crate) const PROBE: HeaderName = HeaderName::from_static("stopgap-probe");

/// Whether a request asks to become a WebSocket (RFC 6455, 4.1). No other protocol is let through:
/// `h2c` would carry further requests past the rules.
pub(crate) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let holds = |name, token| {
        headers.get_all(name).iter().any(|value: &HeaderValue| has_token(value.as_bytes(), token))
    };
    headers.contains_key(UPGRADE) && holds(UPGRADE, b"websocket") && holds(CONNECTION, b"upgrade")
}

/// Makes the fields of a request those that the origin is to see.
pub(crate) fn toward_origin(headers: &mut HeaderMap, client: &HeaderValue, websocket: bool, via: bool) {
    remove_hop_by_hop(headers);
    headers.remove(EXPECT);
    headers.remove(TRANSFER_ENCODING);
    if websocket {
        upgrade_to_websocket(headers);
    }
    append(headers, FORWARDED_FOR, client);
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if via {
        append(headers, VIA, &HeaderValue::from_static("1.1 stopgap"));
    }
}

/// Makes the fields of a response those that the client is to see.
pub(crate) fn toward_client(headers: &mut HeaderMap, websocket: bool) {
    remove_hop_by_hop(headers);
    if headers.remove(TRANSFER_ENCODING).is_some() {
        // RFC 9112, 6.3: the coding has decided where the body ended.
        headers.remove(CONTENT_LENGTH);
    }
    if websocket {
        upgrade_to_websocket(headers);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        remove_listed(headers);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(TE);
    headers.remove(UPGRADE);
}

fn remove_listed(headers: &mut HeaderMap) {
    let http::header::Entry::Occupied(connection) = headers.entry(CONNECTION) else { return };
    let (_, values) = connection.remove_entry_mult();
    let listed: Vec<HeaderName> = values
        .flat_map(|value| {
            let names = value.as_bytes().split(|octet| *octet == b',').map(<[u8]>::trim_ascii);
            // Ordinary words first: a name that the library does not know costs an allocation.
            let names = names.filter(|name| {
                !(name.eq_ignore_ascii_case(b"keep-alive") || name.eq_ignore_ascii_case(b"close"))
            });
            names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect::<Vec<_>>()
        })
        .collect();
    for name in listed {
        // Not a client's to take away: without them the message would be another one.
        if name != HOST && name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            headers.remove(name);
        }
    }
}

fn upgrade_to_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Appends to a list field, making one line of several.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    let http::header::Entry::Occupied(mut entry) = headers.entry(&name) else {
        headers.insert(name, value.clone());
        return;
    };
    let mut list = Vec::new();
    for item in entry.iter().chain([value]) {
        if !list.is_empty() {
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(item.as_bytes());
    }
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        entry.insert(list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn text(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_belongs_to_one_hop_does_not_reach_the_origin() {
        let mut headers = map(&[
            ("Host", "a"),
            ("Connection", "keep-alive, X-Secret"),
            ("Connection", "Host, Content-Length"),
            ("X-Secret", "1"),
            ("Content-Length", "3"),
            ("Keep-Alive", "5"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("Expect", "100-continue"),
            ("Trailer", "X-Sum"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("X-Forwarded-For", "2.2.2.2"),
            ("X-Forwarded-Proto", "https"),
            ("Via", "1.0 edge"),
        ]);
        toward_origin(&mut headers, &HeaderValue::from_static("3.3.3.3"), false, true);
        assert_eq!(
            text(&headers),
            [
                "content-length: 3",
                "host: a",
                "trailer: X-Sum",
                "via: 1.0 edge, 1.1 stopgap",
                "x-forwarded-for: 1.1.1.1, 2.2.2.2, 3.3.3.3",
                "x-forwarded-proto: https",
            ]
        );
    }

    #[test]
    fn a_plain_request_gains_two_fields() {
        let mut headers = map(&[("Host", "a")]);
        toward_origin(&mut headers, &HeaderValue::from_static("::1"), false, false);
        assert_eq!(text(&headers), ["host: a", "x-forwarded-for: ::1", "x-forwarded-proto: http"]);
    }

    #[test]
    fn a_websocket_keeps_its_upgrade_and_nothing_else_does() {
        let mut headers =
            map(&[("Host", "a"), ("Connection", "Keep-Alive, Upgrade"), ("Upgrade", "websocket, h2c")]);
        assert!(asks_for_websocket(&headers));
        toward_origin(&mut headers, &HeaderValue::from_static("::1"), true, false);
        assert_eq!(headers["connection"], "upgrade");
        assert_eq!(headers["upgrade"], "websocket");
        assert!(!asks_for_websocket(&map(&[("Connection", "Upgrade"), ("Upgrade", "h2c")])));
        assert!(!asks_for_websocket(&map(&[("Upgrade", "websocket")])));
    }

    #[test]
    fn a_coded_response_has_no_length() {
        let mut headers =
            map(&[("Content-Length", "3"), ("Transfer-Encoding", "chunked"), ("Connection", "close")]);
        toward_client(&mut headers, false);
        assert_eq!(text(&headers), Vec::<String>::new());
    }
}
