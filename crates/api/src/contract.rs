//! The one list of methods and feeds; every table of them is generated from it.

use std::future::Future;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Ask, Failure, Local, Open, discovery, exchange, files, node, peers, pubsub};

/// A question with one answer.
pub trait Method: Serialize + DeserializeOwned + JsonSchema + Send + Sized + 'static {
    /// Name in the control API, such as `peers.connect`.
    const NAME: &'static str;
    /// What comes back.
    type Reply: Serialize + DeserializeOwned + JsonSchema + Send + std::fmt::Debug + 'static;
    /// What can go wrong.
    type Error: Failure;

    /// Asks the node in this process.
    fn run(self, local: &Local) -> impl Future<Output = Result<Self::Reply, Self::Error>> + Send;
}

/// A question whose answer is a stream of items.
pub trait Feed: Serialize + DeserializeOwned + JsonSchema + Send + Sized + 'static {
    /// Name in the control API, such as `pubsub.subscribe`.
    const NAME: &'static str;
    /// Name of the control API's method that ends it, such as `pubsub.subscribe.end`.
    const END: &'static str;
    /// Items that may wait unread before the reader counts as slow.
    const CAPACITY: usize;
    /// What streams.
    type Item: Serialize + DeserializeOwned + JsonSchema + Send + std::fmt::Debug + 'static;
    /// What can go wrong at the start.
    type Error: Failure;

    /// The command that opens it.
    fn command(open: Open<Self>) -> Command;
}

/// Walks over the whole contract: how the control API, its description and the tests see it.
pub trait Visitor {
    /// Called for each method.
    fn method<M: Method>(&mut self);
    /// Called for each feed.
    fn feed<F: Feed>(&mut self);
}

/// Everything a node can be asked, by facet.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant is a facet's own command type")]
pub enum Command {
    Node(node::Command),
    Peers(peers::Command),
    Pubsub(pubsub::Command),
    Discovery(discovery::Command),
    Exchange(exchange::Command),
    Files(files::Command),
}

/// Shows every method and feed of the contract to `visitor`.
pub fn visit(visitor: &mut impl Visitor) {
    node::visit(visitor);
    peers::visit(visitor);
    pubsub::visit(visitor);
    discovery::visit(visitor);
    exchange::visit(visitor);
    files::visit(visitor);
}

/// Defines the methods and feeds of a facet: its `Command`, the trait impls, and its part of
/// [`visit`]. `local` methods bring their own [`Method::run`].
macro_rules! facet {
    (
        $facet:ident, $error:ty;
        methods { $($method:ident => $name:literal -> $reply:ty;)* }
        local { $($direct:ident;)* }
        feeds { $($feed:ident[$capacity:expr] => $feed_name:literal -> $item:ty;)* }
        extra { $($extra:ident($extra_ty:ty);)* }
    ) => {
        /// What this facet can be asked.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each variant carries the request of the same name")]
        pub enum Command {
            $($method(crate::Ask<$method>),)*
            $($feed(crate::Open<$feed>),)*
            $($extra($extra_ty),)*
        }

        $(impl crate::Method for $method {
            const NAME: &'static str = $name;
            type Reply = $reply;
            type Error = $error;

            async fn run(self, local: &crate::Local) -> Result<$reply, $error> {
                let command = |ask| crate::Command::$facet(Command::$method(ask));
                local.ask(self, command).await
            }
        })*

        $(impl crate::Feed for $feed {
            const NAME: &'static str = $feed_name;
            const END: &'static str = concat!($feed_name, ".end");
            const CAPACITY: usize = $capacity;
            type Item = $item;
            type Error = $error;

            fn command(open: crate::Open<Self>) -> crate::Command {
                crate::Command::$facet(Command::$feed(open))
            }
        })*

        pub(crate) fn visit(visitor: &mut impl crate::Visitor) {
            $(visitor.method::<$method>();)*
            $(visitor.method::<$direct>();)*
            $(visitor.feed::<$feed>();)*
        }
    };
}
pub(crate) use facet;

impl Local {
    /// Sends `request` to the driver and waits for the answer.
    pub(crate) async fn ask<M: Method>(
        &self,
        request: M,
        command: impl FnOnce(Ask<M>) -> Command,
    ) -> Result<M::Reply, M::Error> {
        let (ask, answer) = Ask::new(request);
        self.send(command(ask)).await?;
        answer.await.map_err(crate::ask::stopped)?
    }
}
