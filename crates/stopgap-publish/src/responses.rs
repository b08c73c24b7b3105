//! `responses.http`: requests with the answers of an application, for rules that change answers.
//!
//! ```text
//! ### changed: a page with a policy of its own        or  ### untouched: an image
//! GET /owa/ HTTP/1.1
//! Host: mail.example.org
//!
//! HTTP/1.1 200 OK
//! Content-Type: text/html
//! ```
//!
//! A *changed* answer must show what the mitigation's `header` probes look for; an *untouched* one must come out
//! as it went in. Not in here: what a head means; `stopgap-rules` reads it.

use crate::requests::{FILE_MAX, REQUESTS_MAX};

/// What must become of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The header probes hold.
    Changed,
    /// No rule changes it.
    Untouched,
}

/// One request with its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleResponse {
    /// What must become of it.
    pub fate: Fate,
    /// What it shows.
    pub name: String,
    /// The request's head, line ends CRLF, ending in an empty line.
    pub request: String,
    /// The answer's head, likewise.
    pub response: String,
}

/// What is wrong with such a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResponsesError {
    /// More than a file of its kind holds.
    #[error("expected at most {FILE_MAX} octets and {REQUESTS_MAX} answers")]
    TooLarge,
    /// A heading of another kind.
    #[error("line {line}: expected `### changed: …` or `### untouched: …`, found {found:?}")]
    Heading {
        /// Where, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// A request without an answer, or more than one of them.
    #[error(
        "line {line}: expected a request's head, an empty line and an answer's head below it, found {found} heads"
    )]
    Heads {
        /// Where its heading is, from 1.
        line: usize,
        /// How many heads follow.
        found: usize,
    },
}

/// The answers of a file, in order.
pub fn parse(text: &str) -> Result<Vec<SampleResponse>, ResponsesError> {
    if text.len() > FILE_MAX {
        return Err(ResponsesError::TooLarge);
    }
    let mut samples = Vec::new();
    let mut open: Option<(usize, Fate, String)> = None;
    let mut heads: Vec<String> = Vec::new();
    let mut fresh = true;
    for (index, line) in text.lines().enumerate() {
        if let Some(heading) = line.strip_prefix("###") {
            close(open.take(), &mut heads, &mut samples)?;
            open = Some(self::heading(index + 1, heading)?);
            fresh = true;
        } else if line.is_empty() {
            fresh = true;
        } else {
            if open.is_none() {
                let found = line.chars().take(80).collect();
                return Err(ResponsesError::Heading { line: index + 1, found });
            }
            if std::mem::take(&mut fresh) {
                heads.push(String::new());
            }
            if let Some(head) = heads.last_mut() {
                head.push_str(line);
                head.push_str("\r\n");
            }
        }
    }
    close(open, &mut heads, &mut samples)?;
    Ok(samples)
}

fn heading(line: usize, text: &str) -> Result<(usize, Fate, String), ResponsesError> {
    let (fate, name) = text.trim().split_once(':').unwrap_or_default();
    let fate = match fate {
        "changed" => Fate::Changed,
        "untouched" => Fate::Untouched,
        _ => return Err(ResponsesError::Heading { line, found: text.trim().chars().take(80).collect() }),
    };
    Ok((line, fate, name.trim().to_owned()))
}

fn close(
    open: Option<(usize, Fate, String)>,
    heads: &mut Vec<String>,
    samples: &mut Vec<SampleResponse>,
) -> Result<(), ResponsesError> {
    let Some((line, fate, name)) = open else { return Ok(()) };
    if samples.len() == REQUESTS_MAX {
        return Err(ResponsesError::TooLarge);
    }
    match std::mem::take(heads).as_slice() {
        [request, response] => samples.push(SampleResponse {
            fate,
            name,
            request: format!("{request}\r\n"),
            response: format!("{response}\r\n"),
        }),
        other => return Err(ResponsesError::Heads { line, found: other.len() }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_their_requests() {
        let text = "### changed: one\nGET / HTTP/1.1\nHost: a\n\nHTTP/1.1 200 OK\nX: 1\n\n### untouched: two\r\nGET /b HTTP/1.1\r\n\r\nHTTP/1.1 404 Not Found\r\n";
        let samples = parse(text).unwrap();
        assert_eq!(samples.len(), 2);
        assert_eq!((samples[0].fate, samples[0].name.as_str()), (Fate::Changed, "one"));
        assert_eq!(samples[0].request, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(samples[0].response, "HTTP/1.1 200 OK\r\nX: 1\r\n\r\n");
        assert_eq!(samples[1].fate, Fate::Untouched);
        assert_eq!(parse("\n\n").unwrap(), []);
    }

    #[test]
    fn what_is_no_such_file_is_named_with_its_line() {
        let code = |text| parse(text).unwrap_err().to_string();
        assert!(code("### maybe: x\n").starts_with("line 1: expected `### changed"));
        assert!(code("GET / HTTP/1.1\n").starts_with("line 1"));
        assert!(code("\n### changed: x\nGET / HTTP/1.1\n").ends_with("found 1 heads"));
        assert_eq!(parse(&"x".repeat(FILE_MAX + 1)), Err(ResponsesError::TooLarge));
    }
}
