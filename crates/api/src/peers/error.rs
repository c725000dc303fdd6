//! How a question to the facet `peers` fails.

use peerage_types::PeerId;
use serde::{Deserialize, Serialize};

use crate::{Failure, LinkError};

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum PeersError {
    /// The peer is not connected.
    #[error("{peer} is not connected; connect first with `peerage connect {peer}`")]
    NotConnected {
        /// Who.
        peer: PeerId,
    },
    /// The address book has never heard of the peer.
    #[error("{peer} is not known here")]
    Unknown {
        /// Who.
        peer: PeerId,
    },
    /// No address is known.
    #[error("no address of {peer} is known; give one with `peerage connect ADDRESS`")]
    NoAddress {
        /// Who.
        peer: PeerId,
    },
    /// None of the addresses answered.
    #[error("cannot reach {target}: {}", tried.join("; "))]
    Unreachable {
        /// The peer or address that was asked for.
        target: String,
        /// Each address with what it said.
        tried: Vec<String>,
    },
    /// Somebody else answers at that address.
    #[error("{address} is {found}, not {expected}")]
    WrongPeer {
        /// Where.
        address: String,
        /// Who should have answered.
        expected: PeerId,
        /// Who did.
        found: PeerId,
    },
    /// On our block list, or not on our allow list.
    #[error(
        "{peer} is blocked here; lift it with `peerage peers unblock {peer}` or put it on the allow list"
    )]
    Blocked {
        /// Who.
        peer: PeerId,
    },
    /// That is this node itself.
    #[error("{peer} is this node itself")]
    Own {
        /// Our own id.
        peer: PeerId,
    },
    /// The address cannot be dialled by this node.
    #[error("{address} cannot be dialled: {reason}")]
    BadAddress {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A limit of either side is reached.
    #[error("refused: {reason}")]
    Refused {
        /// Whose limit, and which.
        reason: String,
    },
    /// No answer in time.
    #[error("{peer} did not answer within {seconds} s")]
    TimedOut {
        /// Who.
        peer: PeerId,
        /// How long it was given.
        seconds: u64,
    },
    /// The peer does not speak the protocol.
    #[error("{peer} does not speak {protocol}")]
    Unsupported {
        /// Who.
        peer: PeerId,
        /// The protocol.
        protocol: String,
    },
    /// The connection broke off.
    #[error("the connection to {peer} broke: {reason}")]
    Broken {
        /// Who.
        peer: PeerId,
        /// What the transport said.
        reason: String,
    },
    /// The number is out of range.
    #[error("{what} must be {range}")]
    OutOfRange {
        /// Which number.
        what: String,
        /// The range.
        range: String,
    },
    /// The list could not be saved.
    #[error("the change was not saved: {reason}")]
    Store {
        /// What the store said.
        reason: String,
    },
    /// The node could not be asked.
    #[error(transparent)]
    #[serde(untagged)]
    Link(#[from] LinkError),
}

impl Failure for PeersError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::Unreachable { .. } | Self::Refused { .. } | Self::TimedOut { .. } => true,
            Self::Broken { .. } | Self::NotConnected { .. } | Self::Store { .. } => true,
            Self::Unknown { .. } | Self::NoAddress { .. } | Self::WrongPeer { .. } => false,
            Self::Blocked { .. } | Self::Own { .. } | Self::BadAddress { .. } => false,
            Self::Unsupported { .. } | Self::OutOfRange { .. } => false,
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}
