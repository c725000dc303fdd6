//! The transport under test, with a task in place of the node's driver.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod daemon;
mod feeds;
mod garbage;
#[path = "../../../wire/fuzz/replay.rs"]
mod replay;
mod socket;
mod tcp;
