//! The contract over JSON-RPC 2.0: a server for the daemon, a client for the SDK.
//!
//! Sits beside the node and depends on `peerage-api` alone. Both ends are made from the one list of
//! methods in [`peerage_api::visit`]. Invariant: a call through this crate has the same
//! outcome, typed errors included, as the same call in the process of the node.
//!
//! What goes over a connection (WebSocket over a Unix socket or TCP; HTTP for calls alone):
//! - `<facet>.<verb>` with named parameters; errors have code -32000 and the typed error as `data`; what does
//!   not exist is `no_such_method`, code -32601.
//! - The name of a feed subscribes, over WebSocket alone (else `needs_websocket`); its items come as notifications of the same name, as
//!   `{"lagged": n}` where n were lost. A notification with `error` in place of `result` ends it.
//! - The notification `rpc.cancel` with `{"id": …}` gives up a call that has not ended.
//! - `rpc.discover` returns all of this as an OpenRPC 1.3 document.
//!
//! Feature `server`: [`Server`]. Feature `client`: [`Client`].

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "server")]
mod server;

#[cfg(feature = "client")]
pub use client::{Client, ConnectError};
#[cfg(feature = "server")]
pub use server::{Config, Endpoints, Limits, Server, StartError};

/// Name of the Unix socket in the data directory.
pub const SOCKET_FILE: &str = "api.sock";
/// Name of the file in the data directory that holds the token for TCP.
pub const TOKEN_FILE: &str = "rpc.token";
/// Largest request and largest answer in bytes.
///
/// 24 MiB: a value of 16 MiB is 21.4 MiB of base64.
pub const MAX_MESSAGE_BYTES: u32 = 24 << 20;
/// Longest path of a Unix socket in bytes that every system takes.
///
/// Where the data directory is deeper, `api.sock` is a symbolic link to a socket in a private
/// directory below `$XDG_RUNTIME_DIR` or the temporary directory.
pub const MAX_SOCKET_PATH: usize = 103;

/// The notification that gives up a call.
#[cfg(any(feature = "server", feature = "client"))]
const CANCEL: &str = "rpc.cancel";
/// JSON-RPC error code of a method's own error.
#[cfg(any(feature = "server", feature = "client"))]
const METHOD_ERROR: i32 = -32000;
