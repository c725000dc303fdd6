//! A peer of the book as a row of the store: one version byte, then CBOR.

use bytes::Bytes;
use libp2p_core::Multiaddr;
use peerage_api::peers::Source;
use peerage_types::UnixMillis;
use serde::{Deserialize, Serialize};

/// First byte of every row. A row of another version is dropped: the book is a cache of the network.
const VERSION: u8 = 1;

/// What is remembered of a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    /// At most [`MAX_ADDRESSES`](crate::book::MAX_ADDRESSES).
    pub(crate) addresses: Vec<Address>,
    /// How it became known.
    pub(crate) sources: Sources,
    /// Standing, within ±[`MAX_SCORE`](crate::book::MAX_SCORE).
    pub(crate) score: i32,
    /// When it was last connected.
    pub(crate) seen: Option<UnixMillis>,
    /// When it became known.
    pub(crate) added: UnixMillis,
    /// Whether it belongs to our network, once it told.
    pub(crate) member: Option<bool>,
}

/// An address without the peer id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// Where.
    pub(crate) address: Multiaddr,
    /// When a connection to it last succeeded.
    pub(crate) worked: Option<UnixMillis>,
    /// Failures since.
    pub(crate) failures: u32,
    /// Who named it; none for what the peer itself said.
    pub(crate) sources: Sources,
}

impl Address {
    pub(crate) fn new(address: Multiaddr) -> Self {
        Self { address, worked: None, failures: 0, sources: Sources::default() }
    }
}

/// A set of [`Source`]s, one bit each; the bits are part of the row's format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Sources(u8);

const ALL: [Source; 6] =
    [Source::Mdns, Source::Kad, Source::Mainline, Source::Bootstrap, Source::Pex, Source::Manual];

impl Sources {
    /// Adds a source; true if it is new.
    pub(crate) fn add(&mut self, source: Source) -> bool {
        let new = !self.has(source);
        self.0 |= bit(source);
        new
    }

    pub(crate) fn has(self, source: Source) -> bool {
        self.0 & bit(source) != 0
    }

    pub(crate) fn to_vec(self) -> Vec<Source> {
        ALL.into_iter().filter(|source| self.has(*source)).collect()
    }
}

fn bit(source: Source) -> u8 {
    match source {
        Source::Mdns => 1,
        Source::Kad => 2,
        Source::Mainline => 4,
        Source::Bootstrap => 8,
        Source::Pex => 16,
        Source::Manual => 32,
    }
}

impl Entry {
    /// The row; nothing if it cannot be encoded, which does not happen to these types.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        cbor4ii::serde::to_vec(vec![VERSION], self).ok().map(Bytes::from)
    }

    /// What a row says, if this version can read it.
    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        match row.split_first() {
            Some((&VERSION, rest)) => cbor4ii::serde::from_slice(rest).ok(),
            _ => None,
        }
    }
}
