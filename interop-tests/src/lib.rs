//! Real peers, written by others in other languages, against the real daemon: the harness.
//!
//! [`Foreign`] is a peer of another libp2p implementation, [`Node`] is our daemon; both are
//! processes of their own that talk over loopback, or over a [`Lan`] that exists for one test. See
//! `README.md` for the line protocol that every foreign peer speaks.
//!
//! Invariant: nothing outlives its handle. Dropping a [`Foreign`] or a [`Node`] kills its process,
//! dropping a [`Lan`] removes its namespaces and what runs in them.

mod dht;
mod foreign;
mod netns;
mod node;
mod process;
mod table;
mod toolchain;
mod transport;
mod user;
mod waiting;

pub use dht::{Dht, Item};
pub use foreign::{Foreign, Held, Identity, Kind, Message};
pub use netns::{Host, Lan, Plan};
pub use node::{CommandError, Home, Node, build_daemon, peerage, without_daemon};
pub use process::Process;
pub use table::{Obstacle, Outcome, Row, Table};
pub use toolchain::{require_all, set_up};
pub use transport::Transport;
