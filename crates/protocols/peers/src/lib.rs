//! Who a node knows, whom it stays connected to, and whom it refuses.
//!
//! A `NetworkBehaviour` for anybody's swarm: put [`Behaviour`] next to identify and ping, give it a
//! [`Store`](peerage_store::Store), tell it what identify, ping and discovery report, and pass it
//! the commands of the facet [`peers`](peerage_api::peers). It opens no streams and has no wire
//! format of its own.
//!
//! - An address book of at most [`Config::max_book`] peers with 8 addresses each, on disk, with
//!   what worked, what failed, who said so and a score.
//! - Bootstrap and protected peers are dialled again for ever, members that were lost a few times,
//!   found members while there are fewer than [`Autodial::target_peers`].
//! - Limits on connections in total, per peer, per IP address and on their way ([`Denied`]); when
//!   there are too many peers the worst are closed.
//! - Of several connections to a peer the same one survives on both sides (table in `prune.rs`).
//! - Block, allow and protect lists that survive a restart.
//!
//! Invariant: the state follows what the swarm *reports*; a connection that another behaviour
//! refuses leaves no trace.
//!
//! | to change … | edit |
//! |---|---|
//! | what is remembered, who is forgotten | `book.rs`, its bytes `row.rs` |
//! | which addresses are believed | `address.rs` |
//! | limits | `pool.rs` |
//! | which duplicate survives, who is trimmed | `prune.rs` |
//! | when we dial again | `redial.rs`; found peers `dials.rs` |
//! | what a connect does and says | `connect.rs`, `waiting.rs`, `outcome.rs` |
//! | answers to the facet | `answers.rs` |
//! | how these work together | `peers.rs`, `swarm.rs`, `due.rs`; timer and disk `behaviour.rs` |

#![expect(clippy::result_large_err, reason = "the contract's error, made once a command")]

mod address;
mod answers;
mod behaviour;
mod book;
mod config;
mod connect;
mod denied;
mod dials;
mod due;
mod feeds;
#[doc(hidden)]
pub mod fuzz;
mod handler;
mod lists;
mod outcome;
mod peers;
mod pool;
mod prune;
mod redial;
mod row;
mod saves;
mod swarm;
mod waiting;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub use behaviour::{Behaviour, Event};
pub use config::{Autodial, Config};
pub use denied::Denied;
pub use handler::{Handler, Keep};
