//! A raw head, of a request or a response: RFC 9112 sections 2.1, 3, 4 and 5, read for rules and not for a
//! server. It forgives bare line feeds and an absent version of a request, since probes are written by hand.

use super::{Connection, Request};
use crate::response::Response;

/// The largest head that is read.
pub const MAX_HEAD: usize = 1024 * 1024;
/// Header lines.
pub const MAX_HEADERS: usize = 1_000;

/// A refused head. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// Nothing but empty lines.
    #[error("the head is empty; expected {expected}")]
    Empty {
        /// The first line that belongs there, such as `a request line: GET / HTTP/1.1`.
        expected: &'static str,
    },
    /// Larger than is read.
    #[error("the head has {found} bytes; at most {limit} are read")]
    TooLarge {
        /// Its size.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Too many header lines.
    #[error("line {line}: more than {limit} headers")]
    TooManyHeaders {
        /// The first too many.
        line: usize,
        /// The limit.
        limit: usize,
    },
    /// The first line is not a request line.
    #[error("line {line}: expected METHOD TARGET HTTP/1.1, found {found:?}")]
    RequestLine {
        /// Its number.
        line: usize,
        /// Its beginning.
        found: String,
    },
    /// The first line is not a status line.
    #[error("line {line}: expected HTTP/1.1 STATUS REASON with a status from 100 to 999, found {found:?}")]
    StatusLine {
        /// Its number.
        line: usize,
        /// Its beginning.
        found: String,
    },
    /// A header line has no name, no colon, or is folded.
    #[error("line {line}: expected Name: value, found {found:?}")]
    Header {
        /// Its number.
        line: usize,
        /// Its beginning.
        found: String,
    },
}

impl HeadError {
    /// A stable word for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            HeadError::Empty { .. } => "head-empty",
            HeadError::TooLarge { .. } => "head-too-large",
            HeadError::TooManyHeaders { .. } => "head-too-many-headers",
            HeadError::RequestLine { .. } => "head-request-line",
            HeadError::StatusLine { .. } => "head-status-line",
            HeadError::Header { .. } => "head-header",
        }
    }
}

const REQUEST_LINE: &str = "a request line, such as: GET / HTTP/1.1";
const STATUS_LINE: &str = "a status line, such as: HTTP/1.1 200 OK";

pub(super) fn parse<'a>(raw: &'a [u8], connection: Connection<'a>) -> Result<Request<'a>, HeadError> {
    let ((line, first), rest) = first_line(raw, REQUEST_LINE)?;
    let (method, target) =
        request_line(first).ok_or_else(|| HeadError::RequestLine { line, found: beginning(first) })?;
    Ok(Request::new(method, target, headers(rest)?, connection))
}

pub(crate) fn parse_response(raw: &[u8]) -> Result<Response<'_>, HeadError> {
    let ((line, first), rest) = first_line(raw, STATUS_LINE)?;
    let status = status_line(first).ok_or_else(|| HeadError::StatusLine { line, found: beginning(first) })?;
    Ok(Response::new(status, headers(rest)?))
}

/// A line with its number.
type Line<'a> = (usize, &'a [u8]);

/// The first line, and those behind it.
fn first_line<'a>(
    raw: &'a [u8],
    expected: &'static str,
) -> Result<(Line<'a>, impl Iterator<Item = Line<'a>>), HeadError> {
    if raw.len() > MAX_HEAD {
        return Err(HeadError::TooLarge { found: raw.len(), limit: MAX_HEAD });
    }
    // RFC 9112 section 2.2: empty lines before the request line are ignored.
    let mut lines = raw
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .skip_while(|(_, line)| line.is_empty());
    let first = lines.next().ok_or(HeadError::Empty { expected })?;
    Ok((first, lines))
}

fn headers<'a>(lines: impl Iterator<Item = Line<'a>>) -> Result<Vec<(&'a str, &'a [u8])>, HeadError> {
    let mut headers: Vec<(&str, &[u8])> = Vec::new();
    for (line, text) in lines.take_while(|(_, text)| !text.is_empty()) {
        if headers.len() == MAX_HEADERS {
            return Err(HeadError::TooManyHeaders { line, limit: MAX_HEADERS });
        }
        headers.push(header(text).ok_or_else(|| HeadError::Header { line, found: beginning(text) })?);
    }
    Ok(headers)
}

/// RFC 9112 section 4. The blank after the status may be absent, and the reason be anything.
fn status_line(line: &[u8]) -> Option<u16> {
    let (version, rest) = line.split_at(line.iter().position(|b| *b == b' ')?);
    let (status, reason) = rest.get(1..)?.split_at_checked(3)?;
    let fits = version.starts_with(b"HTTP/") && matches!(reason.first(), None | Some(b' '));
    let status: u16 = std::str::from_utf8(status).ok()?.parse().ok()?;
    (fits && status >= 100).then_some(status)
}

fn request_line(line: &[u8]) -> Option<(&str, &[u8])> {
    let mut parts = line.split(|b| *b == b' ');
    let (method, target) = (parts.next()?, parts.next()?);
    let version = parts.next().unwrap_or(b"HTTP/1.1");
    let fits =
        is_token(method) && !target.is_empty() && version.starts_with(b"HTTP/") && parts.next().is_none();
    fits.then_some((std::str::from_utf8(method).ok()?, target))
}

fn header(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = line.split_at(colon);
    let value = value.get(1..).unwrap_or_default();
    is_token(name).then_some((std::str::from_utf8(name).ok()?, trim(value)))
}

/// RFC 9110 section 5.5: blanks and tabs around a value are not part of it; a form feed is.
fn trim(value: &[u8]) -> &[u8] {
    let part = |b: &u8| !matches!(b, b' ' | b'\t');
    let from = value.iter().position(part).unwrap_or(value.len());
    let to = value.iter().rposition(part).map_or(from, |last| last + 1);
    value.get(from..to).unwrap_or_default()
}

/// RFC 9110 section 5.6.2.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

fn beginning(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(raw: &[u8]) -> &'static str {
        parse(raw, Connection::default()).unwrap_err().code()
    }

    #[test]
    fn a_head_is_read_with_either_line_end_and_without_a_version() {
        for raw in [
            &b"\r\nGET /a?b HTTP/1.1\r\nHost: x\r\nCookie:  y \r\n\r\nbody: no"[..],
            b"GET /a?b\nHost:x\ncookie: y",
        ] {
            let request = parse(raw, Connection::default()).unwrap();
            assert_eq!((request.method(), &*request.target()), ("GET", "/a?b"));
            assert_eq!(request.header("HOST").unwrap(), "x");
            assert_eq!(request.header("COOKIE").unwrap(), "y");
            assert_eq!(request.header("BODY"), None);
        }
    }

    #[test]
    fn only_blanks_and_tabs_around_a_value_are_taken_off() {
        for (value, expected) in [
            (" \t a b\t", "a b"),
            ("\x0c a \x0c", "\x0c a \x0c"),
            (" \x0b\r ", "\x0b\r"),
            (" \t ", ""),
            ("", ""),
        ] {
            let head = format!("GET / HTTP/1.1\r\nA:{value}\r\n\r\n");
            let request = parse(head.as_bytes(), Connection::default()).unwrap();
            assert_eq!(request.header("A").unwrap(), expected, "{value:?}");
        }
    }

    #[test]
    fn each_fault_has_its_own_error() {
        assert_eq!(code(b"\r\n\n"), "head-empty");
        assert_eq!(code(b"GET"), "head-request-line");
        assert_eq!(code(b"GET /a b HTTP/1.1"), "head-request-line");
        assert_eq!(code(b"GET / HTTP/1.1\r\nHost x"), "head-header");
        assert_eq!(code(b"GET / HTTP/1.1\r\nA: b\r\n folded"), "head-header");
        assert_eq!(code(&vec![b'a'; MAX_HEAD + 1]), "head-too-large");
        let many = "A: b\n".repeat(MAX_HEADERS + 1);
        assert_eq!(code(format!("GET /\n{many}").as_bytes()), "head-too-many-headers");
    }
}
