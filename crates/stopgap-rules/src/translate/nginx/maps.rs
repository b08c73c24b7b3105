//! The part for the `http` context: blocks of `map` and `geo`, written once each.
//!
//! Whatever a rule holds is written as a key, in PCRE's hexadecimal escapes, or as the value of a `geo`: there
//! nginx reads no `$`.

use super::input::{Piece, Source};
use super::{MAX_WORD, pcre};
use std::collections::HashMap;
use std::fmt::Write;

/// Every block so far.
#[derive(Default)]
pub(super) struct Maps {
    helpers: String,
    /// Variables that `helpers` defines.
    defined: Vec<String>,
    constants: HashMap<String, String>,
    /// Names of variables that hold several in a row, by what they hold.
    rows: HashMap<String, String>,
    tests: Vec<Test>,
    /// The places in `tests`, by what they say.
    known: HashMap<String, usize>,
}

/// What a map looks at, and what it says.
pub(super) struct Spec {
    /// A word of nginx's configuration.
    pub(super) source: String,
    pub(super) lines: Vec<(Key, char)>,
    pub(super) default: char,
}

/// A key of a map.
pub(super) enum Key {
    Pattern(String),
    Word(&'static str),
}

struct Test {
    spec: Spec,
    variable: String,
    /// The comments, each before the line of this number.
    comments: Vec<(usize, String)>,
    /// How many decisions and rules read it.
    users: usize,
    /// Its entry in [`Maps::known`].
    said: Option<String>,
}

impl Spec {
    /// Whether it says 1 where a key fits and 0 elsewhere, so that more keys make a choice of it.
    pub(super) fn is_choice(&self) -> bool {
        self.default == '0' && self.lines.iter().all(|(_, value)| *value == '1')
    }
}

impl Maps {
    /// The place of the map that says this; the same map is written once.
    pub(super) fn test(&mut self, kind: &str, spec: Spec, comment: &str) -> Result<usize, String> {
        if spec.source.len() > MAX_WORD {
            return Err("its conditions do not fit into one word of nginx's configuration".to_owned());
        }
        let said = said(&spec);
        if let Some(at) = self.known.get(&said) {
            if let Some(test) = self.tests.get_mut(*at) {
                test.users += 1;
            }
            return Ok(*at);
        }
        let at = self.tests.len();
        let variable = format!("$stopgap_{kind}_{}", at + 1);
        let comments = vec![(0, comment.to_owned())];
        self.known.insert(said.clone(), at);
        self.tests.push(Test { spec, variable, comments, users: 1, said: Some(said) });
        Ok(at)
    }

    /// The map with these keys added, where it says the same of the same source: its place, which is another
    /// one where somebody else reads the map as it was.
    pub(super) fn with(&mut self, at: usize, spec: Spec, comment: &str) -> Result<usize, Spec> {
        let number = self.tests.len() + 1;
        let Some(test) = self.tests.get_mut(at) else { return Err(spec) };
        if !test.spec.is_choice() || !spec.is_choice() || test.spec.source != spec.source {
            return Err(spec);
        }
        if test.users > 1 {
            test.users -= 1;
            let lines = test.spec.lines.iter().map(|(key, value)| (key.clone(), *value)).collect();
            let copy = Test {
                spec: Spec { source: spec.source.clone(), lines, default: '0' },
                variable: format!("$stopgap_test_{number}"),
                comments: test.comments.clone(),
                users: 1,
                said: None,
            };
            self.tests.push(copy);
            return self.with(number - 1, spec, comment);
        }
        if let Some(said) = test.said.take() {
            self.known.remove(&said);
        }
        test.comments.push((test.spec.lines.len(), comment.to_owned()));
        test.spec.lines.extend(spec.lines);
        Ok(at)
    }

    /// The variable of a map.
    pub(super) fn variable(&self, at: usize) -> String {
        self.tests.get(at).map(|test| test.variable.clone()).unwrap_or_default()
    }

    /// A variable with what it is read from, as it stands in a word of nginx's: `${name}`.
    pub(super) fn braced(&mut self, piece: &Piece) -> Result<String, String> {
        let name = match piece {
            Piece::Text(text) => self.constant(text)?,
            Piece::Source(source) => self.source(*source),
        };
        Ok(format!("${{{name}}}"))
    }

    /// The name of the variable that holds exactly this text.
    pub(super) fn constant(&mut self, text: &str) -> Result<String, String> {
        if let Some(name) = self.constants.get(text) {
            return Ok(name.clone());
        }
        if text.contains('\0') {
            return Err("a NUL cannot stand in nginx's configuration".to_owned());
        }
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if quoted.len() > MAX_WORD {
            return Err(format!("a text has {} bytes; nginx reads at most {MAX_WORD}", quoted.len()));
        }
        let name = format!("stopgap_text_{}", self.constants.len() + 1);
        let _ = write!(self.helpers, "geo ${name} {{\n    default \"{quoted}\";\n}}\n");
        self.constants.insert(text.to_owned(), name.clone());
        Ok(name)
    }

    /// The name of the variable that holds exactly what IIS's holds.
    pub(super) fn source(&mut self, source: Source) -> String {
        match source {
            Source::Method => "request_method".to_owned(),
            Source::Port => "server_port".to_owned(),
            // Of an absolute target without a path nginx keeps the query string alone.
            Source::Target => {
                self.define("stopgap_uri", "$request_uri", "\"~^\\x3f\" \"/$request_uri\";", "$request_uri")
            }
            Source::Query => {
                self.source(Source::Target);
                self.define(
                    "stopgap_query",
                    "$stopgap_uri",
                    "\"~^[^\\x3f]*+\\x3f([\\x00-\\xff]*+)\" $1;",
                    "\"\"",
                )
            }
            // A listener for IPv6 that takes IPv4, too, writes such an address in its own way.
            Source::Address => self.define(
                "stopgap_remote_addr",
                "$remote_addr",
                "\"~^\\x3a\\x3affff\\x3a([0-9\\x2e]++)\\z\" $1;",
                "$remote_addr",
            ),
            Source::Secure { yes, no } => {
                self.define(&format!("stopgap_secure_{yes}"), "$https", &format!("on {yes};"), no)
            }
            // RFC 9110 section 5.5: blanks around a value are not part of it; nginx keeps tabs.
            Source::Header(name) => self.define(
                &format!("stopgap_http_{name}"),
                &format!("$http_{name}"),
                "\"~^[\\x09\\x20]++((?:[^\\x09\\x20]++|[\\x09\\x20]++(?!\\z))*+)\" $1;\n    \
                 \"~^((?:[^\\x09\\x20]++|[\\x09\\x20]++(?!\\z))*+)[\\x09\\x20]++\\z\" $1;",
                &format!("$http_{name}"),
            ),
        }
    }

    /// The name of the variable that holds this word, `${one}${another}`.
    pub(super) fn row(&mut self, kind: &str, word: &str) -> String {
        if let Some(name) = self.rows.get(word) {
            return name.clone();
        }
        let name = format!("stopgap_{kind}_{}", self.rows.len() + 1);
        self.define(&name, "$request_uri", "", &format!("\"{word}\""));
        self.rows.insert(word.to_owned(), name.clone());
        name
    }

    /// A map of ours, written once; gives its name.
    pub(super) fn define(&mut self, name: &str, source: &str, lines: &str, default: &str) -> String {
        if !self.defined.iter().any(|known| known == name) {
            let _ = write!(
                self.helpers,
                "map {source} ${name} {{\n    {lines}{}default {default};\n}}\n",
                if lines.is_empty() { "" } else { "\n    " }
            );
            self.defined.push(name.to_owned());
        }
        name.to_owned()
    }

    /// Everything.
    pub(super) fn write(&self) -> String {
        let mut out = self.helpers.clone();
        for Test { spec, variable, comments, .. } in &self.tests {
            let mut comments = comments.iter().peekable();
            if let Some((_, comment)) = comments.next() {
                let _ = writeln!(out, "\n# {comment}");
            }
            let _ = writeln!(out, "map {} {variable} {{", spec.source);
            for (at, (key, value)) in spec.lines.iter().enumerate() {
                while let Some((_, comment)) = comments.next_if(|(before, _)| *before <= at) {
                    let _ = writeln!(out, "    # {comment}");
                }
                let _ = writeln!(out, "    {} {value};", key.word());
            }
            let _ = writeln!(out, "    default {};\n}}", spec.default);
        }
        out
    }
}

fn said(spec: &Spec) -> String {
    let mut said = format!("{} {}", spec.source, spec.default);
    for (key, value) in &spec.lines {
        let _ = write!(said, "\n{} {value}", key.word());
    }
    said
}

impl Key {
    fn clone(&self) -> Key {
        match self {
            Key::Pattern(pattern) => Key::Pattern(pattern.clone()),
            Key::Word(word) => Key::Word(word),
        }
    }

    fn word(&self) -> String {
        match self {
            Key::Pattern(pattern) => format!("\"~{pattern}\""),
            Key::Word(word) => (*word).to_owned(),
        }
    }
}

/// Characters of a key that nginx looks up in a table: an entry must fit into its 64 bytes.
const MAX_PLAIN_KEY: usize = 40;

/// The key for a site.
///
/// A plain key where there can be one: a pattern that fits makes nginx forget what `$1` was, and a site with a
/// pattern for a name can use that. Plain keys ignore case, and some words are nginx's own.
pub(super) fn site_key(site: &str) -> String {
    let plain = site.len() <= MAX_PLAIN_KEY
        && site.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"\"';{}#".contains(&b))
        && !matches!(site, "default" | "hostnames" | "include" | "volatile");
    if !plain {
        return format!("\"~^{}\\z\"", pcre::literal(site));
    }
    // A backslash at the beginning is taken off, and keeps what follows from being a pattern.
    let lead = if site.starts_with(['~', '\\']) { "\\\\" } else { "" };
    format!("\"{lead}{}\"", site.replace('\\', "\\\\"))
}
