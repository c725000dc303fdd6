//! The one list of methods and feeds; every table of them is generated from it.

use std::future::Future;

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Ask, Failure, Local, Open, contacts, discovery, exchange, files, kv, node, peers, pubsub,
    services, storage, users,
};

/// Whom a question must prove itself to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever can reach the control API.
    Anyone,
    /// A user or a service: the request carries a `token`, which is checked on every call.
    Token,
}

/// A question with one answer.
pub trait Method: Serialize + DeserializeOwned + JsonSchema + Send + Sized + 'static {
    /// Name in the control API, such as `peers.connect`.
    const NAME: &'static str;
    /// What comes back.
    type Reply: Serialize + DeserializeOwned + JsonSchema + Send + std::fmt::Debug + 'static;
    /// What can go wrong.
    type Error: Failure;
    /// Whom it must prove itself to be.
    const ACCESS: Access = Access::Anyone;

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
    /// Whom it must prove itself to be.
    const ACCESS: Access = Access::Anyone;

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
    Users(users::Command),
    Contacts(contacts::Command),
    Services(services::Command),
    Storage(storage::Command),
    Kv(kv::Command),
}

/// Shows every method and feed of the contract to `visitor`.
pub fn visit(visitor: &mut impl Visitor) {
    node::visit(visitor);
    peers::visit(visitor);
    pubsub::visit(visitor);
    discovery::visit(visitor);
    exchange::visit(visitor);
    files::visit(visitor);
    users::visit(visitor);
    contacts::visit(visitor);
    services::visit(visitor);
    storage::visit(visitor);
    kv::visit(visitor);
}

/// Defines the methods and feeds of a facet: its `Command`, the trait impls, and its part of
/// [`visit`]. `scoped` ones carry a token; `local` methods bring their own [`Method::run`].
macro_rules! facet {
    (
        $facet:ident, $error:ty;
        methods { $($method:ident => $name:literal -> $reply:ty;)* }
        $(scoped { $($scoped:ident => $scoped_name:literal -> $scoped_reply:ty;)* })?
        local { $($direct:ident;)* }
        feeds { $($feed:ident[$capacity:expr] => $feed_name:literal -> $item:ty;)* }
        $(scoped_feeds { $($own:ident[$own_capacity:expr] => $own_name:literal -> $own_item:ty;)* })?
        extra { $($extra:ident($extra_ty:ty);)* }
    ) => {
        /// What this facet can be asked.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each variant carries the request of the same name")]
        pub enum Command {
            $($method(crate::Ask<$method>),)*
            $($($scoped(crate::Ask<$scoped>),)*)?
            $($feed(crate::Open<$feed>),)*
            $($($own(crate::Open<$own>),)*)?
            $($extra($extra_ty),)*
        }

        $(crate::contract::method!(Anyone, $facet, $error, $method, $name, $reply);)*
        $($(crate::contract::method!(Token, $facet, $error, $scoped, $scoped_name, $scoped_reply);)*)?
        $(crate::contract::feed!(Anyone, $facet, $error, $feed, $capacity, $feed_name, $item);)*
        $($(crate::contract::feed!(Token, $facet, $error, $own, $own_capacity, $own_name, $own_item);)*)?

        pub(crate) fn visit(visitor: &mut impl crate::Visitor) {
            $(visitor.method::<$method>();)*
            $($(visitor.method::<$scoped>();)*)?
            $(visitor.method::<$direct>();)*
            $(visitor.feed::<$feed>();)*
            $($(visitor.feed::<$own>();)*)?
        }
    };
}
pub(crate) use facet;

macro_rules! method {
    ($access:ident, $facet:ident, $error:ty, $method:ident, $name:literal, $reply:ty) => {
        impl crate::Method for $method {
            const NAME: &'static str = $name;
            type Reply = $reply;
            type Error = $error;
            const ACCESS: crate::Access = crate::Access::$access;

            async fn run(self, local: &crate::Local) -> Result<$reply, $error> {
                let command = |ask| crate::Command::$facet(Command::$method(ask));
                local.ask(self, command).await
            }
        }
    };
}
pub(crate) use method;

macro_rules! feed {
    ($access:ident, $facet:ident, $error:ty, $feed:ident, $capacity:expr, $name:literal, $item:ty) => {
        impl crate::Feed for $feed {
            const NAME: &'static str = $name;
            const END: &'static str = concat!($name, ".end");
            const CAPACITY: usize = $capacity;
            type Item = $item;
            type Error = $error;
            const ACCESS: crate::Access = crate::Access::$access;

            fn command(open: crate::Open<Self>) -> crate::Command {
                crate::Command::$facet(Command::$feed(open))
            }
        }
    };
}
pub(crate) use feed;

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
