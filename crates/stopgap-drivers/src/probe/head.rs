//! The octets of a probe.

use stopgap_feed::Key;

/// A feed's probe has a handful of fields; its head is bounded by the feed's grammar.
const FIELDS_MAX: usize = 100;

/// The request that is sent: the feed's head as it is, with `Host` (`name`) where it has none, our
/// mark, and `Connection: close`. Refused: a method other than GET and HEAD, a body, a head that
/// no server would take.
///
/// `name` is sent without a port: behind a redirected port it is what a client would send, and
/// servers choose the site by the name alone.
pub(super) fn request(head: &str, name: &str, id: &Key, nonce: u64) -> Result<Vec<u8>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head.as_bytes()) {
        Ok(httparse::Status::Complete(end)) if end == head.len() => (),
        Ok(httparse::Status::Complete(_)) => return Err("the probe carries more than a request head"),
        _ => return Err("the probe is not a request head"),
    }
    if !matches!(parsed.method, Some("GET" | "HEAD")) {
        return Err("the probe is neither GET nor HEAD");
    }
    let has = |name: &str| parsed.headers.iter().any(|field| field.name.eq_ignore_ascii_case(name));
    if has("Content-Length") || has("Transfer-Encoding") {
        return Err("the probe announces a body");
    }
    let mut request = head.strip_suffix("\r\n").unwrap_or(head).to_owned();
    if !has("Host") {
        request.push_str(&format!("Host: {name}\r\n"));
    }
    if !has("Connection") {
        request.push_str("Connection: close\r\n");
    }
    request.push_str(&format!("Stopgap-Probe: {id} {nonce:016x}\r\n\r\n"));
    Ok(request.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(head: &str) -> Result<String, &'static str> {
        let id = "example:M1".parse().unwrap();
        request(head, "mail.example.org", &id, 0xab).map(|octets| String::from_utf8(octets).unwrap())
    }

    #[test]
    fn a_probe_is_sent_as_written_with_host_and_mark() {
        assert_eq!(
            made("GET /a?@b/%50 HTTP/1.1\r\nCookie: X=1\r\n\r\n").unwrap(),
            "GET /a?@b/%50 HTTP/1.1\r\nCookie: X=1\r\nHost: mail.example.org\r\nConnection: close\r\n\
             Stopgap-Probe: example:M1 00000000000000ab\r\n\r\n"
        );
        let own = made("HEAD / HTTP/1.1\r\nhost: other\r\nConnection: X\r\n\r\n").unwrap();
        assert!(!own.contains("mail.example.org") && !own.contains("close"), "{own}");
    }

    #[test]
    fn only_an_inert_request_is_sent() {
        for (head, why) in [
            ("POST / HTTP/1.1\r\n\r\n", "neither"),
            ("get / HTTP/1.1\r\n\r\n", "neither"),
            ("GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", "body"),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "body"),
            ("GET / HTTP/1.1\r\n\r\nGET /second HTTP/1.1\r\n\r\n", "more than"),
            ("GET / HTTP/1.1\r\n", "not a request"),
            ("GET  HTTP/1.1\r\n\r\n", "not a request"),
        ] {
            assert!(made(head).unwrap_err().contains(why), "{head:?}");
        }
    }
}
