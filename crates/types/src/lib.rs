//! The nouns every Peerage crate shares: identifiers, names, payloads and clocks.
//!
//! Bottom of the dependency graph: it knows serde, `PeerId` and `Multiaddr`, and nothing of swarms,
//! disks or runtimes. Invariant: a value of a type from here is valid; parsing is the only door.

mod hash;
mod kv;
mod name;
mod payload;
mod reach;
mod secret;
mod time;
mod user;

pub use hash::{ContentHash, HexError, TransferId};
pub use kv::{Author, Expected, Hlc, KvNameError, Revision, Space, SpaceId};
pub use libp2p_identity::PeerId;
pub use multiaddr::Multiaddr;
pub use name::{Handle, KvKey, MessageType, NameError, Namespace, Network, ServiceName, Topic};
pub use payload::Payload;
pub use reach::Reach;
pub use secret::{Password, RecoveryCode, SecretError, Token};
pub use time::UnixMillis;
pub use user::{UserId, UserIdError};
