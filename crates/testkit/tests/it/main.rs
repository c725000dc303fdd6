//! The suite against handles in this process and against remote ones, and whole nodes together.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod discovery;
mod files;
mod floods;
mod handles;
mod nodes;
mod refusals;
mod users;
