//! One request that somebody asks about: a URL, a request line, a raw head, or a line of a log.

use stopgap_rules::{Connection, HeadError, Request};

use super::format::{Format, FormatError};
use super::holds::Holds;
use super::judge::{Candidate, Finding, Judge, Unjudged};
use super::line::{Read, is_method};

/// The longest text that is read.
const MAX_TEXT: usize = 1024 * 1024;

/// A request, and what is known of it.
#[derive(Debug)]
pub struct Question {
    source: Source,
    holds: Holds,
    read_as: String,
}

#[derive(Debug)]
enum Source {
    Head { raw: Vec<u8>, https: bool, port: u16 },
    Line { format: Format, line: Vec<u8> },
}

/// A text that is no request.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// Nothing, or too much.
    #[error("the request has {found} bytes; expected between 1 and {MAX_TEXT}")]
    Size {
        /// How much it is.
        found: usize,
    },
    /// A head that cannot be read.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Neither a request nor a line of a known format.
    #[error(
        "it is neither a URL (https://host/path), nor a request (GET /path HTTP/1.1), nor a line of a log"
    )]
    Neither(#[source] FormatError),
    /// Several lines of a log.
    #[error(
        "it holds {found} lines of a log; one is asked about at a time, and `stopgap plan --replay` reads a whole log"
    )]
    Several {
        /// How many.
        found: usize,
    },
    /// A line without a request.
    #[error("the line holds no request: {why}")]
    NoRequest {
        /// What it holds instead.
        why: &'static str,
    },
}

impl Question {
    /// From a text. `format`: it is a line of this format; `others`: this server's own formats, tried first.
    ///
    /// # Errors
    /// [`QuestionError`].
    pub fn read(text: &[u8], format: Option<Format>, others: Vec<Format>) -> Result<Question, QuestionError> {
        let text = text.trim_ascii();
        if text.is_empty() || text.len() > MAX_TEXT {
            return Err(QuestionError::Size { found: text.len() });
        }
        if format.is_none() {
            if let Some(question) = url(text) {
                return Ok(question);
            }
            if is_head(text) {
                return head(text);
            }
        }
        let lines: Vec<Vec<u8>> =
            text.split(|b| *b == b'\n').map(|line| line.trim_ascii().to_owned()).collect();
        let format = match format {
            Some(format) => format,
            None => Format::recognize(&lines, others).map_err(QuestionError::Neither)?,
        };
        let mut whole = lines.into_iter().filter(|line| !line.is_empty() && !line.starts_with(b"#"));
        let Some(line) = whole.next() else {
            return Err(QuestionError::NoRequest { why: "only comments" });
        };
        match whole.count() {
            0 => in_log(format, line),
            more => Err(QuestionError::Several { found: more + 1 }),
        }
    }

    /// What it was taken for, such as `a URL` or `a line of HAProxy's httplog`.
    pub fn read_as(&self) -> &str {
        &self.read_as
    }

    /// What is known of it.
    pub fn holds(&self) -> &Holds {
        &self.holds
    }

    /// Method and target.
    pub fn shown(&self) -> String {
        self.with_request(|request| format!("{} {}", request.method(), request.target()))
            .trim_start()
            .to_owned()
    }

    /// What each action says to it, in order; and, where that is not decided, why.
    pub fn judge(&self, candidates: &[Candidate]) -> Vec<(Finding, Option<String>)> {
        let mut judge = Judge::new(candidates);
        let mut findings = vec![(Finding::Passes, None); candidates.len()];
        let lacks = judge.lacks(&self.holds);
        self.with_request(|request| {
            judge.judge(request, lacks, |at, finding| {
                if let Some(place) = findings.get_mut(at) {
                    place.0 = finding;
                }
            });
        });
        for (key, action, unjudged) in judge.not_judged(&self.holds) {
            let at = candidates.iter().position(|candidate| candidate.is(key, action));
            let Some(place) = at.and_then(|at| findings.get_mut(at)) else { continue };
            let never = matches!(unjudged, Unjudged::Never(_));
            if never || place.0 == Finding::Undecided {
                *place = (Finding::Undecided, Some(unjudged.words("what was given of it")));
            }
        }
        findings
    }

    fn with_request<T>(&self, work: impl FnOnce(&Request) -> T) -> T {
        let nothing = || Request::new("GET", b"/", [], Connection::default());
        match &self.source {
            Source::Head { raw, https, port } => {
                let connection = Connection { https: *https, server_port: *port, ..Connection::default() };
                // It was read once, before this was made.
                work(&Request::parse_head(raw, &connection).unwrap_or_else(|_| nothing()))
            }
            Source::Line { format, line } => match format.read(line) {
                Read::Request(line) => work(&line.request()),
                _ => work(&nothing()),
            },
        }
    }
}

/// `https://host:port/path?query`: what a browser asks for with GET.
fn url(text: &[u8]) -> Option<Question> {
    let text = std::str::from_utf8(text).ok()?;
    let (scheme, rest) = text.split_once("://")?;
    let https = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    if rest.contains(char::is_whitespace) {
        return None;
    }
    let rest = rest.split('#').next().unwrap_or(rest);
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let slash = if target.starts_with('/') { "" } else { "/" };
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let raw = format!("GET {slash}{target} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    let known = ["REQUEST_METHOD", "HTTP_HOST", "HTTPS", "SERVER_PORT", "SERVER_PORT_SECURE"];
    Request::parse_head(&raw, &Connection::default()).ok()?;
    Some(Question {
        source: Source::Head { raw, https, port: port.unwrap_or(if https { 443 } else { 80 }) },
        holds: Holds::address().with(known),
        read_as: "a URL, asked for with GET".into(),
    })
}

/// Whether it begins with a request line, and not as a log does.
fn is_head(text: &[u8]) -> bool {
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end();
    let mut words = first.split(|b| *b == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return false };
    let version = words.next();
    let target_fits = matches!(target, [b'/', ..] | b"*")
        || [&b"http://"[..], b"https://"].iter().any(|scheme| target.starts_with(scheme));
    is_method(method) && target_fits && version.is_none_or(|version| version.starts_with(b"HTTP/"))
}

fn head(text: &[u8]) -> Result<Question, QuestionError> {
    let mut raw = text.to_owned();
    raw.extend_from_slice(b"\r\n\r\n");
    Request::parse_head(&raw, &Connection::default())?;
    let holds = Holds::address().with(["REQUEST_METHOD"]);
    let (holds, read_as) = match text.contains(&b'\n') {
        true => (holds.with_all_headers(), "a request's head"),
        false => (holds, "a request line, without headers"),
    };
    Ok(Question { source: Source::Head { raw, https: false, port: 80 }, holds, read_as: read_as.into() })
}

fn in_log(format: Format, line: Vec<u8>) -> Result<Question, QuestionError> {
    let client = match format.read(&line) {
        Read::Request(line) => line.remote.is_some(),
        Read::NoRequest => {
            return Err(QuestionError::NoRequest { why: "the client sent none that was read" });
        }
        Read::CutOff => return Err(QuestionError::NoRequest { why: "the server cut it off" }),
        Read::NotUnderstood(why) => return Err(QuestionError::NoRequest { why }),
    };
    let (holds, read_as) = (format.holds(), format!("a line of a log, {}", format.name()));
    let holds = if client { holds } else { holds.without("REMOTE_ADDR") };
    Ok(Question { source: Source::Line { format, line }, holds, read_as })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, input: &str, pattern: &str) -> Candidate {
        let rules = format!(
            r#"<rewrite><rules><rule name="{id}"><match url=".*"/><conditions><add input="{input}" pattern="{pattern}"/>
               </conditions><action type="AbortRequest"/></rule></rules></rewrite>"#
        );
        Candidate {
            key: format!("example:{id}").parse().unwrap(),
            action: format!("{id}.1").parse().unwrap(),
            rules: Ok(rules),
        }
    }

    fn asked(text: &str) -> Question {
        Question::read(text.as_bytes(), None, Vec::new()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn findings(text: &str) -> Vec<char> {
        let candidates = [
            candidate("M1", "{REQUEST_URI}", "bad"),
            candidate("M2", "{HTTP_COOKIE}", "bad"),
            candidate("M3", "{HTTPS}", "on"),
        ];
        let all = asked(text).judge(&candidates);
        all.into_iter()
            .map(|(finding, why)| match finding {
                Finding::Passes => 'p',
                Finding::Refuses { .. } => 'r',
                Finding::Undecided => {
                    assert!(why.unwrap().contains("which what was given of it does not hold"));
                    'u'
                }
            })
            .collect()
    }

    #[test]
    fn each_way_to_write_a_request_says_what_it_knows() {
        let combined = |request: &str| {
            format!("192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] \"{request}\" 200 5 \"-\" \"curl\"")
        };
        for (text, expected) in [
            ("https://www.example.org/bad", "rur"),
            ("http://user@www.example.org:8080?bad#x", "rup"),
            ("https://www.example.org/good#bad", "pur"),
            ("GET /bad HTTP/1.1", "ruu"),
            ("GET /good", "puu"),
            ("GET /good HTTP/1.1\r\nHost: x\r\nCookie: bad", "pru"),
            ("POST /bad HTTP/1.1\nHost: x\n\nbody", "rpu"),
            (&combined("GET /bad HTTP/1.1"), "ruu"),
            (&combined(r"GET /\x62ad HTTP/1.1"), "ruu"),
            ("#Fields: cs-method cs-uri-stem cs(Cookie)\nGET /good a=bad", "pru"),
        ] {
            assert_eq!(findings(text), expected.chars().collect::<Vec<_>>(), "{text}");
        }
        assert_eq!(asked("https://www.example.org").shown(), "GET /");
        assert_eq!(asked(&combined("PUT /x HTTP/1.1")).shown(), "PUT /x");
    }

    #[test]
    fn what_is_no_request_is_told_what_is_expected() {
        let error = |text: &str| Question::read(text.as_bytes(), None, Vec::new()).unwrap_err().to_string();
        assert!(error("").contains("expected between 1"));
        assert!(error("hello").contains("it is neither a URL"));
        assert!(error("GET /x HTTP/1.1\nno header\n").contains("line 2"));
        let line = "192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"curl\"";
        assert!(error(&format!("{line}\n{line}")).contains("it holds 2 lines"));
    }
}
