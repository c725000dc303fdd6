//! From a password to keys, and back into seals.
//!
//! ```text
//! KEK      Argon2id(password, salt)                      RFC 9106, one lane
//! check    BLAKE3 derived from the KEK                    tells a wrong password from damage
//! wrapped  master key, sealed under a key derived from the KEK, bound to the account id
//! seed     Ed25519 seed, sealed under a key derived from the master key, bound to account and user
//! ```
//!
//! The master key is random and never changes, so that a new password seals nothing else anew.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use bytes::Bytes;
use peerage_store::{AccountId, SealKey};
use peerage_types::{Password, UserId};
use peerage_wire::identity::SigningKey;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use zeroize::{Zeroize as _, Zeroizing};

use crate::Config;

/// Most memory that stored parameters may ask for: 256 MiB.
const MAX_MEMORY_KIB: u32 = 256 << 10;
/// Most passes that stored parameters may ask for.
const MAX_PASSES: u32 = 16;

/// What a key that is derived here is for.
const CHECK: &str = "peerage 2026 accounts check of the password";
const WRAP: &str = "peerage 2026 accounts wrapping of the master key";
const SIGNING: &str = "peerage 2026 accounts sealing of the private key";

/// How much work a password is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    memory_kib: u32,
    passes: u32,
}

impl Cost {
    /// As configured, within what can be opened again.
    pub(crate) fn of(config: &Config) -> Self {
        let memory_kib = config.argon_memory_kib.clamp(Params::MIN_M_COST, MAX_MEMORY_KIB);
        Self { memory_kib, passes: config.argon_passes.clamp(1, MAX_PASSES) }
    }

    pub(crate) const fn new(memory_kib: u32, passes: u32) -> Self {
        Self { memory_kib, passes }
    }

    pub(crate) fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    pub(crate) fn passes(self) -> u32 {
        self.passes
    }

    /// Whether it is work that this program does at all.
    pub(crate) fn is_sane(self) -> bool {
        let memory = Params::MIN_M_COST..=MAX_MEMORY_KIB;
        memory.contains(&self.memory_kib) && (1..=MAX_PASSES).contains(&self.passes)
    }

    /// The key that a password stands for. Blocks for up to seconds; wipes the memory it used.
    ///
    /// # Panics
    /// When the cost is not [`Cost::is_sane`].
    pub(crate) fn stretch(self, password: &Password, salt: &[u8; 16]) -> SealKey {
        let params = Params::new(self.memory_kib, self.passes, 1, Some(32)).expect("a sane cost");
        let mut blocks = Zeroizing::new(vec![Block::default(); params.block_count()]);
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                password.expose().as_bytes(),
                salt,
                &mut key,
                blocks.as_mut_slice(),
            )
            .expect("lengths are those of the parameters");
        let kek = SealKey::new(key);
        key.zeroize();
        // Wiping takes a tenth of the time and nobody has to wait for it.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(blocks))),
            Err(_) => drop(blocks),
        }
        kek
    }
}

/// The master key under a password.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Lock {
    cost: Cost,
    salt: [u8; 16],
    check: [u8; 32],
    wrapped: Bytes,
}

/// Why a lock does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockError {
    WrongPassword,
    Damaged,
}

impl Lock {
    /// Locks a master key, with a new salt. Blocks; see [`Cost::stretch`].
    pub(crate) fn new(cost: Cost, password: &Password, id: AccountId, master: &SealKey) -> Self {
        let salt = rand::random();
        let kek = cost.stretch(password, &salt);
        let wrapped = kek.derive(WRAP).seal(&id.0, master.expose()).into();
        Self { cost, salt, check: *kek.derive(CHECK).expose(), wrapped }
    }

    /// Whether the cost is one that this program takes.
    pub(crate) fn is_sane(&self) -> bool {
        self.cost.is_sane()
    }

    /// Opens it. Blocks; see [`Cost::stretch`].
    pub(crate) fn open(&self, password: &Password, id: AccountId) -> Result<SealKey, LockError> {
        let kek = self.cost.stretch(password, &self.salt);
        // Hashes compare in constant time.
        if blake3::Hash::from(*kek.derive(CHECK).expose()) != blake3::Hash::from(self.check) {
            return Err(LockError::WrongPassword);
        }
        let master = kek.derive(WRAP).open(&id.0, &self.wrapped);
        let mut bytes: [u8; 32] =
            *master.map_err(|_| LockError::Damaged)?.first_chunk().ok_or(LockError::Damaged)?;
        let master = SealKey::new(bytes);
        bytes.zeroize();
        Ok(master)
    }
}

/// A new random private key.
pub(crate) fn new_signing_key() -> SigningKey {
    let seed: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
    SigningKey::from_bytes(&seed)
}

/// The public key.
pub(crate) fn user_of(signing: &SigningKey) -> UserId {
    UserId(signing.verifying_key().to_bytes())
}

/// Seals a private key.
pub(crate) fn seal_signing(master: &SealKey, id: AccountId, signing: &SigningKey) -> Bytes {
    let bound = [&id.0[..], user_of(signing).as_bytes()].concat();
    let seed = Zeroizing::new(signing.to_bytes());
    master.derive(SIGNING).seal(&bound, seed.as_slice()).into()
}

/// Opens a private key; `None` if it is damaged or not that of the user.
pub(crate) fn open_signing(
    master: &SealKey,
    id: AccountId,
    user: &UserId,
    sealed: &[u8],
) -> Option<SigningKey> {
    let bound = [&id.0[..], user.as_bytes()].concat();
    let seed = master.derive(SIGNING).open(&bound, sealed).ok()?;
    let signing = SigningKey::from_bytes(seed.first_chunk()?);
    (user_of(&signing) == *user).then_some(signing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: AccountId = AccountId([3; 16]);

    fn password(text: &str) -> Password {
        Password::new(text.into()).unwrap()
    }

    fn lock(master: &SealKey) -> Lock {
        Lock::new(Cost::new(64, 1), &password("right"), ID, master)
    }

    #[test]
    fn a_lock_opens_with_its_password_alone() {
        let master = SealKey::random();
        let lock = lock(&master);
        assert_eq!(lock.open(&password("right"), ID).unwrap().expose(), master.expose());
        assert_eq!(lock.open(&password("wrong"), ID).unwrap_err(), LockError::WrongPassword);
    }

    #[test]
    fn damage_is_told_from_a_wrong_password() {
        let damaged = Lock { wrapped: Bytes::from_static(&[0; 72]), ..lock(&SealKey::random()) };
        assert_eq!(damaged.open(&password("right"), ID).unwrap_err(), LockError::Damaged);
        assert_eq!(damaged.open(&password("wrong"), ID).unwrap_err(), LockError::WrongPassword);
        let moved = lock(&SealKey::random());
        let other = AccountId([4; 16]);
        assert_eq!(moved.open(&password("right"), other).unwrap_err(), LockError::Damaged);
    }

    #[test]
    fn a_private_key_opens_only_for_its_account_and_user() {
        let (master, signing) = (SealKey::random(), new_signing_key());
        let user = user_of(&signing);
        let sealed = seal_signing(&master, ID, &signing);
        let opened = open_signing(&master, ID, &user, &sealed).unwrap();
        assert_eq!(opened.to_bytes(), signing.to_bytes());
        assert!(open_signing(&master, AccountId([4; 16]), &user, &sealed).is_none());
        assert!(open_signing(&master, ID, &UserId([1; 32]), &sealed).is_none());
        assert!(open_signing(&SealKey::random(), ID, &user, &sealed).is_none());
        assert!(open_signing(&master, ID, &user, &sealed[..50]).is_none());
    }

    #[test]
    fn stored_costs_beyond_reason_are_refused() {
        assert!(Cost::of(&Config::default()).is_sane());
        let wild = Config { argon_memory_kib: u32::MAX, argon_passes: 0, ..Config::default() };
        assert!(Cost::of(&wild).is_sane());
        for (memory, passes) in [(0, 1), (64, 0), (MAX_MEMORY_KIB + 1, 1), (64, u32::MAX)] {
            assert!(!Cost::new(memory, passes).is_sane(), "{memory} KiB, {passes} passes");
        }
    }
}
