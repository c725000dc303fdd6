//! What the grants of a space allow.

use std::{cmp::Reverse, collections::BTreeSet};

use peerage_api::kv::Access;
use peerage_types::{Author, Hlc, UnixMillis};
use peerage_wire::kv::grant::{Grant, GrantId, Grantee, Revocation, Rights, Signed};

use super::{Grants, Held, MAX_CHAIN, MAX_SHOWN, Terms, end};

impl Grants {
    /// Whether an entry of this author, key and clock is valid: dated while a grant lasted and not
    /// after one of its links was revoked.
    ///
    /// Who was revoked may still write entries that are dated before: they are as valid as those
    /// from then, which cannot be told apart.
    #[must_use]
    pub fn may_write(&self, author: &Author, key: &str, at: Hlc) -> bool {
        let covers = |held: &Held| {
            held.grant.rights == Rights::Write
                && key.starts_with(&held.grant.prefix)
                && at.at() <= end(held.grant.expires)
        };
        let in_time = |link: &Held| link.revoked.as_ref().is_none_or(|it| at <= it.at);
        let given = self.given((*author).into());
        given.iter().any(|it| covers(&self.held[*it]) && self.chain(*it).all(in_time))
    }

    /// The prefixes of the keys that somebody may read, none within another; `[""]` is everything,
    /// `None` nothing.
    ///
    /// A revocation counts as soon as it is known, whatever its date.
    #[must_use]
    pub fn readable(&self, reader: &Author, now: UnixMillis) -> Option<Vec<String>> {
        let live = self.live((*reader).into(), now);
        // In the order of their bytes a prefix comes before what it covers.
        let sorted: BTreeSet<&str> = live.map(|(_, grant)| &grant.prefix[..]).collect();
        let mut prefixes: Vec<String> = Vec::new();
        for prefix in sorted {
            if prefixes.last().is_none_or(|last| !prefix.starts_with(&last[..])) {
                prefixes.push(prefix.to_owned());
            }
        }
        (!prefixes.is_empty()).then_some(prefixes)
    }

    /// The most that somebody may do now, with some keys at least.
    #[must_use]
    pub fn rights(&self, who: &Author, now: UnixMillis) -> Option<peerage_api::kv::Rights> {
        let live = self.live((*who).into(), now);
        live.map(|(_, grant)| grant.rights).max().map(super::show::rights)
    }

    /// Whether somebody may do anything now, with some keys at least; if that was taken back, when.
    #[must_use]
    pub fn access(&self, who: &Author, now: UnixMillis) -> (Access, Option<UnixMillis>) {
        let given = self.given((*who).into());
        let revoked = given.iter().filter_map(|at| self.revocation(*at)).map(|it| it.at.at()).max();
        match (self.rights(who, now), revoked) {
            (Some(_), _) => (Access::Granted, None),
            (None, Some(_)) => (Access::Revoked, revoked),
            (None, None) if given.is_empty() => (Access::None, None),
            (None, None) => (Access::Ended, None),
        }
    }

    /// When what let somebody write a key was taken back; nothing if another grant is left, or there
    /// was none.
    #[must_use]
    pub fn write_revoked(&self, author: &Author, key: &str) -> Option<UnixMillis> {
        let covers = |at: &&usize| {
            let grant = &self.held[**at].grant;
            grant.rights == Rights::Write && key.starts_with(&grant.prefix)
        };
        let covering = self.given((*author).into()).iter().filter(covers);
        let revoked: Option<Vec<_>> = covering.map(|at| self.revocation(*at)).collect();
        revoked?.iter().map(|it| it.at.at()).max()
    }

    /// The revocation of a grant, or of one that it was derived from, that is dated first: no other
    /// leaves less.
    pub(super) fn revocation(&self, at: usize) -> Option<&Signed<Revocation>> {
        let revoked = self.chain(at).filter_map(|link| link.revoked.as_ref());
        revoked.min_by_key(|it| (it.at, it.id()))
    }

    /// The grant of `who` from which that much can be passed on: the one nearest to the key of the
    /// space, so that it can be passed on again as often as possible.
    #[must_use]
    pub fn best_to_delegate(
        &self,
        who: Grantee,
        terms: &Terms,
        now: UnixMillis,
    ) -> Option<GrantId> {
        let fits =
            |(at, grant): &(usize, &Grant)| self.depth(*at) < MAX_CHAIN && terms.within(grant);
        let rank = |(at, grant): &(usize, &Grant)| {
            (self.depth(*at), Reverse(end(grant.expires)), self.held[*at].grant.id())
        };
        let best = self.live(who, now).filter(fits).min_by_key(rank);
        best.map(|(at, _)| self.held[at].grant.id())
    }

    /// What `to` must be granted so that it may do what `from` may, and from which grants; up to
    /// [`MAX_SHOWN`]. Nothing when it already may.
    #[must_use]
    pub fn to_pass_on(&self, from: Grantee, to: Grantee, now: UnixMillis) -> Vec<(GrantId, Terms)> {
        let has: Vec<_> = self.live(to, now).collect();
        let most = self.most(from, now).into_iter();
        most.filter(|at| self.depth(*at) < MAX_CHAIN)
            .map(|at| (&self.held[at].grant, Terms::of(&self.held[at].grant, to)))
            .filter(|(_, terms)| !has.iter().any(|(_, grant)| terms.within(grant)))
            .map(|(grant, terms)| (grant.id(), terms))
            .collect()
    }

    /// Whether a revocation of the grant that is signed by this key counts: that of the space, or one
    /// that issued the grant or one above it.
    #[must_use]
    pub fn may_revoke(&self, key: &[u8; 32], id: &GrantId) -> bool {
        let issued = |at: &usize| self.chain(*at).any(|link| link.grant.issuer == *key);
        self.ids.get(id).is_some_and(issued)
    }

    pub(super) fn given(&self, to: Grantee) -> &[usize] {
        self.of.get(&to).map_or(&[], |given| given)
    }

    /// The grants of somebody that are valid now.
    fn live(&self, to: Grantee, now: UnixMillis) -> impl Iterator<Item = (usize, &Grant)> {
        let lives = move |at: &usize| {
            now <= end(self.held[*at].grant.expires)
                && self.chain(*at).all(|link| link.revoked.is_none())
        };
        let live = self.given(to).iter().copied().filter(lives);
        live.map(|at| (at, &*self.held[at].grant))
    }

    /// Those of them that are not within others, the shortest prefixes first.
    pub(super) fn most(&self, to: Grantee, now: UnixMillis) -> Vec<usize> {
        let mut live: Vec<_> = self.live(to, now).collect();
        live.sort_by_key(|(at, grant)| {
            let id = self.held[*at].grant.id();
            (
                grant.prefix.len(),
                Reverse(grant.rights),
                Reverse(end(grant.expires)),
                self.depth(*at),
                id,
            )
        });
        let mut most: Vec<(usize, &Grant)> = Vec::new();
        for (at, grant) in live {
            let terms = Terms::of(grant, to);
            if most.len() < MAX_SHOWN && !most.iter().any(|(_, other)| terms.within(other)) {
                most.push((at, grant));
            }
        }
        most.into_iter().map(|(at, _)| at).collect()
    }
}
