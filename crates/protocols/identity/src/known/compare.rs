//! How two nodes find out what the other lacks.

use std::{iter::Peekable, ops::Bound};

use peerage_types::UserId;
use peerage_wire::identity::frames::{Buckets, DIGEST_BYTES, Entry, MAX_ENTRIES, Page};

use super::Known;
use crate::bounds::MAX_PAGE_BUNDLES;

/// See [`Known::digest`].
pub type Digest = [u8; DIGEST_BYTES];

/// What a page says to a node.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Diff {
    /// How far it was compared; to the end without.
    pub(crate) through: Option<UserId>,
    /// Places of entries of the page that this node wants.
    pub(crate) wanted: Vec<u16>,
    /// What the other side lacks.
    pub(crate) lacking: Vec<UserId>,
}

impl Known {
    /// The digest of what is known of users whose id begins with this byte. A hash over all of it,
    /// not a sum of hashes: nobody can add users of its own that make up for a difference.
    pub fn digest(&mut self, bucket: u8) -> Digest {
        let at = usize::from(bucket);
        let digest = self.digests[at].unwrap_or_else(|| self.fresh_digest(bucket));
        self.digests[at] = Some(digest);
        digest
    }

    fn fresh_digest(&self, bucket: u8) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for entry in self.entries(Buckets::one(bucket), None, None) {
            hasher.update(&entry.encode());
        }
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..DIGEST_BYTES]);
        digest
    }

    fn entries(
        &self,
        buckets: Buckets,
        after: Option<UserId>,
        through: Option<UserId>,
    ) -> impl Iterator<Item = Entry> + '_ {
        let within = buckets.within(after, through);
        let rows = within.flat_map(|(from, to)| self.rows.range((from, to)));
        rows.map(|(user, row)| row.entry(*user))
    }

    /// What this node has of some buckets, from behind an id on, as far as it fits.
    pub(crate) fn page(&self, buckets: Buckets, after: Option<UserId>) -> Page {
        let mut entries: Vec<_> =
            self.entries(buckets, after, None).take(MAX_ENTRIES + 1).collect();
        let more = entries.len() > MAX_ENTRIES;
        entries.truncate(MAX_ENTRIES);
        let through = entries.last().filter(|_| more).map(|entry| entry.user);
        Page { buckets, after, through, full: self.is_full(), entries }
    }

    /// Compares a page with what this node has, as far as one answer may carry.
    pub(crate) fn compare(&self, page: &Page) -> Diff {
        let mut ours = self.entries(page.buckets, page.after, page.through).peekable();
        let mut theirs = (0..).zip(&page.entries).peekable();
        let mut diff = Diff { through: page.through, ..Diff::default() };
        let full = self.is_full();
        while let Some((user, our, their)) = next_user(&mut ours, &mut theirs) {
            match (our, their) {
                (Some(our), Some((place, their))) => diff.note(place, &our, their),
                (Some(_), None) if !page.full => diff.lacking.push(user),
                (None, Some((place, _))) if !full => diff.wanted.push(place),
                _ => {}
            }
            // One answer may go over by what the last user took.
            if diff.wanted.len() + diff.lacking.len() >= MAX_PAGE_BUNDLES {
                diff.through = Some(user);
                break;
            }
        }
        diff
    }
}

impl Diff {
    fn note(&mut self, place: u16, our: &Entry, their: &Entry) {
        let same_profile = (our.seq, our.profile) == (their.seq, their.profile);
        let same_rest = our.rest == their.rest;
        // Of equal numbers the hash decides, which entries do not have in full.
        let either = our.seq == their.seq && !same_profile;
        let none = [0; 8];
        if our.seq > their.seq || either || !same_rest && our.rest != none {
            self.lacking.push(our.user);
        }
        if their.seq > our.seq || either || !same_rest && their.rest != none {
            self.wanted.push(place);
        }
    }
}

type Theirs<'a> = (u16, &'a Entry);

/// The next user that either side has.
fn next_user<'a>(
    ours: &mut Peekable<impl Iterator<Item = Entry>>,
    theirs: &mut Peekable<impl Iterator<Item = Theirs<'a>>>,
) -> Option<(UserId, Option<Entry>, Option<Theirs<'a>>)> {
    let our = ours.peek().map(|entry| entry.user);
    let their = theirs.peek().map(|(_, entry)| entry.user);
    let user = [our, their].into_iter().flatten().min()?;
    let our = ours.next_if(|entry| entry.user == user);
    Some((user, our, theirs.next_if(|(_, entry)| entry.user == user)))
}

/// Ranges of ids.
trait Within {
    fn one(bucket: u8) -> Self;
    /// The part of each bucket that is behind one id and not behind another.
    fn within(
        self,
        after: Option<UserId>,
        through: Option<UserId>,
    ) -> impl Iterator<Item = (Bound<UserId>, Bound<UserId>)>;
}

impl Within for Buckets {
    fn one(bucket: u8) -> Self {
        let mut buckets = Self::default();
        buckets.insert(bucket);
        buckets
    }

    fn within(
        self,
        after: Option<UserId>,
        through: Option<UserId>,
    ) -> impl Iterator<Item = (Bound<UserId>, Bound<UserId>)> {
        (0..=u8::MAX).filter(move |bucket| self.contains(*bucket)).filter_map(move |bucket| {
            let (mut first, mut last) = ([0; 32], [0xff; 32]);
            (first[0], last[0]) = (bucket, bucket);
            let (first, last) = (UserId(first), UserId(last));
            let last = through.map_or(last, |through| through.min(last));
            let is_behind = after.is_some_and(|after| after >= last);
            let from = match after.filter(|after| *after >= first) {
                Some(after) => Bound::Excluded(after),
                None => Bound::Included(first),
            };
            (!is_behind && last >= first).then_some((from, Bound::Included(last)))
        })
    }
}
