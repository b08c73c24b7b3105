//! A chunked body taken apart (RFC 9112, 7.1): octets in, data and trailers out. Pure. The lines between
//! the data are read as strictly as those of requests.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::wire::WireError;

/// Octets of the line before a chunk, with its extensions.
const MAX_LINE: usize = 4096;
/// Octets and fields of a trailer section.
const MAX_TRAILERS: usize = 64 * 1024;
const MAX_FIELDS: usize = 100;

/// Where in the body the next octet belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Chunks {
    /// To the line with the length of a chunk.
    #[default]
    Line,
    /// To a chunk, of which so many octets are missing.
    Data(u64),
    /// To the line end behind a chunk.
    DataEnd,
    Trailers,
    Done,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The body is complete.
    End,
    /// More octets are needed.
    More,
}

impl Chunks {
    /// Takes the next piece from the front of what was received.
    pub(super) fn next(&mut self, inbox: &mut BytesMut) -> Result<Piece, WireError> {
        loop {
            match *self {
                Chunks::Line => {
                    let Some(line_feed) = memchr::memchr(b'\n', inbox) else {
                        return if inbox.len() > MAX_LINE { Err(WireError::Chunk) } else { Ok(Piece::More) };
                    };
                    let line = inbox.get(..line_feed).unwrap_or_default();
                    let len = size(line.strip_suffix(b"\r").ok_or(WireError::Chunk)?)?;
                    inbox.advance(line_feed + 1);
                    *self = if len == 0 { Chunks::Trailers } else { Chunks::Data(len) };
                }
                Chunks::Data(_) if inbox.is_empty() => return Ok(Piece::More),
                Chunks::Data(left) => {
                    let len = usize::try_from(left).map_or(inbox.len(), |left| left.min(inbox.len()));
                    let left = left - len as u64;
                    *self = if left == 0 { Chunks::DataEnd } else { Chunks::Data(left) };
                    return Ok(Piece::Data(inbox.split_to(len).freeze()));
                }
                Chunks::DataEnd => match inbox.get(..2) {
                    Some(b"\r\n") => {
                        inbox.advance(2);
                        *self = Chunks::Line;
                    }
                    None if inbox.is_empty() || inbox.starts_with(b"\r") => return Ok(Piece::More),
                    _ => return Err(WireError::Chunk),
                },
                Chunks::Trailers => {
                    let Some((len, trailers)) = trailers(inbox)? else {
                        return if inbox.len() > MAX_TRAILERS {
                            Err(WireError::Chunk)
                        } else {
                            Ok(Piece::More)
                        };
                    };
                    inbox.advance(len);
                    *self = Chunks::Done;
                    if !trailers.is_empty() {
                        return Ok(Piece::Trailers(trailers));
                    }
                }
                Chunks::Done => return Ok(Piece::End),
            }
        }
    }
}

/// The length at the front of a line; what follows a semicolon are extensions, which are dropped.
fn size(line: &[u8]) -> Result<u64, WireError> {
    if line.iter().any(|octet| matches!(octet, b'\r' | 0)) {
        return Err(WireError::Chunk);
    }
    let digits = line.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(WireError::Chunk);
    }
    let digits = str::from_utf8(digits).map_err(|_| WireError::Chunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| WireError::Chunk)
}

fn trailers(section: &[u8]) -> Result<Option<(usize, HeaderMap)>, WireError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let httparse::Status::Complete((len, fields)) = httparse::parse_headers(section, &mut fields)? else {
        return Ok(None);
    };
    let mut map = HeaderMap::new();
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) else {
            return Err(WireError::Chunk);
        };
        map.append(name, value);
    }
    Ok(Some((len, map)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data and the trailers of a body that arrives in pieces of a size, and what lies behind it.
    fn read(raw: &str, piece: usize) -> Result<(String, usize, String), String> {
        let (mut chunks, mut inbox) = (Chunks::default(), BytesMut::new());
        let (mut data, mut fields) = (String::new(), 0);
        let mut pieces = raw.as_bytes().chunks(piece);
        loop {
            match chunks.next(&mut inbox).map_err(|error| error.to_string())? {
                Piece::Data(more) => data.push_str(str::from_utf8(&more).unwrap()),
                Piece::Trailers(trailers) => fields += trailers.len(),
                Piece::More => inbox.extend_from_slice(pieces.next().ok_or("incomplete")?),
                Piece::End => {
                    let rest = pieces.fold(inbox.to_vec(), |rest, piece| [&rest, piece].concat());
                    return Ok((data, fields, String::from_utf8(rest).unwrap()));
                }
            }
        }
    }

    #[test]
    fn a_body_is_the_same_in_whatever_pieces_it_comes() {
        let raw = "3\r\nabc\r\nA ;x=y\r\n0123456789\r\n0\r\nX-Sum: 7\r\n\r\nnext";
        for piece in 1..raw.len() {
            assert_eq!(read(raw, piece).unwrap(), ("abc0123456789".into(), 1, "next".into()), "{piece}");
        }
        assert_eq!(read("0\r\n\r\n", 3).unwrap(), (String::new(), 0, String::new()));
    }

    #[test]
    fn what_is_not_chunked_is_refused() {
        for raw in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "0x3\r\nabc\r\n",
            "3\nabc\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n\n",
            "1000000000000000\r\n",
            "3\r;\r\nabc\r\n",
            "0\r\n X: y\r\n\r\n",
            "0\r\nX\r\n\r\n",
        ] {
            let error = read(raw, 1).unwrap_err();
            assert_ne!(error, "incomplete", "{raw:?}");
        }
        assert_ne!(read(&"1".repeat(MAX_LINE + 2), 64).unwrap_err(), "incomplete");
        assert_ne!(read(&format!("0\r\nX: {}", "y".repeat(MAX_TRAILERS)), 4096).unwrap_err(), "incomplete");
        assert_eq!(read("3\r\nab", 1).unwrap_err(), "incomplete");
    }
}
