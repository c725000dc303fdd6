//! A replicated key-value store: signed entries, spaces, change feeds and range reconciliation.
//!
//! A [`Replica`] holds all spaces of a node and answers for them; a [`Behaviour`] keeps them the same as those
//! of its peers; [`Kv`] is the handle that answers the facet [`peerage_api::kv`]. Invariant: an entry is
//! stored only if its author has signed it and may write it, and never without its value.
//!
//! | file | decides or does |
//! |---|---|
//! | `clock.rs`, `summary.rs`, `grants.rs`, `grants/` | time, ranges, who may do what; pure |
//! | `rows.rs`, `rows/` | the bytes of every table |
//! | `replica.rs`, `replica/` | writes, reads, changes, what came from others, expiry and release |
//! | `view.rs`, `view/` | one snapshot, to be compared with another replica |
//! | `session.rs`, `session/` | the dialogs |
//! | `sessions.rs`, `syncs.rs` | with whom to compare when, who waits for it; pure |
//! | `gossip.rs`, `upkeep.rs` | what is told at once; what time does |
//! | `handle.rs`, `handle/` | commands of the facet; spaces and tickets |
//! | `behaviour.rs` | events |
//! | `sim.rs`, `sim/` | many replicas that must converge |
//!
//! Wire: [`peerage_wire::kv`].

mod behaviour;
pub mod bounds;
mod clock;
mod config;
mod fills;
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
    Changes, Cursor, Equal, Incoming, Joined, Limits, Outgoing, PeerRow, ReceiveError, Received,
    Refusal, Replica, Signer,
};
pub use summary::{Item, KeyHash, LEAF_LEVEL, Node, Summary, key_hash};
pub use view::View;
