//! A TCP socket that sends small messages in one plain call.
//!
//! The HTTP library hands over head and body as slices of a gathered write, which costs the kernel
//! more than a plain one; copying some hundred octets costs next to nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Octets up to which slices are copied together.
const SMALL: usize = 2048;

#[derive(Debug)]
pub(crate) struct Socket(pub(crate) TcpStream);

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [one] = bufs {
            return Pin::new(&mut self.0).poll_write(cx, one);
        }
        let mut together = [0; SMALL];
        match gather(bufs, &mut together) {
            Some(small) => Pin::new(&mut self.0).poll_write(cx, small),
            None => Pin::new(&mut self.0).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Copies slices one behind the other; nothing where they do not fit.
fn gather<'a>(bufs: &[IoSlice<'_>], together: &'a mut [u8]) -> Option<&'a [u8]> {
    let mut len = 0;
    for buf in bufs {
        together.get_mut(len..len + buf.len())?.copy_from_slice(buf);
        len += buf.len();
    }
    together.get(..len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_gathered_where_they_fit() {
        let mut space = [0; 6];
        assert_eq!(
            gather(&[IoSlice::new(b"abc"), IoSlice::new(b""), IoSlice::new(b"def")], &mut space),
            Some(&b"abcdef"[..])
        );
        assert_eq!(gather(&[IoSlice::new(b"abc"), IoSlice::new(b"defg")], &mut space), None);
    }
}
