//! The way to a node: a channel in this process or a connection to a daemon.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{Command, Failure, Feed, Feeding, LinkError, Method, Open, Stream, exchange::Outboxes};

/// The way to a node, cheap to clone.
#[derive(Debug, Clone)]
pub enum Link {
    /// The node runs in this process.
    Local(Local),
    /// A daemon behind a socket.
    Remote(Arc<dyn Remote>),
}

impl Link {
    /// Asks one question.
    ///
    /// # Errors
    /// The method's own error; every one of them includes [`LinkError`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the work in the node where the method says so.
    pub async fn call<M: Method>(&self, request: M) -> Result<M::Reply, M::Error> {
        match self {
            Self::Local(local) => request.run(local).await,
            Self::Remote(remote) => call_remote(remote.as_ref(), request).await,
        }
    }

    /// Opens a feed.
    ///
    /// # Errors
    /// The feed's own error; every one of them includes [`LinkError`].
    pub async fn open<F: Feed>(&self, request: F) -> Result<Stream<F::Item>, F::Error> {
        match self {
            Self::Local(local) => open_local(local, request).await,
            Self::Remote(remote) => open_remote(remote.as_ref(), request).await,
        }
    }
}

/// The driver of a node in this process. The node stops when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Local {
    commands: mpsc::Sender<Command>,
    desk: Option<Arc<dyn Desk>>,
    /// Direct ways to the exchange streams of connected peers.
    pub(crate) outboxes: Arc<Outboxes>,
}

impl Local {
    /// A way to the driver that reads `commands`.
    #[must_use]
    pub fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands, desk: None, outboxes: Arc::default() }
    }

    /// The same with a desk for the facets of users and for the key-value store, whose commands then do
    /// not come through the channel.
    #[must_use]
    pub fn with_desk(self, desk: Arc<dyn Desk>) -> Self {
        Self { desk: Some(desk), ..self }
    }

    /// Sends a command to whom it is for, waiting while the driver's queue is full.
    ///
    /// # Errors
    /// [`LinkError::Stopped`] once the driver is gone.
    pub async fn send(&self, command: Command) -> Result<(), LinkError> {
        use Command::{Contacts, Kv, Services, Storage, Users};
        match (command, &self.desk) {
            (command @ (Users(_) | Contacts(_) | Services(_) | Storage(_) | Kv(_)), Some(desk)) => {
                desk.take(command);
            }
            (command, _) => self.commands.send(command).await.map_err(|_| LinkError::Stopped)?,
        }
        Ok(())
    }
}

/// Answers what needs no swarm, beside the driver: a call on a user's behalf is a function call,
/// and no write of a service waits behind the network.
pub trait Desk: fmt::Debug + Send + Sync {
    /// Takes a command of the facets of users and answers it, now or later. Never blocks.
    fn take(&self, command: Command);
}

async fn open_local<F: Feed>(local: &Local, request: F) -> Result<Stream<F::Item>, F::Error> {
    let (open, granted, items) = Open::new(request, F::CAPACITY);
    local.send(F::command(open)).await?;
    granted.await.map_err(crate::ask::stopped)??;
    Ok(Stream::new(items))
}

/// How a remote call failed.
#[derive(Debug, Clone)]
pub enum RemoteError {
    /// The daemon could not be asked.
    Link(LinkError),
    /// The method's own error, as its JSON form.
    Failed(Value),
}

/// Items of a remote feed, as JSON; dropping it ends the subscription at the daemon.
pub type RemoteFeed = mpsc::Receiver<Value>;

/// A connection that carries the contract as JSON. Implemented by `peerage-rpc`.
pub trait Remote: fmt::Debug + Send + Sync {
    /// Calls `method` with named parameters.
    fn call(
        &self,
        method: &'static str,
        params: Value,
    ) -> BoxFuture<'_, Result<Value, RemoteError>>;

    /// Opens the feed `method`, which the method `end` ends.
    fn open(
        &self,
        method: &'static str,
        end: &'static str,
        params: Value,
    ) -> BoxFuture<'_, Result<RemoteFeed, RemoteError>>;
}

fn mismatch(method: &str, reason: &serde_json::Error) -> LinkError {
    LinkError::Mismatch { method: method.to_owned(), reason: reason.to_string() }
}

fn typed<E: Failure>(method: &str, error: RemoteError) -> E {
    match error {
        RemoteError::Link(link) => link.into(),
        RemoteError::Failed(json) => {
            serde_json::from_value(json).unwrap_or_else(|e| mismatch(method, &e).into())
        }
    }
}

async fn call_remote<M: Method>(remote: &dyn Remote, request: M) -> Result<M::Reply, M::Error> {
    let params = serde_json::to_value(request).map_err(|e| mismatch(M::NAME, &e))?;
    let reply = remote.call(M::NAME, params).await.map_err(|e| typed::<M::Error>(M::NAME, e))?;
    Ok(serde_json::from_value(reply).map_err(|e| mismatch(M::NAME, &e))?)
}

async fn open_remote<F: Feed>(
    remote: &dyn Remote,
    request: F,
) -> Result<Stream<F::Item>, F::Error> {
    let params = serde_json::to_value(request).map_err(|e| mismatch(F::NAME, &e))?;
    let opened = remote.open(F::NAME, F::END, params).await;
    let mut values = opened.map_err(|e| typed::<F::Error>(F::NAME, e))?;
    let (queue, items) = mpsc::channel(F::CAPACITY);
    tokio::spawn(async move {
        loop {
            let value = tokio::select! {
                value = values.recv() => value,
                () = queue.closed() => None,
            };
            let Some(value) = value else { break };
            // An item of a newer daemon that this program cannot read counts as lost.
            let feeding = serde_json::from_value(value).unwrap_or(Feeding::Lagged(1));
            if queue.send(feeding).await.is_err() {
                break;
            }
        }
    });
    Ok(Stream::new(items))
}
