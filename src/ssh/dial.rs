//! Connections that a server makes for us, to itself or to what it reaches: `ssh -W`.
//!
//! In: a host and a port, as the server knows them. Out: a stream. It lives no longer than the connection that carries
//! it, and its channel is closed when it is dropped.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelOpenFailure, ChannelStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::client::dropped;
use super::connect::Connection;
use super::error::{ErrorKind, SshError};

/// A connection that a server made for us.
pub struct Dialed {
    stream: ChannelStream<Msg>,
    _connection: Arc<Connection>,
}

impl Dialed {
    pub(super) async fn open(
        connection: Arc<Connection>,
        (host, port): (&str, u16),
        limit: Duration,
    ) -> Result<Self, SshError> {
        let opening = connection.handle.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 0);
        let refused = |kind: ErrorKind, why: &str| SshError::new(kind, format!("{host}:{port}: {why}"));
        match timeout(limit, opening).await {
            Ok(Ok(channel)) => Ok(Self { stream: channel.into_stream(), _connection: connection.clone() }),
            Ok(Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited))) => {
                Err(refused(ErrorKind::Refused, "its sshd does not forward connections")
                    .hint("its sshd_config needs `AllowTcpForwarding local`"))
            }
            Ok(Err(russh::Error::ChannelOpenFailure(_))) => {
                Err(refused(ErrorKind::Unreachable, "nothing takes connections there"))
            }
            Ok(Err(error)) => Err(dropped(&connection, &error)),
            Err(_) => Err(refused(ErrorKind::TimedOut, "no answer")),
        }
    }
}

impl AsyncRead for Dialed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Dialed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
