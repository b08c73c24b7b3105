//! A condition's input as nginx's variables: which there are, and which text has no equal.

use crate::function::Function;
use crate::template::{Names, Part, Template};
use crate::translate::bytes::Encoding;
use crate::variable::Variable;

/// Where the text comes from, and how it is written there.
pub(super) struct Input {
    /// In a row; mostly one.
    pub(super) pieces: Vec<Piece>,
    pub(super) encoding: Encoding,
    /// The text is a key of this rewrite map, by its place in the set.
    pub(super) lookup: Option<usize>,
}

/// A piece of a text.
pub(super) enum Piece {
    Text(String),
    Source(Source),
}

/// What nginx has in a variable, exactly as IIS has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The raw target.
    Target,
    /// What follows its first `?`. nginx's own `$args` ends at a `#` and can be set by the configuration.
    Query,
    Method,
    Port,
    /// The client's address, as the site has it: `set_real_ip_from` counts.
    Address,
    /// The text where the connection is TLS, and where it is not.
    Secure {
        yes: &'static str,
        no: &'static str,
    },
    /// A header, by its name in nginx's `$http_`.
    Header(&'static str),
}

/// Headers that nginx takes once (400 for a second), or joins as we do. Of any other that is repeated, nginx
/// before 1.23 sees the first only, and an attacker would put a harmless one there.
const HEADERS: [(&str, &str); 12] = [
    ("COOKIE", "cookie"),
    ("HOST", "host"),
    ("X_FORWARDED_FOR", "x_forwarded_for"),
    ("AUTHORIZATION", "authorization"),
    ("CONTENT_LENGTH", "content_length"),
    ("TRANSFER_ENCODING", "transfer_encoding"),
    ("EXPECT", "expect"),
    ("IF_MATCH", "if_match"),
    ("IF_MODIFIED_SINCE", "if_modified_since"),
    ("IF_NONE_MATCH", "if_none_match"),
    ("IF_RANGE", "if_range"),
    ("IF_UNMODIFIED_SINCE", "if_unmodified_since"),
];

impl Input {
    /// The input of a condition, or why nginx has no such text.
    pub(super) fn of(text: &str, maps: &[&str]) -> Result<Input, String> {
        let template = Template::parse(text, &Names { maps, own: &[] }).map_err(|error| error.to_string())?;
        let (lookup, template) = match template.parts.as_slice() {
            [Part::Map(map, key)] => (Some(*map), key.clone()),
            _ => (None, template),
        };
        let (encoding, parts) = match template.parts.as_slice() {
            [Part::Function(Function::UrlDecode, inner)] => match inner.parts.as_slice() {
                [Part::Variable(_)] => (Encoding::Percent, inner.parts.as_slice()),
                _ => return Err(format!("input {text:?}: only a single variable is decoded exactly")),
            },
            parts => (Encoding::Raw, parts),
        };
        Ok(Input { pieces: pieces(parts, text)?, encoding, lookup })
    }

    /// The one source that it is, where it is one.
    pub(super) fn only(&self) -> Option<Source> {
        match self.pieces.as_slice() {
            [Piece::Source(source)] => Some(*source),
            _ => None,
        }
    }

    /// Whether nginx's value can be empty.
    pub(super) fn may_be_empty(&self) -> bool {
        matches!(self.only(), Some(Source::Header(_)))
    }

    /// What precedes the text in nginx's variable, as a pattern; `lead`: a dash was put before it.
    pub(super) fn start(&self, lead: bool) -> &'static str {
        match (self.only(), lead) {
            (Some(Source::Query), _) => "^[^\\x3f]*+(?:\\x3f|\\z)",
            (_, true) => "^\\x2d",
            (_, false) => "^",
        }
    }
}

/// The parts of a template that nginx has; `text` is the whole, for the reader.
pub(super) fn pieces(parts: &[Part], text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces: Vec<Piece> = Vec::new();
    for part in parts {
        let piece = match part {
            Part::Text(text) => Piece::Text(text.clone()),
            Part::Variable(variable) => Piece::Source(source(variable, text)?),
            Part::Rule(_) | Part::Condition(_) => {
                return Err(format!("{text:?} reads what a pattern has captured"));
            }
            Part::Function(Function::ToLower, _) => {
                return Err(format!(
                    "{text:?}: ToLower makes two characters of some (U+0130); where case is ignored it is not \
                     needed"
                ));
            }
            _ => return Err(cannot(text)),
        };
        // Half a character at one's end and half at the other's beginning are a character to nginx.
        if let (Some(Piece::Source(before)), Piece::Source(after)) = (pieces.last(), &piece)
            && before.may_end_within_a_character()
            && after.may_start_within_a_character()
        {
            return Err(format!("{text:?}: what stands between two texts of the client must be text"));
        }
        pieces.push(piece);
    }
    if pieces.is_empty() {
        return Err("an input without text".to_owned());
    }
    Ok(pieces)
}

impl Source {
    fn may_end_within_a_character(self) -> bool {
        matches!(self, Source::Target | Source::Query | Source::Header(_))
    }

    fn may_start_within_a_character(self) -> bool {
        matches!(self, Source::Query | Source::Header(_))
    }
}

fn source(variable: &Variable, text: &str) -> Result<Source, String> {
    Ok(match variable {
        Variable::RequestUri => Source::Target,
        Variable::QueryString => Source::Query,
        Variable::RequestMethod => Source::Method,
        Variable::RemoteAddr => Source::Address,
        Variable::ServerPort => Source::Port,
        Variable::Https => Source::Secure { yes: "on", no: "off" },
        Variable::ServerPortSecure => Source::Secure { yes: "1", no: "0" },
        Variable::Header(name) => match HEADERS.iter().find(|(header, _)| header == name) {
            Some((_, variable)) => Source::Header(variable),
            None => {
                return Err(format!(
                    "input {text:?}: of a repeated header nginx before 1.23 sees the first only"
                ));
            }
        },
        _ => return Err(cannot(text)),
    })
}

fn cannot(text: &str) -> String {
    format!(
        "input {text:?} has no equal in nginx; REQUEST_URI, QUERY_STRING, REQUEST_METHOD, REMOTE_ADDR, \
         SERVER_PORT, HTTPS and some headers have, each plain or in {{UrlDecode:…}}"
    )
}
