//! The chunked coding (RFC 9112, 7.1), octet by octet between the data. The data itself is skipped.

use super::Refusal;

/// The line of a chunk size may carry extensions, which nobody uses; this many octets of them pass.
const MAX_EXTENSION: usize = 256;
/// Hexadecimal digits of a chunk size, leading zeros included: the value stays below 2^60.
const MAX_SIZE_DIGITS: u8 = 15;

/// Where within the coding the next octet stands.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    trailer_bytes: usize,
}

#[derive(Debug)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { size: u64, len: usize },
    SizeLineFeed { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataLineFeed,
    Trailer { line: usize },
    TrailerLineFeed { last: bool },
}

impl Default for Chunked {
    fn default() -> Self {
        Chunked { state: State::Size { value: 0, digits: 0 }, trailer_bytes: 0 }
    }
}

impl Chunked {
    /// Reads on; returns how many octets belong to the body, and whether it is complete.
    pub(super) fn read(&mut self, bytes: &[u8], trailer_limit: usize) -> Result<(usize, bool), Refusal> {
        let mut at = 0;
        while let Some(octet) = bytes.get(at).copied() {
            if let State::Data { left } = &mut self.state {
                let available = bytes.len() - at;
                let len = usize::try_from(*left).map_or(available, |left| left.min(available));
                at += len;
                *left -= len as u64;
                if *left == 0 {
                    self.state = State::DataReturn;
                }
                continue;
            }
            at += 1;
            if self.step(octet, trailer_limit)? {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    /// One octet outside the data. True: it was the last of the body.
    fn step(&mut self, octet: u8, trailer_limit: usize) -> Result<bool, Refusal> {
        self.state = match (&self.state, octet) {
            (State::Size { value, digits }, _) if octet.is_ascii_hexdigit() => {
                if *digits == MAX_SIZE_DIGITS {
                    return Err(Refusal::ChunkSize);
                }
                let digit = char::from(octet).to_digit(16).map_or(0, u64::from);
                State::Size { value: *value * 16 + digit, digits: *digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err(Refusal::ChunkSize),
            (State::Size { value, .. }, b';') => State::Extension { size: *value, len: 0 },
            (State::Size { value, .. }, b'\r') => State::SizeLineFeed { size: *value },
            // White space after the size is refused too: not all recipients ignore it.
            (State::Size { .. }, _) => return Err(Refusal::ChunkSize),

            (State::Extension { size, .. }, b'\r') => State::SizeLineFeed { size: *size },
            (State::Extension { len, .. }, _)
                if *len >= MAX_EXTENSION || (octet.is_ascii_control() && octet != b'\t') =>
            {
                return Err(Refusal::ChunkExtension);
            }
            (State::Extension { size, len }, _) => State::Extension { size: *size, len: len + 1 },

            (State::SizeLineFeed { size: 0 }, b'\n') => State::Trailer { line: 0 },
            (State::SizeLineFeed { size }, b'\n') => State::Data { left: *size },
            (State::SizeLineFeed { .. }, _) => return Err(Refusal::ChunkSize),

            (State::Data { .. }, _) => return Err(Refusal::ChunkSize),
            (State::DataReturn, b'\r') => State::DataLineFeed,
            (State::DataLineFeed, b'\n') => State::Size { value: 0, digits: 0 },
            (State::DataReturn | State::DataLineFeed, _) => return Err(Refusal::ChunkEnd),

            (State::Trailer { line }, b'\r') => State::TrailerLineFeed { last: *line == 0 },
            (State::Trailer { line: 0 }, b' ' | b'\t') => return Err(Refusal::Trailer),
            (State::Trailer { .. }, b'\n' | 0) => return Err(Refusal::Trailer),
            (State::Trailer { line }, _) => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > trailer_limit {
                    return Err(Refusal::Trailer);
                }
                State::Trailer { line: line + 1 }
            }
            (State::TrailerLineFeed { last: true }, b'\n') => return Ok(true),
            (State::TrailerLineFeed { last: false }, b'\n') => State::Trailer { line: 0 },
            (State::TrailerLineFeed { .. }, _) => return Err(Refusal::Trailer),
        };
        Ok(false)
    }
}
