//! A space as it was at one moment, to be compared with that of another replica.

use bytes::Bytes;
use peerage_api::kv::KvError;
use peerage_types::{PeerId, UnixMillis};

use crate::{Item, KeyHash, Node, Outgoing, PeerRow, Summary};

/// One snapshot. Cheap to clone.
#[derive(Debug, Clone)]
pub struct View {}

impl View {
    /// Names this replica's feed: another after its store was lost or made new.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        todo!()
    }

    /// The sequence number of the last change.
    #[must_use]
    pub fn head(&self) -> u64 {
        todo!()
    }

    /// All that is in it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        todo!()
    }

    /// When this replica was last found equal with one that was not away itself; 0: never.
    #[must_use]
    pub fn as_of(&self) -> UnixMillis {
        todo!()
    }

    /// Whether the reader may read some prefixes only. Cursors mean nothing then.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        todo!()
    }

    /// What is remembered of a peer.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn peer(&self, peer: &PeerId) -> Result<Option<PeerRow>, KvError> {
        let _ = peer;
        todo!()
    }

    /// The summaries of the 16 parts of each node, which must be of level 0 to 3.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn children(&self, nodes: Vec<Node>) -> Result<Vec<[Summary; 16]>, KvError> {
        let _ = nodes;
        todo!()
    }

    /// What is in each node, in the order of the hashes; of all together at most `max`: nodes that
    /// do not fit any more are left out at the end.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn items(&self, nodes: Vec<Node>, max: usize) -> Result<Vec<Vec<Item>>, KvError> {
        let _ = (nodes, max);
        todo!()
    }

    /// Current versions in the order in which they came, those after `seq`, but those learned from
    /// `skip_from`; and the sequence number that this reaches through, at [`View::head`] the end.
    /// At least one, if there is one, however large.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn since(
        &self,
        seq: u64,
        skip_from: Option<PeerId>,
        max_bytes: usize,
    ) -> Result<(Vec<Outgoing>, u64), KvError> {
        let _ = (seq, skip_from, max_bytes);
        todo!()
    }

    /// The entries of hashed keys, each in the place of its hash.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn find(&self, hashes: Vec<KeyHash>) -> Result<Vec<Option<Outgoing>>, KvError> {
        let _ = hashes;
        todo!()
    }

    /// A part of a large value, [`PART_BYTES`](crate::bounds::PART_BYTES) long unless it is the last.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn value(&self, hash: KeyHash, part: u32) -> Result<Option<Bytes>, KvError> {
        let _ = (hash, part);
        todo!()
    }
}
