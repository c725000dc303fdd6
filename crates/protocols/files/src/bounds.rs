//! Every bound of this crate, with its arithmetic.

use std::time::Duration;

/// Transfers that are remembered; the oldest that are over give way. 4096 × about 1 KiB = 4 MiB.
pub const MAX_TRANSFERS: usize = 4096;
/// Of those, fetches of what is shared.
pub const MAX_PULLS: usize = 256;
/// Things that are shared. 10,000 × about 500 bytes = 5 MiB.
pub const MAX_SHARES: usize = 10_000;
/// Peers that a published folder may name.
pub const MAX_READERS: usize = 256;
/// Offers of one peer that wait for our user.
pub const MAX_ASKED_PER_PEER: usize = 16;
/// Offers of all peers that wait for our user.
pub const MAX_ASKED: usize = 256;
/// How long an offer waits for an answer.
pub const OFFER_EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);
/// Transfers that receive at a time; more wait. Each holds about 4 MiB of buffers per provider.
pub const MAX_RECEIVING: usize = 8;
/// Streams that serve all peers. 64 × about 2 MiB of buffers = 128 MiB at worst.
pub const MAX_SERVING: usize = 64;
/// Streams of one peer, and to one peer.
pub const MAX_STREAMS_PER_PEER: usize = 16;
/// Providers of one transfer that are remembered.
pub const MAX_PROVIDERS: usize = 32;
/// Providers of one transfer that are fetched from at a time.
pub const MAX_FETCHING: usize = 8;
/// Hashing at a time; more wait.
pub const MAX_HASHING: usize = 2;
/// Hashing that waits.
pub const MAX_HASHING_QUEUED: usize = 256;
/// How long a get may take to find its first provider, and an offer to reach its peer.
pub const FIRST_CONTACT_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for those who are patient.
pub const PATIENT_CONTACT_TIMEOUT: Duration = OFFER_EXPIRY;
/// How long a stream may be without a byte.
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// Readers of the facet's events.
pub(crate) const MAX_FEEDS: usize = 256;
/// Questions of dialogs that wait for the behaviour.
pub(crate) const MAX_KNOCKS: usize = 64;
/// How often progress is told.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// What is written becomes durable at least so often, in time and in bytes.
pub(crate) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// See [`CHECKPOINT_INTERVAL`].
pub(crate) const CHECKPOINT_BYTES: u64 = 128 << 20;
/// How often more providers are looked for while there is one.
pub(crate) const SEARCH_INTERVAL: Duration = Duration::from_secs(60);
/// While there is none: first so soon, and each time twice as late, up to [`SEARCH_INTERVAL`]. Above
/// [`SEARCH_TIMEOUT`], so that what a search brings is seen before the next one.
pub(crate) const FIRST_SEARCH_INTERVAL: Duration = Duration::from_secs(5);
/// How long a search may take to bring somebody before the known providers' failure is believed.
pub(crate) const SEARCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Times in a row that a provider may stop in the middle before it is given up.
pub(crate) const MAX_STALLS: u32 = 3;
