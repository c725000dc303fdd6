//! The address book as rows: what `protocols/peers` remembers of each peer, and three lists.

use bytes::Bytes;
use peerage_types::PeerId;
use redb::{ReadTransaction, ReadableTable};

use crate::{Pending, Store, StoreError, tables};

/// A list a peer may be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// Never to be connected to.
    Blocked,
    /// Always let in.
    Allowed,
    /// Never disconnected to make room.
    Protected,
}

impl List {
    /// First byte of the keys; never changes.
    fn byte(self) -> u8 {
        match self {
            Self::Blocked => 1,
            Self::Allowed => 2,
            Self::Protected => 3,
        }
    }
}

/// The whole address book at one moment, each part in the order of the peer ids' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookSnapshot {
    /// What was put for each peer.
    pub peers: Vec<(PeerId, Bytes)>,
    /// Peers on [`List::Blocked`].
    pub blocked: Vec<PeerId>,
    /// Peers on [`List::Allowed`].
    pub allowed: Vec<PeerId>,
    /// Peers on [`List::Protected`].
    pub protected: Vec<PeerId>,
}

/// The rows of the address book. Values are opaque here; `protocols/peers` encodes them and bounds
/// how many there are.
#[derive(Clone, Debug)]
pub struct Book {
    store: Store,
}

impl Book {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Everything, as of one moment. Sees every write whose [`Pending`] resolved.
    ///
    /// # Errors
    /// [`StoreError::Reopening`] try again; [`StoreError::Closed`]; otherwise the disk failed.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn load(&self) -> Result<BookSnapshot, StoreError> {
        self.store.read(load).await
    }

    /// [`Book::load`] on this thread, for start-up before there is a runtime.
    ///
    /// # Errors
    /// As [`Book::load`].
    pub fn load_blocking(&self) -> Result<BookSnapshot, StoreError> {
        self.store.read_blocking(load)
    }

    /// Sets the rows of these peers, all or none.
    pub fn put(&self, rows: Vec<(PeerId, Bytes)>) -> Pending {
        let rows: Vec<_> =
            rows.into_iter().map(|(peer, row)| (tables::peer_key(&peer), row)).collect();
        let bytes = rows.iter().map(|(key, row)| key.len() + row.len()).sum();
        self.store.write(bytes, move |txn| {
            let mut table = txn.open_table(tables::PEERS)?;
            for (key, row) in &rows {
                table.insert(&**key, &**row)?;
            }
            Ok(())
        })
    }

    /// Forgets the rows of these peers, all or none; lists stay. Peers without a row are fine.
    pub fn remove(&self, peers: Vec<PeerId>) -> Pending {
        let keys: Vec<_> = peers.iter().map(tables::peer_key).collect();
        let bytes = keys.iter().map(Vec::len).sum();
        self.store.write(bytes, move |txn| {
            let mut table = txn.open_table(tables::PEERS)?;
            for key in &keys {
                table.remove(&**key)?;
            }
            Ok(())
        })
    }

    /// Puts a peer on a list or takes it off; doing it twice is fine.
    pub fn set_listed(&self, list: List, peer: PeerId, listed: bool) -> Pending {
        let key = tables::listed_key(list.byte(), &peer);
        self.store.write(key.len(), move |txn| {
            let mut table = txn.open_table(tables::LISTED)?;
            if listed {
                table.insert(&*key, &[][..])?;
            } else {
                table.remove(&*key)?;
            }
            Ok(())
        })
    }
}

fn load(txn: &ReadTransaction) -> Result<BookSnapshot, StoreError> {
    let mut peers = Vec::new();
    for row in ReadableTable::iter(&txn.open_table(tables::PEERS)?)? {
        let (key, value) = row?;
        if let Some(peer) = tables::peer_of(key.value()) {
            peers.push((peer, Bytes::copy_from_slice(value.value())));
        }
    }
    Ok(BookSnapshot {
        peers,
        blocked: load_list(txn, List::Blocked)?,
        allowed: load_list(txn, List::Allowed)?,
        protected: load_list(txn, List::Protected)?,
    })
}

fn load_list(txn: &ReadTransaction, list: List) -> Result<Vec<PeerId>, StoreError> {
    let (first, end) = ([list.byte()], [list.byte() + 1]);
    let table = txn.open_table(tables::LISTED)?;
    let mut peers = Vec::new();
    for row in ReadableTable::range::<&[u8]>(&table, &first[..]..&end[..])? {
        let (key, _) = row?;
        peers.extend(key.value().get(1..).and_then(tables::peer_of));
    }
    Ok(peers)
}
