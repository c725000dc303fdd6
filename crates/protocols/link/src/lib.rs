//! How good is the path to a peer: round trips and throughput, measured on demand.
//!
//! A behaviour that answers `peers.ping` with libp2p's own `/ipfs/ping/1.0.0` (so that any libp2p
//! peer can be measured) and `peers.measure` with `/peerage/<network>/link/1`, which moves bytes
//! from memory to memory over one substream of the best connection. Sits beside the other protocol
//! crates and works in anybody's swarm. Invariant: it answers at most one measurement per peer and
//! [`MAX_SERVED`] in all; more are told that the node is busy.
//!
//! Wire: <https://github.com/libp2p/specs/blob/master/ping/ping.md> and `peerage_wire::link`.

mod behaviour;
mod session;

pub use behaviour::{Behaviour, Event, MAX_SERVED, PING_TIMEOUT};
pub use session::{BLOCK, SessionError, echo, ping, receive, send, serve};
