//! `attack.http` and `benign.http`: raw request heads, separated by lines that begin with `###`.
//!
//! ```text
//! ### what this one shows          the rest of the line names the request below
//! GET /path?query HTTP/1.1
//! Host: mail.example.org
//! ```
//!
//! Not in here: what a head means; `stopgap-rules` reads it.

/// Octets of one file.
pub const FILE_MAX: usize = 1024 * 1024;
/// Requests in one file.
pub const REQUESTS_MAX: usize = 10_000;

/// One request of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleRequest {
    /// What it shows: the text behind `###`, or `request at line N`.
    pub name: String,
    /// The head, line ends CRLF, ending in an empty line.
    pub head: String,
}

/// What is wrong with such a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestsError {
    /// More than [`FILE_MAX`] octets.
    #[error("expected at most {FILE_MAX} octets, found {found}")]
    TooLarge {
        /// Its size.
        found: usize,
    },
    /// More than [`REQUESTS_MAX`] requests.
    #[error("expected at most {REQUESTS_MAX} requests")]
    TooMany,
    /// Something follows the empty line that ends a head.
    #[error(
        "line {line}: expected `###` or the end of the file after an empty line, found more text: a request is its head only"
    )]
    Body {
        /// Where it begins, from 1.
        line: usize,
    },
}

/// The requests of a file, in order.
pub fn parse(text: &str) -> Result<Vec<SampleRequest>, RequestsError> {
    if text.len() > FILE_MAX {
        return Err(RequestsError::TooLarge { found: text.len() });
    }
    let mut requests = Vec::new();
    let mut open = Open::default();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if let Some(name) = line.strip_prefix("###") {
            open.close(&mut requests)?;
            open = Open { name: name.trim().to_owned(), ..Open::default() };
        } else if line.is_empty() {
            open.ended = !open.head.is_empty();
        } else if open.ended {
            return Err(RequestsError::Body { line: number });
        } else {
            if open.head.is_empty() {
                open.line = number;
            }
            open.head.push_str(line);
            open.head.push_str("\r\n");
        }
    }
    open.close(&mut requests)?;
    Ok(requests)
}

/// The request that is being read.
#[derive(Default)]
struct Open {
    name: String,
    line: usize,
    head: String,
    ended: bool,
}

impl Open {
    fn close(&mut self, requests: &mut Vec<SampleRequest>) -> Result<(), RequestsError> {
        if self.head.is_empty() {
            return Ok(());
        }
        if requests.len() == REQUESTS_MAX {
            return Err(RequestsError::TooMany);
        }
        let name = std::mem::take(&mut self.name);
        let name = if name.is_empty() { format!("request at line {}", self.line) } else { name };
        requests.push(SampleRequest { name, head: std::mem::take(&mut self.head) + "\r\n" });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_separated_and_named() {
        let text =
            "\n### first one\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n###\nPOST /x HTTP/1.1\n\n\n### nothing\n";
        let requests = parse(text).unwrap();
        assert_eq!(
            requests,
            [
                SampleRequest { name: "first one".into(), head: "GET / HTTP/1.1\r\nHost: a\r\n\r\n".into() },
                SampleRequest { name: "request at line 7".into(), head: "POST /x HTTP/1.1\r\n\r\n".into() },
            ]
        );
    }

    #[test]
    fn an_empty_file_holds_none() {
        assert_eq!(parse("").unwrap(), []);
        assert_eq!(parse("###\n\n").unwrap(), []);
    }

    #[test]
    fn a_body_is_refused_with_its_line() {
        assert_eq!(parse("POST / HTTP/1.1\n\nbody\n"), Err(RequestsError::Body { line: 3 }));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        assert_eq!(parse(&"x".repeat(FILE_MAX + 1)), Err(RequestsError::TooLarge { found: FILE_MAX + 1 }));
        assert_eq!(parse(&"###\nG\n".repeat(REQUESTS_MAX + 1)), Err(RequestsError::TooMany));
    }
}
