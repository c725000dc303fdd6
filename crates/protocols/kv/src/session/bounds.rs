//! Every bound of a session, with its arithmetic: some 8 MiB at worst, and one large value.

use crate::fills::LARGE;

/// Bytes that one side sends in a session before it says that it has more: 512 MiB, over 1,000,000
/// small entries.
const MAX_SENT: u64 = 512 << 20;
/// Turns that one side takes: 4,096 × 64 KiB = 256 MiB of comparisons.
const MAX_TURNS: u64 = 4_096;
/// Comparisons from the root in a session: a second one for what was written during the first.
pub(super) const MAX_COMPARISONS: u32 = 2;

/// Rows and items of one turn are sent up to this: 64 KiB. A leaf bucket is sent whole.
pub(super) const TURN_TARGET: usize = 64 << 10;
/// Nodes up to this size are told item by item: 32 × 48 bytes = 1.5 KiB against 0.6 KiB for a row and
/// another turn.
pub(super) const SMALL_NODE: u64 = 32;
/// Nodes up to this size are read at once: 4,096 × 48 bytes = 192 KiB.
pub(super) const NODE_AT_ONCE: u64 = 4_096;
/// Items of one turn: 65,536 × 48 bytes = 3 MiB. 16,777,216 evenly spread entries make leaf buckets of
/// 256 items.
pub(super) const MAX_TURN_ITEMS: usize = 65_536;
/// Rows of one turn that are taken: each has at least 5 bytes, an honest side sends up to
/// `TURN_TARGET` of them. 16,384 × 0.6 KiB = 10 MiB at worst.
pub(super) const MAX_TURN_ROWS: usize = 16_384;
/// Nodes that wait to be opened by either side: 16,384 × 100 bytes = 1.6 MiB.
pub(super) const MAX_PENDING: usize = 16_384;
/// A side opens no further nodes while the other has this many deeper ones to open.
pub(super) const PENDING_TARGET: usize = 2_048;

/// Frames that have been read and not yet been applied: 8 × 64 KiB = 512 KiB.
pub(super) const QUEUE: usize = 8;
/// Entries that are verified and stored at once.
pub(super) const BATCH_ENTRIES: usize = 2_000;
/// Bytes of entries that are verified and stored at once, but for the last frame.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// Batches under way: one is verified while the other is stored.
pub(super) const BATCHES: usize = 2;

/// Bytes of entries that are read from the store at once.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// Entries that are looked up at once.
pub(super) const CHUNK_ENTRIES: usize = 512;
/// Large values that one turn may name: 8,192 × up to 1.3 KiB = 11 MiB at worst.
pub(super) const MAX_LARGE: usize = 8_192;
/// Bytes of grants that a session may bring: more than a space may have.
pub(super) const MAX_GRANT_BYTES: usize = 4 << 20;

/// What a session may carry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes that this side sends before it says that it has more.
    pub(super) sent: u64,
    /// Bytes that the other side may send: as many, and what it was about to send.
    pub(super) received: u64,
    /// Turns of this side.
    pub(super) turns: u64,
    /// Entries that may come while another session fills the space.
    pub(super) beside: u64,
}

#[cfg(test)]
impl Bounds {
    /// So many entries may come while another session fills the space.
    pub(crate) fn beside(beside: u64) -> Self {
        Self { beside, ..Self::default() }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        // A turn that began below the bound may still have a chunk, 64 MiB of a value and a bucket.
        Self { sent: MAX_SENT, received: MAX_SENT + (128 << 20), turns: MAX_TURNS, beside: LARGE }
    }
}
