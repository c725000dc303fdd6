//! What is stored of an account: one row, replaced as a whole, so that each change is atomic.
//!
//! ```text
//! row   version  1 byte, 1
//!       body     CBOR map:
//!         user          the public key, 32 bytes
//!         created       milliseconds since 1970
//!         lock          what the password opens, see `keys`
//!         seed          the private key, sealed with a key that is derived from the master key
//!         profile       the newest signed profile of the user
//!         deleted       deleted, with the data kept for export
//!         fate          what became of the key, if it is no longer valid
//!         predecessors  [profile, succession] of keys that this one took the place of
//! ```
//!
//! A row of another version or that cannot be read is passed over at start, and kept.

use bytes::Bytes;
use peerage_types::{UnixMillis, UserId};
use peerage_wire::identity::{Profile, Signed, Succession};
use serde::{Deserialize, Serialize};

use crate::keys::Lock;

const VERSION: u8 = 1;
/// Keys before this one whose moves are told again at start; each is at most 14.5 KiB.
const MAX_PREDECESSORS: usize = 4;

/// An account.
#[derive(Debug, Clone)]
pub(crate) struct AccountRow {
    pub(crate) user: UserId,
    pub(crate) created: UnixMillis,
    pub(crate) lock: Lock,
    pub(crate) seed: Bytes,
    pub(crate) profile: Signed<Profile>,
    pub(crate) deleted: bool,
    pub(crate) fate: Option<Fate>,
    pub(crate) predecessors: Vec<Predecessor>,
}

/// What became of a key that is no longer valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    Revoked,
    Moved(UserId),
}

impl From<Option<UserId>> for Fate {
    fn from(successor: Option<UserId>) -> Self {
        successor.map_or(Self::Revoked, Self::Moved)
    }
}

impl Fate {
    pub(crate) fn successor(self) -> Option<UserId> {
        match self {
            Self::Revoked => None,
            Self::Moved(to) => Some(to),
        }
    }
}

/// A key that was moved, with what proves it to nodes that have not heard of it.
#[derive(Debug, Clone)]
pub(crate) struct Predecessor {
    pub(crate) profile: Signed<Profile>,
    pub(crate) succession: Signed<Succession>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    user: UserId,
    created: UnixMillis,
    lock: Lock,
    seed: Bytes,
    profile: Bytes,
    deleted: bool,
    fate: Option<Fate>,
    predecessors: Vec<(Bytes, Bytes)>,
}

impl AccountRow {
    /// # Panics
    /// Never: its parts have a CBOR form.
    pub(crate) fn encode(&self) -> Bytes {
        let pair = |p: &Predecessor| (p.profile.bytes().clone(), p.succession.bytes().clone());
        let stored = Stored {
            user: self.user,
            created: self.created,
            lock: self.lock.clone(),
            seed: self.seed.clone(),
            profile: self.profile.bytes().clone(),
            deleted: self.deleted,
            fate: self.fate,
            predecessors: self.predecessors.iter().map(pair).collect(),
        };
        cbor4ii::serde::to_vec(vec![VERSION], &stored).expect("these have a CBOR form").into()
    }

    /// Reads a row; says what is wrong with one that cannot be.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, &'static str> {
        let (version, body) = row.split_first().ok_or("is empty")?;
        if *version != VERSION {
            return Err("is of a version that this program does not know");
        }
        let stored: Stored = cbor4ii::serde::from_slice(body).map_err(|_| "is damaged")?;
        let profile = Signed::<Profile>::decode(stored.profile).map_err(|_| "has a bad profile")?;
        if profile.user != stored.user || !stored.lock.is_sane() {
            return Err("is damaged");
        }
        let before = stored.predecessors.into_iter().map(|(profile, succession)| {
            let profile = Signed::decode(profile).ok()?;
            Some(Predecessor { profile, succession: Signed::decode(succession).ok()? })
        });
        Ok(Self {
            user: stored.user,
            created: stored.created,
            lock: stored.lock,
            seed: stored.seed,
            profile,
            deleted: stored.deleted,
            fate: stored.fate,
            predecessors: before.collect::<Option<_>>().ok_or("has a bad predecessor")?,
        })
    }

    /// Remembers the key that this one takes the place of.
    pub(crate) fn push_predecessor(&mut self, predecessor: Predecessor) {
        if self.predecessors.len() >= MAX_PREDECESSORS {
            self.predecessors.remove(0);
        }
        self.predecessors.push(predecessor);
    }
}
