//! Networks of nodes in one process, and the suite that every kind of handle must pass.
//!
//! A dev-dependency of tests, never of a product. [`Net`] starts real nodes on loopback, with real
//! transports and nothing on disk; [`Faulty`] is a peer that provides files badly; [`suite`] exercises every facet through a [`Node`] and is run
//! against handles in this process and against remote ones. Invariant: it waits for events, never
//! for time.
//!
//! # Panics
//! Everything here panics with a readable message when a node does not behave.

#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "panics are how a test fails; said above"
)]

mod faulty;
mod net;
pub mod suite;

pub use faulty::{Fault, Faulty};
pub use net::{Net, loopback, within};
pub use peerage_api::Node;
