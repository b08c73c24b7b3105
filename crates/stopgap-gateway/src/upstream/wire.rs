//! One connection to the origin for requests without a body, which are nearly all: the head is written
//! in one call, the response head read into one buffer, and no task, channel or copy of the fields is
//! between them. Driven by whoever waits for the response.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Response, StatusCode, Version, request};
use hyper::ext::ReasonPhrase;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::body::{Length, WireBody};
use super::chunks::Chunks;
use crate::framing::{decimal, has_token};

/// Octets of a response head. Servers' own limits are far below.
const MAX_HEAD: usize = 256 * 1024;
/// Fields of a response head.
const MAX_FIELDS: usize = 100;
/// Interim responses (1xx) before the final one; they are not passed on.
const MAX_INTERIM: usize = 16;
/// What is asked of the socket at a time: at first, and where that was not enough.
const SMALL: usize = 8 * 1024;
const LARGE: usize = 64 * 1024;

/// A connection, and what was read from it and not yet used.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: TcpStream,
    inbox: BytesMut,
    /// Much is coming.
    stream: bool,
}

/// Why a response is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the connection was closed before the response was complete")]
    Closed,
    #[error("the response head is no HTTP/1 head")]
    Head(#[from] httparse::Error),
    #[error("the response head has more than {MAX_HEAD} octets")]
    HeadTooLarge,
    #[error("more than {MAX_INTERIM} interim responses")]
    Interim,
    #[error("the response has lengths that are no number, or differ")]
    ContentLength,
    #[error("the response has a transfer coding other than chunked")]
    Coding,
    #[error("the response has a chunk that is none")]
    Chunk,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Wire {
        Wire { socket, inbox: BytesMut::new(), stream: false }
    }

    /// Whether a kept connection can be used: nothing has come, not even its end. Costs no system call,
    /// since the runtime has been told of whatever came.
    pub(super) fn is_quiet(&self) -> bool {
        self.inbox.is_empty()
            && matches!(self.socket.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// For another use. Only of a quiet wire: what it holds would be lost.
    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Sends a head and waits for the response to it. Where that fails: whether the connection ended
    /// before an octet of a response.
    pub(super) async fn exchange(
        mut self,
        head: &[u8],
        method: &Method,
    ) -> Result<Response<WireBody>, (WireError, bool)> {
        if let Err(error) = self.socket.write_all(head).await {
            return Err((error.into(), true));
        }
        for interim in 0..=MAX_INTERIM {
            let response = loop {
                match parse(&mut self.inbox) {
                    Ok(Some(response)) => break response,
                    Ok(None) => {}
                    Err(error) => return Err((error, false)),
                }
                let received = std::future::poll_fn(|cx| self.poll_receive(cx)).await;
                let ended = match received {
                    Ok(0) => WireError::Closed,
                    Ok(_) => continue,
                    Err(error) => error,
                };
                // An interim response is one: the origin has begun with the request.
                return Err((ended, interim == 0 && self.inbox.is_empty()));
            };
            let status = response.status();
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                continue;
            }
            let length = length(&response, method).map_err(|error| (error, false))?;
            let stays_open = stays_open(&response) && length != Length::UntilClose;
            return Ok(response.map(|()| WireBody::new(self, length, stays_open)));
        }
        Err((WireError::Interim, false))
    }

    /// Reads more; the number of octets, 0 at the end.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, WireError>> {
        // Most responses are small: copying them costs less than a large buffer for each.
        let mut scratch = [MaybeUninit::uninit(); SMALL];
        if self.stream {
            self.inbox.reserve(LARGE);
            return pin!(self.socket.read_buf(&mut self.inbox)).poll(cx).map_err(WireError::Io);
        }
        let mut buf = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buf))?;
        self.inbox.extend_from_slice(buf.filled());
        self.stream = buf.remaining() == 0;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Ready for the next response.
    pub(super) fn rest(&mut self) {
        self.stream = false;
    }

    pub(super) fn inbox(&mut self) -> &mut BytesMut {
        &mut self.inbox
    }
}

/// The head of a request without a body, as it goes onto the wire.
pub(super) fn head(parts: &request::Parts) -> Vec<u8> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut head = Vec::with_capacity(512);
    for part in [parts.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &parts.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Takes a response head from the front, once it is whole.
fn parse(inbox: &mut BytesMut) -> Result<Option<Response<()>>, WireError> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let len = match config.parse_response_with_uninit_headers(&mut parsed, inbox, &mut fields)? {
        httparse::Status::Complete(len) => len,
        httparse::Status::Partial if inbox.len() > MAX_HEAD => return Err(WireError::HeadTooLarge),
        httparse::Status::Partial => return Ok(None),
    };
    let mut response = Response::new(());
    *response.status_mut() = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(WireError::Head(httparse::Error::Status))?;
    if parsed.version == Some(0) {
        *response.version_mut() = Version::HTTP_10;
    }
    let usual = response.status().canonical_reason();
    if let Some(reason) = parsed.reason.filter(|reason| !reason.is_empty() && Some(*reason) != usual)
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    // Places and not slices: the fields are to share the buffer, which is cut only now.
    let base = inbox.as_ptr() as usize;
    let mut spans = [const { (0..0, 0..0) }; MAX_FIELDS];
    let count = parsed.headers.len();
    for (span, field) in spans.iter_mut().zip(parsed.headers.iter()) {
        let place = |octets: &[u8]| {
            let start = (octets.as_ptr() as usize).wrapping_sub(base);
            start..start + octets.len()
        };
        *span = (place(field.name.as_bytes()), place(field.value));
    }
    let head = inbox.split_to(len).freeze();
    response.headers_mut().reserve(count);
    for (name, value) in spans.into_iter().take(count) {
        let (name, value) = field(&head, name, value).ok_or(WireError::Head(httparse::Error::HeaderName))?;
        response.headers_mut().append(name, value);
    }
    Ok(Some(response))
}

/// A field that shares the buffer of its head.
fn field(head: &Bytes, name: Range<usize>, value: Range<usize>) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(head.get(name)?).ok()?;
    head.get(value.clone())?;
    Some((name, HeaderValue::from_maybe_shared(head.slice(value)).ok()?))
}

/// Where the body ends: RFC 9112, 6.3.
fn length(response: &Response<()>, method: &Method) -> Result<Length, WireError> {
    let status = response.status();
    let headers = response.headers();
    let without = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED, StatusCode::SWITCHING_PROTOCOLS];
    if method == Method::HEAD || without.contains(&status) {
        return Ok(Length::Fixed(0));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        // HTTP/1.0 knows no codings: whoever sends one has misunderstood something.
        return match chunked && codings.next().is_none() && response.version() == Version::HTTP_11 {
            true => Ok(Length::Chunked(Chunks::default())),
            false => Err(WireError::Coding),
        };
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(Length::UntilClose) };
    if lengths.any(|other| other != first) {
        return Err(WireError::ContentLength);
    }
    decimal(first.as_bytes()).map(Length::Fixed).ok_or(WireError::ContentLength)
}

/// Whether the origin keeps the connection: RFC 9112, 9.3. Not with two lengths, of which somebody may
/// have believed the other one (6.3); nor where a body is announced that cannot be, since one may yet come
/// and would be taken for the answer to the next request.
fn stays_open(response: &Response<()>) -> bool {
    let headers = response.headers();
    let coded = headers.contains_key(TRANSFER_ENCODING);
    let announced = match response.status() {
        StatusCode::NO_CONTENT => coded || headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0"),
        // Its length is that of the document that was not sent (RFC 9110, 8.6).
        StatusCode::NOT_MODIFIED => coded,
        _ => false,
    };
    let two_lengths = coded && headers.contains_key(CONTENT_LENGTH);
    let closes = headers.get_all(CONNECTION).iter().any(|value| has_token(value.as_bytes(), b"close"));
    response.version() == Version::HTTP_11 && !announced && !two_lengths && !closes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Result<Option<(Response<()>, String)>, String> {
        let mut inbox = BytesMut::from(raw);
        let response = parse(&mut inbox).map_err(|error| error.to_string())?;
        Ok(response.map(|response| (response, String::from_utf8_lossy(&inbox).into_owned())))
    }

    fn framed(method: Method, raw: &str) -> Result<(Length, bool), String> {
        let (response, _) = read(raw)?.ok_or("half a head")?;
        let length = length(&response, &method).map_err(|error| error.to_string())?;
        Ok((length, stays_open(&response)))
    }

    #[test]
    fn a_head_is_taken_whole_and_its_fields_keep_their_order() {
        assert!(read("HTTP/1.1 200 OK\r\nA: 1\r\n").unwrap().is_none());
        let (response, rest) =
            read("HTTP/1.1 299 Odd\r\nA: 1\r\nB:\t2 \r\na: 3\r\n\r\nbody").unwrap().unwrap();
        assert_eq!((response.status().as_u16(), rest.as_str()), (299, "body"));
        assert_eq!(response.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Odd");
        let values: Vec<_> = response.headers().get_all("a").iter().collect();
        assert_eq!(values, ["1", "3"]);
        assert_eq!(response.headers()["b"], "2");
        let (usual, _) = read("HTTP/1.1 200 OK\r\n\r\n").unwrap().unwrap();
        assert!(usual.extensions().get::<ReasonPhrase>().is_none());
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for raw in [
            "SSH-2.0-x\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n b: c\r\n\r\n",
        ] {
            assert!(read(raw).is_err(), "{raw:?}");
        }
        let fields = "a: b\r\n".repeat(MAX_FIELDS + 1);
        assert!(read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).is_err());
        assert!(read(&format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(MAX_HEAD))).is_err());
    }

    #[test]
    fn a_body_ends_where_the_head_says() {
        let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        let get = |fields: &str| framed(Method::GET, &head(fields));
        assert_eq!(get("Content-Length: 7\r\n").unwrap(), (Length::Fixed(7), true));
        assert_eq!(get("Content-Length: 7\r\nContent-Length: 7\r\n").unwrap(), (Length::Fixed(7), true));
        assert_eq!(get("Content-Length: 7\r\nConnection: x, Close\r\n").unwrap(), (Length::Fixed(7), false));
        assert_eq!(get("").unwrap().0, Length::UntilClose);
        let chunked = Length::Chunked(Chunks::default());
        assert_eq!(get("Transfer-Encoding: Chunked\r\n").unwrap(), (chunked.clone(), true));
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 7\r\n";
        assert_eq!(get(both).unwrap(), (chunked, false));
        for bad in [
            "Content-Length: 7\r\nContent-Length: 8\r\n",
            "Content-Length: +7\r\n",
            "Content-Length: 7, 7\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ] {
            assert!(get(bad).is_err(), "{bad:?}");
        }
        assert!(framed(Method::GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert_eq!(framed(Method::HEAD, &head("Content-Length: 7\r\n")).unwrap(), (Length::Fixed(0), true));
        for status in ["204 No Content", "304 Not Modified"] {
            let raw = format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n");
            assert_eq!(framed(Method::GET, &raw).unwrap().0, Length::Fixed(0), "{status}");
        }
        assert!(!framed(Method::GET, "HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n").unwrap().1);
    }
}
