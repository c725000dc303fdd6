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

#[cfg(test)]
mod tests {
    use peerage_store::{AccountId, SealKey};
    use peerage_types::{ContentHash, Password};
    use peerage_wire::identity::SigningKey;

    use super::*;
    use crate::keys::{Cost, new_signing_key, seal_signing, user_of};

    fn signed(key: &SigningKey) -> Signed<Profile> {
        let profile = Profile {
            user: user_of(key),
            seq: 1,
            handle: None,
            display_name: None,
            bio: <_>::default(),
            avatar: None,
            services: <_>::default(),
            mailboxes: <_>::default(),
            recovery: ContentHash([0; 32]),
            updated: UnixMillis(1),
        };
        Signed::sign(profile, key).unwrap()
    }

    fn row() -> AccountRow {
        let (id, key, master) = (AccountId([1; 16]), new_signing_key(), SealKey::random());
        let password = Password::new("password".into()).unwrap();
        AccountRow {
            user: user_of(&key),
            created: UnixMillis(5),
            lock: Lock::new(Cost::new(64, 1), &password, id, &master),
            seed: seal_signing(&master, id, &key),
            profile: signed(&key),
            deleted: true,
            fate: Some(Fate::Moved(UserId([4; 32]))),
            predecessors: Vec::new(),
        }
    }

    fn predecessor() -> Predecessor {
        let (key, recovery) = (new_signing_key(), new_signing_key());
        let succession = Succession::revoked(user_of(&key), &recovery, UnixMillis(1));
        let succession = Signed::sign(succession, &recovery).unwrap();
        Predecessor { profile: signed(&key), succession }
    }

    #[test]
    fn a_row_survives_and_remembers_the_last_few_keys_before() {
        let mut row = row();
        let all: Vec<_> = (0..=MAX_PREDECESSORS).map(|_| predecessor()).collect();
        all.iter().for_each(|before| row.push_predecessor(before.clone()));
        let read = AccountRow::decode(&row.encode()).unwrap();
        assert_eq!(read.encode(), row.encode());
        assert_eq!((read.user, read.deleted, read.fate), (row.user, true, row.fate));
        let users = |all: &[Predecessor]| all.iter().map(|p| p.profile.user).collect::<Vec<_>>();
        assert_eq!(users(&read.predecessors), users(&all[1..]));
    }

    #[test]
    fn a_row_with_anothers_profile_is_not_believed() {
        let forged = AccountRow { profile: signed(&new_signing_key()), ..row() };
        assert!(AccountRow::decode(&forged.encode()).is_err());
        for len in 0..40 {
            assert!(AccountRow::decode(&row().encode()[..len]).is_err(), "{len} bytes");
        }
    }
}
