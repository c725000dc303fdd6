//! Content on disk: planned, hashed, served, received and verified.
//!
//! Content is a blob (one file) or a tree (a [`Manifest`] and its files), named by a BLAKE3 hash. A
//! [`Plan`] cuts it into pieces; a [`Source`] reads and encodes them, a [`Sink`] verifies and writes
//! them, a [`Collector`] does so in memory. Wire: [`peerage_wire::files`]. Everything here
//! blocks: call it from blocking workers. Invariant: no byte is served or written that was not
//! verified against the root in the same call.

mod bits;
mod cache;
mod collect;
pub mod disk;
mod encoding;
pub mod faults;
mod hash;
mod plan;
mod prepare;
mod progress;
mod record;
mod sink;
mod source;

pub use bits::{Bitfield, BitsError};
pub use cache::Cache;
pub use collect::Collector;
pub use encoding::Corrupt;
pub use peerage_wire::files::manifest::Manifest;
pub use plan::{BLOCK_BYTES, GROUP_BYTES, PACK_FILES, PACKED_MAX_BYTES, Plan, PlanError};
pub use prepare::{MAX_SKIPPED, PrepareError, PrepareOptions, Prepared, Skipped, prepare};
pub use progress::Progress;
pub use record::{SourceItem, SourceKind, SourceRecord, Stamp};
pub use sink::{Finished, Sink, SinkError, Target, WriteError};
pub use source::{Source, SourceError};
