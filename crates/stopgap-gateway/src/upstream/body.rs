//! The body of a response, read from the wire that it came on; at its end the wire goes back to the pool.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::Frame;

use super::chunks::{Chunks, Piece};
use super::wire::{Wire, WireError};

/// Where a body ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Length {
    /// After so many octets more.
    Fixed(u64),
    /// With its last chunk.
    Chunked(Chunks),
    /// With the connection.
    UntilClose,
}

/// A body on its way.
#[derive(Debug)]
pub(crate) struct WireBody {
    /// Until the body is complete.
    wire: Option<Wire>,
    length: Length,
    stays_open: bool,
    complete: bool,
}

impl WireBody {
    pub(super) fn new(wire: Wire, length: Length, stays_open: bool) -> WireBody {
        let complete = length == Length::Fixed(0);
        WireBody { wire: Some(wire), length, stays_open, complete }
    }

    /// The wire of a body that is complete, where the origin keeps it.
    pub(crate) fn release(&mut self) -> Option<Wire> {
        let mut wire = self.wire.take_if(|_| self.complete)?;
        wire.rest();
        // What follows a response that nobody asked for is not to become the answer to the next request.
        (self.stays_open && wire.inbox().is_empty()).then_some(wire)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Octets that are missing, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.length {
            Length::Fixed(left) => Some(left),
            Length::Chunked(_) | Length::UntilClose => None,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        loop {
            if self.complete {
                return Poll::Ready(None);
            }
            let Some(wire) = &mut self.wire else { return Poll::Ready(None) };
            match &mut self.length {
                Length::Fixed(left) => {
                    if let Some(data) = take(wire, *left) {
                        *left -= data.len() as u64;
                        self.complete = *left == 0;
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Length::UntilClose => {
                    if let Some(data) = take(wire, u64::MAX) {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Length::Chunked(chunks) => match chunks.next(wire.inbox()) {
                    Ok(Piece::More) => {}
                    Ok(Piece::End) => self.complete = true,
                    Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(Piece::Trailers(trailers)) => {
                        // Nothing follows them, and nobody asks again.
                        self.complete = true;
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    Err(error) => return self.fail(error),
                },
            }
            if self.complete {
                continue;
            }
            let received = ready!(wire.poll_receive(cx));
            match received {
                Ok(0) if self.length == Length::UntilClose => self.complete = true,
                Ok(0) => return self.fail(WireError::Closed),
                Ok(_) => {}
                Err(error) => return self.fail(error),
            }
        }
    }

    fn fail<T>(&mut self, error: WireError) -> Poll<Option<Result<T, WireError>>> {
        self.wire = None;
        Poll::Ready(Some(Err(error)))
    }
}

/// What is there already, at most `limit` octets.
fn take(wire: &mut Wire, limit: u64) -> Option<Bytes> {
    let inbox = wire.inbox();
    let len = usize::try_from(limit).map_or(inbox.len(), |limit| limit.min(inbox.len()));
    (len > 0).then(|| inbox.split_to(len).freeze())
}
