//! How a question to the facet `files` fails, and how a transfer does.

use std::path::{Path, PathBuf};

use peerage_types::{ContentHash, PeerId, TransferId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Side, State};
use crate::{Failure, LinkError};

/// Ends what is said when the source of a transfer is no longer what was offered: no retry mends that.
pub const SEND_AGAIN: &str = "they have to be sent or shared again";

/// How a question to this facet fails, and why a transfer ended without its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum FilesError {
    /// No such transfer.
    #[error("there is no transfer {transfer}; see `peerage transfers`")]
    UnknownTransfer {
        /// What was asked for.
        transfer: TransferId,
    },
    /// No such share.
    #[error("nothing is shared as {share}; see `peerage shares`")]
    UnknownShare {
        /// What was asked for.
        share: String,
    },
    /// The transfer cannot do that now.
    #[error("{transfer} is {state}: it cannot {action}")]
    WrongState {
        /// Which.
        transfer: TransferId,
        /// How it stands.
        state: State,
        /// What was asked of it, such as `be paused`.
        action: String,
    },
    /// The text is no ticket.
    #[error("that is no ticket: {reason}; copy it whole, it begins with `peeragefile1`")]
    BadTicket {
        /// What is wrong with it.
        reason: String,
    },
    /// A path on this side cannot be used.
    #[error("{}", at(path, reason))]
    Path {
        /// Which.
        #[schemars(with = "String")]
        path: PathBuf,
        /// What the system said, or what is wrong with it.
        reason: String,
    },
    /// A file changed while it was sent or hashed.
    #[error("{} changed while it was read; send it again", path.display())]
    Changed {
        /// Which.
        #[schemars(with = "String")]
        path: PathBuf,
    },
    /// Nothing of that name is published by the peer, or not to us.
    #[error("{peer} has published no {path:?}, or not for this node")]
    NotPublished {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// What was asked for.
        path: String,
    },
    /// The peer does not have the content (any more).
    #[error("{peer} no longer has {hash}; ask for a new ticket")]
    NotThere {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// What.
        hash: ContentHash,
    },
    /// The peer cannot be reached.
    #[error("cannot reach {peer}: {reason}")]
    Unreachable {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// What was tried, and what to do.
        reason: String,
    },
    /// Nobody who has the content could be reached in time.
    #[error("nobody who has {hash} can be reached; is one of the ticket's nodes running?")]
    NoProvider {
        /// What.
        hash: ContentHash,
    },
    /// The other side said no.
    #[error("{peer} rejected it: {reason}")]
    Rejected {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// Its words.
        reason: String,
    },
    /// One of the sides ended the transfer.
    #[error("cancelled by {by}")]
    Cancelled {
        /// Which side.
        by: Side,
    },
    /// The other side is blocked here.
    #[error("{peer} is blocked here; lift it with `peerage peers unblock {peer}`")]
    Blocked {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
    },
    /// The peer does not speak the protocol.
    #[error("{peer} cannot exchange files: it is no Peerage node of this network, or an older one")]
    Unsupported {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
    },
    /// Too little room for what is to come.
    #[error(
        "not enough room in {}: {:.1} MB are needed, {:.1} MB are free; make room there",
        dir.display(), *needed as f64 / 1e6, *free as f64 / 1e6
    )]
    DiskFull {
        /// Where.
        #[schemars(with = "String")]
        dir: PathBuf,
        /// Bytes that are still to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Every provider sent bytes that do not verify.
    #[error("what was received does not verify; the peers that sent it are penalised")]
    Corrupt {
        /// Whose bytes.
        hash: ContentHash,
    },
    /// The offer was not answered in time.
    #[error("{peer} did not answer the offer within {seconds} s")]
    Expired {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// How long it was given.
        seconds: u64,
    },
    /// No answer in time.
    #[error("{peer} did not answer within {seconds} s")]
    TimedOut {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// How long it was given.
        seconds: u64,
    },
    /// A limit is reached.
    #[error("too many {what}; the most is {max}")]
    TooMany {
        /// Of what.
        what: String,
        /// The limit.
        max: u64,
    },
    /// The connection or the dialog broke in a way that a retry may mend.
    #[error("the transfer with {peer} broke: {reason}")]
    Broken {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// What was said.
        reason: String,
    },
    /// The state could not be saved.
    #[error("the change was not saved: {reason}")]
    Store {
        /// What the store said.
        reason: String,
    },
    /// The node could not be asked.
    #[error(transparent)]
    #[serde(untagged)]
    #[schemars(skip)]
    Link(#[from] LinkError),
}

/// The path first, unless it is in what is said of it.
fn at(path: &Path, reason: &str) -> String {
    let path = path.display().to_string();
    if reason.contains(&path) { reason.to_owned() } else { format!("{path}: {reason}") }
}

impl Failure for FilesError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::Unreachable { .. } | Self::NoProvider { .. } | Self::TimedOut { .. } => true,
            Self::Broken { reason, .. } => !reason.ends_with(SEND_AGAIN),
            Self::DiskFull { .. } | Self::Store { .. } => true,
            Self::Changed { .. } | Self::Expired { .. } | Self::TooMany { .. } => true,
            Self::UnknownTransfer { .. } | Self::UnknownShare { .. } => false,
            Self::WrongState { .. } | Self::BadTicket { .. } | Self::Path { .. } => false,
            Self::NotPublished { .. } | Self::NotThere { .. } | Self::Rejected { .. } => false,
            Self::Cancelled { .. } | Self::Blocked { .. } | Self::Unsupported { .. } => false,
            Self::Corrupt { .. } => false,
        }
    }

    fn is_refusal(&self) -> bool {
        match self {
            Self::Rejected { .. } | Self::NotPublished { .. } => true,
            Self::Cancelled { by } => *by == Side::Them,
            _ => false,
        }
    }

    fn is_timeout(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::TimedOut { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_once_and_sizes_are_readable() {
        let said = |reason: &str| {
            FilesError::Path { path: "/a/b".into(), reason: reason.into() }.to_string()
        };
        assert_eq!(said("permission denied"), "/a/b: permission denied");
        assert_eq!(said("/a/b is on a read-only disk"), "/a/b is on a read-only disk");
        let full = FilesError::DiskFull { dir: "/a".into(), needed: 104_859_648, free: 31_457_280 };
        let text = "not enough room in /a: 104.9 MB are needed, 31.5 MB are free; make room there";
        assert_eq!(full.to_string(), text);
    }

    #[test]
    fn what_has_to_be_sent_again_is_not_resumed() {
        let peer = "12D3KooWGRhzjJbYMLRt5wYFfvv3d63xwHVsGxr97QVSRgsYKNAr".parse().unwrap();
        let broken = |reason: String| FilesError::Broken { peer, reason };
        assert!(broken("the connection was lost".into()).is_retryable());
        assert!(!broken(format!("it says: some have changed; {SEND_AGAIN}")).is_retryable());
    }
}
