//! The client's socket as the HTTP library sees it: whole, checked heads and nothing else.
//!
//! ```text
//!   socket ---> Guard: Framing ---> hyper ---> service
//!                  |  refused: a stand-in request,      ^
//!                  |  which the service answers 400     |
//!                  +------------ ConnectionState -------+
//! ```
//!
//! A refused head never reaches hyper. In its place stands a request of our own, so that the answers
//! to requests before it are sent first and in order; the service recognizes it by its number.
//! Octets go straight into hyper's buffer; only a head that arrives in pieces is kept here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::framing::{Fed, Framing};
use crate::state::{ConnectionState, Owed};

const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\n\r\n";

/// Closing a socket with unread octets resets the connection, and a reset can overtake the answer.
/// So much is read and dropped first, for so long.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

pub(crate) struct Guard<S> {
    socket: S,
    framing: Framing,
    /// Read, but not passed: a head in pieces, or what follows an undecided upgrade.
    held: BytesMut,
    /// Passed, but not yet taken by hyper.
    ready: BytesMut,
    heads: u64,
    refused: bool,
    linger: Option<Linger>,
    state: Arc<ConnectionState>,
}

struct Linger {
    left: usize,
    time: Pin<Box<Sleep>>,
}

impl<S> Guard<S> {
    pub(crate) fn new(socket: S, framing: Framing, state: Arc<ConnectionState>) -> Self {
        Guard {
            socket,
            framing,
            held: BytesMut::new(),
            ready: BytesMut::new(),
            heads: 0,
            refused: false,
            linger: None,
            state,
        }
    }

    /// Takes note of a decision; the number of octets that may go on.
    fn note(&mut self, fed: &Fed) -> io::Result<usize> {
        self.heads += fed.heads;
        if let Some(refusal) = fed.refusal {
            self.refused = true;
            if self.framing.in_body() {
                // An answer to the request that this body belongs to may be on its way already.
                return Err(io::Error::new(io::ErrorKind::InvalidData, refusal));
            }
            self.state.refuse(self.heads, refusal);
        }
        Ok(fed.pass)
    }

    fn examine_held(&mut self) -> io::Result<()> {
        let fed = self.framing.feed(&self.held);
        let pass = self.note(&fed)?;
        self.ready = self.held.split_to(pass);
        if self.refused {
            self.held.clear();
            self.ready.extend_from_slice(STAND_IN);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    fn poll_checked(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.ready.is_empty() {
                let len = self.ready.len().min(buf.remaining());
                buf.put_slice(self.ready.get(..len).unwrap_or_default());
                self.ready.advance(len);
                return Poll::Ready(Ok(()));
            }
            if self.refused {
                return Poll::Pending; // The answer to the stand-in ends the connection.
            }
            if self.framing.awaits_upgrade() {
                match self.state.upgrade.poll_decision(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(accepted) => self.framing.decide_upgrade(accepted),
                }
                if !self.held.is_empty() {
                    self.examine_held()?;
                    continue;
                }
            }
            let before = buf.filled().len();
            match Pin::new(&mut self.socket).poll_read(cx, buf)? {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.state.touch(),
            }
            let read = buf.filled().get(before..).unwrap_or_default();
            if read.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if self.held.is_empty() {
                let fed = self.framing.feed(read);
                let rest = read.get(fed.pass..).unwrap_or_default();
                if fed.refusal.is_none() && !rest.is_empty() {
                    self.held.extend_from_slice(rest);
                }
                let pass = self.note(&fed)?;
                buf.set_filled(before + pass);
                if self.refused {
                    self.ready.extend_from_slice(STAND_IN);
                }
                if pass > 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                self.held.extend_from_slice(read);
                buf.set_filled(before);
                self.examine_held()?;
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = this.poll_checked(cx, buf);
        let owed = match poll {
            Poll::Pending if this.framing.in_body() => Owed::Body,
            Poll::Pending if !this.held.is_empty() => Owed::Head,
            _ => Owed::Nothing,
        };
        this.state.owes(owed);
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.state.wrote(poll.is_ready());
        poll
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.state.wrote(poll.is_ready());
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper flushes once all that it has to say is written: the moment for an aborted request to
    /// end the connection, after the answers before it and without a word of its own.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.is_aborted() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            std::task::ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            if !this.refused && !this.framing.in_body() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            left: LINGER_BYTES,
            time: Box::pin(tokio::time::sleep(LINGER_TIME)),
        });
        let mut scratch = [0; 4096];
        while linger.left > 0 && linger.time.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.socket).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::FramingLimits;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn guarded(socket: DuplexStream) -> (Guard<DuplexStream>, Arc<ConnectionState>) {
        let state = Arc::new(ConnectionState::default());
        let framing = Framing::new(FramingLimits { bytes: 1024, fields: 10 });
        (Guard::new(socket, framing, state.clone()), state)
    }

    #[tokio::test]
    async fn half_a_head_is_kept_back_until_it_is_whole() {
        let (mut client, socket) = duplex(1024);
        let (mut guard, _) = guarded(socket);
        let mut buffer = [0; 64];
        client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(10), guard.read(&mut buffer)).await;
        assert!(early.is_err(), "half a head came through");
        client.write_all(b"st: a\r\n\r\nGET").await.unwrap();
        let len = guard.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..len], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }

    #[tokio::test]
    async fn a_refused_head_becomes_the_stand_in_with_its_number() {
        let (mut client, socket) = duplex(1024);
        let (mut guard, state) = guarded(socket);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\nHost: a\n\n").await.unwrap();
        let mut seen = vec![0; 27 + STAND_IN.len()];
        guard.read_exact(&mut seen).await.unwrap();
        assert!(seen.ends_with(STAND_IN), "{}", String::from_utf8_lossy(&seen));
        let (first, second) = (state.begin().1, state.begin().1);
        assert_eq!((first, second), (None, Some(crate::framing::Refusal::BareLineFeed)));
    }

    #[tokio::test]
    async fn what_follows_a_refused_head_is_taken_until_the_client_ends() {
        let (mut client, socket) = duplex(1024);
        let (mut guard, _) = guarded(socket);
        client.write_all(b"GET / HTTP/1.1\n\n").await.unwrap();
        guard.read_exact(&mut vec![0; STAND_IN.len()]).await.unwrap();
        let closing = tokio::spawn(async move {
            let closed = guard.shutdown().await;
            drop(guard);
            closed
        });
        client.write_all(&[b'x'; 100_000]).await.expect("the rest is read, not reset");
        drop(client);
        closing.await.unwrap().unwrap();
    }
}
