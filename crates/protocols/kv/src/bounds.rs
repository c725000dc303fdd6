//! Every bound of the store, with its arithmetic.

use std::time::Duration;

/// How far ahead of this machine's clock an entry may be dated: 60 s.
pub const MAX_DRIFT: Duration = Duration::from_secs(60);
/// How long deleted and expired entries are remembered: 30 days, and up to one more, because all
/// replicas forget them at the same time, at midnight UTC.
pub const TOMBSTONE_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Former versions that are kept of a key. 8 × 64 KiB = 512 KiB of values at worst.
pub const HISTORY: usize = 8;
/// A value over [`MAX_INLINE_BYTES`](peerage_wire::kv::MAX_INLINE_BYTES) is kept in parts of this
/// size: 1 MiB.
pub const PART_BYTES: usize = 1 << 20;
/// Writes up to this many are signed and verified in the task that asks for it: 16 × 50 µs = 0.8 ms.
pub const MAX_AT_ONCE: usize = 16;
/// Rows that one transaction expires, releases or removes: 10,000 × some 10 µs = 0.1 s.
pub const MAX_SWEEP: usize = 10_000;
/// Rows of the feed that one read walks over: 10,000 × some 2 µs = 20 ms.
pub const MAX_SCAN: usize = 10_000;
/// Events of a page, and bytes of keys and values in it.
pub const MAX_PAGE_EVENTS: usize = 256;
/// Bytes of keys and values in a page of a list or of events, unless its first item is larger:
/// 2 MiB, at most 3 MiB as base64 in an answer of up to 4 MiB.
pub const MAX_PAGE_BYTES: usize = 2 << 20;
/// Keys that [`Received`](crate::Received) names: for whoever passes them on, 1,000 × 1 KiB.
pub const MAX_CHANGED: usize = 1_000;
/// A single read that takes longer has waited for a disk: until one is faster again they are done on the
/// blocking pool. Some 300 times what one takes in memory: 1 ms.
pub const SLOW_READ: Duration = Duration::from_millis(1);
/// Leaf buckets whose last changes wait to be brought into the summaries: 64 × 38 bytes = 2.4 KiB, which
/// fits into a page with the counters that every write changes, too.
pub const MAX_WAITING: usize = 64;
/// Expired values that a space remembers for those who follow its changes, and bytes of them: 1 MiB, at
/// most 64 spaces × 1 MiB.
pub const MAX_LATELY: usize = 1_024;
/// See [`MAX_LATELY`].
pub const MAX_LATELY_BYTES: usize = 1 << 20;
/// Readers of changes of one space. Each holds a queue of 256 events × 2 values of up to 64 KiB: 32 MiB
/// at worst.
pub const MAX_WATCHERS: usize = 256;
/// Peers that a space remembers, the least recently synchronised are forgotten: 1,024 × 300 bytes.
pub const MAX_REPLICAS: usize = 1_024;

/// Sessions that others may have with this node at once; for the memory of each see `session/bounds.rs`.
pub const MAX_SERVED: usize = 16;
/// Sessions with one peer at once, each way: one for each of some spaces.
pub const MAX_STREAMS_PER_PEER: usize = 4;
/// A session in which nothing moves for this long is given up.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// Gossiped messages that are verified at once: 64 × 32 KiB = 2 MiB.
pub const MAX_JUDGING: usize = 64;
/// Gossiped messages for one batch of this node's own; of larger ones the peers are asked to fetch
/// them: 8 × 32 KiB.
pub const MAX_MESSAGES: usize = 8;
/// Ranges of changes that wait to be told: 1,024 × 56 bytes.
pub const MAX_UNTOLD: usize = 1_024;
/// Readers of changes of all spaces: 256 × a page of events.
pub const MAX_WATCHES: usize = 256;

/// The time up to which deleted and expired entries are forgotten everywhere: the start of the UTC
/// day in which `now` − 30 days is.
#[must_use]
pub fn floor(now: peerage_types::UnixMillis) -> peerage_types::UnixMillis {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let then = now.0.saturating_sub(TOMBSTONE_LIFE.as_millis() as u64);
    peerage_types::UnixMillis(then - then % DAY_MS)
}
