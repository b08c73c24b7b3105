//! The sample: one text that holds everything of a request that a rule can read, in a fixed order.
//!
//! ```text
//!   frontend LF target LF method LF port LF 0 or 1 LF name: value CR LF … CR LF CR LF
//! ```
//!
//! HAProxy writes header names in lowercase and trims blanks around values; no part can hold a line feed. The
//! hook makes it ([`super::hook`]), and refuses the request where the empty line at its end is missing: then
//! it did not fit into HAProxy's buffer, and patterns would see a part only.

use super::text::{Header, Text};
use crate::translate::bytes::{self, Encoding};
use crate::translate::single_variable;
use crate::variable::Variable;

/// From the start of the sample to the line of the target.
pub(super) const FRONTEND: &str = "[^\\n]*+\\n";

/// Where the text of an input stands.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// The raw target; an absolute form without its scheme and authority.
    Target,
    /// What follows its first `?`.
    Query,
    Method,
    Port,
    /// The text where the connection is TLS, and where it is not.
    Secure {
        yes: &'static str,
        no: &'static str,
    },
    /// The values of the headers of this name, in capitals with underscores.
    Header(String),
}

/// A condition's input.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) source: Source,
    pub(super) encoding: Encoding,
}

/// Headers that HAProxy takes apart before any rule sees them, as RFC 9110 section 7.6.1 and RFC 9112 section
/// 6 ask: `close` and `keep-alive` are gone, a repeated length is one.
const TAKEN: [&str; 4] = ["CONNECTION", "PROXY_CONNECTION", "CONTENT_LENGTH", "TRANSFER_ENCODING"];

impl Input {
    /// The input of a condition, or why the sample has no such text.
    pub(super) fn of(text: &str) -> Result<Input, String> {
        let (variable, encoding) = single_variable(text)?.ok_or_else(|| cannot(text))?;
        let source = match &variable {
            Variable::RequestUri => Source::Target,
            Variable::QueryString => Source::Query,
            Variable::RequestMethod => Source::Method,
            Variable::ServerPort => Source::Port,
            Variable::Https => Source::Secure { yes: "on", no: "off" },
            Variable::ServerPortSecure => Source::Secure { yes: "1", no: "0" },
            Variable::Header(name) if TAKEN.contains(&name.as_str()) => {
                return Err(format!("input {text:?}: HAProxy changes this header before any rule sees it"));
            }
            Variable::Header(name) => Source::Header(name.clone()),
            Variable::Url
            | Variable::RequestFilename
            | Variable::RemoteAddr
            | Variable::AppPoolId
            | Variable::Own(_) => return Err(cannot(text)),
        };
        Ok(Input { source, encoding })
    }
}

fn cannot(text: &str) -> String {
    format!(
        "input {text:?} has no equal in HAProxy; REQUEST_URI, QUERY_STRING, REQUEST_METHOD, SERVER_PORT, HTTPS \
         and HTTP_<NAME> have, each plain or in {{UrlDecode:…}}"
    )
}

/// The headers that one pattern reads, each with its group: from the line feed before any header line to the
/// next value of that header.
pub(super) struct Headers<'i> {
    names: Vec<&'i str>,
}

impl<'i> Headers<'i> {
    /// Those of these inputs.
    pub(super) fn of(inputs: impl Iterator<Item = &'i Input>) -> Headers<'i> {
        let mut names = Vec::new();
        for input in inputs {
            if let Source::Header(name) = &input.source
                && !names.contains(&name.as_str())
            {
                names.push(name.as_str());
            }
        }
        Headers { names }
    }

    /// The groups, defined and not yet looked for, from number 1.
    pub(super) fn define(&self) -> String {
        if self.names.is_empty() {
            return String::new();
        }
        let group = |name: &&str| {
            let name = header(name);
            format!("(\\n(?:(?!{name})[^\\n]*+\\n)*+{name})")
        };
        format!("(?(DEFINE){})", self.names.iter().map(group).collect::<String>())
    }

    /// The way to an input's text.
    pub(super) fn reach(&self, input: &Input) -> Reach {
        let lines = |count: usize| "[^\\n]*+\\n".repeat(count);
        let text = Text { encoding: input.encoding, header: None };
        let found = |start| Reach { start, absent: None, text };
        match &input.source {
            Source::Target => found(String::new()),
            Source::Query => found("[^\\x3f\\n]*+(?:\\x3f|(?=\\n))".to_owned()),
            Source::Method => found(lines(1)),
            Source::Port => found(lines(2)),
            Source::Secure { .. } => found(lines(3)),
            Source::Header(name) => {
                let next = self.names.iter().position(|known| known == name).map_or(0, |at| at + 1);
                let before = lines(3) + "[^\\n]*+";
                let separator = if name == "COOKIE" { b';' } else { b',' };
                Reach {
                    start: format!("{before}(?{next})"),
                    absent: Some(format!("{before}(?!(?{next}))")),
                    text: Text { header: Some(Header { next, separator }), ..text },
                }
            }
        }
    }
}

/// The name as HAProxy writes it, with what separates it from its value.
fn header(name: &str) -> String {
    let name: String = name
        .bytes()
        .map(|b| if b == b'_' { "[-_]".to_owned() } else { bytes::escape(b.to_ascii_lowercase()) })
        .collect();
    name + "\\x3a\\x20"
}

/// How an input is reached.
pub(super) struct Reach {
    /// From the line of the target to the beginning of the text.
    pub(super) start: String,
    /// The same where the request does not have it, so that its text is empty; nothing where it always has.
    pub(super) absent: Option<String>,
    pub(super) text: Text,
}
