//! One request head, line by line. It may arrive in any number of pieces; each octet is looked at
//! once, so that a client that sends one at a time costs no more than one that sends all.

use std::ops::Range;

use memchr::{memchr, memchr2, memrchr};

use super::{FramingLimits, Refusal};

/// How far a head was read, and what it has said. Offsets count from its first octet.
#[derive(Debug, Default)]
pub(super) struct Head {
    line: usize,
    searched: usize,
    fields: usize,
    empty_lines: usize,
    request_line: Option<RequestLine>,
    host: Option<Range<usize>>,
    content_length: Option<u64>,
    chunked: bool,
    connection_upgrade: bool,
    websocket: bool,
}

#[derive(Debug)]
struct RequestLine {
    http_11: bool,
    /// Of an absolute-form target.
    authority: Option<Range<usize>>,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// The next head.
    None,
    /// So many octets.
    Fixed(u64),
    /// Chunks and a trailer section.
    Chunked,
    /// That depends on the answer.
    Upgrade,
}

impl Head {
    /// `head` is all that is known of this head so far. Returns its length and what follows, once it
    /// is complete.
    pub(super) fn read(
        &mut self,
        head: &[u8],
        limits: &FramingLimits,
    ) -> Result<Option<(usize, Body)>, Refusal> {
        loop {
            let unread = head.get(self.searched..).unwrap_or_default();
            let Some(line_feed) = memchr(b'\n', unread).map(|at| self.searched + at) else {
                self.searched = head.len();
                return if head.len() > limits.bytes { Err(Refusal::HeadTooLarge) } else { Ok(None) };
            };
            if line_feed >= limits.bytes {
                return Err(Refusal::HeadTooLarge);
            }
            let start = self.line;
            let line = head.get(start..line_feed).unwrap_or_default();
            self.line = line_feed + 1;
            self.searched = self.line;

            let line = line.strip_suffix(b"\r").ok_or(Refusal::BareLineFeed)?;
            match memchr2(b'\r', 0, line).and_then(|at| line.get(at)) {
                Some(b'\r') => return Err(Refusal::BareCarriageReturn),
                Some(_) => return Err(Refusal::Nul),
                None => {}
            }
            match (&self.request_line, line.is_empty()) {
                (None, true) => {
                    self.empty_lines += 1;
                    if self.empty_lines > 1 {
                        return Err(Refusal::EmptyLines);
                    }
                }
                (None, false) => self.request_line = Some(request_line(line, start)?),
                (Some(request_line), true) => {
                    return Ok(Some((self.line, self.complete(head, request_line)?)));
                }
                (Some(_), false) => {
                    self.fields += 1;
                    if self.fields > limits.fields {
                        return Err(Refusal::TooManyFields);
                    }
                    self.field(line, start)?;
                }
            }
        }
    }

    fn field(&mut self, line: &[u8], start: usize) -> Result<(), Refusal> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Refusal::FoldedField);
        }
        let colon = memchr(b':', line).filter(|at| *at > 0).ok_or(Refusal::FieldLine)?;
        let Some((name, value)) = line.split_at_checked(colon) else { return Err(Refusal::FieldLine) };
        let value = value.get(1..).unwrap_or_default();
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        // By length first: most fields are none of these.
        match name.len() {
            4 if is("host") => {
                if self.host.is_some() {
                    return Err(Refusal::SecondHost);
                }
                let host = value.trim_ascii();
                if host.is_empty() || !host.iter().all(|octet| is_host_octet(*octet)) {
                    return Err(Refusal::InvalidHost);
                }
                let blanks = value.len() - value.trim_ascii_start().len();
                let from = start + colon + 1 + blanks;
                self.host = Some(from..from + host.len());
            }
            14 if is("content-length") => {
                if self.content_length.is_some() {
                    return Err(Refusal::SecondContentLength);
                }
                self.content_length = Some(decimal(value.trim_ascii()).ok_or(Refusal::ContentLength)?);
            }
            17 if is("transfer-encoding") => {
                // A second field would make the list "chunked, chunked".
                if self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::TransferEncoding);
                }
                self.chunked = true;
            }
            10 if is("connection") => self.connection_upgrade |= has_token(value, b"upgrade"),
            7 if is("upgrade") => self.websocket |= has_token(value, b"websocket"),
            _ => {}
        }
        Ok(())
    }

    fn complete(&self, head: &[u8], request_line: &RequestLine) -> Result<Body, Refusal> {
        let host = self.host.clone().and_then(|range| head.get(range)).ok_or(Refusal::MissingHost)?;
        if let Some(authority) = request_line.authority.clone().and_then(|range| head.get(range))
            && !authority.eq_ignore_ascii_case(host)
        {
            return Err(Refusal::HostMismatch);
        }
        match (self.content_length, self.chunked) {
            (Some(_), true) => Err(Refusal::TwoLengths),
            (None, true) if !request_line.http_11 => Err(Refusal::TransferEncodingIn10),
            (None, true) => Ok(Body::Chunked),
            (Some(len), false) if len > 0 => Ok(Body::Fixed(len)),
            _ if self.websocket && self.connection_upgrade && request_line.http_11 => Ok(Body::Upgrade),
            _ => Ok(Body::None),
        }
    }
}

fn request_line(line: &[u8], start: usize) -> Result<RequestLine, Refusal> {
    let method_end = memchr(b' ', line).filter(|at| *at > 0).ok_or(Refusal::RequestLine)?;
    let target_end = memrchr(b' ', line).filter(|at| *at > method_end + 1).ok_or(Refusal::RequestLine)?;
    let method = line.get(..method_end).unwrap_or_default();
    let target = line.get(method_end + 1..target_end).unwrap_or_default();
    let http_11 = match line.get(target_end + 1..).unwrap_or_default() {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        version if version.starts_with(b"HTTP/") => return Err(Refusal::Version),
        _ => return Err(Refusal::RequestLine),
    };
    if memchr(b' ', target).is_some() {
        return Err(Refusal::RequestLine);
    }
    // A fragment is not part of any target form, and recipients differ on where it ends.
    if memchr(b'#', target).is_some() {
        return Err(Refusal::Target);
    }
    // RFC 9110, 9.3.6: its target is an authority, and it asks for a tunnel, which is not made here.
    if method == b"CONNECT" {
        return Err(Refusal::Target);
    }
    let authority = match target {
        [b'/', ..] => None,
        b"*" if method == b"OPTIONS" => None,
        _ => Some(absolute_authority(target).ok_or(Refusal::Target)?),
    };
    let from = start + method_end + 1;
    let authority = authority.map(|range| from + range.start..from + range.end);
    Ok(RequestLine { http_11, authority })
}

/// The authority within `http://authority/…`.
fn absolute_authority(target: &[u8]) -> Option<Range<usize>> {
    let scheme_end = memchr(b':', target)?;
    let (scheme, rest) = target.split_at_checked(scheme_end)?;
    if !(scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")) {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let len = memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    (len > 0).then(|| scheme_end + 3..scheme_end + 3 + len)
}

/// RFC 3986, 3.2.2 and 3.2.3, without the comma: it could be two Host fields that somebody merged.
fn is_host_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&octet)
}

/// RFC 9110, 8.6: digits only. Nineteen of them fit into 64 bits.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a comma-separated list (RFC 9110, 5.6.1) holds a token.
pub(crate) fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|octet| *octet == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}
