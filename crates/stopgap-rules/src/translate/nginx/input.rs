//! A condition's input as nginx's variables.

use super::bytes::Encoding;
use crate::function::Function;
use crate::template::{Names, Part, Template};
use crate::variable::Variable;

/// Where the text comes from, and how it is written there.
pub(super) struct Input {
    pub(super) source: Source,
    pub(super) encoding: Encoding,
}

/// Variables of nginx that hold exactly what IIS's hold.
pub(super) enum Source {
    /// The raw target.
    Target,
    /// What follows its first `?`. nginx's own `$args` ends at a `#` and can be set by the configuration.
    Query,
    /// A variable of this name.
    Variable(&'static str),
    /// The text where the connection is TLS, and where it is not.
    Secure { yes: &'static str, no: &'static str },
}

/// Headers that nginx holds once, or joins as we do. Of any other that is repeated, nginx before 1.23 sees
/// the first only, and an attacker would put a harmless one there.
const HEADERS: [(&str, &str); 10] = [
    ("COOKIE", "http_cookie"),
    ("HOST", "http_host"),
    ("AUTHORIZATION", "http_authorization"),
    ("CONTENT_LENGTH", "http_content_length"),
    ("EXPECT", "http_expect"),
    ("IF_MATCH", "http_if_match"),
    ("IF_MODIFIED_SINCE", "http_if_modified_since"),
    ("IF_NONE_MATCH", "http_if_none_match"),
    ("IF_RANGE", "http_if_range"),
    ("IF_UNMODIFIED_SINCE", "http_if_unmodified_since"),
];

impl Input {
    /// The input of a condition, or why nginx has no such text.
    pub(super) fn of(text: &str) -> Result<Input, String> {
        let template =
            Template::parse(text, &Names { maps: &[], own: &[] }).map_err(|error| error.to_string())?;
        let (variable, encoding) = match template.parts.as_slice() {
            [Part::Variable(variable)] => (variable, Encoding::Raw),
            [Part::Function(Function::UrlDecode, inner)] => match inner.parts.as_slice() {
                [Part::Variable(variable)] => (variable, Encoding::Percent),
                _ => return Err(cannot(text)),
            },
            _ => return Err(cannot(text)),
        };
        let source = match variable {
            Variable::RequestUri => Source::Target,
            Variable::QueryString => Source::Query,
            Variable::RequestMethod => Source::Variable("request_method"),
            Variable::ServerPort => Source::Variable("server_port"),
            Variable::Https => Source::Secure { yes: "on", no: "off" },
            Variable::ServerPortSecure => Source::Secure { yes: "1", no: "0" },
            Variable::Header(name) => match HEADERS.iter().find(|(header, _)| header == name) {
                Some((_, variable)) => Source::Variable(variable),
                None => {
                    return Err(format!(
                        "input {text:?}: of a repeated header nginx before 1.23 sees the first only"
                    ));
                }
            },
            Variable::Url
            | Variable::RequestFilename
            | Variable::RemoteAddr
            | Variable::AppPoolId
            | Variable::Own(_) => return Err(cannot(text)),
        };
        Ok(Input { source, encoding })
    }

    pub(super) fn may_be_empty(&self) -> bool {
        matches!(self.source, Source::Variable(_))
    }

    /// What precedes the text in nginx's variable, as a pattern; `lead`: a dash was put before it.
    pub(super) fn start(&self, lead: bool) -> String {
        let dash = if lead { "\\x2d" } else { "" };
        match &self.source {
            Source::Query => "^[^\\x3f]*+(?:\\x3f|\\z)".to_owned(),
            // RFC 9110 section 5.5: blanks around a value are not part of it; nginx keeps tabs.
            Source::Variable(name) if name.starts_with("http_") => format!("^{dash}[\\x09\\x20]*+"),
            _ => format!("^{dash}"),
        }
    }
}

fn cannot(text: &str) -> String {
    format!(
        "input {text:?} has no equal in nginx; REQUEST_URI, QUERY_STRING, REQUEST_METHOD, SERVER_PORT, HTTPS \
         and some headers have, each plain or in {{UrlDecode:…}}"
    )
}
