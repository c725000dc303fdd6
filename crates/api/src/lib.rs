//! The contract: what you can ask a Peerage node and what it tells you.
//!
//! Every question is a plain serde struct that implements [`Method`] or [`Feed`]. The same structs
//! travel to the driver of a node in this process ([`Command`]) and, as named JSON-RPC parameters,
//! to a daemon ([`Remote`]); [`Node`] and its facets hide which of the two it is. Invariant: both
//! ways have the same names, types and errors, because there is one definition of each.

mod ask;
pub mod contacts;
mod contract;
pub mod discovery;
mod events;
pub mod exchange;
mod failure;
pub mod files;
pub mod kv;
mod link;
pub mod node;
pub mod peers;
pub mod pubsub;
pub mod services;
pub mod storage;
pub mod users;

pub use ask::{Answer, Ask, Door, Open, Sink};
pub use contract::{Access, Command, Feed, Method, Visitor, visit};
pub use events::{Feeding, Stream};
pub use failure::{Failure, LinkError};
pub use link::{Desk, Link, Local, Remote, RemoteError, RemoteFeed};
pub use node::Node;
pub use peerage_types as types;
