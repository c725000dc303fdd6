//! What this crate holds at most.

use std::time::Duration;

use peerage_wire::identity::frames::MAX_BATCH_BYTES;

/// Users that are known at once.
pub const MAX_KNOWN: usize = 100_000;
/// Signed bytes of all of them, and what the search looks at.
pub const MAX_KNOWN_BYTES: usize = 64 << 20;
/// Longest text that a search looks at for one user: a profile of 14 KiB, and what becomes longer
/// in its normal form. What is behind is not found.
pub const MAX_HAYSTACK_BYTES: usize = 16 << 10;
/// Users that [`named`](crate::Directory::named) names.
pub const MAX_NAMED: usize = 16;

/// Sessions that this node opened at once.
pub const MAX_OPENED: usize = 4;
/// Sessions that others opened at once; more are told that the node is busy.
pub const MAX_SERVED: usize = 8;
/// Bundles that one session carries in each direction: 4096 × 19 KiB = 76 MiB at the very worst, and
/// 2 MiB of typical ones. The next session goes on where it ended.
pub const MAX_SESSION_BUNDLES: usize = 4096;
/// Bundles of one page in both directions together.
pub const MAX_PAGE_BUNDLES: usize = 256;
/// Pages of one session: 128 × 1024 entries are more than all users.
pub const MAX_SESSION_PAGES: usize = 128;
/// A session ends when nothing moves for so long.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(20);
/// Until a session goes on that was longer than one may be.
pub const CONTINUE_DELAY: Duration = Duration::from_secs(1);
/// Peers that told us nothing lately are compared with again after so long: what gossip has lost is
/// found then. One round trip and 40 bytes where nothing was lost.
pub const RESYNC_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// The first pause after a session that failed; doubled each time.
pub const RETRY_DELAY: Duration = Duration::from_secs(5);
/// The longest pause after sessions that failed.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(5 * 60);

/// A node that was lost and is there again has so long to say who is logged in there: it may have
/// been started anew, which ends all sessions. More than the five minutes and one within which nodes
/// repeat it.
pub const AFFIRM_TIMEOUT: Duration = Duration::from_secs(7 * 60);
/// Peers that were connected once and are missed: 1,024 × 50 bytes = 50 KiB.
pub const MAX_LOST: usize = 1024;

/// Bytes of one message: GossipSub carries up to 64 KiB.
pub const MAX_GOSSIP_BYTES: usize = 48 << 10;
/// Changes within this time travel together.
pub const GOSSIP_DELAY: Duration = Duration::from_millis(20);
/// Between two messages: 4 × 48 KiB a second at most.
pub const GOSSIP_INTERVAL: Duration = Duration::from_millis(250);
/// Messages that are being verified at once; more are not passed on: 64 × 64 KiB = 4 MiB.
pub const MAX_VERIFYING: usize = 64;
/// Users that one session may have taught and that are gossiped: with more, other peers are offered
/// a session instead, which costs them a round trip if they know.
pub const MAX_PASSED_ON: usize = 256;

/// Longest value in Kademlia.
pub const MAX_RECORD_BYTES: usize = 15 << 10;
/// How often records of local users are put into Kademlia.
pub const PUT_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Questions that wait for a record at once.
pub const MAX_LOOKUPS: usize = 256;
/// How long they wait.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);

/// Readers of events.
pub const MAX_FEEDS: usize = 256;

/// How often it is written that users are here: a killed node knows when they
/// were seen to this precision. One small commit a minute, and none while nobody is logged in.
pub const SEEN_INTERVAL: Duration = Duration::from_secs(60);

/// Changes are written after so long,
pub const FLUSH_DELAY: Duration = Duration::from_secs(1);
/// or when there are so many of them: 256 × 19 KiB = 5 MiB a write at worst.
pub const MAX_FLUSH_ROWS: usize = 256;
/// Rows verified between two looks at the clock of the runtime when the store is loaded.
pub const LOAD_CHUNK: usize = 256;
/// Users that a list looks at before others may write: below a millisecond.
pub const SCAN_CHUNK: usize = 4096;
/// Shelves of 64 KiB of text that a search looks through before others may write: a millisecond.
pub const SCAN_SHELVES: usize = 16;

const _: () = assert!(MAX_GOSSIP_BYTES <= MAX_BATCH_BYTES);
