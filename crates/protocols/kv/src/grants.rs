//! Who may read and write in one space: the grants and revocations that this node knows.
//!
//! Pure: time is an argument. A grant is held only if its parent is, and only if it gives no more than
//! that: no more rights, no wider prefix, no longer time. So what a chain gives is what its last link
//! says, unless a link was revoked. What is decided depends on the set alone, not on the order in which
//! records came, as long as no bound is reached.

mod decide;
mod issue;
#[cfg(test)]
mod properties;
mod show;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use peerage_types::{SpaceId, UnixMillis};
use peerage_wire::kv::{
    grant::{Grant, GrantId, GrantRecord, Grantee, RecordError, Revocation, Signed},
    ticket::MAX_LINKS,
};

pub use issue::{Terms, founding};

/// Grants of a space: 1,024 × up to 2.5 KiB = 2.5 MiB at worst, 0.5 MiB with short prefixes. One
/// revocation of each comes on top, 200 bytes.
pub const MAX_GRANTS: usize = 1024;
/// Links of a chain from the key of the space to whom it lets in.
pub const MAX_CHAIN: usize = MAX_LINKS;
/// Grants that one issuer other than the key of the space may have given, with all that were derived
/// from them: whoever makes more takes no place from others.
pub const MAX_PER_ISSUER: usize = 256;
/// Grants that the key of the space has not signed itself. The rest is kept for it, so that nobody
/// can keep the owner from granting.
pub const MAX_DELEGATED: usize = MAX_GRANTS - MAX_PER_ISSUER;
/// Chains that are shown to a peer: 8 × 4 × 1.2 KiB = 40 KiB, less than a frame. Revocations that are
/// told to one that is refused: one for each, 8 × 155 bytes.
pub const MAX_SHOWN: usize = 8;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is held now; if it is a revocation, instead of a later one of the same grant.
    New,
    /// It, or an earlier revocation of the same grant, was held before.
    Known,
}

/// Why a record is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It cannot be read or is not signed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is about another space.
    #[error("a grant of another space")]
    Space,
    /// The grant it was derived from, or which it revokes, is not held.
    #[error("a grant that was derived from an unknown one")]
    Unknown,
    /// It was derived from a grant that was given to another.
    #[error("a grant by someone who was not granted that")]
    Issuer,
    /// It gives more than the grant it was derived from.
    #[error("a grant with more {0} than the one it was derived from")]
    Widens(&'static str),
    /// It is too far from the key of the space: more than [`MAX_CHAIN`] links.
    #[error("a grant that was passed on {MAX_CHAIN} times")]
    TooLong,
    /// There is no room: [`MAX_GRANTS`], [`MAX_DELEGATED`] or [`MAX_PER_ISSUER`].
    #[error("too many grants")]
    TooMany,
    /// It revokes a grant that is above its issuer, or beside it.
    #[error("a revocation by someone who did not give the grant")]
    NotTheirs,
}

impl GrantError {
    /// Whether only a peer that breaks the rules has such a record to send.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Record(_) | Self::Space | Self::Issuer | Self::Widens(_) | Self::TooLong => true,
            Self::NotTheirs => true,
            Self::Unknown | Self::TooMany => false,
        }
    }
}

/// One grant that is held.
#[derive(Debug, Clone)]
struct Held {
    grant: Signed<Grant>,
    /// Where the parent is.
    parent: Option<usize>,
    /// The earliest there is.
    revoked: Option<Signed<Revocation>>,
}

/// The grants of one space.
#[derive(Debug, Clone)]
pub struct Grants {
    space: SpaceId,
    /// Parents before children.
    held: Vec<Held>,
    ids: BTreeMap<GrantId, usize>,
    of: HashMap<Grantee, Vec<usize>>,
}

impl Grants {
    /// No grants.
    #[must_use]
    pub fn new(space: SpaceId) -> Self {
        Self { space, held: Vec::new(), ids: BTreeMap::new(), of: HashMap::new() }
    }

    /// Records in any order, as a store has them, and how many of them are not held.
    #[must_use]
    pub fn load(space: SpaceId, records: impl IntoIterator<Item = Bytes>) -> (Self, usize) {
        let mut grants = Self::new(space);
        let read = records.into_iter().map(GrantRecord::decode);
        let (read, wrong): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
        let mut left: Vec<_> = read.into_iter().flatten().collect();
        // Each pass takes in one more link of every chain, the last one revocations.
        for _ in 0..=MAX_CHAIN {
            left.retain(|record| grants.admit(record.clone()).is_err());
        }
        let refused = left.len() + wrong.len();
        (grants, refused)
    }

    /// Takes a record in, once it is verified. Records that it refers to must come before it.
    ///
    /// # Errors
    /// [`GrantError`]; then nothing has changed.
    pub fn insert(&mut self, bytes: Bytes) -> Result<Inserted, GrantError> {
        if self.knows(&bytes) {
            return Ok(Inserted::Known);
        }
        // Not a part of the frame in which it came.
        self.admit(GrantRecord::decode(Bytes::copy_from_slice(&bytes))?)
    }

    /// Whether a record that says the same is held: it need not be verified again.
    fn knows(&self, bytes: &[u8]) -> bool {
        let Some(id) = GrantRecord::claimed_id(bytes) else { return false };
        let revoked = || {
            let [_, grant @ ..] = GrantRecord::place(bytes)?;
            self.get(&GrantId(grant))?.revoked.as_ref()
        };
        self.ids.contains_key(&id) || revoked().is_some_and(|revocation| revocation.id() == id)
    }

    fn admit(&mut self, record: GrantRecord) -> Result<Inserted, GrantError> {
        if record.space() != self.space {
            return Err(GrantError::Space);
        }
        match record {
            GrantRecord::Grant(grant) => self.give(grant),
            GrantRecord::Revocation(revocation) => self.take_back(revocation),
        }
    }

    fn give(&mut self, grant: Signed<Grant>) -> Result<Inserted, GrantError> {
        if self.ids.contains_key(&grant.id()) {
            return Ok(Inserted::Known);
        }
        let parent = self.parent(&grant)?;
        let at = self.held.len();
        self.ids.insert(grant.id(), at);
        self.of.entry(grant.to).or_default().push(at);
        self.held.push(Held { grant, parent, revoked: None });
        Ok(Inserted::New)
    }

    /// Where the parent is of a grant that may be held.
    fn parent(&self, grant: &Grant) -> Result<Option<usize>, GrantError> {
        let Some(parent) = grant.parent else {
            // The issuer is the key of the space: the record could not have been made otherwise.
            let own = self.held.iter().filter(|held| held.parent.is_none()).count();
            return if own < MAX_PER_ISSUER { Ok(None) } else { Err(GrantError::TooMany) };
        };
        let at = *self.ids.get(&parent).ok_or(GrantError::Unknown)?;
        narrows(grant, &self.held[at].grant)?;
        if self.depth(at) >= MAX_CHAIN {
            return Err(GrantError::TooLong);
        }
        self.room_below(at, &grant.issuer)?;
        Ok(Some(at))
    }

    fn room_below(&self, parent: usize, issuer: &[u8; 32]) -> Result<(), GrantError> {
        let delegated = self.held.iter().filter(|held| held.parent.is_some()).count();
        let led_by = |key: &[u8; 32]| {
            let leads = |at: &usize| self.chain(*at).any(|link| link.grant.issuer == *key);
            (0..self.held.len()).filter(leads).count()
        };
        let above = self.chain(parent).map(|link| &link.grant.issuer);
        let mut issuers = above.filter(|key| **key != self.space.0).chain([issuer]);
        let full = delegated >= MAX_DELEGATED || issuers.any(|key| led_by(key) >= MAX_PER_ISSUER);
        if full { Err(GrantError::TooMany) } else { Ok(()) }
    }

    fn take_back(&mut self, revocation: Signed<Revocation>) -> Result<Inserted, GrantError> {
        let at = *self.ids.get(&revocation.grant).ok_or(GrantError::Unknown)?;
        if !self.may_revoke(&revocation.issuer, &revocation.grant) {
            return Err(GrantError::NotTheirs);
        }
        let held = &mut self.held[at].revoked;
        if held
            .as_ref()
            .is_some_and(|held| (held.at, held.id()) <= (revocation.at, revocation.id()))
        {
            return Ok(Inserted::Known);
        }
        *held = Some(revocation);
        Ok(Inserted::New)
    }

    fn get(&self, id: &GrantId) -> Option<&Held> {
        self.ids.get(id).map(|at| &self.held[*at])
    }

    /// A grant, and those it was derived from.
    fn chain(&self, at: usize) -> impl Iterator<Item = &Held> {
        let above = |held: &&Held| held.parent.map(|parent| &self.held[parent]);
        std::iter::successors(Some(&self.held[at]), above)
    }

    fn depth(&self, at: usize) -> usize {
        self.chain(at).count()
    }
}

/// Until when, inclusive.
fn end(expires: Option<UnixMillis>) -> UnixMillis {
    expires.unwrap_or(UnixMillis(u64::MAX))
}

/// Whether a grant gives no more than the one it was derived from.
fn narrows(grant: &Grant, parent: &Grant) -> Result<(), GrantError> {
    if grant.issuer != *parent.to.key() {
        return Err(GrantError::Issuer);
    }
    let widens = [
        (grant.rights > parent.rights, "rights"),
        (!grant.prefix.starts_with(&parent.prefix), "keys"),
        (end(grant.expires) > end(parent.expires), "time"),
    ];
    let wider = widens.into_iter().find(|(widens, _)| *widens);
    wider.map_or(Ok(()), |(_, what)| Err(GrantError::Widens(what)))
}
