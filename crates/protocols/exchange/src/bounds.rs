//! Every bound of this crate, with its arithmetic.

use std::time::Duration;

use peerage_api::exchange::MAX_BODY_BYTES;

/// Acks and answers that one outbound stream waits for; above, the sender is told `Busy`.
///
/// 1024 × about 200 bytes = 200 KiB a peer.
pub const MAX_IN_FLIGHT: usize = 1024;

/// Requests of one inbound stream that wait for the responder; above, they are refused as `Busy`.
///
/// As many as a responder's queue holds: 256.
pub const MAX_WAITING_PER_STREAM: usize = 256;

/// Requests of all peers that wait for a responder: 4096 × about 300 bytes = 1.2 MiB.
///
/// Their bodies are the responders', whose queues hold 256 each.
pub const MAX_WAITING: usize = 4096;

/// Acks and refusals that may wait beside the answers to be written; the reader then waits.
pub(crate) const MAX_WAITING_ACKS: usize = 64;

/// Bytes of answers that may wait to be written to one peer: eight of the largest, 8 MiB.
pub const MAX_REPLY_BYTES: usize = 8 * MAX_BODY_BYTES;

/// Streams that a peer may have open to us: one in use, and one that takes over from it.
pub const MAX_INBOUND_PER_PEER: usize = 2;

/// Dialogs with one peer and direction as `dialog` sees them: those above, and ended ones whose end
/// has not yet come to us.
pub(crate) const MAX_DIALOGS_PER_PEER: usize = 4;

/// Streams of all peers, both directions: 2048 peers with one each way.
///
/// 4096 × 20 KiB of buffers while idle = 80 MiB; × 200 KiB while all are at full speed.
pub const MAX_STREAMS: usize = 4096;

/// Types that all subscriptions together listen for: 64 subscriptions of the largest kind.
///
/// A slow one holds up to 1024 messages, the capacity of its feed.
pub const MAX_LISTENED: usize = 4096;

/// Types with a responder.
pub const MAX_RESPONDERS: usize = 1024;

/// Callers that may wait for one stream to open.
pub const MAX_WAITING_OPENS: usize = 1024;

/// How long a stream that has a successor may stay silent before it counts as dead.
///
/// Messages on the successor wait for it, so that order is kept.
pub const HANDOVER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the last answers may take to be written once a peer has said all it had to say.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(30);

/// Bodies up to this size are copied so that many go into one write: 4 KiB.
pub(crate) const MAX_COPIED_BYTES: usize = 4 << 10;

/// A batch is written once it has so many bytes: 64 KiB, four frames of yamux.
pub(crate) const BATCH_BYTES: usize = 64 << 10;

/// Messages taken off a queue at once.
pub(crate) const BATCH_MESSAGES: usize = 64;

/// Bytes that are read at once: at first, and at most on a stream that is busy.
pub(crate) const READ_BYTES: std::ops::RangeInclusive<usize> = 4 << 10..=64 << 10;
