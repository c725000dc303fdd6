//! Connecting: a byte stream to the daemon, and the WebSocket handshake over it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jsonrpsee::client_transport::ws::{
    HeaderMap, HeaderValue, Receiver, Sender, Url, WsHandshakeError, WsTransportClientBuilder,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_util::{compat::Compat, either::Either};

use super::ConnectError;
use crate::{MAX_MESSAGE_BYTES, MAX_SOCKET_PATH};

/// How long connecting may take, and the handshake after it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which the kernel asks whether the daemon's machine still lives.
const KEEPALIVE_DELAY: Duration = Duration::from_secs(30);

type Io = Either<UnixStream, TcpStream>;
/// The two directions of a WebSocket.
pub(super) type Transport = (Sender<Compat<Io>>, Receiver<Compat<Io>>);

/// Where a daemon is.
pub(super) struct Endpoint {
    url: Url,
    headers: HeaderMap,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Unix(PathBuf),
    Tcp(String),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(path) => path.display().fmt(f),
            Place::Tcp(address) => f.write_str(address),
        }
    }
}

impl fmt::Debug for Endpoint {
    /// Without the headers, which hold the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl Endpoint {
    pub(super) fn unix(path: PathBuf) -> Self {
        let url = Url::parse("ws://localhost/").expect("a constant that is a URL");
        Self { url, headers: HeaderMap::new(), place: Place::Unix(path) }
    }

    pub(super) fn tcp(address: &str, token: &str) -> Result<Self, ConnectError> {
        let bad = |reason: String| ConnectError::Address { address: address.to_owned(), reason };
        let bare = address.strip_prefix("http://").or_else(|| address.strip_prefix("ws://"));
        let bare = bare.unwrap_or(address);
        if bare.contains("://") {
            return Err(bad("only plain ws:// and http:// are spoken".to_owned()));
        }
        let url = Url::parse(&format!("ws://{bare}")).map_err(|e| bad(e.to_string()))?;
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(bad("host or port is missing".to_owned()));
        };
        let place = Place::Tcp(format!("{host}:{port}"));
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
        let mut bearer = bearer.map_err(|_| ConnectError::Unauthorised)?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", bearer);
        Ok(Self { url, headers, place })
    }

    fn io(&self, source: io::Error) -> ConnectError {
        let endpoint = self.to_string();
        match (source.kind(), &self.place) {
            (io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused, Place::Unix(path)) => {
                ConnectError::NoDaemon { path: path.clone() }
            }
            (io::ErrorKind::ConnectionRefused, Place::Tcp(address)) => {
                ConnectError::NoAnswer { address: address.clone() }
            }
            (io::ErrorKind::PermissionDenied, _) => ConnectError::Refused {
                endpoint,
                reason: "only the user that started the daemon may connect".to_owned(),
            },
            _ => ConnectError::Io { endpoint, source },
        }
    }

    fn handshake(&self, error: WsHandshakeError) -> ConnectError {
        let endpoint = self.to_string();
        match error {
            WsHandshakeError::Rejected { status_code: 401 } => ConnectError::Unauthorised,
            WsHandshakeError::Rejected { status_code: 429 | 503 } => {
                ConnectError::Busy { endpoint }
            }
            WsHandshakeError::Rejected { status_code: 403 } => ConnectError::Refused {
                endpoint,
                reason: "use the address it listens on, or localhost".to_owned(),
            },
            WsHandshakeError::Io(source) => self.io(source),
            WsHandshakeError::Timeout(_) => self.io(io::ErrorKind::TimedOut.into()),
            other => ConnectError::Refused { endpoint, reason: other.to_string() },
        }
    }
}

/// Connects and shakes hands.
pub(super) async fn dial(endpoint: &Endpoint) -> Result<Transport, ConnectError> {
    let connected = timeout(CONNECT_TIMEOUT, stream(&endpoint.place)).await;
    let stream = connected
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|e| endpoint.io(e))?;
    WsTransportClientBuilder::default()
        .set_headers(endpoint.headers.clone())
        .connection_timeout(CONNECT_TIMEOUT)
        .max_request_size(MAX_MESSAGE_BYTES)
        .max_response_size(MAX_MESSAGE_BYTES)
        .build_with_stream(endpoint.url.clone(), stream)
        .await
        .map_err(|e| endpoint.handshake(e))
}

async fn stream(place: &Place) -> io::Result<Io> {
    match place {
        Place::Unix(path) => Ok(Either::Left(UnixStream::connect(socket(path)?).await?)),
        Place::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_DELAY);
            SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
            Ok(Either::Right(stream))
        }
    }
}

/// Where the socket really is: too long a path is a link to it.
fn socket(path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok(path.to_owned());
    }
    fs::read_link(path)
}
