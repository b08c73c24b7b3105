//! What a rule can see of a request, borrowed from where it was received.
//!
//! Text: bytes that are not UTF-8 are read as U+FFFD, as `String::from_utf8_lossy` does, after percent
//! sequences are decoded where they are. What reaches the application is not touched by that; only the
//! rules' view is.

pub(crate) mod head;
mod path;

pub use head::HeadError;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

/// What the connection, and not the request, says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection<'a> {
    /// `REMOTE_ADDR`.
    pub remote_addr: IpAddr,
    /// `SERVER_PORT`.
    pub server_port: u16,
    /// `HTTPS` (`on`, `off`) and `SERVER_PORT_SECURE` (`1`, `0`).
    pub https: bool,
    /// `APP_POOL_ID`; empty where there is none.
    pub app_pool_id: &'a str,
    /// What `REQUEST_FILENAME` starts with, without a slash at its end; empty outside IIS.
    pub physical_root: &'a str,
}

impl Default for Connection<'_> {
    fn default() -> Self {
        Connection {
            remote_addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
            server_port: 80,
            https: false,
            app_pool_id: "",
            physical_root: "",
        }
    }
}

/// A request head. Cheap to make: it holds slices of the caller's buffers.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    method: &'a str,
    target: Cow<'a, [u8]>,
    headers: Vec<(&'a str, &'a [u8])>,
    connection: Connection<'a>,
}

impl<'a> Request<'a> {
    /// A request from its parts, as they were on the wire.
    ///
    /// `target` is the raw request target. An absolute form (`http://host/path`) stands for its path and
    /// query; an authority or asterisk form (`CONNECT`, `OPTIONS *`) for itself.
    pub fn new(
        method: &'a str,
        target: &'a [u8],
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        connection: Connection<'a>,
    ) -> Request<'a> {
        Request { method, target: origin_form(target), headers: headers.into_iter().collect(), connection }
    }

    /// A raw HTTP/1.1 request head, as in a `.http` file or a probe. Lines end with CRLF or LF; what follows
    /// the empty line is not read; the version may be absent.
    ///
    /// # Errors
    /// [`HeadError`]: the line, what was expected, what was found.
    pub fn parse_head(raw: &'a [u8], connection: &Connection<'a>) -> Result<Request<'a>, HeadError> {
        head::parse(raw, connection.clone())
    }

    /// `REQUEST_METHOD`.
    pub fn method(&self) -> &str {
        self.method
    }

    /// `REQUEST_URI`: the raw path and query string.
    pub fn target(&self) -> Cow<'_, str> {
        lossy(&self.target)
    }

    /// The connection.
    pub fn connection(&self) -> &Connection<'a> {
        &self.connection
    }

    /// The raw query string without `?`; empty where there is none.
    pub fn query(&self) -> Cow<'_, str> {
        lossy(self.raw_query())
    }

    /// The decoded path with its leading slash, as http.sys hands it to IIS: percent sequences decoded once,
    /// `\` is `/`, runs of slashes are one, `.` and `..` are resolved and never leave the root. A percent
    /// sign that starts no sequence stays.
    pub fn path(&self) -> Cow<'_, str> {
        path::decoded(self.target.split(|b| *b == b'?').next().unwrap_or_default())
    }

    /// The value of a header, by the name that follows `HTTP_`: letters in any case, `_` for `-`. Several
    /// headers of one name are one value, joined by `, ` (`; ` for Cookie). Absent: nothing.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(text(self.raw_header(name)?))
    }

    pub(crate) fn raw_target(&self) -> &[u8] {
        &self.target
    }

    pub(crate) fn raw_query(&self) -> &[u8] {
        let question = self.target.iter().position(|b| *b == b'?');
        question.and_then(|at| self.target.get(at + 1..)).unwrap_or_default()
    }

    pub(crate) fn raw_header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut found = self.headers.iter().filter(|(n, _)| same_header(n, name)).map(|(_, value)| *value);
        let first = found.next()?;
        let Some(second) = found.next() else { return Some(Cow::Borrowed(first)) };
        let separator = if name.eq_ignore_ascii_case("COOKIE") { b"; " } else { b", " };
        let mut joined = first.to_owned();
        for value in std::iter::once(second).chain(found) {
            joined.extend_from_slice(separator);
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(joined))
    }
}

/// As `String::from_utf8_lossy`, which goes byte by byte also where there is nothing to replace.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Bytes as the rules read them.
pub(crate) fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }),
    }
}

/// `X-Name` and `HTTP_X_NAME` are one: IIS writes dashes as underscores.
pub(crate) fn same_header(header: &str, variable: &str) -> bool {
    let fold = |b: u8| if b == b'-' { b'_' } else { b.to_ascii_uppercase() };
    header.len() == variable.len() && header.bytes().zip(variable.bytes()).all(|(a, b)| fold(a) == fold(b))
}

/// RFC 9112 section 3.2.2: a server must accept the absolute form. Only its path and query matter to a rule.
fn origin_form(target: &[u8]) -> Cow<'_, [u8]> {
    let after = |scheme: &str| {
        let (found, rest) = target.split_at_checked(scheme.len())?;
        found.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    };
    let Some(authority) = after("http://").or_else(|| after("https://")) else {
        return Cow::Borrowed(target);
    };
    let end = authority.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(authority.len());
    match authority.get(end..).unwrap_or_default() {
        [] => Cow::Borrowed(b"/"),
        query @ [b'?', ..] => Cow::Owned([b"/", query].concat()),
        path => Cow::Borrowed(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(raw: &[u8]) -> String {
        Request::new("GET", raw, [], Connection::default()).target().into_owned()
    }

    #[test]
    fn an_absolute_form_stands_for_its_path_and_query() {
        assert_eq!(target(b"http://example.org/a?b"), "/a?b");
        assert_eq!(target(b"HTTPS://example.org"), "/");
        assert_eq!(target(b"http://example.org?b=1"), "/?b=1");
        assert_eq!(target(b"/a?u=http://example.org/x"), "/a?u=http://example.org/x");
        assert_eq!(target(b"*"), "*");
    }

    #[test]
    fn bytes_outside_utf8_are_read_as_replacement_characters() {
        assert_eq!(target(b"/a\xffb"), "/a\u{fffd}b");
    }

    #[test]
    fn several_headers_of_one_name_are_one_value() {
        let headers: [(&str, &[u8]); 4] =
            [("Cookie", b"a=1"), ("X-A", b"1"), ("cookie", b"b=2"), ("x_a", b"2")];
        let request = Request::new("GET", b"/", headers, Connection::default());
        assert_eq!(request.header("COOKIE").unwrap(), "a=1; b=2");
        assert_eq!(request.header("X_A").unwrap(), "1, 2");
        assert_eq!(request.header("X_B"), None);
    }
}
