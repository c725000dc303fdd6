//! What goes into a dialog: the wish to open one, and the one that a remote opened.

use std::{fmt, time::Duration};

use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionId, StreamProtocol};
use tokio_util::sync::CancellationToken;

use crate::slots::Slot;

/// Names one dialog of one [`crate::Dialogs`]; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialogId(pub(crate) u64);

impl fmt::Display for DialogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// With whom to open a dialog, and how.
#[derive(Clone, Debug)]
pub struct Open {
    pub(crate) peer: PeerId,
    pub(crate) protocol: StreamProtocol,
    pub(crate) until: Option<CancellationToken>,
    pub(crate) on: Option<ConnectionId>,
    /// `None`: as configured.
    pub(crate) progress_timeout: Option<Option<Duration>>,
    pub(crate) plain: bool,
}

impl Open {
    /// A dialog of `protocol` with `peer`, on its best connection, timed as configured.
    pub fn new(peer: PeerId, protocol: StreamProtocol) -> Self {
        Self { peer, protocol, until: None, on: None, progress_timeout: None, plain: false }
    }

    /// Drops the dialog wherever it is once `token` is cancelled; it then finishes with
    /// [`crate::DialogError::Cancelled`].
    pub fn until(mut self, token: CancellationToken) -> Self {
        self.until = Some(token);
        self
    }

    /// Uses exactly this connection, and no other if it closes.
    pub fn on(mut self, connection: ConnectionId) -> Self {
        self.on = Some(connection);
        self
    }

    /// How long this dialog may go without a byte read or written; `None`: for ever.
    pub fn progress_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.progress_timeout = Some(timeout);
        self
    }

    /// For protocols that others have defined, such as `/ipfs/ping/1.0.0`: no status byte.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }
}

/// A substream that a remote has opened and that waits for [`crate::Dialogs::serve`] or
/// [`crate::Dialogs::refuse`].
///
/// It counts against the inbound limits. Dropping it resets the substream and frees its place.
#[derive(Debug)]
#[must_use = "dropping it resets the substream; serve or refuse it"]
pub struct Inbound {
    /// Who opened it.
    pub peer: PeerId,
    /// The connection that it came over.
    pub connection: ConnectionId,
    /// Which of [`crate::Config::protocols`] was agreed on.
    pub protocol: StreamProtocol,
    /// Whether a relay forwards the connection.
    pub relayed: bool,
    pub(crate) stream: libp2p_swarm::Stream,
    pub(crate) plain: bool,
    pub(crate) closed: CancellationToken,
    pub(crate) slot: Slot,
    pub(crate) until: Option<CancellationToken>,
    /// `None`: as configured.
    pub(crate) progress_timeout: Option<Option<Duration>>,
}

impl Inbound {
    /// Drops the dialog wherever it is once `token` is cancelled; it then finishes with
    /// [`crate::DialogError::Cancelled`].
    pub fn until(mut self, token: CancellationToken) -> Self {
        self.until = Some(token);
        self
    }

    /// How long this dialog may go without a byte read or written; `None`: for ever.
    pub fn progress_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.progress_timeout = Some(timeout);
        self
    }
}
