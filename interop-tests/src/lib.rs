//! Real peers, written by others in other languages, against the real daemon: the harness.
//!
//! [`Foreign`] is a peer of another libp2p implementation, [`Node`] is our daemon; both are
//! processes of their own that talk over loopback only. See `README.md` for the line protocol that
//! every foreign peer speaks.
//!
//! Invariant: nothing outlives its handle. Dropping a [`Foreign`] or a [`Node`] kills its process.

mod foreign;
mod node;
mod process;
mod toolchain;

pub use foreign::{Foreign, Identity, Kind, Message, Transport};
pub use node::{CommandError, Node};
pub use process::Process;
pub use toolchain::require_all;
