//! Why a dialog had no outcome of its own.

use std::{io, sync::Arc};

use libp2p_swarm::StreamProtocol;

/// Who had no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node: one of the limits in [`crate::Config`] is reached.
    Local,
    /// The other peer said so.
    Remote,
}

/// Why a dialog ended without the outcome of its own function.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DialogError {
    /// There is no connection to the peer: dial it, then open again.
    #[error("no connection to the peer; dial it first")]
    NotConnected,
    /// The peer does not speak the protocol: do not ask again on this connection.
    #[error("the peer does not speak {0}")]
    Unsupported(StreamProtocol),
    /// A limit is reached: retry when a dialog has finished, or after a delay if it was the remote.
    #[error("too many dialogs at the {} peer; retry later", match .by { Side::Local => "local", Side::Remote => "remote" })]
    Busy {
        /// Whose limit.
        by: Side,
    },
    /// The substream was not negotiated within `open_timeout`: retry, perhaps with another peer.
    #[error("the substream was not negotiated in time")]
    OpenTimeout,
    /// No byte went either way for `progress_timeout`; the substream was reset.
    #[error("no byte was read or written for too long")]
    Stalled,
    /// The connection went away and no other could take over: retry once connected again.
    #[error("the connection closed")]
    Closed,
    /// The token given to [`crate::Open::until`] was cancelled.
    #[error("cancelled by the caller")]
    Cancelled,
    /// The substream could not be negotiated or answered: retry.
    #[error("the substream broke")]
    Io(#[source] Arc<io::Error>),
    /// The dialog's own code panicked: a bug; the panic went to the log and no further.
    #[error("the dialog panicked")]
    Panicked,
}

impl DialogError {
    /// For a substream that broke before the dialog had it: often the first sign of a connection that
    /// is about to be reported closed.
    pub(crate) fn before_start(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::WriteZero => Self::Closed,
            _ => Self::Io(Arc::new(error)),
        }
    }

    /// Whether the same dialog may succeed later without anybody changing code or configuration.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotConnected
            | Self::Busy { .. }
            | Self::OpenTimeout
            | Self::Stalled
            | Self::Closed
            | Self::Io(_) => true,
            Self::Unsupported(_) | Self::Cancelled | Self::Panicked => false,
        }
    }
}
