//! The W3C extended log format as IIS writes it: a `#Fields:` line says what follows. Blanks in a value are written
//! as `+`, and a value that is not there as `-`; `cs-uri-stem` is the path as http.sys decoded it.

use std::borrow::Cow;

use super::holds::{Holds, header_variable};
use super::line::{Line, Read, address, is_method, number, target_of};

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Skip,
    Method,
    /// `cs-uri-stem`: the decoded path.
    Stem,
    Query,
    /// `cs-uri`: the target as it was sent (http.sys's own log of errors).
    Target,
    /// By its variable's name without `HTTP_`; blanks come back for `+`.
    Header(String),
    Remote,
    Port,
    Status,
}

/// The fields of a log, from its `#Fields:` line on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields(Vec<Field>);

/// What precedes them.
pub(super) const FIELDS: &[u8] = b"#Fields:";

/// What IIS logs unless somebody chose otherwise (Microsoft, "Configure logging in IIS", and the defaults of
/// `logExtFileFlags` in IIS_schema.xml).
pub(super) const USUAL: &str = "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip \
    cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken";

const MAX_FIELDS: usize = 200;

impl Fields {
    /// From what follows `#Fields:`. Nothing where no request is among them.
    pub(super) fn parse(text: &[u8]) -> Option<Fields> {
        let names = text.split(|b| b.is_ascii_whitespace()).filter(|name| !name.is_empty());
        let fields: Vec<Field> = names.take(MAX_FIELDS).map(field).collect();
        let holds_one = |field: &Field| matches!(field, Field::Stem | Field::Target);
        fields.iter().any(holds_one).then_some(Fields(fields))
    }

    pub(super) fn holds(&self) -> Holds {
        let mut names: Vec<String> = Vec::new();
        for field in &self.0 {
            match field {
                Field::Method => names.push("REQUEST_METHOD".into()),
                Field::Header(name) => names.push(format!("HTTP_{name}")),
                Field::Remote => names.push("REMOTE_ADDR".into()),
                Field::Port => names.push("SERVER_PORT".into()),
                _ => {}
            }
        }
        Holds::address().with(names)
    }

    pub(super) fn is_decoded(&self) -> bool {
        self.0.contains(&Field::Stem)
    }

    /// Without headers that nobody reads.
    pub(super) fn narrow(&mut self, reads: &[String]) {
        for field in &mut self.0 {
            if matches!(field, Field::Header(name) if !reads.contains(&format!("HTTP_{name}"))) {
                *field = Field::Skip;
            }
        }
    }

    pub(super) fn read<'a>(&'a self, line: &'a [u8]) -> Read<'a> {
        let mut values = line.split(|b| matches!(b, b' ' | b'\t'));
        let mut found = Line::default();
        let (mut stem, mut query) = (None, None);
        for field in &self.0 {
            let Some(value) = values.next() else {
                return Read::NotUnderstood("it has fewer values than #Fields has names");
            };
            let given = (value != b"-").then_some(value);
            match field {
                Field::Skip => {}
                Field::Method => match given {
                    Some(method) if !is_method(method) => {
                        return Read::NotUnderstood("a method was expected");
                    }
                    method => found.method = String::from_utf8_lossy(method.unwrap_or_default()),
                },
                Field::Stem => stem = given,
                Field::Query => query = given,
                Field::Target => found.target = Cow::Borrowed(given.unwrap_or_default()),
                Field::Header(name) => {
                    found.headers.extend(given.map(|value| (name.as_str(), blanks(value))))
                }
                Field::Remote => found.remote = given.and_then(address),
                Field::Port => found.port = given.and_then(number),
                Field::Status => match given.map(number) {
                    Some(None) => return Read::NotUnderstood("a status was expected"),
                    status => found.status = status.flatten(),
                },
            }
        }
        if values.any(|value| !value.is_empty()) {
            return Read::NotUnderstood("it has more values than #Fields has names");
        }
        if let Some(stem) = stem {
            found.target = Cow::Owned(target_of(stem, query));
        }
        if found.target.is_empty() { Read::NoRequest } else { Read::Request(found) }
    }
}

fn blanks(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'+') {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect())
}

fn field(name: &[u8]) -> Field {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    match name.as_str() {
        "cs-method" => Field::Method,
        "cs-uri-stem" => Field::Stem,
        "cs-uri-query" => Field::Query,
        "cs-uri" => Field::Target,
        "cs-host" => Field::Header("HOST".into()),
        "c-ip" => Field::Remote,
        "s-port" => Field::Port,
        "sc-status" => Field::Status,
        _ => match name.strip_prefix("cs(").and_then(|name| name.strip_suffix(')')) {
            Some(header) => {
                Field::Header(header_variable(header).strip_prefix("HTTP_").unwrap_or_default().to_owned())
            }
            None => Field::Skip,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The shape of Microsoft's documented examples.
    const LINE: &str = "2012-08-13 20:14:42 192.0.2.10 POST /ews/exchange.asmx a=%41+b 443 CONTOSO\\jo 192.0.2.77 \
        Mozilla/5.0+(Windows+NT+6.1) - 200 0 64 15";

    #[test]
    fn the_usual_fields_are_read() {
        let fields = Fields::parse(USUAL.as_bytes()).unwrap();
        let Read::Request(line) = fields.read(LINE.as_bytes()) else { panic!() };
        assert_eq!((&*line.method, &*line.target), ("POST", &b"/ews/exchange.asmx?a=%41+b"[..]));
        assert_eq!(line.headers, [("USER_AGENT", Cow::Borrowed(&b"Mozilla/5.0 (Windows NT 6.1)"[..]))]);
        assert_eq!((line.port, line.status), (Some(443), Some(200)));
        assert_eq!(line.remote, Some("192.0.2.77".parse().unwrap()));
        assert!(fields.holds().has("HTTP_REFERER") && !fields.holds().has("HTTP_COOKIE"));
        assert!(!fields.holds().has("HTTPS"));
    }

    #[test]
    fn a_line_with_other_values_than_fields_is_not_read() {
        let fields = Fields::parse(b"cs-method cs-uri-stem sc-status").unwrap();
        assert!(matches!(fields.read(b"GET /x 200"), Read::Request(_)));
        for line in ["GET /x", "GET /x 200 more", "GET /x no", "\u{e9} /x 200"] {
            assert!(matches!(fields.read(line.as_bytes()), Read::NotUnderstood(_)), "{line}");
        }
        assert_eq!(fields.read(b"- - 400"), Read::NoRequest);
        assert!(Fields::parse(b"date time").is_none());
    }
}
