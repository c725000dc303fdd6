//! Entry points for fuzzers: each panics if the server breaks a promise on the given bytes.
//!
//! The targets are in `fuzz/`, a workspace of its own: `cargo +nightly fuzz run parameters` in the
//! folder of this crate. What they found is in `fuzz/corpus`, which the tests run again.

pub use crate::server::fuzz::{admission, parameters};
