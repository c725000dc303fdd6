//! The SDK's side: a connection for calls, and one of its own for each feed.
//!
//! A feed that shared a connection could not be paused without pausing everything else. With its
//! own, a slow reader slows the bytes on that socket, then the daemon's queue, and the node reports
//! what it left out, exactly as to a slow reader in its own process.

mod connection;
mod dial;
mod feed;
mod message;

use std::{io, path::PathBuf, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use peerage_api::{LinkError, Remote, RemoteError, RemoteFeed};
use serde_json::Value;
use tokio::sync::Mutex;

use self::{connection::Connection, dial::Endpoint};

/// Why there is no connection to a daemon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No daemon runs on that data directory.
    #[error("no daemon answers on {}; start one with `peerage up`", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
    },
    /// Nothing listens at that TCP address.
    #[error("nothing answers at {address}; start a daemon with `peerage up --rpc {address}`")]
    NoAnswer {
        /// Host and port.
        address: String,
    },
    /// Something answers and does not let this program in.
    #[error("{endpoint} refused the connection: {reason}")]
    Refused {
        /// The socket or address.
        endpoint: String,
        /// What it said and what to do about it.
        reason: String,
    },
    /// The daemon has as many connections as it bears.
    #[error("{endpoint} has no room for another connection; try again shortly")]
    Busy {
        /// The socket or address.
        endpoint: String,
    },
    /// The token is missing or wrong.
    #[error("the daemon refused the token; read it from the file rpc.token in its data directory")]
    Unauthorised,
    /// The address is not one.
    #[error("{address:?} is not HOST:PORT or ws://HOST:PORT: {reason}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system failed to connect.
    #[error("cannot connect to {endpoint}: {source}")]
    Io {
        /// The socket or address.
        endpoint: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl ConnectError {
    /// Whether no daemon runs there at all.
    #[must_use]
    pub fn is_no_daemon(&self) -> bool {
        matches!(self, Self::NoDaemon { .. } | Self::NoAnswer { .. })
    }

    /// Whether the same may succeed later without any change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoDaemon { .. } | Self::NoAnswer { .. } | Self::Busy { .. } => true,
            Self::Io { .. } => true,
            Self::Refused { .. } | Self::Unauthorised | Self::Address { .. } => false,
        }
    }
}

impl From<ConnectError> for RemoteError {
    fn from(error: ConnectError) -> Self {
        Self::Link(match error {
            ConnectError::Unauthorised => LinkError::Unauthorised,
            ConnectError::Busy { .. } => LinkError::Overloaded,
            other => LinkError::Unreachable { reason: other.to_string() },
        })
    }
}

/// A connection to a daemon that carries the contract; give it to a [`peerage_api::Node`].
///
/// When the connection breaks, running calls fail and the next one connects again. Dropping the
/// future of a call gives the call up in the daemon. Feeds go on when the client is dropped.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    calls: Mutex<Option<Arc<Connection>>>,
}

impl Client {
    /// Connects over the Unix socket at `path`.
    ///
    /// # Errors
    /// [`ConnectError::NoDaemon`] nobody listens there; otherwise the error says what to do.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn unix(path: impl Into<PathBuf>) -> Result<Self, ConnectError> {
        Self::connect(Endpoint::unix(path.into())).await
    }

    /// Connects over TCP to `address`, as `HOST:PORT` or `ws://HOST:PORT`, with the token from the
    /// file `rpc.token` in the daemon's data directory. The connection is not encrypted: use it on
    /// this machine or through a tunnel.
    ///
    /// # Errors
    /// [`ConnectError::NoAnswer`] nobody listens there, [`ConnectError::Unauthorised`] the token is
    /// another; otherwise the error says what to do.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn tcp(address: &str, token: &str) -> Result<Self, ConnectError> {
        Self::connect(Endpoint::tcp(address, token)?).await
    }

    async fn connect(endpoint: Endpoint) -> Result<Self, ConnectError> {
        let connection = Arc::new(Connection::start(dial::dial(&endpoint).await?));
        Ok(Self { endpoint, calls: Mutex::new(Some(connection)) })
    }

    /// The connection for calls; a new one if the last has broken.
    async fn connection(&self) -> Result<Arc<Connection>, ConnectError> {
        let mut calls = self.calls.lock().await;
        match &*calls {
            Some(open) if !open.is_closed() => Ok(Arc::clone(open)),
            _ => {
                let fresh = Arc::new(Connection::start(dial::dial(&self.endpoint).await?));
                *calls = Some(Arc::clone(&fresh));
                Ok(fresh)
            }
        }
    }
}

impl Remote for Client {
    fn call(
        &self,
        method: &'static str,
        params: Value,
    ) -> BoxFuture<'_, Result<Value, RemoteError>> {
        async move { self.connection().await?.call(method, params).await }.boxed()
    }

    /// The feed's connection closes with it, so `_end` is never called.
    fn open(
        &self,
        method: &'static str,
        _end: &'static str,
        params: Value,
    ) -> BoxFuture<'_, Result<RemoteFeed, RemoteError>> {
        async move { feed::open(dial::dial(&self.endpoint).await?, method, params).await }.boxed()
    }
}
