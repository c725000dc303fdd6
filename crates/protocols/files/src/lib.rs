//! Content moves: offers, requests, verified pieces.
//!
//! A behaviour that answers the facet [`peerage_api::files`]. Everything reduces to: a receiver pulls
//! verified pieces by hash from one or more providers. Pushes begin with an offer, pulls with a
//! ticket or a published path. Sits between the dialogs and `peerage-content`, which knows the disk,
//! and works in anybody's swarm. Invariant: no byte of content passes through the behaviour, and none
//! is written before it verifies against the hash that its user asked for.
//!
//! | file | decides or does |
//! |---|---|
//! | `schedule.rs` | which piece is asked of whom; pure |
//! | `providers.rs`, `rate.rs` | whom to try when, how fast; pure |
//! | `session/` | the dialogs: bytes between a stream, workers and the disk |
//! | `send.rs`, `receive.rs`, `shares.rs` | what a transfer or share needs next |
//! | `inbound.rs` | what peers may have |
//! | `behaviour.rs`, `commands.rs` | events, commands and time |
//!
//! Wire: [`peerage_wire::files`].

mod behaviour;
pub mod bounds;
mod commands;
mod download;
mod inbound;
mod providers;
mod rate;
mod receive;
mod schedule;
mod send;
mod session;
mod shares;
mod traffic;
mod transfer;
mod work;

pub use behaviour::{Behaviour, Config, Event};
