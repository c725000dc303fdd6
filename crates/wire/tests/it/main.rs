//! The bytes: golden vectors, round trips and garbage.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod exchange;
mod files_frames;
mod files_manifest;
mod identity;
mod identity_frames;
mod introductions;
mod kv_frames;
mod kv_grant;
mod kv_ticket;
mod link;
mod mainline;
#[path = "../../fuzz/replay.rs"]
mod replay;
