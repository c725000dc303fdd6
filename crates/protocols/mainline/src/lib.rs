//! The bridge to the BitTorrent Mainline DHT.
//!
//! A behaviour without streams of its own that works in anybody's swarm: what the DHT knows of a
//! namespace becomes dials, and what it knows of a peer becomes addresses. Three layers:
//!
//! 1. **Announcements** (BEP 5): the port on which a reachable node listens, under an
//!    [`Infohash`]. Whoever is found there is a stranger until the handshake
//!    proves its peer id and identify lists our protocols.
//! 2. **Slots** (BEP 44): signed records of nodes without an open port, relayed addresses included.
//! 3. **Packets** (BEP 44, in pkarr's format): the addresses of one peer under its own key.
//!
//! Everything in the DHT is public, and anyone can put anything there. Invariant: whatever it holds,
//! at most one dial a second goes out, to addresses that pass the [`guards`], and what is kept is
//! bounded.
//!
//! The DHT itself is the crate `mainline`, a thread of its own that is started anew when it fails. It
//! is a *client* (`ro=1`, BEP 43): as a server it would answer only queries whose transaction id has 4
//! bytes, and libtorrent's and bittorrent-dht's have 2; others would keep a node in their tables that
//! does not answer. It makes itself a server once it is reachable for 15 minutes, so it is replaced
//! before.
//!
//! Wire: <https://www.bittorrent.org/beps/bep_0005.html>, `bep_0043`, `bep_0044`, and
//! `peerage_wire::mainline`.

mod behaviour;
mod bridge;
pub mod budget;
pub mod cadence;
mod client;
mod config;
pub mod dials;
pub mod guards;
pub mod nodes;
pub mod rendezvous;
pub mod tally;

pub use behaviour::{
    Behaviour, Event, FindId, How, MAX_FINDS, MAX_RENDEZVOUS, MAX_RESOLVES, Refused, ResolveId,
};
pub use client::Health;
pub use config::{Config, DEFAULT_BOOTSTRAP, MAX_BOOTSTRAP};
pub use rendezvous::{Infohash, Rendezvous};
