//! What the gateway answers: a few words of its own, or the origin's response as it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::state::Flight;
use crate::upstream::{Link, Pool};

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

/// A response body from the origin. While it is read it drives the connection that it comes from,
/// and gives that back to the pool at its end.
pub(crate) struct Relay {
    incoming: Incoming,
    source: Option<(Link, Arc<Pool>)>,
    _flight: Flight,
}

impl Relay {
    pub(crate) fn new(incoming: Incoming, source: Option<(Link, Arc<Pool>)>, flight: Flight) -> Self {
        flight.relays();
        let mut relay = Relay { incoming, source, _flight: flight };
        // A small body is here already, all of it: the connection is free for the next request.
        if relay.incoming.is_end_stream() || relay.source.as_ref().is_some_and(|(link, _)| link.is_idle()) {
            relay.release();
        }
        relay
    }

    fn release(&mut self) {
        if let Some((link, pool)) = self.source.take() {
            pool.checkin(link);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let relay = match self.get_mut() {
            Answer::Text(text) if text.is_empty() => return Poll::Ready(None),
            Answer::Text(text) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Answer::Relay(relay) => relay,
        };
        if let Some((link, _)) = &mut relay.source {
            link.drive(cx);
        }
        let frame = ready!(Pin::new(&mut relay.incoming).poll_frame(cx));
        if frame.is_none() || relay.incoming.is_end_stream() {
            relay.release();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Text(text) => text.is_empty(),
            Answer::Relay(relay) => relay.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Text(text) => SizeHint::with_exact(text.len() as u64),
            Answer::Relay(relay) => relay.incoming.size_hint(),
        }
    }
}
