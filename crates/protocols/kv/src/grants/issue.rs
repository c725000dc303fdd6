//! New grants and revocations.

use ed25519_dalek::SigningKey;
use peerage_api::kv::GrantRequest;
use peerage_types::{Author, Hlc, SpaceId, UnixMillis};
use peerage_wire::kv::grant::{Grant, GrantId, Grantee, Revocation, Rights, Signed};

use super::{GrantError, Grants, end};

/// What is given to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// To whom.
    pub to: Grantee,
    /// What.
    pub rights: Rights,
    /// With which keys.
    pub prefix: String,
    /// Until when, inclusive.
    pub expires: Option<UnixMillis>,
}

impl Terms {
    /// As it was asked for at `now`.
    #[must_use]
    pub fn requested(request: &GrantRequest, now: UnixMillis) -> Self {
        let expires = request.ttl_ms.map(|ttl| UnixMillis(now.0.saturating_add(ttl).max(1)));
        let rights = match request.rights {
            peerage_api::kv::Rights::Read => Rights::Read,
            peerage_api::kv::Rights::Write => Rights::Write,
        };
        Self { to: request.to.into(), rights, prefix: request.prefix.clone(), expires }
    }

    /// All that a grant gives, to another.
    pub(super) fn of(grant: &Grant, to: Grantee) -> Self {
        let Grant { rights, prefix, expires, .. } = grant;
        Self { to, rights: *rights, prefix: prefix.clone(), expires: *expires }
    }

    /// Whether a grant gives as much.
    pub(super) fn within(&self, grant: &Grant) -> bool {
        self.rights <= grant.rights
            && self.prefix.starts_with(&grant.prefix)
            && end(self.expires) <= end(grant.expires)
    }
}

/// The first grant of a space: everything to its owner, for ever. The same whenever it is made, so
/// that a space that is made again, or on two nodes of a user, begins with the same one.
///
/// # Panics
/// Never: its fields are within their bounds.
#[must_use]
pub fn founding(space_key: &SigningKey, owner: Author) -> Signed<Grant> {
    let issuer = space_key.verifying_key().to_bytes();
    let grant = Grant {
        space: SpaceId(issuer),
        to: owner.into(),
        issuer,
        rights: Rights::Write,
        prefix: String::new(),
        at: UnixMillis(0),
        expires: None,
        parent: None,
        nonce: [0; 8],
    };
    Signed::sign(grant, space_key).expect("the key is the issuer's, and nothing breaks a bound")
}

impl Grants {
    /// Makes a grant, which is not held before it is inserted: from `parent` by its grantee's key, or
    /// without one by the key of the space. `nonce` should be random.
    ///
    /// # Errors
    /// [`GrantError`] when it would not be held.
    pub fn issue(
        &self,
        key: &SigningKey,
        parent: Option<GrantId>,
        terms: Terms,
        now: UnixMillis,
        nonce: [u8; 8],
    ) -> Result<Signed<Grant>, GrantError> {
        let Terms { to, rights, prefix, expires } = terms;
        let issuer = key.verifying_key().to_bytes();
        let space = self.space;
        let grant = Grant { space, to, issuer, rights, prefix, at: now, expires, parent, nonce };
        let signed = Signed::sign(grant, key)?;
        self.parent(&signed)?;
        Ok(signed)
    }

    /// Makes a revocation, which is not held before it is inserted: what is dated after `at` does not
    /// count.
    ///
    /// # Errors
    /// [`GrantError::Unknown`] and [`GrantError::NotTheirs`].
    pub fn revoke(
        &self,
        key: &SigningKey,
        grant: GrantId,
        at: Hlc,
    ) -> Result<Signed<Revocation>, GrantError> {
        let issuer = key.verifying_key().to_bytes();
        self.get(&grant).ok_or(GrantError::Unknown)?;
        if !self.may_revoke(&issuer, &grant) {
            return Err(GrantError::NotTheirs);
        }
        Ok(Signed::sign(Revocation { space: self.space, grant, issuer, at }, key)?)
    }
}
