//! Behaviours in swarms, driven through the handles of the contract.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod hostile;
mod messages;
mod requests;
mod streams;
mod support;
