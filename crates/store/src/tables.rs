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

/// Accounts and services of this node. Since version 3.
///
/// | key | value |
/// |---|---|
/// | 1, then the account's random id, 16 bytes | opaque, encoded by `accounts` |
/// | 2, then the service's name, 1 to 64 bytes of ASCII | the same |
pub(crate) const ACCOUNTS: Table = TableDefinition::new("accounts");

/// What accounts keep sealed. Since version 3.
///
/// | key | value |
/// |---|---|
/// | account, 16 bytes; kind (1 byte: 1 contact, 2 storage); place, 16 bytes; name, 16 bytes: the last two are keyed hashes, but for the first 4 bytes of the name of kind 2, which tell the order of entries | nonce, ciphertext, tag; see `seal.rs` |
pub(crate) const SEALED: Table = TableDefinition::new("sealed");

/// What is known of users anywhere. Since version 3.
///
/// | key | value |
/// |---|---|
/// | the user id, 32 bytes | opaque, encoded by `protocols/identity` |
pub(crate) const KNOWN: Table = TableDefinition::new("known");

/// What the key-value store is made of. Since version 4, as are the other tables of the key-value
/// store. In their keys a space is a number, 4 bytes, that this node has given it; all values are
/// opaque, encoded by `protocols/kv` (`rows.rs` says how).
///
/// | key | value |
/// |---|---|
/// | 1, space | a space that was joined |
/// | 2, space | its counters |
/// | 3, space, author (kind, 1 byte; key, 32 bytes) | what the author has in it |
/// | 4, space, peer id | how far it was synchronised with the peer |
/// | 5, space, place (kind, 1 byte; id, 16 bytes) | a grant or revocation |
/// | 6 | the latest reading of the clock |
/// | 7, space | empty: the space is being removed |
/// | 8, space | empty: entries under a revoked grant are being removed |
/// | 9, space | what is to be added to [`KV_SUMMARIES`]; none: nothing |
pub(crate) const KV_META: Table = TableDefinition::new("kv_meta");

/// Current versions, deleted ones included.
///
/// | key | value |
/// |---|---|
/// | space; key, 1 to 1,024 bytes of UTF-8 without NUL | sequence number, signed entry, value up to 64 KiB |
pub(crate) const KV_ENTRIES: Table = TableDefinition::new("kv_entries");

/// Changes in the order in which they came.
///
/// | key | value |
/// |---|---|
/// | space; sequence number, 8 bytes | from whom, key |
pub(crate) const KV_FEED: Table = TableDefinition::new("kv_feed");

/// What is current, by the hash of its key.
///
/// | key | value |
/// |---|---|
/// | space; hash, 16 bytes | sequence number, fingerprint |
pub(crate) const KV_LEAVES: Table = TableDefinition::new("kv_leaves");

/// What is in ranges of hashes.
///
/// | key | value |
/// |---|---|
/// | space; level, 1 byte; prefix, 2 bytes | count and sum of each of 16 parts |
pub(crate) const KV_SUMMARIES: Table = TableDefinition::new("kv_summaries");

/// Former versions.
///
/// | key | value |
/// |---|---|
/// | space; key; 0; sequence number, 8 bytes | as in [`KV_ENTRIES`] |
pub(crate) const KV_HISTORY: Table = TableDefinition::new("kv_history");

/// Entries that will expire.
///
/// | key | value |
/// |---|---|
/// | when, 8 bytes of ms since 1970; space; key | empty |
pub(crate) const KV_EXPIRY: Table = TableDefinition::new("kv_expiry");

/// Deleted and expired entries.
///
/// | key | value |
/// |---|---|
/// | space; since when, 8 bytes of ms since 1970; key | empty |
pub(crate) const KV_TOMBSTONES: Table = TableDefinition::new("kv_tombstones");

/// Values over 64 KiB.
///
/// | key | value |
/// |---|---|
/// | space; hash of the key, 16 bytes; part, 4 bytes | up to 1 MiB of the value |
pub(crate) const KV_VALUES: Table = TableDefinition::new("kv_values");

/// All of them: a snapshot may then rely on every table being there.
pub(crate) const ALL: [Table; 17] = [
    META,
    PEERS,
    LISTED,
    MARKS,
    TRANSFERS,
    ACCOUNTS,
    SEALED,
    KNOWN,
    KV_META,
    KV_ENTRIES,
    KV_FEED,
    KV_LEAVES,
    KV_SUMMARIES,
    KV_HISTORY,
    KV_EXPIRY,
    KV_TOMBSTONES,
    KV_VALUES,
];

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

const ACCOUNT: u8 = 1;
const SERVICE: u8 = 2;

/// Key in [`ACCOUNTS`] of an account.
pub(crate) fn account_key(id: [u8; 16]) -> [u8; 17] {
    let mut key = [ACCOUNT; 17];
    key[1..].copy_from_slice(&id);
    key
}

/// Key in [`ACCOUNTS`] of a service.
pub(crate) fn service_key(name: &str) -> Vec<u8> {
    [&[SERVICE], name.as_bytes()].concat()
}

/// Whose row of [`ACCOUNTS`] it is.
pub(crate) enum AccountRow {
    Account([u8; 16]),
    Service(String),
}

pub(crate) fn account_of(key: &[u8]) -> Option<AccountRow> {
    match key.split_first()? {
        (&ACCOUNT, id) => id.try_into().ok().map(AccountRow::Account),
        (&SERVICE, name) => String::from_utf8(name.to_vec()).ok().map(AccountRow::Service),
        _ => None,
    }
}

/// Key in [`SEALED`].
pub(crate) fn sealed_key(account: [u8; 16], kind: u8, place: [u8; 16], name: [u8; 16]) -> [u8; 49] {
    let mut key = [kind; 49];
    key[..16].copy_from_slice(&account);
    key[17..33].copy_from_slice(&place);
    key[33..].copy_from_slice(&name);
    key
}

/// First and last key in [`SEALED`] of an account, or of one kind and place of it.
pub(crate) fn sealed_range(account: [u8; 16], of: Option<(u8, [u8; 16])>) -> ([u8; 49], [u8; 49]) {
    match of {
        Some((kind, place)) => (
            sealed_key(account, kind, place, [0; 16]),
            sealed_key(account, kind, place, [0xff; 16]),
        ),
        None => (
            sealed_key(account, 0, [0; 16], [0; 16]),
            sealed_key(account, 0xff, [0xff; 16], [0xff; 16]),
        ),
    }
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
        assert_eq!(account_key([7; 16])[..3], [1, 7, 7]);
        assert_eq!(service_key("ab"), [2, b'a', b'b']);
        let sealed = sealed_key([1; 16], 2, [3; 16], [4; 16]);
        assert_eq!((sealed[0], sealed[16], sealed[17], sealed[33], sealed[48]), (1, 2, 3, 4, 4));
        let (first, last) = sealed_range([1; 16], Some((2, [3; 16])));
        assert!(first < sealed && sealed < last);
    }
}
