//! That an author has signed an entry, alone or with up to 15 others.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use peerage_types::{Author, Hlc, KvKey, Revision, SpaceId, UnixMillis};

use super::{
    Entry, Fingerprint, Kind, MAX_INLINE_BYTES, MAX_VALUE_BYTES,
    entry::{put_author, revision, take_author},
    named, take,
};

/// Levels of a tree at most.
pub const MAX_DEPTH: u8 = 4;
/// Entries that one signature covers at most.
pub const MAX_GROUP: usize = 1 << MAX_DEPTH;
/// Longest form of a proof in bytes.
pub const MAX_PROOF_BYTES: usize = 2 + 64 + 32 * MAX_DEPTH as usize;

const NODE_KEY: [u8; 32] = named(b"peerage/kv/1/node");
const SIGNED: &[u8] = b"peerage/kv/1/group";

/// Leads from a fingerprint to a signed root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Of the root.
    pub signature: [u8; 64],
    /// Which leaf it is; below 2 to the power of the depth.
    pub place: u8,
    /// The other child at each level, from the bottom up; at most [`MAX_DEPTH`].
    pub siblings: Vec<[u8; 32]>,
}

/// Why bytes are not a valid entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// It cannot be read.
    #[error("an entry that cannot be read")]
    Malformed,
    /// A field breaks its bound.
    #[error("an entry whose {0} is out of range")]
    Field(&'static str),
    /// Not signed by its author.
    #[error("an entry with a wrong signature")]
    Signature,
    /// The value is not the one that was signed.
    #[error("a value that is not the one that was signed")]
    Value,
}

impl Proof {
    /// Levels of its tree.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.siblings.len() as u8
    }

    /// The root that it leads to.
    #[must_use]
    pub fn root(&self, leaf: &Fingerprint) -> [u8; 32] {
        let climb = |(node, place): ([u8; 32], u8), sibling: &[u8; 32]| match place & 1 {
            0 => (parent(&node, sibling), place >> 1),
            _ => (parent(sibling, &node), place >> 1),
        };
        self.siblings.iter().fold((*leaf, self.place), climb).0
    }

    /// Appends it.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend([self.depth(), self.place]);
        bytes.extend_from_slice(&self.signature);
        self.siblings.iter().for_each(|sibling| bytes.extend_from_slice(sibling));
    }

    /// Takes it from the front.
    #[must_use]
    pub fn decode(body: &mut &[u8]) -> Option<Self> {
        let (depth, place) = Self::shape(body)?;
        let signature = take(body)?;
        let siblings = (0..depth).map(|_| take(body)).collect::<Option<_>>()?;
        Some(Self { signature, place, siblings })
    }

    fn shape(body: &mut &[u8]) -> Option<(u8, u8)> {
        let [depth, place] = take(body)?;
        (depth <= MAX_DEPTH && place < 1 << depth).then_some((depth, place))
    }

    /// Passes over one at the front.
    fn skip(body: &mut &[u8]) -> Option<()> {
        let (depth, _) = Self::shape(body)?;
        *body = body.get(64 + 32 * usize::from(depth)..)?;
        Some(())
    }
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut both = [0; 64];
    both[..32].copy_from_slice(left);
    both[32..].copy_from_slice(right);
    *blake3::keyed_hash(&NODE_KEY, &both).as_bytes()
}

/// The levels of a perfect tree over 1, 2, 4, 8 or 16 leaves, the leaves first and the root last.
fn levels(leaves: &[Fingerprint]) -> Vec<Vec<[u8; 32]>> {
    let mut levels = vec![leaves.to_vec()];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        let next = level.chunks_exact(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        levels.push(next);
    }
    levels
}

/// The root of a group, and the siblings of each of its leaves.
///
/// # Panics
/// Unless there are 1, 2, 4, 8 or 16 leaves.
#[must_use]
pub fn root(leaves: &[Fingerprint]) -> ([u8; 32], Vec<Vec<[u8; 32]>>) {
    assert!(leaves.len().is_power_of_two() && leaves.len() <= MAX_GROUP, "{}", leaves.len());
    let levels = levels(leaves);
    let (top, below) = levels.split_last().expect("at least the leaves");
    let siblings = |place: usize| below.iter().enumerate().map(move |(l, of)| of[(place >> l) ^ 1]);
    (top[0], (0..leaves.len()).map(|place| siblings(place).collect()).collect())
}

fn message(depth: u8, root: &[u8; 32]) -> Vec<u8> {
    [SIGNED, &[depth], root].concat()
}

/// An entry that its author has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEntry {
    entry: Entry,
    fingerprint: Fingerprint,
    proof: Proof,
}

impl SignedEntry {
    /// Signs entries of one author, in groups of up to [`MAX_GROUP`] that keep their order.
    ///
    /// # Panics
    /// When an entry names another author: a defect of this program.
    #[must_use]
    pub fn sign(entries: Vec<Entry>, key: &SigningKey) -> Vec<Self> {
        let author = key.verifying_key().to_bytes();
        let mut signed = Vec::with_capacity(entries.len());
        let mut rest = entries.into_iter().peekable();
        while rest.peek().is_some() {
            let left = rest.len().min(MAX_GROUP);
            let group: Vec<_> = rest.by_ref().take(1 << left.ilog2()).collect();
            assert!(group.iter().all(|entry| *entry.author.key() == author), "a foreign author");
            let leaves: Vec<_> = group.iter().map(Entry::fingerprint).collect();
            let (top, siblings) = root(&leaves);
            let depth = group.len().ilog2() as u8;
            let signature = key.sign(&message(depth, &top)).to_bytes();
            let proofs = (0..).zip(siblings);
            let proofs = proofs.map(|(place, siblings)| Proof { signature, place, siblings });
            let all = group.into_iter().zip(leaves).zip(proofs);
            let made = all.map(|((entry, fingerprint), proof)| Self { entry, fingerprint, proof });
            signed.extend(made);
        }
        signed
    }

    /// What it says.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Names what it says.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// That it was signed.
    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Appends it as a store keeps it: without space and key, which the store knows, and with its
    /// fingerprint.
    pub fn keep(&self, bytes: &mut Vec<u8>) {
        let entry = &self.entry;
        bytes.extend_from_slice(&self.fingerprint);
        put_author(bytes, &entry.author);
        bytes.extend_from_slice(&entry.hlc.0.to_be_bytes());
        bytes.push(entry.kind as u8);
        bytes.extend_from_slice(&entry.size.to_be_bytes());
        bytes.extend_from_slice(&entry.hash);
        bytes.extend_from_slice(&entry.expires.map_or(0, |at| at.0).to_be_bytes());
        self.proof.encode(bytes);
    }

    /// Takes from the front what [`SignedEntry::keep`] has written; nothing is verified again.
    #[must_use]
    pub fn kept(space: SpaceId, key: KvKey, body: &mut &[u8]) -> Option<Self> {
        let (kept, hash) = Kept::head(body)?;
        let Kept { fingerprint, author, hlc, kind, size, expires } = kept;
        let entry = Entry { space, key, hlc, author, kind, size, hash, expires };
        Some(Self { entry, fingerprint, proof: Proof::decode(body)? })
    }
}

/// What a store has kept of an entry, without what proves it: for who only reads its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the fields of `Entry`")]
pub struct Kept {
    pub fingerprint: Fingerprint,
    pub author: Author,
    pub hlc: Hlc,
    pub kind: Kind,
    pub size: u32,
    pub expires: Option<UnixMillis>,
}

impl Kept {
    /// Takes from the front what [`SignedEntry::keep`] has written, and passes over the proof.
    #[must_use]
    pub fn take(body: &mut &[u8]) -> Option<Self> {
        let (kept, _) = Self::head(body)?;
        Proof::skip(body)?;
        Some(kept)
    }

    /// And the hash of the value.
    fn head(body: &mut &[u8]) -> Option<(Self, [u8; 32])> {
        let fingerprint = take(body)?;
        let author = take_author(body)?;
        let hlc = Hlc(u64::from_be_bytes(take(body)?));
        let kind = Kind::from_byte(take::<1>(body)?[0])?;
        let size = u32::from_be_bytes(take(body)?);
        let hash = take(body)?;
        let expires = expiry(take(body)?);
        Some((Self { fingerprint, author, hlc, kind, size, expires }, hash))
    }

    /// The name of this version for people.
    #[must_use]
    pub fn revision(&self) -> Revision {
        revision(self.hlc, &self.fingerprint)
    }
}

pub(super) fn expiry(bytes: [u8; 8]) -> Option<UnixMillis> {
    Some(UnixMillis(u64::from_be_bytes(bytes))).filter(|at| at.0 > 0)
}

/// An entry that somebody says was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// What it says.
    pub entry: Entry,
    /// What shall prove it.
    pub proof: Proof,
}

impl Claimed {
    /// Checks what can be checked without the signature.
    ///
    /// # Errors
    /// [`EntryError::Field`].
    pub fn check(&self) -> Result<(), EntryError> {
        let Entry { kind, size, hash, expires, .. } = &self.entry;
        let size = *size as usize;
        let fits = match kind {
            Kind::Int | Kind::Float => size == 8,
            kind if kind.has_value() => size <= MAX_VALUE_BYTES,
            _ => size == 0 && *hash == [0; 32] && expires.is_none(),
        };
        if fits { Ok(()) } else { Err(EntryError::Field("size")) }
    }
}

/// A root that was found to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Root {
    author: [u8; 32],
    depth: u8,
    hash: [u8; 32],
    signature: [u8; 64],
}

/// Verifies entries. Those that were signed together cost one signature if they come one after the
/// other.
#[derive(Debug, Default)]
pub struct Verifier {
    last: Option<Root>,
    key: Option<([u8; 32], VerifyingKey)>,
}

impl Verifier {
    /// Verifies one, strictly as [RFC 8032](https://www.rfc-editor.org/rfc/rfc8032) 5.1.7 says and
    /// with small-order keys refused: what is valid must be the same on every replica, which is why
    /// signatures are not verified in batches, whose equation accepts some that this one does not.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn verify(&mut self, claimed: Claimed) -> Result<SignedEntry, EntryError> {
        claimed.check()?;
        let Claimed { entry, proof } = claimed;
        let fingerprint = entry.fingerprint();
        let root = Root {
            author: *entry.author.key(),
            depth: proof.depth(),
            hash: proof.root(&fingerprint),
            signature: proof.signature,
        };
        if self.last != Some(root) {
            let signature = Signature::from_bytes(&root.signature);
            let message = message(root.depth, &root.hash);
            let verified = self.key(&root.author)?.verify_strict(&message, &signature);
            verified.map_err(|_| EntryError::Signature)?;
            self.last = Some(root);
        }
        Ok(SignedEntry { entry, fingerprint, proof })
    }

    fn key(&mut self, author: &[u8; 32]) -> Result<&VerifyingKey, EntryError> {
        if self.key.as_ref().is_none_or(|(known, _)| known != author) {
            let key = VerifyingKey::from_bytes(author).map_err(|_| EntryError::Signature)?;
            self.key = Some((*author, key));
        }
        Ok(&self.key.as_ref().expect("set above").1)
    }
}

const _: () = assert!(MAX_INLINE_BYTES <= MAX_VALUE_BYTES);

#[cfg(test)]
mod tests {
    use peerage_types::{Author, UserId};

    use super::*;

    fn entries(count: usize, key: &SigningKey) -> Vec<Entry> {
        let author = Author::Node(key.verifying_key().to_bytes());
        let entry = |n: usize| Entry {
            space: SpaceId([1; 32]),
            key: KvKey::new(&format!("key/{n}")).unwrap(),
            hlc: Hlc(n as u64),
            author,
            kind: Kind::String,
            size: 5,
            hash: *blake3::hash(b"value").as_bytes(),
            expires: None,
        };
        (0..count).map(entry).collect()
    }

    fn claim(signed: &SignedEntry) -> Claimed {
        Claimed { entry: signed.entry.clone(), proof: signed.proof.clone() }
    }

    #[test]
    fn every_size_of_batch_is_signed_in_groups_and_verifies_in_any_order() {
        let key = SigningKey::from_bytes(&[7; 32]);
        for count in [1, 2, 3, 5, 15, 16, 17, 31, 100] {
            let signed = SignedEntry::sign(entries(count, &key), &key);
            assert_eq!(signed.len(), count);
            let mut verifier = Verifier::default();
            for entry in signed.iter().rev() {
                assert_eq!(verifier.verify(claim(entry)).as_ref(), Ok(entry));
            }
        }
        let signed = SignedEntry::sign(entries(37, &key), &key);
        let depths: Vec<_> = signed.iter().map(|entry| entry.proof.depth()).collect();
        assert_eq!((depths[0], depths[16], depths[32], depths[36]), (4, 4, 2, 0));
    }

    #[test]
    fn nothing_that_was_signed_can_be_changed() {
        let key = SigningKey::from_bytes(&[7; 32]);
        for count in [1, 16] {
            let signed = SignedEntry::sign(entries(count, &key), &key);
            let wrong = |change: fn(&mut Claimed)| {
                let mut claimed = claim(&signed[0]);
                change(&mut claimed);
                let mut verifier = Verifier::default();
                // A good one before it must not help.
                verifier.verify(claim(&signed[0])).unwrap();
                assert_eq!(verifier.verify(claimed), Err(EntryError::Signature));
            };
            wrong(|it| it.entry.key = KvKey::new("other").unwrap());
            wrong(|it| it.entry.hlc = Hlc(9));
            wrong(|it| it.entry.kind = Kind::Bytes);
            wrong(|it| it.entry.size += 1);
            wrong(|it| it.entry.hash[0] ^= 1);
            wrong(|it| it.entry.expires = Some(UnixMillis(1)));
            wrong(|it| it.entry.space = SpaceId([2; 32]));
            wrong(|it| it.entry.author = Author::User(UserId(*it.entry.author.key())));
            wrong(|it| it.proof.signature[0] ^= 1);
        }
        let signed = SignedEntry::sign(entries(2, &key), &key);
        let mut moved = claim(&signed[0]);
        moved.proof.place = 1;
        assert_eq!(Verifier::default().verify(moved), Err(EntryError::Signature));
        // A node of the tree is no entry, and a shorter tree is another tree.
        let mut cut = claim(&signed[0]);
        cut.proof.siblings.clear();
        cut.proof.place = 0;
        assert_eq!(Verifier::default().verify(cut), Err(EntryError::Signature));
    }

    #[test]
    fn what_a_store_keeps_is_read_again() {
        let key = SigningKey::from_bytes(&[7; 32]);
        for signed in SignedEntry::sign(entries(16, &key), &key) {
            let mut bytes = Vec::new();
            signed.keep(&mut bytes);
            let mut body = &bytes[..];
            let entry = signed.entry();
            let kept = SignedEntry::kept(entry.space, entry.key.clone(), &mut body);
            assert_eq!((kept.as_ref(), body.len()), (Some(&signed), 0));
            for cut in 0..bytes.len() {
                let mut body = &bytes[..cut];
                assert_eq!(SignedEntry::kept(entry.space, entry.key.clone(), &mut body), None);
            }
        }
    }
}
