//! HAProxy's `option httplog`: configuration manual section 8.2.3. Its `option tcplog` and the log without either
//! hold no request.
//!
//! ```text
//!   … haproxy[14389]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in~ static/srv1 10/0/30/69/109 200 2750 - -
//!   ---- 1/1/1/1/0 0/0 {captured} {} "GET /index.html HTTP/1.1"
//! ```
//!
//! Captured headers stand there without their names, those of the request first, divided by `|`. An operator who
//! knows which they are says so ([`Captures`]); what HAProxy prints of them holds none of `"#{|}` but as `#XX`.

use std::borrow::Cow;

use super::holds::{Holds, header_variable};
use super::line::{Line, Read, RequestLine, address, is_method, number, request_line, unhash};

/// The names of the request headers that HAProxy captures, in the order of its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures(Vec<Captured>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Captured {
    name: String,
    /// Some rule reads it.
    read: bool,
}

/// More than this HAProxy is hardly told to capture.
const MAX_CAPTURES: usize = 100;

impl Captures {
    /// From names divided by commas, such as `Host,User-Agent`.
    ///
    /// # Errors
    /// What is wrong, as a sentence without a full stop.
    pub fn parse(text: &str) -> Result<Captures, String> {
        let names: Vec<&str> = text.split(',').map(str::trim).collect();
        if let Some(wrong) = names.iter().find(|name| !is_method(name.as_bytes())) {
            return Err(format!("`{wrong}` is no header's name: expected names such as Host,User-Agent"));
        }
        if names.len() > MAX_CAPTURES {
            return Err(format!("{} names: expected at most {MAX_CAPTURES}", names.len()));
        }
        Ok(Captures(names.into_iter().map(|name| Captured { name: name.to_owned(), read: true }).collect()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn holds(&self) -> Holds {
        Holds::address()
            .with(["REQUEST_METHOD", "REMOTE_ADDR", "HTTPS", "SERVER_PORT_SECURE"])
            .with(self.0.iter().map(|captured| header_variable(&captured.name)))
    }

    /// Without headers that nobody reads.
    pub(super) fn narrow(&mut self, reads: &[String]) {
        self.0
            .iter_mut()
            .for_each(|captured| captured.read = reads.contains(&header_variable(&captured.name)));
    }

    /// The headers of what stands before the request.
    fn headers<'a>(&'a self, head: &'a [u8]) -> Result<Headers<'a>, &'static str> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let inside = head.split(|b| *b == b'{').nth(1).and_then(|rest| {
            let end = memchr::memchr(b'}', rest)?;
            rest.get(..end)
        });
        let inside = inside.ok_or("it holds no captured headers")?;
        let values: Vec<&[u8]> = inside.split(|b| *b == b'|').collect();
        if values.len() != self.0.len() {
            return Err("it holds another number of captured headers than were named");
        }
        // Nothing stands for a header that was not sent.
        let sent = self.0.iter().zip(values).filter(|(captured, value)| captured.read && !value.is_empty());
        Ok(sent.map(|(captured, value)| (captured.name.as_str(), unhash(value))).collect())
    }
}

type Headers<'a> = Vec<(&'a str, Cow<'a, [u8]>)>;

/// A line of it.
pub(super) fn read<'a>(captures: &'a Captures, line: &'a [u8]) -> Read<'a> {
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
    let (method, target) = match request_line(unhash(request)) {
        RequestLine::IsNone => return Read::NoRequest,
        RequestLine::Is { version: false, .. } => return Read::CutOff,
        RequestLine::Is { method, target, version: true } => (method, target),
    };
    // Not before: where HAProxy read no request it captured nothing.
    let headers = match captures.headers(head) {
        Ok(headers) => headers,
        Err(why) => return Read::NotUnderstood(why),
    };
    Read::Request(Line {
        method,
        target,
        headers,
        // The manual, section 8.2.4, %ft: a tilde where the connection came in over TLS.
        https: frontend.ends_with(b"~"),
        remote: address(client),
        status: status.filter(|status| *status > 0),
        ..Line::default()
    })
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

    fn read(line: &[u8]) -> Read<'_> {
        static NONE: Captures = Captures(Vec::new());
        super::read(&NONE, line)
    }

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

    #[test]
    fn captured_headers_have_the_names_that_an_operator_knows() {
        let line = HTTP.replace("{1wt.eu} {}", "{mail.example.org|a #7C #7B b|} {no}");
        let mut captures = Captures::parse("Host, User-Agent,Cookie").unwrap();
        let held: Vec<String> = captures.holds().names().map(str::to_owned).collect();
        assert!(
            ["HTTP_HOST", "HTTP_USER_AGENT", "HTTP_COOKIE"].iter().all(|name| held.contains(&(*name).into()))
        );
        let headers = |captures: &Captures| match super::read(captures, line.as_bytes()) {
            Read::Request(line) => {
                let text = |value: Cow<'_, [u8]>| String::from_utf8(value.into_owned()).unwrap();
                line.headers.into_iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
            }
            other => vec![format!("{other:?}")],
        };
        assert_eq!(headers(&captures), ["Host: mail.example.org", "User-Agent: a | { b"]);
        captures.narrow(&["HTTP_USER_AGENT".into()]);
        assert_eq!(headers(&captures), ["User-Agent: a | { b"]);

        // One that is cut off, none, or another number: which is which is not known.
        let two = Captures::parse("Host,User-Agent").unwrap();
        for line in [line.as_str(), &HTTP.replace("{1wt.eu} {} ", ""), &HTTP.replace("{1wt.eu} {}", "{a|b")] {
            assert!(
                matches!(super::read(&two, line.as_bytes()), Read::NotUnderstood(why) if why.contains("captured"))
            );
        }
        for wrong in ["", "Host,", "a b", "Host:"] {
            assert!(Captures::parse(wrong).unwrap_err().contains("no header's name"), "{wrong}");
        }
    }
}
