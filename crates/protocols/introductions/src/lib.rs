//! Peers introduce each other: signed records of where nodes are, passed on by those who met them.
//!
//! A node that is connected to few learns of more from those few: on connecting and then every few
//! minutes it asks for records and tells its own. It sits on the dialogs and works in anybody's swarm;
//! what it learns are candidates for an address book. Invariant: nothing is kept or passed on that the
//! peer it is about has not signed lately, nobody is passed on whom this node has not met, and no peer
//! can make this node keep more than [`bounds`] say or forget what others have told.
//!
//! | file | decides or does |
//! |---|---|
//! | `known.rs` | whose records are kept, who makes room, who is passed on; pure |
//! | `own.rs` | what this node says of itself, and to whom; pure |
//! | `rounds.rs` | who is asked when, and who is answered; pure |
//! | `introductions.rs` | how these work together, and searches; pure |
//! | `session.rs` | the dialog |
//! | `behaviour.rs` | events, commands and time |
//!
//! A record has either global addresses only and is for everybody, or private ones, too, and is then
//! told to and by peers on the local network. A node tells both of itself where both are known.
//!
//! Wire: [`peerage_wire::introductions`].

mod behaviour;
pub mod bounds;
mod config;
mod introductions;
mod known;
mod own;
mod rounds;
mod session;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub use behaviour::Behaviour;
pub use config::{Config, Event};
