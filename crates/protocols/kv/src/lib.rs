//! A replicated key-value store: signed entries, spaces, change feeds and range reconciliation.

pub mod bounds;
mod clock;
pub mod grants;
mod replica;
mod rows;
mod session;
mod summary;
mod view;

pub use replica::{
    Changes, Cursor, Heads, Incoming, Joined, Limits, Outgoing, PeerRow, ReceiveError, Received,
    Refusal, Replica, Signer,
};
pub use summary::{Item, KeyHash, LEAF_LEVEL, Node, Summary, key_hash};
pub use view::View;
