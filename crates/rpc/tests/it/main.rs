//! The transport under test, with a task in place of the node's driver.

mod calls;
mod daemon;
mod feeds;
mod socket;
mod tcp;
