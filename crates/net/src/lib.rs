//! The composition root: one derived struct of behaviours, one loop that drives it, one table that
//! wires them together.
//!
//! [`start`] turns [`Settings`] into a running node and hands out [`peerage_api::Node`]. This is the
//! only crate that uses the `libp2p` meta crate. Invariant: the driver never awaits anything but its
//! inputs, so that no peer, disk or application can stall it.

mod commands;
mod desk;
mod discovery;
mod doctor;
mod driver;
mod gossip;
mod handlers;
mod identity;
mod introduced;
mod kad;
mod lan;
mod listen;
mod mainline;
mod mdns;
mod metrics;
pub mod plain;
mod records;
mod routes;
mod settings;
mod spread;
mod stack;
mod start;
mod stop;
mod topics;
mod transport;
mod vetting;
mod wiring;

pub use identity::{KeyError, create_network_key};
pub use listen::ListenError;
pub use settings::{FilesSettings, KvSettings, Profile, Security, Settings, UsersSettings};
pub use start::{Running, StartError, start};
pub use transport::TransportError;
