//! Grants as they are told to peers and to people.

use std::collections::BTreeSet;

use bytes::Bytes;
use peerage_api::kv;
use peerage_types::{Author, UnixMillis};
use peerage_wire::kv::grant::{Grant, GrantId, GrantRecord, Rights, Signed};

use super::{Grants, Held, MAX_SHOWN};

impl Grants {
    /// The records that show a peer what somebody may do now, parents first; of many chains up to
    /// [`MAX_SHOWN`], those that cover most. `None` when it may do nothing.
    #[must_use]
    pub fn chain_for(&self, who: &Author, now: UnixMillis) -> Option<Vec<Bytes>> {
        let most = self.most((*who).into(), now);
        let mut shown = BTreeSet::new();
        let mut records = Vec::new();
        for at in most {
            for grant in self.links(at) {
                if shown.insert(grant.id()) {
                    records.push(grant.bytes().clone());
                }
            }
        }
        (!records.is_empty()).then_some(records)
    }

    /// The revocations that tell somebody why it may do nothing any more: for each of its grants that is
    /// among the records which it has shown, the one that is dated first, unless it has shown that,
    /// too. At most [`MAX_SHOWN`]; of more the next ones are told when it shows what it has left.
    #[must_use]
    pub fn why_not<'a>(
        &self,
        who: &Author,
        shown: impl IntoIterator<Item = &'a Bytes>,
    ) -> Vec<Bytes> {
        let shown: BTreeSet<_> =
            shown.into_iter().filter_map(|record| GrantRecord::claimed_id(record)).collect();
        let of_theirs = self.given((*who).into()).iter();
        let of_theirs = of_theirs.filter(|at| shown.contains(&self.held[**at].grant.id()));
        let mut told = BTreeSet::new();
        let why = of_theirs.filter_map(|at| self.revocation(*at));
        let why = why.filter(|it| !shown.contains(&it.id()) && told.insert(it.id()));
        why.take(MAX_SHOWN).map(Signed::bytes).cloned().collect()
    }

    /// A grant and those it was derived from, parents first: what goes into a ticket.
    #[must_use]
    pub fn chain_of(&self, id: &GrantId) -> Option<Vec<Signed<Grant>>> {
        self.ids.get(id).map(|at| self.links(*at))
    }

    fn links(&self, at: usize) -> Vec<Signed<Grant>> {
        let mut links: Vec<_> = self.chain(at).map(|link| link.grant.clone()).collect();
        links.reverse();
        links
    }

    /// The same for the same set, and only then.
    #[must_use]
    pub fn digest(&self) -> [u8; 8] {
        let revocations = self.held.iter().filter_map(|held| held.revoked.as_ref());
        let grants = self.held.iter().map(|held| held.grant.id());
        let ids: BTreeSet<_> = grants.chain(revocations.map(Signed::id)).collect();
        let mut hasher = blake3::Hasher::new_derive_key("peerage/kv/1 grants");
        ids.iter().for_each(|id| _ = hasher.update(&id.0));
        *hasher.finalize().as_bytes().first_chunk().expect("32 bytes")
    }

    /// Every record: parents before children, then revocations.
    #[must_use]
    pub fn all(&self) -> Vec<Bytes> {
        let revocations = self.held.iter().filter_map(|held| held.revoked.as_ref());
        let grants = self.held.iter().map(|held| held.grant.bytes());
        grants.chain(revocations.map(Signed::bytes)).cloned().collect()
    }

    /// Every grant for people, the first given first.
    #[must_use]
    pub fn list(&self) -> Vec<kv::Grant> {
        let mut order: Vec<_> = (0..self.held.len()).collect();
        order.sort_by_key(|at| (self.held[*at].grant.at, self.held[*at].grant.id()));
        order.into_iter().map(|at| self.show(at)).collect()
    }

    /// One grant for people.
    #[must_use]
    pub fn shown(&self, id: &GrantId) -> Option<kv::Grant> {
        self.ids.get(id).map(|at| self.show(*at))
    }

    /// When a grant itself was revoked, if it was.
    #[must_use]
    pub fn revoked(&self, id: &GrantId) -> Option<UnixMillis> {
        self.get(id)?.revoked.as_ref().map(|it| it.at.at())
    }

    fn show(&self, at: usize) -> kv::Grant {
        let Held { grant, parent, .. } = &self.held[at];
        let revoked = self.chain(at).filter_map(|link| link.revoked.as_ref());
        kv::Grant {
            id: grant.id().to_string(),
            to: grant.to.author(),
            by: parent.and_then(|parent| self.held[parent].grant.to.author()),
            rights: rights(grant.rights),
            prefix: grant.prefix.clone(),
            expires_ms: grant.expires,
            revoked_ms: revoked.map(|it| it.at.at()).min(),
            parent: grant.parent.map(|parent| parent.to_string()),
        }
    }
}

pub(super) fn rights(rights: Rights) -> kv::Rights {
    match rights {
        Rights::Read => kv::Rights::Read,
        Rights::Write => kv::Rights::Write,
    }
}
