//! Formats that are a template: nginx's `log_format` and Apache's `LogFormat`. A template is text with fields in
//! it; a line is cut at the text. Both write what would end a quoted field with a backslash.

use std::borrow::Cow;

use memchr::memmem::Finder;

use super::holds::{Holds, header_variable};
use super::line::{Line, Read, RequestLine, address, is_method, number, request_line, target_of, unescape};

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    /// Nothing that a rule reads.
    Skip,
    /// `GET /x HTTP/1.1`.
    RequestLine,
    Method,
    /// The raw target.
    Target,
    /// The decoded path, without a query string.
    Path,
    /// The raw query string, with or without its question mark.
    Query,
    /// The decoded path, and the raw query string behind it (Apache's `%U%q`).
    PathQuery,
    /// By its variable's name without `HTTP_`.
    Header(String),
    /// The client: an address; or a name, and then the address is not known.
    Remote,
    /// The same, and anything else is another format.
    RemoteAddress,
    Port,
    /// `on`, or empty.
    Https,
    /// `http` or `https`.
    Scheme,
    Status,
}

/// A field, and the text that follows it.
#[derive(Debug, Clone)]
struct Piece {
    field: Field,
    /// Quotes stand around it, so that the next one that has no backslash ends it.
    quoted: bool,
    /// Nothing: it goes to the end of the line.
    end: Option<Finder<'static>>,
}

/// A format that is a template.
#[derive(Debug, Clone)]
pub(super) struct Template {
    start: Vec<u8>,
    pieces: Vec<Piece>,
}

/// Fields of one format.
const MAX_FIELDS: usize = 200;

impl Template {
    /// A template in nginx's words (`$request`) or Apache's (`%r`).
    ///
    /// # Errors
    /// Why it cannot be read, as a sentence without a full stop.
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let parts = if text.contains('$') { nginx(text) } else { apache(text)? };
        let template = Template::of(parts)?;
        let holds_one = |piece: &Piece| {
            use Field::{Path, PathQuery, RequestLine, Target};
            matches!(piece.field, RequestLine | Target | Path | PathQuery)
        };
        if !template.pieces.iter().any(holds_one) {
            return Err(
                "it holds no request: expected $request or $request_uri of nginx, %r or %U of Apache".into(),
            );
        }
        Ok(template)
    }

    fn of(parts: Vec<Part>) -> Result<Template, String> {
        let mut template = Template { start: Vec::new(), pieces: Vec::new() };
        let mut before = Vec::new();
        let mut open: Option<Piece> = None;
        for part in parts {
            match (part, open.take()) {
                (Part::Text(text), None) => {
                    template.start.extend_from_slice(&text);
                    before = text;
                }
                (Part::Text(text), Some(piece)) => {
                    let quoted = before.ends_with(b"\"") && text.starts_with(b"\"");
                    let end = Some(Finder::new(&text).into_owned());
                    template.pieces.push(Piece { quoted, end, ..piece });
                    before = text;
                }
                (Part::Field(field), None) => open = Some(Piece { field, quoted: false, end: None }),
                (Part::Field(Field::Query), Some(piece)) if piece.field == Field::Path => {
                    open = Some(Piece { field: Field::PathQuery, ..piece });
                }
                (Part::Field(Field::Skip), Some(piece)) if piece.field == Field::Skip => open = Some(piece),
                (Part::Field(_), Some(_)) => {
                    return Err("two of its fields follow each other with nothing between them".into());
                }
            }
            if template.pieces.len() > MAX_FIELDS {
                return Err(format!("it has more than {MAX_FIELDS} fields"));
            }
        }
        template.pieces.extend(open);
        Ok(template)
    }

    pub(super) fn holds(&self) -> Holds {
        let mut names: Vec<String> = Vec::new();
        for piece in &self.pieces {
            match &piece.field {
                Field::RequestLine | Field::Method => names.push("REQUEST_METHOD".into()),
                Field::Header(name) => names.push(format!("HTTP_{name}")),
                Field::Remote | Field::RemoteAddress => names.push("REMOTE_ADDR".into()),
                Field::Port => names.push("SERVER_PORT".into()),
                Field::Https | Field::Scheme => {
                    names.extend(["HTTPS".into(), "SERVER_PORT_SECURE".into()]);
                }
                _ => {}
            }
        }
        Holds::address().with(names)
    }

    /// Whether its paths are decoded, and its targets therefore not those of the wire.
    pub(super) fn is_decoded(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece.field, Field::Path | Field::PathQuery))
    }

    /// The same, without headers that nobody reads.
    pub(super) fn narrow(&mut self, reads: &[String]) {
        for piece in &mut self.pieces {
            if matches!(&piece.field, Field::Header(name) if !reads.contains(&format!("HTTP_{name}"))) {
                piece.field = Field::Skip;
            }
        }
    }

    pub(super) fn read<'a>(&'a self, line: &'a [u8]) -> Read<'a> {
        let Some(mut rest) = line.strip_prefix(self.start.as_slice()) else {
            return Read::NotUnderstood("its beginning is another");
        };
        let mut found = Found::default();
        for piece in &self.pieces {
            let Some((value, tail)) = piece.cut(rest) else {
                return Read::NotUnderstood("a field of it has no end");
            };
            rest = tail;
            if let Err(why) = found.take(&piece.field, value) {
                return Read::NotUnderstood(why);
            }
        }
        found.line()
    }
}

impl Piece {
    /// The field's value, and what follows the text behind it.
    fn cut<'a>(&self, rest: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let Some(end) = &self.end else { return Some((rest, &[])) };
        let at = if self.quoted {
            let at = closing_quote(rest)?;
            rest.get(at..)?.starts_with(end.needle()).then_some(at)?
        } else {
            end.find(rest)?
        };
        Some((rest.get(..at)?, rest.get(at + end.needle().len()..)?))
    }
}

/// The first quote that no backslash precedes.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', text.get(from..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at + 2;
    }
}

/// What the fields of a line have said so far.
#[derive(Default)]
struct Found<'a> {
    line: Line<'a>,
    request: Option<Cow<'a, [u8]>>,
    path: Option<Cow<'a, [u8]>>,
    query: Option<Cow<'a, [u8]>>,
}

impl<'a> Found<'a> {
    fn take(&mut self, field: &'a Field, value: &'a [u8]) -> Result<(), &'static str> {
        match field {
            Field::Skip => {}
            Field::RequestLine => self.request = Some(unescape(value)),
            Field::Method => match unescape(value) {
                method if is_method(&method) || value == b"-" || value.is_empty() => {
                    self.line.method = Cow::Owned(String::from_utf8_lossy(&method).into_owned());
                }
                _ => return Err("a method was expected"),
            },
            Field::Target => self.line.target = unescape(value),
            Field::Path => self.path = Some(unescape(value)),
            Field::Query => {
                let query = value.strip_prefix(b"?").unwrap_or(value);
                self.query = (!matches!(query, b"" | b"-")).then(|| unescape(query));
            }
            Field::PathQuery => {
                let (path, query) = match memchr::memchr(b'?', value) {
                    Some(at) => (value.get(..at), value.get(at + 1..)),
                    None => (Some(value), None),
                };
                self.path = path.map(unescape);
                self.query = query.map(unescape);
            }
            Field::Header(name) => {
                if value != b"-" && !value.is_empty() {
                    self.line.headers.push((name, unescape(value)));
                }
            }
            Field::Remote => self.line.remote = address(value),
            Field::RemoteAddress => {
                self.line.remote = Some(address(value).ok_or("a client's address was expected")?);
            }
            Field::Port => self.line.port = Some(number(value).ok_or("a port was expected")?),
            Field::Https => self.line.https = value == b"on",
            Field::Scheme => self.line.https = value == b"https",
            Field::Status => match number(value) {
                Some(status @ 0..=999) => self.line.status = Some(status).filter(|status| *status > 0),
                _ if value == b"-" => {}
                _ => return Err("a status was expected"),
            },
        }
        Ok(())
    }

    fn line(self) -> Read<'a> {
        let Found { mut line, request, path, query } = self;
        if let Some(request) = request {
            match request_line(request) {
                RequestLine::Is { method, target, .. } => (line.method, line.target) = (method, target),
                RequestLine::IsNone => return Read::NoRequest,
            }
        } else if let Some(path) = path {
            line.target = Cow::Owned(target_of(&path, query.as_deref()));
        }
        if matches!(&*line.target, b"" | b"-") || matches!(&*line.method, "-") {
            return Read::NoRequest;
        }
        Read::Request(line)
    }
}

/// A piece of a template's text.
enum Part {
    Text(Vec<u8>),
    Field(Field),
}

fn nginx(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        push_text(&mut parts, before);
        let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (variable, tail) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(after.find(|c| !name(c)).unwrap_or(after.len())),
        };
        parts.push(Part::Field(nginx_field(variable)));
        rest = tail;
    }
    push_text(&mut parts, rest);
    parts
}

fn nginx_field(variable: &str) -> Field {
    match variable {
        "request" => Field::RequestLine,
        "request_method" => Field::Method,
        "request_uri" => Field::Target,
        "uri" | "document_uri" => Field::Path,
        "args" | "query_string" => Field::Query,
        "remote_addr" => Field::Remote,
        "server_port" => Field::Port,
        "https" => Field::Https,
        "scheme" => Field::Scheme,
        "status" => Field::Status,
        _ => match variable.strip_prefix("http_") {
            Some(header) => Field::Header(header.to_ascii_uppercase()),
            None => Field::Skip,
        },
    }
}

fn apache(text: &str) -> Result<Vec<Part>, String> {
    let text = text.replace("\\\"", "\"").replace("\\t", "\t").replace("\\\\", "\\");
    let mut parts = Vec::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        push_text(&mut parts, before);
        if let Some(tail) = after.strip_prefix('%') {
            push_text(&mut parts, "%");
            rest = tail;
            continue;
        }
        let plain = after.trim_start_matches(['<', '>']);
        // `%!200,304{Referer}i` writes the field for some answers alone: for the others nobody knows.
        let directive = plain.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '!' | ','));
        let always = directive.len() == plain.len();
        let (argument, letters) = match directive.strip_prefix('{').map(|inner| inner.split_once('}')) {
            Some(Some((argument, letters))) => (Some(argument), letters),
            Some(None) => return Err("a { of it is not closed".into()),
            None => (None, directive),
        };
        let length = if letters.starts_with('^') { 3 } else { 1 };
        let (Some(letter), Some(tail)) = (letters.get(..length), letters.get(length..)) else {
            return Err("a % of it is followed by nothing that Apache knows".into());
        };
        parts.push(Part::Field(if always { apache_field(letter, argument) } else { Field::Skip }));
        rest = tail;
    }
    push_text(&mut parts, rest);
    Ok(parts)
}

fn apache_field(letter: &str, argument: Option<&str>) -> Field {
    match (letter, argument) {
        ("r", None) => Field::RequestLine,
        ("m", None) => Field::Method,
        ("U", None) => Field::Path,
        ("q", None) => Field::Query,
        ("h" | "a", None) => Field::Remote,
        ("p", None) => Field::Port,
        ("s", None) => Field::Status,
        ("i", Some(name)) => {
            Field::Header(header_variable(name).strip_prefix("HTTP_").unwrap_or_default().to_owned())
        }
        _ => Field::Skip,
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => before.extend_from_slice(text.as_bytes()),
        _ => parts.push(Part::Text(text.as_bytes().to_vec())),
    }
}

impl Template {
    /// The same, where a client is known by its address alone: what tells a line that begins with a site's name.
    pub(super) fn strict(mut self) -> Template {
        for piece in &mut self.pieces {
            if piece.field == Field::Remote {
                piece.field = Field::RemoteAddress;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(template: &'a Template, line: &'a str) -> Line<'a> {
        match template.read(line.as_bytes()) {
            Read::Request(line) => line,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn nginx_and_apache_templates_give_the_same_request() {
        let nginx = Template::parse(
            "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \
             \"$http_user_agent\" ${server_port}",
        )
        .unwrap();
        let apache =
            Template::parse(r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\" %p"#).unwrap();
        for (template, agent) in [(&nginx, r"a \x22b\x22 c"), (&apache, r#"a \"b\" c"#)] {
            let text = format!(
                "192.0.2.7 - bob [22/Nov/2026:10:00:00 +0000] \"GET /x%20y?z HTTP/1.1\" 404 12 \"-\" \"{agent}\" 8443"
            );
            let line = read(template, &text);
            assert_eq!((&*line.method, &*line.target), ("GET", &b"/x%20y?z"[..]));
            assert_eq!(line.headers, [("USER_AGENT", Cow::Borrowed(&b"a \"b\" c"[..]))]);
            assert_eq!((line.status, line.port), (Some(404), Some(8443)));
            assert_eq!(line.remote, Some("192.0.2.7".parse().unwrap()));
        }
        assert!(nginx.holds().has("HTTP_USER_AGENT") && !nginx.holds().has("HTTP_COOKIE"));
    }

    #[test]
    fn a_path_without_its_query_string_is_put_together_again() {
        let template = Template::parse(r#"%a %m "%U%q" %s"#).unwrap();
        let line = read(&template, r#"::1 POST "/a b?c=%41" 200"#);
        assert_eq!((&*line.method, &*line.target), ("POST", &b"/a%20b?c=%41"[..]));
        assert!(template.is_decoded());
        let json =
            Template::parse(r#"{"m":"$request_method","u":"$request_uri","c":"$http_cookie"}"#).unwrap();
        let line = read(&json, r#"{"m":"GET","u":"/a?\"b\"","c":"x=1"}"#);
        assert_eq!((&*line.target, line.headers.len()), (&b"/a?\"b\""[..], 1));
    }

    #[test]
    fn what_is_no_template_of_a_request_is_refused() {
        for (text, why) in [
            ("$remote_addr $status", "holds no request"),
            ("%h %s", "holds no request"),
            ("$scheme$request_uri", "follow each other"),
            ("%{Referer %r", "not closed"),
            ("%r %", "nothing that Apache knows"),
        ] {
            let error = Template::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_connection_without_a_request_is_none() {
        let template = Template::parse("$remote_addr \"$request\" $status").unwrap();
        for line in [r#"::1 "" 400"#, r#"::1 "-" 408"#, r#"::1 "\x16\x03\x01" 400"#] {
            assert_eq!(template.read(line.as_bytes()), Read::NoRequest, "{line}");
        }
        for line in ["", "::1 \"GET / HTTP/1.1", "::1 \"GET / HTTP/1.1\" no"] {
            assert!(matches!(template.read(line.as_bytes()), Read::NotUnderstood(_)), "{line}");
        }
    }
}
