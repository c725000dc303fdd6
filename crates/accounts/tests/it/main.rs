//! Accounts as whole nodes use them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contacts;
mod disk;
mod portable;
mod services;
mod storage;
mod succession;
mod support;
mod users;
