//! Everything of a user in one sealed file.
//!
//! ```text
//! archive  magic   16 bytes, "peerage-archive" and 0x00
//!          version  1 byte, 1
//!          hash    32 bytes, BLAKE3 of all that follows: damage is told from a wrong password
//!          memory   4 bytes, big-endian, KiB of Argon2id
//!          passes   4 bytes, big-endian
//!          salt    16 bytes
//!          sealed   under a key derived from Argon2id(password, salt), bound to magic, version,
//!                   memory, passes and salt: CBOR of account id, profile, predecessors, rows,
//!                   seed, master key
//! ```
//!
//! Rows travel sealed as they are, with the master key that opens them: they are bound to the
//! account's id, which stays the same wherever the account goes.

use std::mem;

use bytes::Bytes;
use peerage_store::{AccountId, SealKey, SealedKey, SealedKind};
use peerage_types::Password;
use peerage_wire::identity::{Profile, Signed, SigningKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    keys::{Cost, user_of},
    row::Predecessor,
};

/// Largest archive: what a message of the control API, 8 MiB, holds in base64, less 64 KiB for
/// what surrounds it: (8 MiB − 64 KiB) × 3/4.
pub(crate) const MAX_ARCHIVE_BYTES: usize = ((8 << 20) - (64 << 10)) / 4 * 3;
/// What surrounds rows, at most: header, keys, five profiles and four successions of 14.5 KiB.
const OTHER_BYTES: usize = 80 << 10;
/// Most bytes of rows.
pub(crate) const MAX_ROWS_BYTES: usize = MAX_ARCHIVE_BYTES - OTHER_BYTES;
/// What a row takes beside its value: kind, place, name and their CBOR.
pub(crate) const ROW_OVERHEAD: usize = 1 + 2 * (2 * 16 + 1) + 8;

const MAGIC: &[u8; 16] = b"peerage-archive\0";
const VERSION: u8 = 1;
/// Where what is hashed begins: after magic, version and hash.
const HASHED: usize = 16 + 1 + 32;
/// Where what is sealed begins: after memory, passes and salt.
const SEALED: usize = HASHED + 4 + 4 + 16;

/// What the key that is derived from the password is for.
const ARCHIVE: &str = "peerage 2026 accounts archive";

/// Everything of a user.
pub(crate) struct Archive {
    pub(crate) account: AccountId,
    pub(crate) profile: Signed<Profile>,
    pub(crate) predecessors: Vec<Predecessor>,
    pub(crate) rows: Vec<(SealedKey, Bytes)>,
    pub(crate) signing: SigningKey,
    pub(crate) master: SealKey,
}

/// Why an archive does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveError {
    WrongPassword,
    Bad(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Body {
    account: [u8; 16],
    profile: Bytes,
    predecessors: Vec<(Bytes, Bytes)>,
    rows: Vec<(u8, [u8; 16], [u8; 16], Bytes)>,
    seed: [u8; 32],
    master: [u8; 32],
}

impl Drop for Body {
    fn drop(&mut self) {
        self.seed.zeroize();
        self.master.zeroize();
    }
}

impl Archive {
    /// Seals it under a password. Blocks; see [`Cost::stretch`].
    ///
    /// # Panics
    /// Never: its parts have a CBOR form.
    pub(crate) fn seal(&self, cost: Cost, password: &Password) -> Vec<u8> {
        let body = self.body();
        let rows: usize = self.rows.iter().map(|(_, row)| ROW_OVERHEAD + row.len()).sum();
        // All of it at once: a buffer that grows leaves copies of keys behind.
        let text = Vec::with_capacity(rows + OTHER_BYTES);
        let text = cbor4ii::serde::to_vec(text, &body).expect("these have a CBOR form");
        let text = Zeroizing::new(text);
        let salt: [u8; 16] = rand::random();
        let head =
            [&cost.memory_kib().to_be_bytes()[..], &cost.passes().to_be_bytes(), &salt].concat();
        let key = cost.stretch(password, &salt).derive(ARCHIVE);
        let rest = [&head[..], &key.seal(&bound(&head), &text)].concat();
        [&MAGIC[..], &[VERSION], blake3::hash(&rest).as_bytes(), &rest].concat()
    }

    fn body(&self) -> Body {
        let pair = |p: &Predecessor| (p.profile.bytes().clone(), p.succession.bytes().clone());
        let row =
            |(key, row): &(SealedKey, Bytes)| (byte(key.kind), key.place, key.name, row.clone());
        Body {
            account: self.account.0,
            profile: self.profile.bytes().clone(),
            predecessors: self.predecessors.iter().map(pair).collect(),
            rows: self.rows.iter().map(row).collect(),
            seed: self.signing.to_bytes(),
            master: *self.master.expose(),
        }
    }

    fn read(mut body: Body) -> Result<Self, ArchiveError> {
        let bad = ArchiveError::Bad;
        let signing = SigningKey::from_bytes(&body.seed);
        let profile = Signed::<Profile>::decode(mem::take(&mut body.profile));
        let profile = profile.map_err(|_| bad("its profile is not signed"))?;
        if profile.user != user_of(&signing) {
            return Err(bad("its key is not the one of its profile"));
        }
        let before = mem::take(&mut body.predecessors).into_iter().map(|(profile, succession)| {
            let profile = Signed::decode(profile).ok()?;
            Some(Predecessor { profile, succession: Signed::decode(succession).ok()? })
        });
        let predecessors = before.collect::<Option<_>>().ok_or(bad("a record is not signed"))?;
        let account = AccountId(body.account);
        let rows = mem::take(&mut body.rows).into_iter().map(|(kind, place, name, row)| {
            Some((SealedKey { account, kind: kind_of(kind)?, place, name }, row))
        });
        let rows = rows.collect::<Option<_>>().ok_or(bad("a newer program made it"))?;
        let master = SealKey::new(body.master);
        Ok(Self { account, profile, predecessors, rows, signing, master })
    }
}

/// An archive that is whole, and sealed.
#[derive(Debug)]
pub(crate) struct SealedArchive {
    bytes: Bytes,
    cost: Cost,
    salt: [u8; 16],
}

impl SealedArchive {
    /// Reads what is not sealed, and checks that nothing is missing.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self, ArchiveError> {
        let bad = |what| Err(ArchiveError::Bad(what));
        if bytes.len() > MAX_ARCHIVE_BYTES {
            return bad("it is larger than an archive may be");
        }
        if !bytes.starts_with(MAGIC) {
            return bad("it is no archive of a user");
        }
        if bytes.get(MAGIC.len()).is_some_and(|version| *version != VERSION) {
            return bad("a newer program made it");
        }
        let (Some(head), Some(hash)) = (bytes.get(HASHED..SEALED), bytes.get(17..HASHED)) else {
            return bad("it is cut off");
        };
        if blake3::hash(&bytes[HASHED..]).as_bytes() != hash {
            return bad("it is damaged or cut off");
        }
        let number =
            |at: usize| head[at..].first_chunk().map_or(0, |four| u32::from_be_bytes(*four));
        let cost = Cost::new(number(0), number(4));
        if !cost.is_sane() {
            return bad("it asks for more work than is done for a password");
        }
        let mut salt = [0; 16];
        salt.copy_from_slice(&head[8..]);
        Ok(Self { bytes, cost, salt })
    }

    /// Opens it. Blocks; see [`Cost::stretch`].
    pub(crate) fn open(&self, password: &Password) -> Result<Archive, ArchiveError> {
        let key = self.cost.stretch(password, &self.salt).derive(ARCHIVE);
        let to = bound(&self.bytes[HASHED..SEALED]);
        let text = key.open(&to, &self.bytes[SEALED..]);
        // Whole, so the password it is.
        let text = text.map_err(|_| ArchiveError::WrongPassword)?;
        let body = cbor4ii::serde::from_slice(&text);
        Archive::read(body.map_err(|_| ArchiveError::Bad("it cannot be read"))?)
    }
}

fn bound(head: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &[VERSION], head].concat()
}

/// Never changes.
fn byte(kind: SealedKind) -> u8 {
    match kind {
        SealedKind::Contact => 1,
        SealedKind::Storage => 2,
    }
}

fn kind_of(byte: u8) -> Option<SealedKind> {
    match byte {
        1 => Some(SealedKind::Contact),
        2 => Some(SealedKind::Storage),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use peerage_types::{ContentHash, UnixMillis, UserId};

    use super::*;
    use crate::keys::new_signing_key;

    const COST: Cost = Cost::new(64, 1);

    fn password(text: &str) -> Password {
        Password::new(text.into()).unwrap()
    }

    fn profile(key: &SigningKey) -> Signed<Profile> {
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

    fn archive(signing: SigningKey, profile: Signed<Profile>) -> Archive {
        let account = AccountId([1; 16]);
        let row = |kind, n| {
            let key = SealedKey { account, kind, place: [n; 16], name: [n; 16] };
            (key, Bytes::from(vec![n; 100]))
        };
        let rows = vec![row(SealedKind::Contact, 2), row(SealedKind::Storage, 3)];
        let master = SealKey::new([7; 32]);
        Archive { account, profile, predecessors: Vec::new(), rows, signing, master }
    }

    fn parsed(bytes: Vec<u8>) -> Result<SealedArchive, ArchiveError> {
        SealedArchive::parse(bytes.into())
    }

    #[test]
    fn an_archive_brings_back_what_went_in() {
        let key = new_signing_key();
        let before = archive(key.clone(), profile(&key));
        let after = parsed(before.seal(COST, &password("a"))).unwrap();
        assert_eq!(after.open(&password("b")).err(), Some(ArchiveError::WrongPassword));
        let after = after.open(&password("a")).ok().unwrap();
        assert_eq!((after.account, &after.rows), (before.account, &before.rows));
        assert_eq!(after.signing.to_bytes(), key.to_bytes());
        assert_eq!(after.master.expose(), before.master.expose());
        assert_eq!(after.profile, before.profile);
    }

    #[test]
    fn a_key_that_is_not_that_of_the_profile_is_refused() {
        let (mine, other) = (new_signing_key(), new_signing_key());
        assert_ne!(user_of(&mine), UserId([0; 32]));
        let forged = archive(mine, profile(&other)).seal(COST, &password("a"));
        let refused = parsed(forged).unwrap().open(&password("a")).err();
        assert!(matches!(refused, Some(ArchiveError::Bad(_))), "{refused:?}");
    }

    #[test]
    fn an_archive_that_asks_for_too_much_work_or_space_is_refused_unread() {
        let key = new_signing_key();
        let mut greedy = archive(key.clone(), profile(&key)).seal(COST, &password("a"));
        greedy[HASHED..HASHED + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        let hash = *blake3::hash(&greedy[HASHED..]).as_bytes();
        greedy[17..HASHED].copy_from_slice(&hash);
        assert!(matches!(parsed(greedy), Err(ArchiveError::Bad(_))));
        let mut large = MAGIC.to_vec();
        large.resize(MAX_ARCHIVE_BYTES + 1, 0);
        let large = parsed(large).err();
        assert_eq!(large, Some(ArchiveError::Bad("it is larger than an archive may be")));
    }

    #[test]
    fn rows_up_to_the_bound_fit_an_archive() {
        let key = new_signing_key();
        let mut full = archive(key.clone(), profile(&key));
        let (at, _) = full.rows[0].clone();
        let most = MAX_ROWS_BYTES / (ROW_OVERHEAD + 1);
        full.rows = vec![(at, Bytes::from_static(&[0xff])); most];
        let sealed = full.seal(COST, &password("a"));
        assert!(sealed.len() <= MAX_ARCHIVE_BYTES, "{} bytes", sealed.len());
        assert!(parsed(sealed).unwrap().open(&password("a")).is_ok());
    }
}
