//! Users anywhere: who they are, as far as this node knows, and how that spreads.
//!
//! A [`Directory`] keeps the newest of what users have signed and answers the part of the facet
//! [`peerage_api::users`] that is about everybody; a [`Behaviour`] tells peers and learns from them.
//! Sits between the dialogs and the accounts of this node, and works in anybody's swarm. Invariant:
//! nothing that is not validly signed is kept, shown or passed on, and no peer can make this node
//! forget what others have told, or keep more than [`bounds`] say.
//!
//! | file | decides or does |
//! |---|---|
//! | `known.rs`, `known/` | which record counts, who makes room, what a search finds; pure |
//! | `sessions.rs`, `gossip.rs`, `lookups.rs` | with whom to compare when, what to tell when, who waits; pure |
//! | `session.rs` | the dialogs |
//! | `directory.rs`, `directory/` | the handle: one lock around `known` |
//! | `verify.rs`, `records.rs` | signatures, on the blocking pool; records of Kademlia |
//! | `persist.rs` | the store |
//! | `behaviour.rs` | events, commands and time |
//!
//! Three ways lead from node to node. A *session* when two meet finds what either lacks, and again
//! from time to time. *Gossip* carries what changes to all who are connected. *Kademlia* has what
//! nobody near knows. All end in [`Known::merge`], and whatever comes has been verified by its type.
//!
//! Wire: [`peerage_wire::identity`].

mod behaviour;
pub mod bounds;
mod config;
mod directory;
mod gossip;
mod known;
mod lookups;
mod persist;
mod records;
mod session;
mod sessions;
#[cfg(test)]
mod sim;
mod verify;

pub use behaviour::Behaviour;
pub use config::{Config, Event, Stats, Verdict};
pub use directory::Directory;
pub use known::{Digest, Known, Limits, Outcome, Source};
pub use records::{check_record, is_newer};
