//! Sealing at rest: XChaCha20-Poly1305 under keys that are wiped when dropped.
//!
//! ```text
//! sealed   nonce  24 bytes, random
//!          text   as long as what was sealed
//!          tag    16 bytes, over the text and what it is bound to
//! ```

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const NONCE_BYTES: usize = 24;

/// Bytes that sealing adds.
pub const SEAL_OVERHEAD: usize = NONCE_BYTES + 16;

/// A sealed row that does not open: a wrong key, a changed byte, or bound to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed bytes do not open: the key is another or they were changed")]
pub struct SealError;

/// A key of 32 bytes that seals, opens and names.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealKey([u8; 32]);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(…)")
    }
}

impl SealKey {
    /// From 32 secret bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A random key.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes);
        Self(bytes)
    }

    /// The bytes, to be sealed under another key.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key for another purpose; `context` is a literal that names it and never changes.
    #[must_use]
    pub fn derive(&self, context: &'static str) -> Self {
        Self(blake3::derive_key(context, &self.0))
    }

    /// A name for `text` that tells nothing without the key.
    #[must_use]
    pub fn name(&self, text: &[u8]) -> [u8; 16] {
        let hash = blake3::keyed_hash(&self.0, text);
        let mut name = [0; 16];
        name.copy_from_slice(&hash.as_bytes()[..16]);
        name
    }

    /// Seals `text`, bound to `to`: it opens only with the same.
    ///
    /// # Panics
    /// Never: the text is shorter than the 256 GiB that the cipher can take.
    #[must_use]
    pub fn seal(&self, to: &[u8], text: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce);
        let cipher = XChaCha20Poly1305::new((&self.0).into());
        let payload = Payload { msg: text, aad: to };
        let body =
            cipher.encrypt(XNonce::from_slice(&nonce), payload).expect("shorter than 256 GiB");
        [&nonce[..], &body].concat()
    }

    /// Opens what [`SealKey::seal`] made.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn open(&self, to: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_BYTES).ok_or(SealError)?;
        let cipher = XChaCha20Poly1305::new((&self.0).into());
        let payload = Payload { msg: body, aad: to };
        cipher
            .decrypt(XNonce::from_slice(nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SealError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_row_opens_only_unchanged_with_its_key_and_in_its_place() {
        let key = SealKey::random();
        let sealed = key.seal(b"row 1", b"secret");
        assert_eq!(sealed.len(), 6 + SEAL_OVERHEAD);
        assert_eq!(key.open(b"row 1", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(key.open(b"row 2", &sealed), Err(SealError));
        assert_eq!(SealKey::random().open(b"row 1", &sealed), Err(SealError));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(b"row 1", &changed), Err(SealError), "byte {at}");
        }
        assert_eq!(key.open(b"row 1", &sealed[..20]), Err(SealError));
        assert_ne!(key.seal(b"row 1", b"secret"), sealed, "each has its own nonce");
    }

    #[test]
    fn keys_for_other_purposes_and_names_are_unrelated() {
        let key = SealKey::new([1; 32]);
        let (a, b) = (key.derive("peerage test a"), key.derive("peerage test b"));
        assert_ne!(a.name(b"x"), b.name(b"x"));
        assert_eq!(a.name(b"x"), a.name(b"x"));
        assert_eq!(format!("{key:?}"), "SealKey(…)");
    }
}
