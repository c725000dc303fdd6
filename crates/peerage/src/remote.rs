//! A handle on a daemon: the same [`Node`], over its control API.

use std::{path::Path, sync::Arc};

pub use peerage_rpc::ConnectError;
use peerage_rpc::{Client, SOCKET_FILE};

use crate::{Link, Node};

/// Connects to daemons.
#[derive(Debug)]
pub enum Remote {}

impl Remote {
    /// A handle on the daemon that runs on a data directory, over the Unix socket in it.
    ///
    /// When the connection breaks, running calls fail with
    /// [`LinkError::Unreachable`](crate::LinkError::Unreachable), feeds end, and the next call
    /// connects again.
    ///
    /// # Errors
    /// [`ConnectError::NoDaemon`] no daemon runs there: start one with `peerage up`. Any other
    /// error says what to do.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let node = peerage::Remote::connect("/var/lib/peerage").await?;
    /// println!("{}", node.id().await?.peer_id);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(data_dir: impl AsRef<Path>) -> Result<Node, ConnectError> {
        Ok(handle(Client::unix(data_dir.as_ref().join(SOCKET_FILE)).await?))
    }

    /// A handle on the daemon that listens at `address`, as `HOST:PORT` or `ws://HOST:PORT`
    /// (`peerage up --rpc HOST:PORT`), with the token from the file `rpc.token` in its data
    /// directory. The connection is not encrypted: use it on one machine or through a tunnel.
    ///
    /// # Errors
    /// [`ConnectError::NoAnswer`] nothing listens there, [`ConnectError::Unauthorised`] the token
    /// is another one. Any other error says what to do.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect_tcp(
        address: impl AsRef<str>,
        token: impl AsRef<str>,
    ) -> Result<Node, ConnectError> {
        Ok(handle(Client::tcp(address.as_ref(), token.as_ref()).await?))
    }
}

fn handle(client: Client) -> Node {
    Node::new(Link::Remote(Arc::new(client)))
}
