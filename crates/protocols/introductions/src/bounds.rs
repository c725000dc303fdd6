//! What this crate holds at most, and its rhythm.

use std::time::Duration;

/// Records that are kept: 2,048 × 1.3 KiB × 2 (read and as it travels) = 5 MiB at worst, and 1 MiB
/// of typical ones.
pub const MAX_KNOWN: usize = 2048;
/// Records of peers not met that one peer has told: 32 liars fill the rest, and then only displace
/// each other's.
pub const MAX_PER_SOURCE: usize = 64;
/// Peers that were connected lately and are still passed on.
pub const MAX_LATELY: usize = 512;
/// How long a peer is passed on after its last connection.
pub const LATELY: Duration = Duration::from_secs(30 * 60);
/// A record of this node is signed anew after so long: others have at least 40 minutes of it.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(20 * 60);

/// Each connected peer is asked this often, as long as there are no more than [`SETTLED_PEERS`]; with
/// more of them more seldom, so that two are asked each minute.
pub const ASK_INTERVAL: Duration = Duration::from_secs(4 * 60);
/// But at least this often: before the records that it has of this node expire.
pub const MAX_ASK_INTERVAL: Duration = Duration::from_secs(40 * 60);
/// A node with so many peers asks for few records, and others more seldom.
pub const SETTLED_PEERS: usize = 8;
/// Records that a settled node asks for: 2 asks a minute × (4 × 180 + 300) bytes = 34 B/s.
pub const SETTLED_LIMIT: u8 = 4;
/// New peers are asked within this time, so that not all ask at once where many meet.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);
/// While there are fewer than [`SETTLED_PEERS`] a new peer is asked again after this time, doubled each
/// time up to [`ASK_INTERVAL`].
pub const AGAIN_DELAY: Duration = Duration::from_secs(5);
/// When what this node says of itself has changed its peers hear of it within this time.
pub const TELL_DELAY: Duration = Duration::from_secs(2);
/// So many of them, no more often than every [`TELL_INTERVAL`]; others when their time comes.
pub const MAX_TELL: usize = 16;
/// See [`MAX_TELL`].
pub const TELL_INTERVAL: Duration = Duration::from_secs(30);
/// The first pause after a peer could not be asked; doubled each time.
pub const RETRY_DELAY: Duration = Duration::from_secs(30);

/// Peers that are asked at once, apart from searches.
pub const MAX_ASKED: usize = 8;
/// Peers that ask at once: 8 × (20 KiB of answer and one of question) = 180 KiB; more are told that
/// the node is busy.
pub const MAX_SERVED: usize = 8;
/// Asks in a row that are answered to one peer.
pub const SERVE_BURST: u32 = 6;
/// After which one is answered in this time.
pub const SERVE_INTERVAL: Duration = Duration::from_secs(15);
/// Peers whose asks are counted: 1,024 × about 64 bytes = 64 KiB.
pub const MAX_COUNTED: usize = 1024;

/// Searches at once: 32 × 512 peers × 40 bytes = 640 KiB at worst.
pub const MAX_SEARCHES: usize = 32;
/// Peers that one search asks.
pub const SEARCH_PEERS: usize = 8;
/// A dialog ends when nothing moves for so long.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(10);
