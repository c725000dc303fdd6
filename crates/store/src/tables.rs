//! Every table of the file, with the bytes of its keys and values.
//!
//! Keys are packed by hand, integers big-endian, so that redb's order is ours and does not depend
//! on an encoding that has changed between its majors. A new table needs a new schema version
//! (`schema.rs`), so that an older program refuses the file instead of losing sight of rows.

use peerage_types::{PeerId, TransferId};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::StoreError;

/// A table of bytes under bytes.
pub(crate) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// What the file is.
///
/// | key | value |
/// |---|---|
/// | `schema`, 6 bytes | version of all tables, `u32` big-endian |
pub(crate) const META: Table = TableDefinition::new("meta");

/// The address book.
///
/// | key | value |
/// |---|---|
/// | the peer id's multihash, 34 to 44 bytes | opaque, encoded by `protocols/peers` |
pub(crate) const PEERS: Table = TableDefinition::new("peers");

/// The lists a peer may be on.
///
/// | key | value |
/// |---|---|
/// | list (1 byte: 1 blocked, 2 allowed, 3 protected), then the peer id's multihash | empty |
pub(crate) const LISTED: Table = TableDefinition::new("listed");

/// Small blobs with a name: routing tables, high marks, the record of the last clean stop.
///
/// | key | value |
/// |---|---|
/// | the name, 1 to 255 bytes of UTF-8 | opaque, at most 1 MiB |
pub(crate) const MARKS: Table = TableDefinition::new("marks");

/// Transfers and shares of files. Since version 2.
///
/// | key | value |
/// |---|---|
/// | kind (1 byte: 1 transfer, 2 share, 3 pieces on disk), then the id, 8 bytes | opaque, encoded by `protocols/files` |
pub(crate) const TRANSFERS: Table = TableDefinition::new("transfers");

/// All of them: a snapshot may then rely on every table being there.
const ALL: [Table; 5] = [META, PEERS, LISTED, MARKS, TRANSFERS];

/// Creates the tables the file does not have yet.
pub(crate) fn create_missing(txn: &WriteTransaction) -> Result<(), StoreError> {
    for table in ALL {
        txn.open_table(table)?;
    }
    Ok(())
}

/// Key in [`META`] of the schema version.
pub(crate) const SCHEMA_KEY: &[u8] = b"schema";

/// Key in [`PEERS`].
pub(crate) fn peer_key(peer: &PeerId) -> Vec<u8> {
    peer.to_bytes()
}

/// Key in [`LISTED`].
pub(crate) fn listed_key(list: u8, peer: &PeerId) -> Vec<u8> {
    let mut key = vec![list];
    key.extend_from_slice(&peer.to_bytes());
    key
}

/// Key in [`TRANSFERS`].
pub(crate) fn transfer_key(kind: u8, id: TransferId) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(id.as_bytes());
    key
}

/// The peer of a key; a row this program cannot read is skipped rather than taking all others
/// with it.
pub(crate) fn peer_of(key: &[u8]) -> Option<PeerId> {
    PeerId::from_bytes(key)
        .inspect_err(|error| tracing::warn!(%error, "unreadable peer id in the store is skipped"))
        .ok()
}

/// One value of a snapshot.
pub(crate) fn get(
    txn: &ReadTransaction,
    table: Table,
    key: &[u8],
) -> Result<Option<bytes::Bytes>, StoreError> {
    let table = txn.open_table(table)?;
    let value = ReadableTable::get(&table, key)?;
    Ok(value.map(|value| bytes::Bytes::copy_from_slice(value.value())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_these_bytes_for_ever() {
        let peer: PeerId = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
        let key = peer_key(&peer);
        assert_eq!((key.len(), &key[..4]), (38, &[0x00, 0x24, 0x08, 0x01][..]));
        assert_eq!(peer_of(&key), Some(peer));
        let listed = listed_key(2, &peer);
        assert_eq!((listed[0], &listed[1..]), (2, &key[..]));
        assert_eq!(peer_of(b"not a multihash"), None);
        let id = TransferId([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(transfer_key(3, id), [3, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
