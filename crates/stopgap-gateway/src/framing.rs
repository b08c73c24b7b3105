//! Where messages begin and end in the octets that a client sends: HTTP/1.1 framing (RFC 9112,
//! sections 2 to 7), read more strictly than any server behind, so that nobody can disagree with us
//! about it. Pure: octets in, a decision out.
//!
//! ```text
//!             complete head                        body complete
//!   +------> Head ---------> Fixed(n) / Chunked ----------------+
//!   |          |                                                |
//!   |          +----> AwaitUpgrade ---- declined ---------------+
//!   |                      |                                    |
//!   |                      +---- accepted ----> Tunnel          |
//!   +-----------------------------------------------------------+
//! ```
//!
//! A head is let through whole or not at all; a body is let through as it comes. The parser of the
//! HTTP library then reads the same octets again. This module does not repeat its checks of tokens
//! and values: what the library refuses ends the connection, and can no longer be misread.

mod chunked;
mod head;

use chunked::Chunked;
use head::{Body, Head};

pub(crate) use head::{decimal, has_token};

/// Bounds of what is looked at before it is let through.
#[derive(Debug, Clone, Copy)]
pub struct FramingLimits {
    /// Octets of a head, or of a trailer section.
    pub bytes: usize,
    /// Fields of a head.
    pub fields: usize,
}

/// The framing of one client connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    limits: FramingLimits,
}

#[derive(Debug)]
enum State {
    Head(Head),
    Fixed(u64),
    Chunked(Chunked),
    AwaitUpgrade,
    Tunnel,
}

/// What [`Framing::feed`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct Fed {
    /// So many octets, from the first, may go on. The rest must be presented again, with more behind.
    pub pass: usize,
    /// Heads that became complete within `pass`.
    pub heads: u64,
    /// The octet after `pass` begins something that may not go on. Nothing more may be fed.
    pub refusal: Option<Refusal>,
}

impl Framing {
    /// The framing of a connection on which nothing was sent yet.
    pub fn new(limits: FramingLimits) -> Self {
        Framing { state: State::Head(Head::default()), limits }
    }

    /// Reads on. `bytes` begins with the first octet that was not passed yet.
    pub fn feed(&mut self, bytes: &[u8]) -> Fed {
        let mut fed = Fed { pass: 0, heads: 0, refusal: None };
        while let Some(rest) = bytes.get(fed.pass..).filter(|rest| !rest.is_empty()) {
            match &mut self.state {
                State::Head(head) => match head.read(rest, &self.limits) {
                    Ok(None) => return fed,
                    Ok(Some((len, body))) => {
                        fed.pass += len;
                        fed.heads += 1;
                        self.state = match body {
                            Body::None => State::Head(Head::default()),
                            Body::Fixed(len) => State::Fixed(len),
                            Body::Chunked => State::Chunked(Chunked::default()),
                            Body::Upgrade => State::AwaitUpgrade,
                        };
                    }
                    Err(refusal) => return Fed { refusal: Some(refusal), ..fed },
                },
                State::Fixed(left) => {
                    let len = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    fed.pass += len;
                    *left -= len as u64;
                    if *left == 0 {
                        self.state = State::Head(Head::default());
                    }
                }
                State::Chunked(chunked) => match chunked.read(rest, self.limits.bytes) {
                    Ok((len, done)) => {
                        fed.pass += len;
                        if done {
                            self.state = State::Head(Head::default());
                        }
                    }
                    Err(refusal) => return Fed { refusal: Some(refusal), ..fed },
                },
                State::AwaitUpgrade => return fed,
                State::Tunnel => fed.pass = bytes.len(),
            }
        }
        fed
    }

    /// Whether the last head asked for an upgrade that is not yet decided. Nothing more passes until
    /// [`Framing::decide_upgrade`]: the octets that follow are either a tunnel or the next head.
    pub fn awaits_upgrade(&self) -> bool {
        matches!(self.state, State::AwaitUpgrade)
    }

    /// The upgrade was answered with 101, or with something else.
    pub fn decide_upgrade(&mut self, accepted: bool) {
        if self.awaits_upgrade() {
            self.state = if accepted { State::Tunnel } else { State::Head(Head::default()) };
        }
    }

    /// Whether the client owes the rest of a body.
    pub fn in_body(&self) -> bool {
        matches!(self.state, State::Fixed(_) | State::Chunked(_))
    }
}

/// Why octets from a client do not go on. Each is the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// RFC 9112, 2.2 lets a recipient accept it; recipients that differ on it can be set against each other.
    #[error("a line ends with a line feed alone")]
    BareLineFeed,
    /// RFC 9112, 2.2.
    #[error("a carriage return stands within a line")]
    BareCarriageReturn,
    /// RFC 9110, 5.5.
    #[error("a NUL octet stands in the head")]
    Nul,
    /// RFC 9112, 5.2.
    #[error("a header field is folded over lines")]
    FoldedField,
    /// RFC 9112, 2.2: one empty line before a request is ignored, not more.
    #[error("more than one empty line comes before the request line")]
    EmptyLines,
    /// RFC 9112, 3.
    #[error("the request line is not a method, a target and a version with one space between")]
    RequestLine,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("the HTTP version is neither 1.1 nor 1.0")]
    Version,
    /// RFC 9112, 3.2: not origin-form, not absolute-form of http or https, not `*` with OPTIONS, or
    /// with a fragment.
    #[error("the request target has no acceptable form")]
    Target,
    /// RFC 9112, 3.2.2.
    #[error("the authority of the request target is not that of the Host field")]
    HostMismatch,
    /// RFC 9112, 5: no colon, or no name.
    #[error("a header line has no field name")]
    FieldLine,
    /// RFC 9112, 3.2. Asked of HTTP/1.0 too: rules and origin read it.
    #[error("the Host field is missing")]
    MissingHost,
    /// RFC 9112, 3.2.
    #[error("there is more than one Host field")]
    SecondHost,
    /// RFC 9112, 3.2.
    #[error("the Host field holds no host")]
    InvalidHost,
    /// RFC 9112, 6.3.
    #[error("the Content-Length is not a number")]
    ContentLength,
    /// RFC 9112, 6.3: identical ones may be merged; refusing them is simpler to agree on.
    #[error("there is more than one Content-Length")]
    SecondContentLength,
    /// RFC 9112, 6.1.
    #[error("there is a Content-Length beside a Transfer-Encoding")]
    TwoLengths,
    /// RFC 9112, 6.1: anything but one `chunked`.
    #[error("the Transfer-Encoding is not chunked")]
    TransferEncoding,
    /// RFC 9112, 6.1.
    #[error("HTTP/1.0 has no Transfer-Encoding")]
    TransferEncodingIn10,
    /// Over [`FramingLimits::bytes`].
    #[error("the head is too large")]
    HeadTooLarge,
    /// Over [`FramingLimits::fields`].
    #[error("there are too many header fields")]
    TooManyFields,
    /// RFC 9112, 7.1, in the body: the connection ends, an answer can no longer be ordered.
    #[error("a chunk has no valid size")]
    ChunkSize,
    /// RFC 9112, 7.1.1, in the body.
    #[error("a chunk extension is too long or holds a control character")]
    ChunkExtension,
    /// RFC 9112, 7.1, in the body.
    #[error("a chunk is not followed by a line end")]
    ChunkEnd,
    /// RFC 9112, 7.1.2, in the body.
    #[error("the trailer section is malformed or too large")]
    Trailer,
}

impl Refusal {
    /// Stable name of this refusal.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::BareLineFeed => "bare-line-feed",
            Refusal::BareCarriageReturn => "bare-carriage-return",
            Refusal::Nul => "nul-octet",
            Refusal::FoldedField => "folded-field",
            Refusal::EmptyLines => "empty-lines",
            Refusal::RequestLine => "request-line",
            Refusal::Version => "http-version",
            Refusal::Target => "request-target",
            Refusal::HostMismatch => "host-mismatch",
            Refusal::FieldLine => "field-line",
            Refusal::MissingHost => "missing-host",
            Refusal::SecondHost => "second-host",
            Refusal::InvalidHost => "invalid-host",
            Refusal::ContentLength => "content-length",
            Refusal::SecondContentLength => "second-content-length",
            Refusal::TwoLengths => "content-length-with-transfer-encoding",
            Refusal::TransferEncoding => "transfer-encoding",
            Refusal::TransferEncodingIn10 => "transfer-encoding-in-http-1.0",
            Refusal::HeadTooLarge => "head-too-large",
            Refusal::TooManyFields => "too-many-fields",
            Refusal::ChunkSize => "chunk-size",
            Refusal::ChunkExtension => "chunk-extension",
            Refusal::ChunkEnd => "chunk-end",
            Refusal::Trailer => "trailer",
        }
    }

    /// The HTTP status that answers it.
    pub fn status(self) -> http::StatusCode {
        match self {
            Refusal::Version => http::StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Refusal::HeadTooLarge | Refusal::TooManyFields => {
                http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            // RFC 9112, 6.1: a coding that the server does not understand.
            Refusal::TransferEncoding => http::StatusCode::NOT_IMPLEMENTED,
            _ => http::StatusCode::BAD_REQUEST,
        }
    }
}

#[cfg(test)]
mod tests;
