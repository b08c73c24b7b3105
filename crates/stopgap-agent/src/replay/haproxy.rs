//! HAProxy's `option httplog`: configuration manual section 8.2.3. Its `option tcplog` and the log without either
//! hold no request.
//!
//! ```text
//!   … haproxy[14389]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in~ static/srv1 10/0/30/69/109 200 2750 - -
//!   ---- 1/1/1/1/0 0/0 {captured} {} "GET /index.html HTTP/1.1"
//! ```

use super::holds::Holds;
use super::line::{Line, Read, RequestLine, address, number, request_line, unhash};

pub(super) fn holds() -> Holds {
    Holds::address().with(["REQUEST_METHOD", "REMOTE_ADDR", "HTTPS", "SERVER_PORT_SECURE"])
}

/// A line of it; captured headers have no names in the log, and are not read.
pub(super) fn read(line: &[u8]) -> Read<'_> {
    let Some((client, rest)) = date(line) else { return Read::NotUnderstood("it holds no date in brackets") };
    let Some(open) = memchr::memchr(b'"', rest) else {
        return Read::NotUnderstood("it holds no request in quotes; `option httplog` has HAProxy log them");
    };
    let (head, quoted) = rest.split_at(open);
    let quoted = quoted.get(1..).unwrap_or_default();
    // The quote behind a request of more than its buffer can be cut off with it.
    let closed = memchr::memchr(b'"', quoted);
    let request = closed.and_then(|at| quoted.get(..at)).unwrap_or(quoted);
    let mut fields = head.split(|b| *b == b' ').filter(|field| !field.is_empty());
    let (Some(frontend), Some(_), Some(_), Some(status)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Read::NotUnderstood("fields are missing before the request");
    };
    // -1 stands where nothing was answered.
    let status = match number(status) {
        None if status != b"-1" => return Read::NotUnderstood("a status was expected"),
        status => status,
    };
    let client = client.rsplit(|b| *b == b' ').next().unwrap_or_default();
    let client = memchr::memrchr(b':', client).and_then(|at| client.get(..at)).unwrap_or(client);
    match request_line(unhash(request)) {
        RequestLine::IsNone => Read::NoRequest,
        RequestLine::Is { version: false, .. } => Read::CutOff,
        RequestLine::Is { method, target, version: true } => Read::Request(Line {
            method,
            target,
            // The manual, section 8.2.4, %ft: a tilde where the connection came in over TLS.
            https: frontend.ends_with(b"~"),
            remote: address(client),
            status: status.filter(|status| *status > 0),
            ..Line::default()
        }),
    }
}

/// What stands before and behind `[06/Feb/2009:12:14:14.655] `, whatever a syslog server wrote before it.
fn date(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let at = from + memchr::memmem::find(line.get(from..)?, b" [")?;
        let inside = line.get(at + 2..)?;
        let end = memchr::memchr(b']', inside)?;
        if matches!(inside.get(..end)?, [_, _, b'/', _, _, _, b'/', ..]) {
            let behind = inside.get(end + 1..)?;
            return Some((line.get(..at)?, behind.strip_prefix(b" ").unwrap_or(behind)));
        }
        from = at + 2;
    }
}

/// What `haproxy` logs for a connection: no request in it.
pub(super) fn is_without_requests(line: &[u8]) -> bool {
    memchr::memmem::find(line, b"Connect from ").is_some() || date(line).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The configuration manual's own examples, sections 8.2.3 and 8.2.1.
    const HTTP: &str = "Feb  6 12:14:14 localhost haproxy[14389]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in \
        static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} {} \"GET /index.html HTTP/1.1\"";
    const PLAIN: &str =
        "Feb  6 12:12:09 localhost haproxy[14385]: Connect from 10.0.1.2:33312 to 10.0.3.31:8012 (www/HTTP)";

    #[test]
    fn the_manuals_line_is_read() {
        let Read::Request(line) = read(HTTP.as_bytes()) else { panic!() };
        assert_eq!((&*line.method, &*line.target, line.status), ("GET", &b"/index.html"[..], Some(200)));
        assert_eq!((line.remote, line.https), (Some("10.0.1.2".parse().unwrap()), false));
        let tls = HTTP.replace("http-in ", "http-in~ ").replace("/index.html", "/a#22#23b");
        let Read::Request(line) = read(tls.as_bytes()) else { panic!() };
        assert_eq!((&*line.target, line.https), (&b"/a\"#b"[..], true));
    }

    #[test]
    fn what_holds_no_whole_request_says_so() {
        assert_eq!(read(HTTP.replace("GET /index.html HTTP/1.1", "<BADREQ>").as_bytes()), Read::NoRequest);
        assert_eq!(read(HTTP.replace(" HTTP/1.1\"", "").as_bytes()), Read::CutOff);
        assert!(matches!(read(PLAIN.as_bytes()), Read::NotUnderstood(_)));
        assert!(is_without_requests(PLAIN.as_bytes()));
    }
}
