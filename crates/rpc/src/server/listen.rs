//! Listeners: what the accept loop needs of a Unix or TCP socket.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::StartError;

/// Connections that may wait to be accepted.
pub(super) const BACKLOG: u32 = 128;
/// Silence after which the kernel asks whether the other end of a TCP connection still lives.
const KEEPALIVE_DELAY: Duration = Duration::from_secs(30);

/// A socket that connections come in on.
pub(super) trait Listener: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection. Cancel safe.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Tells a client without waiting that there is no room for it.
    fn turn_away(stream: &Self::Stream, answer: &[u8]);
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        // Instead of WebSocket pings: a reader that pauses its feed cannot answer those.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_DELAY);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(stream)
    }

    fn turn_away(stream: &TcpStream, answer: &[u8]) {
        let _ = stream.try_write(answer);
    }
}

/// Listens on a TCP address.
pub(super) fn bind_tcp(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restarted daemon gets its port back although old connections linger in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| StartError::Tcp { address, source })
}

/// The address a listener got, with the port that the system chose for port 0.
pub(super) fn address(
    listener: &TcpListener,
    asked: Option<SocketAddr>,
) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Tcp {
        address: asked.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
        source,
    })
}
