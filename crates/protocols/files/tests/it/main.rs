//! Behaviours in foreign swarms, driven through the handles of the contract.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod published;
mod pulls;
mod support;
mod transfers;
