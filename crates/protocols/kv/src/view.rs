//! A space as it was at one moment, to be compared with that of another replica.

use std::sync::Arc;

use bytes::Bytes;
use peerage_api::kv::KvError;
use peerage_store::{Kv, KvRead, KvSnapshot, KvTable, StoreError};
use peerage_types::{PeerId, UnixMillis};

use crate::{
    Item, KeyHash, Node, Outgoing, PeerRow, Summary,
    replica::{Place, children, key_behind, row, stored},
    rows::{self, REMOTE, ReplicaRow, Row},
};

mod feed;
mod part;
mod ranges;

use part::Part;

/// One snapshot. Cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    kv: Kv,
    snapshot: Arc<KvSnapshot>,
    place: Place,
    facts: Facts,
    /// What the reader may read, if it is not everything.
    part: Option<Part>,
}

/// What is known of the whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) epoch: u64,
    pub(crate) head: u64,
    pub(crate) summary: Summary,
    pub(crate) as_of: UnixMillis,
    pub(crate) settled: u64,
}

impl View {
    /// Of what begins with one of the prefixes; reads it all unless that is everything.
    pub(crate) async fn new(
        kv: Kv,
        snapshot: Arc<KvSnapshot>,
        place: Place,
        mut facts: Facts,
        prefixes: Vec<String>,
    ) -> Result<Self, StoreError> {
        let part = if prefixes.iter().any(String::is_empty) {
            None
        } else {
            Some(kv.read_at(&snapshot, move |read| Part::read(read, place, prefixes)).await?)
        };
        if let Some(part) = &part {
            facts.summary = part.summary(Node::ROOT);
        }
        Ok(Self { inner: Arc::new(Inner { kv, snapshot, place, facts, part }) })
    }

    /// Names this replica's feed: another after its store was lost or made new. Never 0.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.inner.facts.epoch
    }

    /// The sequence number of the last change.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.inner.facts.head
    }

    /// All that is in it.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.inner.facts.summary
    }

    /// When this replica was last found equal with one that was not away for long itself; 0: never.
    #[must_use]
    pub fn as_of(&self) -> UnixMillis {
        self.inner.facts.as_of
    }

    /// The sequence number up to which this replica had the same as the other one then: nobody else
    /// need know of what is behind it.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.inner.facts.settled
    }

    /// Whether the reader may read some prefixes only. Cursors mean nothing then.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.inner.part.is_some()
    }

    /// What is remembered of a peer.
    ///
    /// # Errors
    /// [`KvError::Store`].
    ///
    /// # Cancel safety
    /// Yes, as are all questions to a view.
    pub async fn peer(&self, peer: &PeerId) -> Result<Option<PeerRow>, KvError> {
        let key = rows::replica(self.inner.place.no, peer);
        let row = self.read(move |_, read| {
            read.get_with(KvTable::Meta, &key, ReplicaRow::decode)?.transpose()
        });
        let shown = |row: ReplicaRow| {
            let ReplicaRow { cursor, equal_at: synced_ms, settled, .. } = row;
            PeerRow { cursor, synced_ms, settled }
        };
        Ok(row.await?.map(shown))
    }

    /// The summaries of the 16 parts of each node, which must be of level 0 to 3.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn children(&self, nodes: Vec<Node>) -> Result<Vec<[Summary; 16]>, KvError> {
        let read = self.read(move |inner, read| {
            let of = |node: Node| match &inner.part {
                Some(part) => Ok(part.children(node)),
                None => children(read, inner.place.no, node),
            };
            nodes.into_iter().map(of).collect()
        });
        read.await
    }

    /// What is in each node, in the order of the hashes; of all together at most `max`: from the
    /// first node on that does not fit any more none is given, but one at least.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn items(&self, nodes: Vec<Node>, max: usize) -> Result<Vec<Vec<Item>>, KvError> {
        self.read(move |inner, read| {
            let (mut all, mut left) = (Vec::new(), max);
            for node in nodes {
                let items = match &inner.part {
                    Some(part) => part.items(node).to_vec(),
                    None => ranges::items(read, inner.place.no, node)?,
                };
                if items.len() > left && !all.is_empty() {
                    break;
                }
                left = left.saturating_sub(items.len());
                all.push(items);
            }
            Ok(all)
        })
        .await
    }

    /// Current versions in the order in which they came: those after `seq`, but those learned from
    /// `skip_from`; and the sequence number that this reaches through, at [`View::head`] the end.
    /// There may be none before the end. The first is given however large it is.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn since(
        &self,
        seq: u64,
        skip_from: Option<PeerId>,
        max_bytes: usize,
    ) -> Result<(Vec<Outgoing>, u64), KvError> {
        let skip = skip_from.map(|peer| rows::from(&peer));
        self.read(move |inner, read| feed::since(inner, read, seq, skip, max_bytes)).await
    }

    /// The entries of hashed keys, each in the place of its hash.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn find(&self, hashes: Vec<KeyHash>) -> Result<Vec<Option<Outgoing>>, KvError> {
        let read = self
            .read(move |inner, read| hashes.iter().map(|hash| inner.find(read, hash)).collect());
        read.await
    }

    /// A part of a large value, [`PART_BYTES`](crate::bounds::PART_BYTES) long unless it is the last.
    ///
    /// # Errors
    /// [`KvError::Store`].
    pub async fn value(&self, hash: KeyHash, part: u32) -> Result<Option<Bytes>, KvError> {
        self.read(move |inner, read| {
            if !inner.part.as_ref().is_none_or(|of| of.has(&hash)) {
                return Ok(None);
            }
            let at = rows::value(inner.place.no, &hash, part);
            read.get_with(KvTable::Values, &at, Bytes::copy_from_slice)
        })
        .await
    }

    async fn read<T, F>(&self, read: F) -> Result<T, KvError>
    where
        T: Send + 'static,
        F: FnOnce(&Inner, &KvSnapshot) -> Result<T, StoreError> + Send + 'static,
    {
        let inner = self.inner.clone();
        let Inner { kv, snapshot, .. } = &*self.inner;
        kv.read_at(snapshot, move |snapshot| read(&inner, snapshot)).await.map_err(stored)
    }
}

impl Inner {
    fn find(&self, read: &KvSnapshot, hash: &KeyHash) -> Result<Option<Outgoing>, StoreError> {
        if !self.part.as_ref().is_none_or(|part| part.has(hash)) {
            return Ok(None);
        }
        let Some(key) = key_behind(read, self.place.no, hash)? else { return Ok(None) };
        Ok(row(read, self.place, &key)?.map(outgoing))
    }
}

fn outgoing(row: Row) -> Outgoing {
    let inline = !row.is_dead() && !row.has_parts();
    let value = inline.then(|| row.value.clone());
    let remote = row.flags & REMOTE != 0;
    Outgoing { seq: row.seq, remote, signed: row.signed, value }
}
