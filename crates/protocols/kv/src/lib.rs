//! A replicated key-value store: signed entries, spaces, change feeds and range reconciliation.

mod behaviour;
pub mod bounds;
mod clock;
mod config;
mod gossip;
pub mod grants;
mod handle;
mod replica;
mod rows;
mod session;
mod sessions;
#[cfg(test)]
mod sim;
mod summary;
mod syncs;
mod upkeep;
mod view;

pub use behaviour::{Behaviour, Event, Stats, Verdict};
pub use config::Config;
pub use handle::{Kv, Users};

pub use replica::{
    Changes, Cursor, Equal, Heads, Incoming, Joined, Limits, Outgoing, PeerRow, ReceiveError,
    Received, Refusal, Replica, Signer,
};
pub use summary::{Item, KeyHash, LEAF_LEVEL, Node, Summary, key_hash};
pub use view::View;
