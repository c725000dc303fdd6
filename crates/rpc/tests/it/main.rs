//! The transport under test, with a task in place of the node's driver.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod daemon;
mod feeds;
mod socket;
mod tcp;
