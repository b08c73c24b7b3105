//! What the gateway answers: a few words of its own, or the origin's response as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::state::Flight;
use crate::upstream::{Pool, Uploader, WireBody, WireError};

/// The body of an answer.
pub(crate) enum Answer {
    Text(Bytes),
    Relay(Relay),
}

/// A short answer in plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::Text(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Makes an answer the last one of its connection.
pub(crate) fn closing(mut response: Response<Answer>) -> Response<Answer> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A response body from the origin. At its end the connection that it came on goes back to the pool.
pub(crate) struct Relay {
    source: Source,
    pool: Arc<Pool>,
    _flight: Flight,
}

/// Where the octets come from.
pub(crate) enum Source {
    Wire(WireBody),
    /// The response to a request with a body, and its connection, if that can be used again.
    Library(Incoming, Option<Uploader>),
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
#[error("the response broke off")]
pub(crate) enum Broken {
    Wire(#[from] WireError),
    Library(#[from] hyper::Error),
}

impl Relay {
    pub(crate) fn new(source: Source, pool: Arc<Pool>, flight: Flight) -> Self {
        flight.relays();
        let mut relay = Relay { source, pool, _flight: flight };
        relay.release_at_end();
        relay
    }

    fn is_end(&self) -> bool {
        match &self.source {
            Source::Wire(body) => body.is_complete(),
            Source::Library(body, _) => body.is_end_stream(),
        }
    }

    fn release_at_end(&mut self) {
        if self.is_end() {
            self.release();
        }
    }

    fn release(&mut self) {
        match &mut self.source {
            Source::Wire(body) => {
                if let Some(wire) = body.release() {
                    self.pool.keep(wire);
                }
            }
            Source::Library(_, uploader) => {
                if let Some(uploader) = uploader.take() {
                    self.pool.keep_uploader(uploader);
                }
            }
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = match &mut self.source {
            Source::Wire(body) => ready!(body.poll_frame(cx)).map(|frame| frame.map_err(Broken::from)),
            Source::Library(body, _) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                frame.map(|frame| frame.map_err(Broken::from))
            }
        };
        if frame.is_none() {
            self.release();
        } else {
            self.release_at_end();
        }
        Poll::Ready(frame)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Answer::Text(text) if text.is_empty() => Poll::Ready(None),
            Answer::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Answer::Relay(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Text(text) => text.is_empty(),
            Answer::Relay(relay) => relay.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Text(text) => SizeHint::with_exact(text.len() as u64),
            Answer::Relay(Relay { source: Source::Wire(body), .. }) => {
                body.left().map_or_else(SizeHint::new, SizeHint::with_exact)
            }
            Answer::Relay(Relay { source: Source::Library(body, _), .. }) => body.size_hint(),
        }
    }
}
