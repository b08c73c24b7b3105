//! A condition's input as words of Apache's expressions.
//!
//! `req_novary` is `req` without a `Vary` in the answer. Apache joins the headers of one name with `, `, a
//! Cookie's, too, where the rules see `; `; and it takes `X-A` and `X_A` for two names where the rules see one,
//! joined in the order of arrival. Neither can be undone, so a pattern over such a header is accepted only where
//! it cannot tell the difference ([`Input::accepts`]).

use crate::pattern::ast::CharSet;
use crate::pattern::chain::{Chains, Conjunction, Place};
use crate::translate::bytes::Encoding;
use crate::translate::single_variable;
use crate::variable::Variable;

/// Where the text comes from, and how it is written there.
#[derive(Clone)]
pub(super) struct Input {
    pub(super) source: Source,
    pub(super) encoding: Encoding,
    /// Each holds the text, or a part of it. Where it is absent, it is empty.
    pub(super) words: Vec<String>,
}

/// What the words hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The raw target.
    Target,
    /// What follows its first `?`.
    Query,
    /// The text as it is.
    Whole,
    /// The Cookie header: joined with another separator.
    Cookie,
    /// A header with a dash in its name: the text, or, in any order, its parts.
    Parts,
    /// The text where the connection is TLS, and where it is not.
    Secure { yes: &'static str, no: &'static str },
}

pub(super) const TARGET: &str = "reqenv('STOPGAP_TARGET')";
pub(super) const METHOD: &str = "reqenv('STOPGAP_METHOD')";

/// The target, an absolute one as its path and query. `%{REQUEST_URI}` is decoded, and `%{QUERY_STRING}` ends
/// at a `#` and can be set by the configuration.
pub(super) const SET_TARGET: &str = r#"SetEnvIfExpr "%{THE_REQUEST} =~ m/^[^\x20]++\x20([^\x20]++)/" STOPGAP_TARGET=$1
SetEnvIfExpr "reqenv('STOPGAP_TARGET') =~ m/^(?i:https?+):\x2f\x2f[^\x2f\x3f]*+\z/" STOPGAP_TARGET=/
SetEnvIfExpr "reqenv('STOPGAP_TARGET') =~ m/^(?i:https?+):\x2f\x2f[^\x2f\x3f]*+(\x3f.*+)/" STOPGAP_TARGET=/$1
SetEnvIfExpr "reqenv('STOPGAP_TARGET') =~ m/^(?i:https?+):\x2f\x2f[^\x2f\x3f]*+(\x2f.*+)/" STOPGAP_TARGET=$1
"#;

/// `%{REQUEST_METHOD}` is GET while an error page is made.
pub(super) const SET_METHOD: &str =
    "SetEnvIfExpr \"%{THE_REQUEST} =~ m/^([^\\x20]++)\\x20/\" STOPGAP_METHOD=$1\n";

/// Dashes of a header's name: each doubles the names that it goes by.
const MAX_DASHES: usize = 4;

impl Input {
    /// The input of a condition, or why Apache has no such text.
    pub(super) fn of(text: &str) -> Result<Input, String> {
        let (variable, encoding) = single_variable(text)?.ok_or_else(|| cannot(text))?;
        let one = |source, word: &str| Input { source, encoding, words: vec![word.to_owned()] };
        Ok(match &variable {
            Variable::RequestUri => one(Source::Target, TARGET),
            Variable::QueryString => one(Source::Query, TARGET),
            Variable::RequestMethod => one(Source::Whole, METHOD),
            // Behind a proxy `%{REMOTE_ADDR}` can be what the proxy says (mod_remoteip).
            Variable::RemoteAddr => one(Source::Whole, "%{CONN_REMOTE_ADDR}"),
            Variable::Https => one(Source::Secure { yes: "on", no: "off" }, ""),
            Variable::ServerPortSecure => one(Source::Secure { yes: "1", no: "0" }, ""),
            Variable::Header(name) => {
                let (source, words) = header(name).map_err(|why| format!("input {text:?}: {why}"))?;
                Input { source, encoding, words }
            }
            Variable::ServerPort => {
                return Err(format!("input {text:?}: Apache takes the port from the Host header"));
            }
            Variable::Url | Variable::RequestFilename | Variable::AppPoolId | Variable::Own(_) => {
                return Err(cannot(text));
            }
        })
    }

    /// What precedes the text in the word, as a pattern.
    pub(super) fn start(&self) -> &'static str {
        match self.source {
            Source::Query => "^[^\\x3f]*+(?:\\x3f|\\z)",
            _ => "^",
        }
    }

    /// Whether the pattern says the same of the words as of the text; why not.
    pub(super) fn accepts(&self, chains: &Chains) -> Result<(), &'static str> {
        match self.source {
            Source::Cookie
                if !chains.choices.iter().flat_map(sets).all(|s| s.contains(',') == s.contains(';')) =>
            {
                Err("it tells , from ; and Apache joins repeated Cookie headers with a comma")
            }
            Source::Parts if !chains.choices.iter().all(within_a_part) => Err(
                "Apache takes X-A and X_A for two headers, in no order; over a header with a dash in its name only \
                 a pattern of one piece can be expressed, unanchored, without .* and what takes a separator",
            ),
            _ => Ok(()),
        }
    }
}

fn header(name: &str) -> Result<(Source, Vec<String>), &'static str> {
    if !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
        return Err("only letters, digits and dashes are written in the name of a header");
    }
    match name {
        "HOST" => return Err("of an absolute target Apache puts the host into the Host header"),
        "CONTENT_LENGTH" => return Err("of a chunked request Apache removes the Content-Length header"),
        _ => {}
    }
    let dashes = name.bytes().filter(|b| *b == b'_').count();
    if dashes > MAX_DASHES {
        return Err("a header with that many dashes in its name goes by too many names");
    }
    let mut names = vec![String::new()];
    for char in name.chars() {
        let ways: &[char] = if char == '_' { &['-', '_'] } else { &[char] };
        names = ways.iter().flat_map(|way| names.iter().map(move |name| format!("{name}{way}"))).collect();
    }
    let source = match name {
        "COOKIE" => Source::Cookie,
        _ if dashes > 0 => Source::Parts,
        _ => Source::Whole,
    };
    Ok((source, names.iter().map(|name| format!("req_novary('{name}')")).collect()))
}

fn sets(conjunction: &Conjunction) -> impl Iterator<Item = &CharSet> {
    conjunction.elements.iter().flat_map(|element| &element.chain.links).flat_map(|link| &link.segment)
}

/// Whether it is found in a text that is joined with `, ` exactly where it is found in one of its parts: a row of
/// characters none of which can be a piece of the separator.
fn within_a_part(conjunction: &Conjunction) -> bool {
    let [element] = conjunction.elements.as_slice() else { return conjunction.elements.is_empty() };
    let [link] = element.chain.links.as_slice() else { return false };
    let single = !element.negate && !element.chain.end && link.gap.is_none() && !link.segment.is_empty();
    let pairs = link.segment.windows(2);
    single
        && conjunction.place != Place::Start
        && link.segment.first().is_some_and(|first| !first.contains(' '))
        && link.segment.last().is_some_and(|last| !last.contains(','))
        && !pairs.into_iter().any(|pair| matches!(pair, [a, b] if a.contains(',') && b.contains(' ')))
}

fn cannot(text: &str) -> String {
    format!(
        "input {text:?} has no equal in Apache; REQUEST_URI, QUERY_STRING, REQUEST_METHOD, REMOTE_ADDR, HTTPS and \
         most headers have, each plain or in {{UrlDecode:…}}"
    )
}
