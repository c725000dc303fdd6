//! What an embedding behaviour may choose, and the bounds that it may not.

use std::time::Duration;

use libp2p_swarm::StreamProtocol;

/// Open commands that one connection's handler has not yet taken off its queue.
///
/// The swarm stops polling every behaviour while the queue of one connection (33 commands) is full.
/// 8 for each of the four behaviours that open streams in bursts = 32.
pub const MAX_UNTAKEN_OPENS: usize = 8;

/// Refusals being written at once, per [`crate::Dialogs`]; further streams are reset without a word.
///
/// 64 tasks × about 1 KiB = 64 KiB.
pub const MAX_REFUSALS: usize = 64;

/// How long one refusal may take before its stream is reset.
pub const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a finished dialog that never read waits to learn whether the remote refused it.
pub const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a dialog may go on after its connection closed: time to notice by itself, to use what
/// was already received and to say what became of its work.
pub const CLOSED_GRACE: Duration = Duration::from_secs(2);

/// The protocols and limits of one [`crate::Dialogs`].
#[derive(Clone, Debug)]
pub struct Config {
    /// Protocols served to others, preferred first; empty: only outbound dialogs.
    pub protocols: Vec<StreamProtocol>,
    /// Those of `protocols` that are defined by others and so have no status byte.
    ///
    /// A refusal on one of these is a reset.
    pub plain: Vec<StreamProtocol>,
    /// Outbound dialogs with one peer, those waiting to be opened included.
    ///
    /// 64 × 256 KiB initial receive window = 16 MiB per peer at worst.
    pub max_outbound_per_peer: usize,
    /// Inbound dialogs with one peer, those handed out but not yet served included.
    ///
    /// 64 × 256 KiB initial receive window = 16 MiB per peer at worst.
    pub max_inbound_per_peer: usize,
    /// All dialogs together, both directions: 1024 = 8 peers at both of their limits.
    ///
    /// 1024 × 256 KiB initial receive window = 256 MiB at worst.
    pub max_total: usize,
    /// From [`crate::Dialogs::open`] until the substream is negotiated, waiting in line included.
    pub open_timeout: Duration,
    /// How long a dialog may go without a byte read or written; `None`: for ever.
    ///
    /// Looked at four times per period, so a stalled dialog ends after 1 to 1¼ of it.
    pub progress_timeout: Option<Duration>,
}

impl Config {
    /// Serves `protocols` with 64 dialogs per peer and direction, 1024 in total, 10 s to open and
    /// 30 s without progress.
    pub fn new(protocols: impl IntoIterator<Item = StreamProtocol>) -> Self {
        Self {
            protocols: protocols.into_iter().collect(),
            plain: Vec::new(),
            max_outbound_per_peer: 64,
            max_inbound_per_peer: 64,
            max_total: 1024,
            open_timeout: Duration::from_secs(10),
            progress_timeout: Some(Duration::from_secs(30)),
        }
    }
}
