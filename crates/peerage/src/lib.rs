//! What an application depends on: a [`Node`] in this process, or a handle on a daemon.
//!
//! Sits on top of everything. Feature `node` (default) builds nodes in this process; feature
//! `remote` connects to a daemon. Invariant: both give the same [`Node`], with the same methods
//! and the same errors, and `remote` alone compiles neither a swarm nor a database.

#[cfg(feature = "remote")]
pub mod remote;

pub use peerage_api::{
    Access, Failure, Feeding, Link, LinkError, Node, Stream, contacts, discovery, exchange, files,
    kv, node, peers, pubsub, services, storage, types, users,
};
#[cfg(feature = "node")]
pub use peerage_net::plain;
#[cfg(feature = "node")]
pub use peerage_net::{
    FilesSettings, KeyError, KvSettings, ListenError, Profile, Running, Security, Settings,
    StartError, UsersSettings, create_network_key, start,
};
#[cfg(feature = "remote")]
pub use remote::{ConnectError, Remote};
