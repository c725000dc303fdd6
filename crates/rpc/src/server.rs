//! The daemon's side: listeners, admission and the methods of the contract.

mod accept;
mod auth;
mod calls;
mod cut;
pub(crate) mod fuzz;
mod listen;
mod methods;
mod openrpc;
mod unix;

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use jsonrpsee::server::{RegisterMethodError, ServerHandle, stop_channel};
use peerage_api::Node;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use self::{accept::Acceptor, auth::Token};
use crate::{MAX_MESSAGE_BYTES, SOCKET_FILE, TOKEN_FILE};

/// How long running calls may take to finish once the server stops.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// How long connections have to close after their calls were given up.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Where the server listens and what it bears.
#[derive(Debug, Clone)]
pub struct Config {
    /// Path of a Unix socket; only the user of this process can connect to it.
    pub unix: Option<PathBuf>,
    /// Address for WebSocket and HTTP, where every request carries the token.
    pub tcp: Option<SocketAddr>,
    /// File of the token for TCP; created with mode 0600 if it does not exist.
    pub token_file: PathBuf,
    /// What one server bears.
    pub limits: Limits,
}

impl Config {
    /// A Unix socket in the data directory and nothing on TCP.
    #[must_use]
    pub fn in_data_dir(dir: &Path) -> Self {
        Self {
            unix: Some(dir.join(SOCKET_FILE)),
            tcp: None,
            token_file: dir.join(TOKEN_FILE),
            limits: Limits::default(),
        }
    }
}

/// What one server bears. A connection or call beyond it is refused, never queued.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of each listener. The SDK uses one for calls and one for each feed.
    pub max_connections: usize,
    /// Bytes of one request.
    pub max_request_bytes: u32,
    /// Bytes of one answer.
    pub max_response_bytes: u32,
    /// Subscriptions of one connection.
    pub max_subscriptions: u32,
    /// Calls under way on one connection.
    pub max_calls: usize,
    /// Bytes of the parameters of all calls under way; not less than `max_request_bytes`, or the
    /// largest requests are always refused.
    pub max_call_bytes: u32,
    /// Answers and items that wait to be written to one connection: at worst this number times
    /// `max_response_bytes` in memory, a few KiB in practice.
    pub max_queued: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 256,
            max_request_bytes: MAX_MESSAGE_BYTES,
            max_response_bytes: MAX_MESSAGE_BYTES,
            max_subscriptions: 64,
            max_calls: 1024,
            max_call_bytes: 64 << 20,
            max_queued: 16,
        }
    }
}

/// Where a server can be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// The Unix socket.
    pub unix: Option<PathBuf>,
    /// The bound TCP address.
    pub tcp: Option<SocketAddr>,
    /// The file that holds the token for TCP.
    pub token_file: Option<PathBuf>,
}

impl fmt::Display for Endpoints {
    /// `unix:PATH`, `http://ADDRESS` or both with a comma; empty without a listener.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comma = if self.unix.is_some() && self.tcp.is_some() { "," } else { "" };
        if let Some(path) = &self.unix {
            write!(f, "unix:{}{comma}", path.display())?;
        }
        self.tcp.iter().try_for_each(|address| write!(f, "http://{address}"))
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another server answers on the Unix socket.
    #[error("another daemon answers on {}; stop it with `peerage stop`", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket stands where the socket should be.
    #[error("{} is not a socket; move it away", path.display())]
    Occupied {
        /// What is in the way.
        path: PathBuf,
    },
    /// No place with a path that is short enough for a socket.
    #[error(
        "the path {} is too long for a socket and so is the temporary directory's; set $XDG_RUNTIME_DIR or give a shorter data directory",
        path.display()
    )]
    PathTooLong {
        /// Where the socket should be.
        path: PathBuf,
    },
    /// The Unix socket or a file beside it cannot be made.
    #[error("cannot listen on {}; check that its directory is writable: {source}", path.display())]
    Unix {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The TCP address cannot be had.
    #[error(
        "cannot listen on {address} for the control API ({source}); choose another port with --rpc, or 0 for any"
    )]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The token file cannot be read or made.
    #[error("cannot use the token file {}: {source}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Others can read the token, or it is not a token.
    #[error("{} {fault}; delete it and a new one is made", path.display())]
    UnsafeToken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The contract names a method twice.
    #[error("the contract of this build is inconsistent: {0}")]
    Contract(#[from] RegisterMethodError),
}

/// A running server of the control API.
///
/// Holds a handle on the node, so that a node in this process lives as long as its server.
/// Dropping the server stops it without waiting.
#[derive(Debug)]
pub struct Server {
    endpoints: Endpoints,
    stop: Stop,
    acceptors: JoinSet<()>,
    connections: Vec<accept::Slots>,
}

/// The three steps of stopping.
#[derive(Debug)]
struct Stop {
    accepting: CancellationToken,
    sessions: ServerHandle,
    calls: CancellationToken,
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.accepting.cancel();
        self.calls.cancel();
    }
}

impl Server {
    /// Starts to listen and serve; returns once every endpoint accepts connections.
    ///
    /// # Errors
    /// [`StartError`] names the endpoint and the remedy; nothing stays bound.
    pub async fn start(node: Node, config: Config) -> Result<Self, StartError> {
        let methods = methods::module(node.link().clone())?;
        let (stop_handle, sessions) = stop_channel();
        let stop =
            Stop { accepting: CancellationToken::new(), sessions, calls: CancellationToken::new() };
        let unix = match &config.unix {
            Some(path) => Some(unix::UnixEndpoint::bind(path).await?),
            None => None,
        };
        let mut server = Self {
            endpoints: Endpoints { unix: config.unix.clone(), ..Endpoints::default() },
            stop,
            acceptors: JoinSet::new(),
            connections: Vec::new(),
        };
        let tcp = match config.tcp {
            Some(address) => Some((listen::bind_tcp(address)?, Token::load(&config.token_file)?)),
            None => None,
        };
        let services =
            accept::Services::new(methods, config.limits, stop_handle, &server.stop.calls);
        if let Some(endpoint) = unix {
            let acceptor = server.acceptor(&services, config.limits);
            server.acceptors.spawn(acceptor.run(endpoint));
        }
        if let Some((listener, token)) = tcp {
            let address = listen::address(&listener, config.tcp)?;
            server.endpoints.tcp = Some(address);
            server.endpoints.token_file = Some(config.token_file);
            let gate = auth::Gate::new(address, token);
            let acceptor = server.acceptor(&services, config.limits).guarded(gate);
            server.acceptors.spawn(acceptor.run(listener));
        }
        Ok(server)
    }

    fn acceptor(&mut self, services: &accept::Services, limits: Limits) -> Acceptor {
        let slots = accept::Slots::new(limits.max_connections);
        self.connections.push(slots.clone());
        Acceptor::new(services.clone(), slots, &self.stop.accepting, &self.stop.calls)
    }

    /// Where the server can be reached.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Stops: no new connections, running calls get three seconds to finish, feeds end, the socket
    /// is removed. Returns within five seconds.
    ///
    /// # Cancel safety
    /// Dropping the future stops at once what was left to stop.
    pub async fn stop(mut self) {
        self.stop.accepting.cancel();
        // An error says that every connection has gone already.
        let _ = self.stop.sessions.stop();
        while self.acceptors.join_next().await.is_some() {}
        if timeout(STOP_GRACE, all_closed(&self.connections)).await.is_ok() {
            return;
        }
        self.stop.calls.cancel();
        if timeout(CUT_TIMEOUT, all_closed(&self.connections)).await.is_err() {
            tracing::debug!("connections of the control API are still closing");
        }
    }
}

async fn all_closed(connections: &[accept::Slots]) {
    for slots in connections {
        slots.all_free().await;
    }
}
