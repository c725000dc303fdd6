//! Entries as sealed rows.
//!
//! ```text
//! key      master.derive("peerage 2026 storage")
//! place    key.name(service)
//! name     slot, 4 bytes, u32 big-endian: the low half of the revision that first wrote the entry
//!          tail, 12 bytes: the first of key.name(service + 0x00 + entry's key); no service has a
//!          0x00 in its name
//! row      sealed with key, bound to all 49 bytes of where it is:
//!          0x01, CBOR map {k: key, r: revision, u: updated, e: expires or null, v: value}
//! ```
//!
//! Entries that were first written together have the same slot, so that their rows are neighbours:
//! what a batch adds fills few pages of the store, where pure hashes would change a page for each.
//! An entry keeps its slot while it exists. Slots tell in which order entries came and nothing of
//! what they are; tails tell entries apart, by chance alike with 2^-63 for a full space.
//!
//! The row of the empty key, which no entry can have, is the mark, in slot 0: it holds the highest
//! revision that removed something, so that revisions rise even when the highest entry is gone.

use bytes::Bytes;
use peerage_api::storage::Entry;
use peerage_store::{AccountChange, AccountId, SealKey, SealedKey, SealedKind};
use peerage_types::{ServiceName, UnixMillis};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::index::{Change, Plan};

const VERSION: u8 = 1;
/// Of the row that is the mark.
const MARK_SLOT: u32 = 0;

/// What of a row's name depends on its key alone.
pub(crate) type Tail = [u8; 12];

/// The slot of an entry that a revision writes first.
pub(crate) fn slot_of(revision: u64) -> u32 {
    (revision & u64::from(u32::MAX)) as u32
}

/// The slot and the tail in the name of a row.
pub(crate) fn split(at: &SealedKey) -> (u32, Tail) {
    let [a, b, c, d, tail @ ..] = at.name;
    (u32::from_be_bytes([a, b, c, d]), tail)
}

/// One entry as it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    #[serde(rename = "k")]
    pub(crate) key: String,
    #[serde(rename = "r")]
    pub(crate) revision: u64,
    #[serde(rename = "u")]
    pub(crate) updated: UnixMillis,
    #[serde(rename = "e")]
    pub(crate) expires: Option<UnixMillis>,
    #[serde(rename = "v")]
    pub(crate) value: Bytes,
}

impl Row {
    pub(crate) fn bytes(&self) -> u64 {
        (self.key.len() + self.value.len()) as u64
    }

    pub(crate) fn is_mark(&self) -> bool {
        self.key.is_empty()
    }

    pub(crate) fn is_live(&self, now: UnixMillis) -> bool {
        self.expires.is_none_or(|at| at > now)
    }

    fn mark(revision: u64) -> Self {
        let (key, value) = (String::new(), Bytes::new());
        Self { key, revision, updated: UnixMillis(0), expires: None, value }
    }

    pub(crate) fn to_entry(&self) -> Entry {
        Entry {
            key: self.key.clone(),
            value: self.value.clone().into(),
            revision: self.revision,
            updated_ms: self.updated,
            expires_ms: self.expires,
        }
    }
}

/// The key that seals the storage of an account.
pub(crate) fn storage_key(master: &SealKey) -> SealKey {
    master.derive("peerage 2026 storage")
}

/// Where the rows of one service for one user are, and the key that opens them.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    account: AccountId,
    service: ServiceName,
    place: [u8; 16],
    key: SealKey,
}

impl Keys {
    /// With the key that [`storage_key`] derives.
    pub(crate) fn new(account: AccountId, key: SealKey, service: ServiceName) -> Self {
        Self { account, place: key.name(service.as_str().as_bytes()), service, key }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.account
    }

    pub(crate) fn service(&self) -> &ServiceName {
        &self.service
    }

    pub(crate) fn place(&self) -> [u8; 16] {
        self.place
    }

    pub(crate) fn at(&self, slot: u32, key: &str) -> SealedKey {
        let mut name = [0; 16];
        name[..4].copy_from_slice(&slot.to_be_bytes());
        name[4..].copy_from_slice(&self.tail(key));
        let (account, kind, place) = (self.account, SealedKind::Storage, self.place);
        SealedKey { account, kind, place, name }
    }

    pub(crate) fn tail(&self, key: &str) -> Tail {
        let text = [self.service.as_str().as_bytes(), &[0], key.as_bytes()].concat();
        let [tail @ .., _, _, _, _] = self.key.name(&text);
        tail
    }

    /// Nothing if it does not open.
    pub(crate) fn open(&self, at: &SealedKey, sealed: &[u8]) -> Option<Row> {
        let plain = self.key.open(&at.to_bytes(), sealed).ok()?;
        match plain.split_first() {
            Some((&VERSION, row)) => cbor4ii::serde::from_slice(row).ok(),
            _ => None,
        }
    }

    fn put(&self, slot: u32, row: &Row) -> AccountChange {
        let at = self.at(slot, &row.key);
        // Room for all of it: growing would leave pieces of it in freed memory.
        let mut plain = Zeroizing::new(Vec::with_capacity(row.key.len() + row.value.len() + 64));
        plain.push(VERSION);
        let plain = cbor4ii::serde::to_vec(std::mem::take(&mut *plain), row)
            .map(Zeroizing::new)
            .expect("text, numbers and bytes have a CBOR form");
        AccountChange::Sealed(at, Some(self.key.seal(&at.to_bytes(), &plain).into()))
    }

    /// The rows that a plan changes.
    pub(crate) fn seal(&self, plan: &Plan) -> Vec<AccountChange> {
        let change = |(key, Change { slot, row }): (&String, &Change)| match row {
            Some(row) => self.put(*slot, row),
            None => AccountChange::Sealed(self.at(*slot, key), None),
        };
        let mut changes: Vec<_> = plan.changes.iter().map(change).collect();
        if plan.removes() {
            changes.push(self.put(MARK_SLOT, &Row::mark(plan.revision)));
        }
        changes
    }
}
