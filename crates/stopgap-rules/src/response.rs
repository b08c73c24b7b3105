//! What a rule can see of a response: its status and headers, borrowed from where they were received. The
//! body is not here; no rule looks at it.

use crate::request::{HeadError, head, same_header};

/// A response head. Cheap to make: it holds slices of the caller's buffers.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    status: u16,
    headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Response<'a> {
    /// A response from its parts, as the application gave them.
    pub fn new(status: u16, headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Response<'a> {
        Response { status, headers: headers.into_iter().collect() }
    }

    /// A raw HTTP/1.1 response head, as in a `.http` file. Lines end with CRLF or LF; what follows the empty
    /// line is not read.
    ///
    /// # Errors
    /// [`HeadError`]: the line, what was expected, what was found.
    pub fn parse_head(raw: &'a [u8]) -> Result<Response<'a>, HeadError> {
        head::parse_response(raw)
    }

    /// `RESPONSE_STATUS`.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers of a name, in order, each with its own spelling of it: letters in any case, `_` for `-`.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.headers.iter().copied().filter(move |(found, _)| same_header(found, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_head_is_read_with_either_line_end_and_without_a_reason() {
        for raw in [
            &b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-A: 1\r\nx_a:2 \r\n\r\nbody: no"[..],
            b"\nHTTP/2 200\nContent-Type:text/html\nX-A: 1\nx_a: 2",
        ] {
            let response = Response::parse_head(raw).unwrap();
            assert_eq!(response.status(), 200);
            let two: Vec<_> = response.headers("X_A").collect();
            assert_eq!(two, [("X-A", &b"1"[..]), ("x_a", b"2")]);
            assert_eq!(response.headers("BODY").count(), 0);
        }
    }

    #[test]
    fn each_fault_has_its_own_error() {
        for (raw, code) in [
            (&b""[..], "head-empty"),
            (b"GET / HTTP/1.1", "head-status-line"),
            (b"HTTP/1.1 20", "head-status-line"),
            (b"HTTP/1.1 2000 OK", "head-status-line"),
            (b"HTTP/1.1 099 OK", "head-status-line"),
            (b"HTTP/1.1 200 OK\nno colon", "head-header"),
        ] {
            let error = Response::parse_head(raw).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
        }
    }
}
