//! What the facet `files` tells: transfers, shares, figures.

use std::{fmt, path::PathBuf};

use peerage_types::{ContentHash, PeerId, TransferId, UnixMillis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FilesError;

/// Which way content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From this node to a peer.
    Send,
    /// To this node.
    Receive,
}

/// A side of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// This node.
    Us,
    /// The other one.
    Them,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "this node",
            Self::Them => "the other side",
        })
    }
}

/// How a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Files are read and hashed before they can be offered.
    Preparing,
    /// Offered; the other side has not decided yet.
    Offered,
    /// Offered to us; `files.accept` or `files.reject` decides.
    Asked,
    /// Waiting for a connection to somebody who has the content.
    Connecting,
    /// Waiting for a direct connection, because relays are not for bulk.
    AwaitingDirect,
    /// Bytes flow, or may at any moment.
    Running,
    /// Paused by this node.
    Paused,
    /// Paused by the other side.
    PausedByPeer,
    /// Complete: verified, on disk, under its final name.
    Done,
    /// Ended by an error; `files.resume` tries again from what is there.
    Failed,
    /// Ended by a cancel of either side.
    Cancelled,
    /// The other side, or we, did not want it.
    Rejected,
}

impl State {
    /// The name as it is in JSON, such as `paused_by_peer`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Offered => "offered",
            Self::Asked => "asked",
            Self::Connecting => "connecting",
            Self::AwaitingDirect => "awaiting_direct",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::PausedByPeer => "paused_by_peer",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }

    /// Whether it goes no further by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled | Self::Rejected)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str().replace('_', " "))
    }
}

/// What the content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One file.
    File,
    /// A directory, or several files and directories.
    Tree,
}

/// What bytes travel over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Path {
    /// A connection between the two nodes.
    Direct,
    /// A circuit through a relay.
    Relayed,
}

/// Something of a directory that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// What.
    #[schemars(with = "String")]
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// A transfer and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Transfer {
    /// Its id; the same on both sides, unless a peer fetches what is shared.
    pub transfer: TransferId,
    /// Which way it goes.
    pub direction: Direction,
    /// How it stands.
    pub state: State,
    /// The other side of a push, or of whom a pull was asked last.
    #[schemars(with = "Option<String>")]
    pub peer: Option<PeerId>,
    /// What it is called.
    pub name: String,
    /// BLAKE3 of the file, or of the manifest of a tree; unknown until it is hashed or resolved.
    pub hash: Option<ContentHash>,
    /// What it is.
    pub kind: Kind,
    /// Size of all files together.
    pub bytes: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes that are verified here, or that the other side has taken.
    pub done_bytes: u64,
    /// Bytes that were there already when it was last started, of [`Transfer::done_bytes`].
    pub resumed_bytes: u64,
    /// Bytes of content and proofs that crossed the network for it, over all attempts.
    pub wire_bytes: u64,
    /// Bytes a second of late.
    pub rate_bps: u64,
    /// Seconds to go at that rate.
    pub eta_s: Option<u64>,
    /// Seconds it has been running, over all attempts.
    pub seconds: Seconds,
    /// What its bytes travelled over last.
    pub path: Option<Path>,
    /// Peers that send, or receive, at the moment.
    pub providers: u32,
    /// Where the content is, or will be, on this side.
    #[schemars(with = "Vec<String>")]
    pub paths: Vec<PathBuf>,
    /// What of a directory could not be sent; at most 100 are named.
    pub skipped: Vec<Skipped>,
    /// How many were skipped.
    pub skipped_count: u64,
    /// When it was begun.
    pub started_ms: UnixMillis,
    /// When it ended.
    pub finished_ms: Option<UnixMillis>,
    /// Why it ended without its content.
    pub error: Option<FilesError>,
}

/// Seconds with fractions; never not-a-number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Eq for Seconds {}

/// Something others may fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// Its id; names it in `files.unshare`.
    pub share: TransferId,
    /// What it is called.
    pub name: String,
    /// What is shared.
    pub what: Shared,
    /// Where it is.
    #[schemars(with = "Vec<String>")]
    pub paths: Vec<PathBuf>,
    /// Bytes that were served of it since the start of the node.
    pub served_bytes: u64,
    /// When it was shared.
    pub created_ms: UnixMillis,
    /// What of a directory is not in it, at most 100; told by `files.share` and not kept.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// How many were skipped; told by `files.share` and not kept.
    #[serde(default)]
    pub skipped_count: u64,
    /// Whether something of [`Share::paths`] is gone: nobody can fetch it then.
    #[serde(default)]
    pub missing: bool,
}

/// What is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shared {
    /// Content, for whoever has its ticket.
    Content {
        /// BLAKE3 of the file, or of the manifest of a tree.
        hash: ContentHash,
        /// What it is.
        kind: Kind,
        /// Size of all files together.
        bytes: u64,
        /// Number of files.
        files: u64,
        /// What to hand out.
        ticket: String,
    },
    /// A folder, for `PEER:NAME/PATH`.
    Folder {
        /// Who may read; everybody in the network if empty.
        #[schemars(with = "Vec<String>")]
        readers: Vec<PeerId>,
    },
}

/// Figures over all transfers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Transfers that are not over.
    pub active: u64,
    /// Offers that wait for our answer.
    pub asked: u64,
    /// Transfers that completed since the start.
    pub done: u64,
    /// Transfers that failed since the start.
    pub failed: u64,
    /// Bytes of content and proofs sent since the start.
    pub sent_bytes: u64,
    /// Bytes of content and proofs received since the start.
    pub received_bytes: u64,
    /// Received bytes that did not verify.
    pub corrupt_bytes: u64,
    /// Streams that serve peers at the moment.
    pub serving: u64,
    /// Things that are shared.
    pub shares: u64,
    /// Bytes a second sent of late.
    pub send_bps: u64,
    /// Bytes a second received of late.
    pub receive_bps: u64,
}

/// A change of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It is new, or stands differently than before.
    State {
        /// All of it.
        #[serde(flatten)]
        transfer: Box<Transfer>,
    },
    /// Files are hashed before they can be offered or shared.
    Hashing {
        /// Which, as chosen by the caller.
        transfer: TransferId,
        /// Bytes read so far.
        bytes: u64,
        /// Bytes to read as far as known.
        total: u64,
    },
    /// It moved; at most every 100 ms.
    Progress {
        /// Which.
        transfer: TransferId,
        /// Bytes verified here, or taken by the other side.
        bytes: u64,
        /// Size of all files together.
        total: u64,
        /// Bytes a second of late.
        rate_bps: u64,
        /// Seconds to go at that rate.
        eta_s: Option<u64>,
        /// What the bytes travel over.
        path: Option<Path>,
        /// Peers that send, or receive.
        providers: u32,
    },
}
