//! Runs async protocol dialogs over substreams: bounded, timed, on the best connection.
//!
//! [`Dialogs`] is a component that a protocol's `NetworkBehaviour` embeds and forwards its swarm
//! callbacks to. It opens a negotiated substream on the peer's best connection (direct before
//! relayed, then the lowest round trip), runs the dialog, an `async FnOnce(Stream) -> T`, as a tokio
//! task of its own, and gives the outcome back as [`Event::Finished`]. Inbound substreams come as
//! [`Event::Inbound`], to be served or refused. It sits between libp2p-swarm and the protocol crates.
//!
//! Wire: one status byte from the responder, `0x00` accepted or `0x01` busy, before anything else it
//! says; protocols of others are run without it ([`Open::plain`], [`Config::plain`]).
//!
//! Invariant: every [`Dialogs::open`] and [`Dialogs::serve`] ends in exactly one [`Event::Finished`]
//! unless [`Dialogs::cancel`] took it back, and nothing that a remote does holds more than the
//! configured number of tasks, streams or commands.
//!
//! ```no_run
//! use futures::{AsyncReadExt, AsyncWriteExt};
//! use libp2p_identity::PeerId;
//! use libp2p_swarm::StreamProtocol;
//! use peerage_dialog::{Config, Dialogs, Open};
//!
//! const ECHO: StreamProtocol = StreamProtocol::new("/example/echo/1");
//!
//! async fn echo(mut stream: peerage_dialog::Stream) -> std::io::Result<Vec<u8>> {
//!     stream.write_all(b"hello").await?;
//!     stream.close().await?;
//!     let mut answer = Vec::new();
//!     stream.take(5).read_to_end(&mut answer).await?;
//!     Ok(answer)
//! }
//!
//! fn ask(dialogs: &mut Dialogs<std::io::Result<Vec<u8>>>, peer: PeerId) {
//!     dialogs.open(Open::new(peer, ECHO), echo);
//! }
//!
//! let dialogs = Dialogs::<std::io::Result<Vec<u8>>>::new(Config::new([ECHO]));
//! assert_eq!(dialogs.active(), 0);
//! ```

mod config;
mod dialogs;
mod error;
mod gate;
mod glue;
mod handler;
mod links;
mod open;
mod paths;
mod queue;
mod slots;
mod stream;
mod task;

pub use config::{
    CLOSED_GRACE, Config, MAX_REFUSALS, MAX_UNTAKEN_OPENS, REFUSAL_TIMEOUT, STATUS_TIMEOUT,
};
pub use dialogs::{Dialogs, Event};
pub use error::{DialogError, Side};
pub use handler::{Handler, HandlerCommand, HandlerEvent};
pub use open::{DialogId, Inbound, Open};
pub use paths::Path;
pub use stream::Stream;
