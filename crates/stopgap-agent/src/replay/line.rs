//! One line of a log as a request, and the ways in which servers write down octets.

use std::borrow::Cow;
use std::net::IpAddr;

use stopgap_rules::{Connection, Request};

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// A request.
    Request(Line<'a>),
    /// Of a connection that sent none, or one that the server could not read.
    NoRequest,
    /// The server cut the request off before it wrote it down.
    CutOff,
    /// Not of this format, and why.
    NotUnderstood(&'static str),
}

/// A request, as far as its line tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub method: Cow<'a, str>,
    /// The raw target, as it was on the wire (or, where a log holds decoded paths, encoded again).
    pub target: Cow<'a, [u8]>,
    /// Those that were sent.
    pub headers: Vec<(&'a str, Cow<'a, [u8]>)>,
    /// Nothing where the log holds none, or a name instead.
    pub remote: Option<IpAddr>,
    pub port: Option<u16>,
    pub https: bool,
    /// The answer's status.
    pub status: Option<u16>,
}

impl Line<'_> {
    /// As the rules see it.
    pub(super) fn request(&self) -> Request<'_> {
        let port = self.port.unwrap_or(if self.https { 443 } else { 80 });
        let mut connection = Connection { server_port: port, https: self.https, ..Connection::default() };
        if let Some(remote) = self.remote {
            connection.remote_addr = remote;
        }
        let headers = self.headers.iter().map(|(name, value)| (*name, value.as_ref()));
        Request::new(&self.method, &self.target, headers, connection)
    }

    /// `GET /x`, for people: at most so many characters, nothing that moves a terminal's cursor.
    pub(super) fn shown(&self) -> String {
        printable(&[self.method.as_bytes(), b" ", &self.target].concat())
    }
}

/// Characters of a line that are shown.
const SHOWN: usize = 300;

/// The beginning of a line, for people.
pub(super) fn printable(bytes: &[u8]) -> String {
    let start = bytes.get(..SHOWN * 4).unwrap_or(bytes);
    let text = String::from_utf8_lossy(start);
    let mut shown: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if shown.len() < bytes.len() && text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// What stands between the quotes of a request line.
pub(super) enum RequestLine<'a> {
    Is { method: Cow<'a, str>, target: Cow<'a, [u8]>, version: bool },
    IsNone,
}

/// `GET /x HTTP/1.1`. The target is what stands between the first blank and the version: a client may have sent
/// blanks in it.
pub(super) fn request_line(line: Cow<'_, [u8]>) -> RequestLine<'_> {
    let Some((method, target, version)) = split(&line) else { return RequestLine::IsNone };
    match &line {
        Cow::Borrowed(bytes) => {
            let bytes: &[u8] = bytes;
            let (Some(m), Some(t)) = (bytes.get(method), bytes.get(target)) else {
                return RequestLine::IsNone;
            };
            RequestLine::Is { method: String::from_utf8_lossy(m), target: Cow::Borrowed(t), version }
        }
        Cow::Owned(bytes) => {
            let (Some(m), Some(t)) = (bytes.get(method), bytes.get(target)) else {
                return RequestLine::IsNone;
            };
            let method = Cow::Owned(String::from_utf8_lossy(m).into_owned());
            RequestLine::Is { method, target: Cow::Owned(t.to_owned()), version }
        }
    }
}

type Place = std::ops::Range<usize>;

fn split(line: &[u8]) -> Option<(Place, Place, bool)> {
    let first = memchr::memchr(b' ', line)?;
    if !is_method(line.get(..first)?) {
        return None;
    }
    let last = memchr::memrchr(b' ', line)?;
    let version = last > first && line.get(last + 1..)?.starts_with(b"HTTP/");
    let target = first + 1..if version { last } else { line.len() };
    (!target.is_empty()).then_some((0..first, target, version))
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_method(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

/// Backslash sequences, as nginx (`\xHH`, or JSON's) and Apache (`\"`, `\\`, `\n`, `\xhh`) write them. One that is
/// none of these stays as it is.
pub(super) fn unescape(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', value) else { return Cow::Borrowed(value) };
    let (plain, mut rest) = value.split_at(first);
    let mut out = plain.to_vec();
    while let Some((byte, tail)) = rest.split_first() {
        let taken = if *byte == b'\\' { sequence(tail) } else { None };
        match taken {
            Some((octet, length)) => {
                out.push(octet);
                rest = tail.get(length..).unwrap_or_default();
            }
            None => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

/// The octet of what follows a backslash, and how long that is.
fn sequence(tail: &[u8]) -> Option<(u8, usize)> {
    let simple = |octet| Some((octet, 1));
    match tail.first()? {
        b'x' | b'X' => Some((hex(tail.get(1..3)?)?, 3)),
        b'u' if tail.get(1..3)? == b"00" => Some((hex(tail.get(3..5)?)?, 5)),
        b'n' => simple(b'\n'),
        b'r' => simple(b'\r'),
        b't' => simple(b'\t'),
        b'b' => simple(0x08),
        b'f' => simple(0x0c),
        b'v' => simple(0x0b),
        octet @ (b'"' | b'\\' | b'/') => simple(*octet),
        _ => None,
    }
}

/// `#XX`, as HAProxy writes what it does not print.
pub(super) fn unhash(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'#', value) else { return Cow::Borrowed(value) };
    let (plain, mut rest) = value.split_at(first);
    let mut out = plain.to_vec();
    while let Some((byte, tail)) = rest.split_first() {
        let octet = if *byte == b'#' { tail.get(..2).and_then(hex) } else { None };
        out.push(octet.unwrap_or(*byte));
        rest = if octet.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    Cow::Owned(out)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    match digits {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    }
}

/// A target from a decoded path and a raw query string: one whose decoding gives that path again.
pub(super) fn target_of(path: &[u8], query: Option<&[u8]>) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut target = Vec::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
    for byte in path {
        if *byte <= b' ' || *byte >= 0x7f || matches!(byte, b'%' | b'?' | b'#') {
            target.push(b'%');
            target.extend(HEX.get(usize::from(byte >> 4)));
            target.extend(HEX.get(usize::from(byte & 15)));
        } else {
            target.push(*byte);
        }
    }
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    target
}

/// A number without a sign.
pub(super) fn number(bytes: &[u8]) -> Option<u16> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// An address, in brackets or not.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_servers_are_read_back() {
        for (written, octets) in [
            (&br"/a\x22b\x5C\xFF"[..], &b"/a\"b\\\xff"[..]),
            (br#"/a\"b\\c\n\t\xe9"#, b"/a\"b\\c\n\t\xe9"),
            (br"\u0001\/", b"\x01/"),
            (br"\q\x2\xzz\", br"\q\x2\xzz\"),
            (b"/plain", b"/plain"),
        ] {
            assert_eq!(unescape(written), octets, "{}", String::from_utf8_lossy(written));
        }
        assert_eq!(unhash(b"/a#22b#23#C3#zz#2"), &b"/a\"b#\xc3#zz#2"[..]);
    }

    #[test]
    fn a_request_line_may_have_blanks_in_its_target_and_no_version() {
        let read = |line: &'static [u8]| match request_line(Cow::Borrowed(line)) {
            RequestLine::Is { method, target, version } => {
                Some((method.into_owned(), String::from_utf8(target.into_owned()).unwrap(), version))
            }
            RequestLine::IsNone => None,
        };
        let is = |method: &str, target: &str, version| Some((method.to_owned(), target.to_owned(), version));
        assert_eq!(read(b"GET /x HTTP/1.1"), is("GET", "/x", true));
        assert_eq!(read(b"GET /a b HTTP/1.1"), is("GET", "/a b", true));
        assert_eq!(read(b"GET /a"), is("GET", "/a", false));
        for none in [&b"-"[..], b"", b"\x16\x03\x01 x", b"<BADREQ>", b"GET ", b"GET"] {
            assert_eq!(read(none), None, "{}", String::from_utf8_lossy(none));
        }
    }

    #[test]
    fn a_decoded_path_is_encoded_so_that_it_is_decoded_to_itself() {
        for path in ["/a b%41?#\u{e9}", "/plain/path.aspx", "/+"] {
            let target = target_of(path.as_bytes(), Some(b"q=%41"));
            let line = Line { method: "GET".into(), target: target.into(), ..Line::default() };
            assert_eq!(line.request().path(), path);
            assert_eq!(line.request().query(), "q=%41");
        }
    }

    #[test]
    fn what_is_shown_moves_no_cursor_and_is_short() {
        assert_eq!(printable(b"a\x1b[2Jb"), "a\u{fffd}[2Jb");
        assert_eq!(printable(&[b'x'; 5_000]).chars().count(), SHOWN + 1);
    }
}
