//! The address book: whom we know, where, and how well it went. Pure.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
};

use bytes::Bytes;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use peerage_api::peers::Source;
use peerage_types::UnixMillis;

use crate::{
    address,
    row::{Address, Entry},
};

/// Addresses kept of a peer. 8 × about 60 bytes = half a kilobyte a row.
pub(crate) const MAX_ADDRESSES: usize = 8;
/// Scores end here.
pub(crate) const MAX_SCORE: i32 = 100;
/// Below this a peer is not dialled without being asked for.
pub(crate) const LEAST_SCORE: i32 = -20;
/// Failures after which an address gives way to one that is not proven.
const REPLACEABLE_FAILURES: u32 = 3;
/// Failures after which an address that no user gave is forgotten.
const MAX_FAILURES: u32 = 20;
/// Points of a successful dial or accepted connection.
const CONNECTED_POINTS: i32 = 2;
/// Points of a dial where no address answered.
const UNREACHABLE_POINTS: i32 = -1;

/// What a report of discovery taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// A peer that was not in the book.
    Peer,
    /// A new source for a known peer.
    Source,
    /// A new address of a known peer.
    Address,
    /// What was known.
    Nothing,
    /// The book is full of better ones.
    Full,
}

/// Rows that differ from what the store has.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) put: Vec<(PeerId, Bytes)>,
    pub(crate) remove: Vec<PeerId>,
}

/// At most `max` peers; see [`Book::evict`] for who has to go.
#[derive(Debug)]
pub(crate) struct Book {
    max: usize,
    entries: HashMap<PeerId, Entry>,
    dirty: HashSet<PeerId>,
    removed: HashSet<PeerId>,
}

impl Book {
    /// What the store has. Rows that cannot be read are removed from it.
    pub(crate) fn load(max: usize, rows: Vec<(PeerId, Bytes)>) -> Self {
        let mut book = Self {
            max,
            entries: HashMap::with_capacity(rows.len().min(max)),
            dirty: HashSet::new(),
            removed: HashSet::new(),
        };
        for (peer, row) in rows {
            match Entry::decode(&row) {
                Some(mut entry) => {
                    // A damaged row may still be CBOR.
                    entry.addresses.truncate(MAX_ADDRESSES);
                    entry.score = clamp(entry.score);
                    book.entries.insert(peer, entry);
                }
                None => drop(book.removed.insert(peer)),
            }
        }
        book
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Entry> {
        self.entries.get(peer)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Standing of a peer, 0 if it is not known.
    pub(crate) fn score(&self, peer: &PeerId) -> i32 {
        self.entries.get(peer).map_or(0, |entry| entry.score)
    }

    /// A peer and addresses of it (bare, already filtered) became known. `pinned` peers are never
    /// evicted.
    pub(crate) fn learn(
        &mut self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
        source: Option<Source>,
        now: UnixMillis,
        pinned: impl Fn(&PeerId) -> bool,
    ) -> Learned {
        let new = !self.entries.contains_key(&peer);
        if new && self.entries.len() >= self.max {
            self.evict(&pinned);
            if self.entries.len() >= self.max {
                return Learned::Full;
            }
        }
        let entry =
            self.entries.entry(peer).or_insert_with(|| Entry { added: now, ..Entry::default() });
        let mut changed = new;
        for address in addresses {
            changed |= add_address(entry, address, source);
        }
        let new_source = source.is_some_and(|source| entry.sources.add(source));
        if changed || new_source {
            self.touch(peer);
        }
        match (new, new_source) {
            (true, _) => Learned::Peer,
            (false, true) => Learned::Source,
            (false, false) if changed => Learned::Address,
            (false, false) => Learned::Nothing,
        }
    }

    /// Makes room for a sixteenth of the book, so that a flood of strangers costs one sort in many.
    ///
    /// First go those who never connected, then the lowest scores, then those not seen for longest;
    /// a flood therefore replaces itself and not those who proved useful.
    fn evict(&mut self, pinned: &impl Fn(&PeerId) -> bool) {
        let mut order: Vec<_> = self
            .entries
            .iter()
            .filter(|(peer, _)| !pinned(peer))
            .map(|(peer, e)| ((e.seen.is_some(), e.score, e.seen, e.added), *peer))
            .collect();
        order.sort_unstable();
        let room = (self.max / 16).max(1) + self.entries.len().saturating_sub(self.max);
        for (_, peer) in order.into_iter().take(room) {
            self.entries.remove(&peer);
            self.dirty.remove(&peer);
            self.removed.insert(peer);
        }
    }

    /// A dial to the address succeeded.
    pub(crate) fn worked(&mut self, peer: PeerId, address: &Multiaddr, now: UnixMillis) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        add_address(entry, address.clone(), None);
        // The address answered, so unlike a mere claim it always finds a place.
        if !entry.addresses.iter().any(|a| a.address == *address)
            && let Some(worst) = entry.addresses.iter_mut().max_by_key(|a| rank(a))
        {
            *worst = Address::new(address.clone());
        }
        for known in entry.addresses.iter_mut().filter(|a| a.address == *address) {
            known.worked = Some(now);
            known.failures = 0;
        }
        self.touch(peer);
    }

    /// The address did not answer.
    pub(crate) fn failed(&mut self, peer: PeerId, address: &Multiaddr) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        let Some(known) = entry.addresses.iter_mut().find(|a| a.address == *address) else {
            return;
        };
        known.failures = known.failures.saturating_add(1);
        entry.addresses.retain(|a| a.failures < MAX_FAILURES || given_by_user(a));
        self.touch(peer);
    }

    /// Somebody else answers at the address.
    pub(crate) fn wrong(&mut self, peer: PeerId, address: &Multiaddr) {
        let Some(entry) = self.entries.get_mut(&peer) else { return };
        let before = entry.addresses.len();
        entry.addresses.retain(|a| a.address != *address);
        if entry.addresses.len() < before {
            self.touch(peer);
        }
    }

    /// A connection stands.
    pub(crate) fn connected(&mut self, peer: PeerId, now: UnixMillis) {
        self.change(peer, |entry| {
            entry.seen = Some(now);
            entry.score = clamp(entry.score + CONNECTED_POINTS);
        });
    }

    /// The last connection is gone.
    pub(crate) fn disconnected(&mut self, peer: PeerId, now: UnixMillis) {
        self.change(peer, |entry| entry.seen = Some(now));
    }

    /// No address answered.
    pub(crate) fn unreachable(&mut self, peer: PeerId) {
        self.change(peer, |entry| entry.score = clamp(entry.score + UNREACHABLE_POINTS));
    }

    /// It told whether it belongs to our network.
    pub(crate) fn identified(&mut self, peer: PeerId, member: bool) {
        if self.entries.get(&peer).is_some_and(|entry| entry.member != Some(member)) {
            self.change(peer, |entry| entry.member = Some(member));
        }
    }

    /// It misbehaved.
    pub(crate) fn penalise(&mut self, peer: PeerId, points: u32) {
        let points = i32::try_from(points).unwrap_or(i32::MAX);
        self.change(peer, |entry| entry.score = clamp(entry.score.saturating_sub(points)));
    }

    /// Addresses of a peer, best first.
    pub(crate) fn addresses_of(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.ranked(peer).into_iter().map(|known| known.address.clone()).collect()
    }

    /// Addresses of a peer with their record, best first: those without failures, direct ones,
    /// those that worked most recently.
    pub(crate) fn ranked(&self, peer: &PeerId) -> Vec<&Address> {
        let mut known: Vec<_> =
            self.entries.get(peer).into_iter().flat_map(|entry| &entry.addresses).collect();
        known.sort_by_key(|a| rank(a));
        known
    }

    /// The peers worth dialling at start, best first: members before strangers, never foreigners.
    pub(crate) fn best(&self, count: usize) -> Vec<PeerId> {
        let mut best: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, e)| !e.addresses.is_empty() && e.seen.is_some() && is_worth_dialling(e))
            .map(|(peer, e)| (Reverse((e.member, e.score, e.seen)), *peer))
            .collect();
        best.sort_unstable();
        best.into_iter().take(count).map(|(_, peer)| peer).collect()
    }

    /// Whether the peer may be dialled without being asked for.
    pub(crate) fn is_worth_dialling(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(is_worth_dialling)
    }

    /// Whether it has made itself known on the local network.
    pub(crate) fn is_near(&self, peer: &PeerId) -> bool {
        self.get(peer).is_some_and(|e| e.addresses.iter().any(|a| a.sources.has(Source::Mdns)))
    }

    /// Whether the store lacks something.
    pub(crate) fn has_changes(&self) -> bool {
        !self.dirty.is_empty() || !self.removed.is_empty()
    }

    /// What the store lacks; from now on it counts as saved.
    pub(crate) fn take_changes(&mut self) -> Changes {
        let entries = &self.entries;
        let put = self
            .dirty
            .drain()
            .filter_map(|peer| Some((peer, entries.get(&peer)?.encode()?)))
            .collect();
        Changes { put, remove: self.removed.drain().collect() }
    }

    /// The store refused these changes: they are still to be saved.
    pub(crate) fn restore(&mut self, peers: impl IntoIterator<Item = PeerId>) {
        for peer in peers {
            if self.entries.contains_key(&peer) {
                self.dirty.insert(peer);
            } else {
                self.removed.insert(peer);
            }
        }
    }

    fn change(&mut self, peer: PeerId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            change(entry);
            self.touch(peer);
        }
    }

    fn touch(&mut self, peer: PeerId) {
        self.removed.remove(&peer);
        self.dirty.insert(peer);
    }
}

fn clamp(score: i32) -> i32 {
    score.clamp(-MAX_SCORE, MAX_SCORE)
}

fn is_worth_dialling(entry: &Entry) -> bool {
    entry.member != Some(false) && entry.score > LEAST_SCORE
}

fn given_by_user(known: &Address) -> bool {
    known.sources.has(Source::Manual) || known.sources.has(Source::Bootstrap)
}

/// Least is best.
fn rank(known: &Address) -> impl Ord + use<> {
    let relayed = address::is_relayed(&known.address);
    (known.failures > 0, relayed, Reverse(known.worked), known.failures)
}

/// Adds an address or a source of it; true if something changed. A full list gives up only an
/// address that never worked or no longer does, so that claims do not push out what is proven.
fn add_address(entry: &mut Entry, address: Multiaddr, source: Option<Source>) -> bool {
    if let Some(known) = entry.addresses.iter_mut().find(|a| a.address == address) {
        return source.is_some_and(|source| known.sources.add(source));
    }
    if entry.addresses.len() >= MAX_ADDRESSES {
        let replaceable = |a: &Address| {
            (a.worked.is_none() || a.failures >= REPLACEABLE_FAILURES) && !given_by_user(a)
        };
        let oldest = (0..entry.addresses.len())
            .filter(|i| replaceable(&entry.addresses[*i]))
            .max_by_key(|i| (entry.addresses[*i].failures, Reverse(*i)));
        let Some(oldest) = oldest else { return false };
        entry.addresses.remove(oldest);
    }
    let mut known = Address::new(address);
    if let Some(source) = source {
        known.sources.add(source);
    }
    entry.addresses.push(known);
    true
}
