//! The nouns every Peerage crate shares: identifiers, names, payloads and clocks.
//!
//! Bottom of the dependency graph: it knows serde, `PeerId` and `Multiaddr`, and nothing of swarms,
//! disks or runtimes. Invariant: a value of a type from here is valid; parsing is the only door.

mod hash;
mod name;
mod payload;
mod time;

pub use hash::{ContentHash, HexError, TransferId};
pub use libp2p_identity::PeerId;
pub use multiaddr::Multiaddr;
pub use name::{MessageType, NameError, Namespace, Network, Topic};
pub use payload::Payload;
pub use time::UnixMillis;
