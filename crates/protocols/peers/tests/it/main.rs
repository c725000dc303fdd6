//! The behaviour in real swarms.

#![allow(clippy::unwrap_used, reason = "tests")]

mod connecting;
mod keeping;
mod limits;
mod lists;
mod network;
#[path = "../../../../wire/fuzz/replay.rs"]
mod replay;
mod rows;
