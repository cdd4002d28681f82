//! A stream that fails when the other side takes nothing any more, or when nobody wants it any more.
//!
//! Keepalives are sent by the same loop that writes; a peer that vanished while much was being written would hold that
//! loop until the system gives up, a quarter of an hour later. So a write that gets nowhere for a while is an error.
//!
//! russh runs a connection in a task of its own, which does not see that it was given up while keys are exchanged. So
//! the stream ends with its [`Lease`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

/// What a connection runs over: a socket, or a channel of the hop before.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// As long as it lives, the stream does. It is never sent anything.
pub(super) type Lease = oneshot::Sender<()>;

/// Passes everything through, and bounds how long a write may get nowhere.
pub(super) struct Stall {
    stream: Box<dyn Stream>,
    lease: oneshot::Receiver<()>,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Stall {
    pub(super) fn new(stream: impl Stream + 'static, limit: Duration) -> (Self, Lease) {
        let (lease, watched) = oneshot::channel();
        let timer = Box::pin(sleep(limit));
        (Self { stream: Box::new(stream), lease: watched, limit, timer, waiting: false }, lease)
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.waiting = false;
            return poll;
        }
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        match self.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no data"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Stall {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if poll.is_pending() && Pin::new(&mut self.lease).poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was given up")));
        }
        poll
    }
}

impl AsyncWrite for Stall {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch(cx, poll)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_noticed() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let (mut stream, lease) = Stall::new(ours, Duration::from_millis(20));
        stream.write_all(&[1; 16]).await.expect("it fits");
        let error = stream.write_all(&[2; 16]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let mut buffer = [0; 16];
        theirs.read_exact(&mut buffer).await.expect("the first bytes");
        stream.write_all(&[3; 8]).await.expect("there is room again");

        drop(lease);
        let error = stream.read_u8().await.expect_err("given up");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }
}
