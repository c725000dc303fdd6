//! A server over a node whose commands the test answers itself.

use std::{path::PathBuf, sync::Arc, time::Duration};

use peerage_api::{Command, Link, Local, Node};
use peerage_rpc::{Client, Config, Server};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};

pub(crate) struct Daemon {
    pub(crate) server: Server,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) dir: TempDir,
}

impl Daemon {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::in_data_dir(dir.path());
        change(&mut config);
        let (node, commands) = node();
        let server = Server::start(node, config).await.unwrap();
        Self { server, commands, dir }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("api.sock")
    }

    pub(crate) async fn client(&self) -> Client {
        Client::unix(self.socket()).await.unwrap()
    }

    /// The next command. Fails instead of waiting for one that is never asked.
    pub(crate) async fn next(&mut self) -> Option<Command> {
        let next = timeout(Duration::from_secs(60), self.commands.recv()).await;
        next.expect("no command came within a minute")
    }

    /// A handle on the node behind the server.
    pub(crate) async fn node(&self) -> Node {
        remote(self.client().await)
    }
}

pub(crate) fn remote(client: Client) -> Node {
    Node::new(Link::Remote(Arc::new(client)))
}

pub(crate) fn node() -> (Node, mpsc::Receiver<Command>) {
    let (commands, driver) = mpsc::channel(16);
    (Node::new(Link::Local(Local::new(commands))), driver)
}

/// Takes the next command, which must be of the given kind.
macro_rules! asked {
    ($daemon:expr, Node::$kind:ident) => {
        asked!($daemon, Node, node, $kind)
    };
    ($daemon:expr, Peers::$kind:ident) => {
        asked!($daemon, Peers, peers, $kind)
    };
    ($daemon:expr, Pubsub::$kind:ident) => {
        asked!($daemon, Pubsub, pubsub, $kind)
    };
    ($daemon:expr, Discovery::$kind:ident) => {
        asked!($daemon, Discovery, discovery, $kind)
    };
    ($daemon:expr, Exchange::$kind:ident) => {
        asked!($daemon, Exchange, exchange, $kind)
    };
    ($daemon:expr, $facet:ident, $module:ident, $kind:ident) => {
        match $daemon.next().await {
            Some(peerage_api::Command::$facet(peerage_api::$module::Command::$kind(ask))) => ask,
            other => panic!("expected {}, got {other:?}", stringify!($facet::$kind)),
        }
    };
}
pub(crate) use asked;
