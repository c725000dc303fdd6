//! Whose records this node has, who makes room, and who is passed on. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use bytes::Bytes;
use peerage_types::{PeerId, Reach, UnixMillis};
use peerage_wire::introductions::{Infohash, Signed};
use rand::{Rng, RngExt as _};

use crate::bounds::{LATELY, MAX_KNOWN, MAX_LATELY, MAX_PER_SOURCE};

/// For whom a record is, by the nearest of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scope {
    /// Everybody: all its addresses are of the internet.
    Global,
    /// Peers on the local network.
    Local,
}

impl Scope {
    /// `None` if an address names no place.
    pub(crate) fn of(record: &Signed) -> Option<Self> {
        let nearest = record.addresses.iter().map(Reach::of).min()??;
        Some(if nearest == Reach::Global { Self::Global } else { Self::Local })
    }
}

/// What came of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// Nothing was known, or something older.
    News,
    /// The same is known.
    Known,
    /// It does not count: expired, outdated, about this node, or not meant for it.
    Nothing,
}

/// `Connected` while there is a connection → `Until` for [`LATELY`] → gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Connected,
    Until(Instant),
}

#[derive(Debug)]
struct Held {
    record: Signed,
    /// Who told, unless the peer itself did or was met at that time.
    source: Option<PeerId>,
    /// Rises with each record that is learned: the lowest goes first.
    turn: u64,
}

type Key = (PeerId, Scope);

/// Records of other nodes, the newest of each.
#[derive(Debug)]
pub(crate) struct Known {
    local: PeerId,
    records: HashMap<Key, Held>,
    /// How many records each source has told.
    told: HashMap<PeerId, usize>,
    /// In the order of their ids, so that the same seed always leads to the same answers.
    met: BTreeMap<PeerId, Met>,
    turn: u64,
}

impl Known {
    pub(crate) fn new(local: PeerId) -> Self {
        let (records, told) = (HashMap::new(), HashMap::new());
        Self { local, records, told, met: BTreeMap::new(), turn: 0 }
    }

    /// Records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn on_connected(&mut self, peer: PeerId) {
        self.met.insert(peer, Met::Connected);
        for scope in [Scope::Global, Scope::Local] {
            if let Some(held) = self.records.get_mut(&(peer, scope)) {
                release(&mut self.told, held.source.take());
            }
        }
    }

    pub(crate) fn on_gone(&mut self, peer: PeerId, now: Instant) {
        self.met.insert(peer, Met::Until(now + LATELY));
        let lately = |met: &Met| match met {
            Met::Until(until) => Some(*until),
            Met::Connected => None,
        };
        if self.met.values().filter_map(lately).count() > MAX_LATELY {
            let oldest = self.met.iter().filter_map(|(p, met)| Some((lately(met)?, *p))).min();
            oldest.map(|(_, peer)| self.met.remove(&peer));
        }
    }

    /// Drops what has expired.
    pub(crate) fn expire(&mut self, now: Instant, unix: UnixMillis) {
        self.met.retain(|_, met| !matches!(met, Met::Until(until) if *until <= now));
        for (_, gone) in self.records.extract_if(|_, held| held.record.expires() <= unix) {
            release(&mut self.told, gone.source);
        }
    }

    /// Takes a record that `from` has told, who is `nearby` or not.
    pub(crate) fn learn(
        &mut self,
        record: Signed,
        from: PeerId,
        nearby: bool,
        unix: UnixMillis,
    ) -> Learned {
        let peer = record.peer;
        let (true, Some(scope)) = (peer != self.local, Scope::of(&record)) else {
            return Learned::Nothing;
        };
        if record.check_time(unix).is_err() || (scope == Scope::Local && !nearby) {
            return Learned::Nothing;
        }
        let key = (peer, scope);
        match self.records.get(&key) {
            Some(held) if held.record.seq > record.seq => return Learned::Nothing,
            Some(held) if held.record.seq == record.seq => return Learned::Known,
            Some(_) => {}
            None => {
                let source = (from != peer && !self.met.contains_key(&peer)).then_some(from);
                if !self.make_room(source) {
                    return Learned::Nothing;
                }
            }
        }
        self.keep(key, record, from);
        Learned::News
    }

    fn keep(&mut self, key: Key, record: Signed, from: PeerId) {
        self.turn += 1;
        let is_met = from == key.0 || self.met.contains_key(&key.0);
        // Who told of a peer first answers for it, so that a newer record does not free its place.
        let before = self.records.remove(&key).map(|held| held.source);
        let source = before.unwrap_or(Some(from)).filter(|_| !is_met);
        if before.is_none() || source.is_none() {
            release(&mut self.told, before.flatten());
            if let Some(source) = source {
                *self.told.entry(source).or_default() += 1;
            }
        }
        self.records.insert(key, Held { record, source, turn: self.turn });
    }

    /// Makes room for a record of `source`, or of a peer that was met: first of what the same source
    /// has told, then of who has told most, at last of peers that have gone.
    fn make_room(&mut self, source: Option<PeerId>) -> bool {
        let told = |source: &PeerId| self.told.get(source).copied().unwrap_or(0);
        let full = source.filter(|source| told(source) >= MAX_PER_SOURCE);
        if full.is_none() && self.records.len() < MAX_KNOWN {
            return true;
        }
        let most = || self.told.iter().max_by_key(|(peer, count)| (**count, **peer));
        let giver = full.or_else(|| most().map(|(peer, _)| *peer));
        let oldest = |is_it: &dyn Fn(&Key, &Held) -> bool| {
            let candidates = self.records.iter().filter(|(key, held)| is_it(key, held));
            candidates.min_by_key(|(_, held)| held.turn).map(|(key, _)| *key)
        };
        let victim = match giver {
            Some(_) => oldest(&|_, held| held.source == giver),
            None => oldest(&|key, _| self.met.get(&key.0) != Some(&Met::Connected)),
        };
        let Some(victim) = victim else { return false };
        let gone = self.records.remove(&victim);
        release(&mut self.told, gone.and_then(|held| held.source));
        true
    }

    /// Records of peers that were met, to tell `asker`, who is `nearby` or not: a random choice.
    pub(crate) fn introduce(
        &self,
        asker: &PeerId,
        nearby: bool,
        namespace: Option<Infohash>,
        limit: usize,
        unix: UnixMillis,
        random: &mut impl Rng,
    ) -> Vec<Bytes> {
        let others = self.met.keys().filter(|peer| *peer != asker);
        let fresh = others.filter_map(|peer| self.newest(peer, nearby, unix));
        let mut fresh: Vec<_> = fresh.filter(|record| is_of(record, namespace)).collect();
        for at in 0..limit.min(fresh.len()) {
            let other = random.random_range(at..fresh.len());
            fresh.swap(at, other);
        }
        fresh.truncate(limit);
        fresh.into_iter().map(|record| record.bytes().clone()).collect()
    }

    /// All that is known of a namespace, met or not: one record of each peer.
    pub(crate) fn of(&self, namespace: Infohash, unix: UnixMillis) -> Vec<Signed> {
        let of = |key: &&Key| self.records[key].record.namespaces.contains(&namespace);
        let mut peers: Vec<_> = self.records.keys().filter(of).map(|(peer, _)| *peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers.iter().filter_map(|peer| self.newest(peer, true, unix).cloned()).collect()
    }

    /// What there is of a peer for somebody `nearby` or not; a local record has global addresses, too.
    fn newest(&self, peer: &PeerId, nearby: bool, unix: UnixMillis) -> Option<&Signed> {
        let scopes = [Scope::Local, Scope::Global].into_iter().skip(usize::from(!nearby));
        let held = scopes.filter_map(|scope| self.records.get(&(*peer, scope)));
        held.map(|held| &held.record).find(|record| record.check_time(unix).is_ok())
    }
}

fn is_of(record: &Signed, namespace: Option<Infohash>) -> bool {
    namespace.is_none_or(|namespace| record.namespaces.contains(&namespace))
}

fn release(told: &mut HashMap<PeerId, usize>, source: Option<PeerId>) {
    let Some(source) = source else { return };
    if let Some(count) = told.get_mut(&source) {
        *count -= 1;
        if *count == 0 {
            told.remove(&source);
        }
    }
}

#[cfg(test)]
impl Known {
    /// How many records each source answers for, counted anew.
    pub(crate) fn check(&self) {
        let mut told: HashMap<PeerId, usize> = HashMap::new();
        for source in self.records.values().filter_map(|held| held.source) {
            *told.entry(source).or_default() += 1;
        }
        assert_eq!(told, self.told);
        assert!(told.values().all(|count| *count <= MAX_PER_SOURCE));
        assert!(self.records.len() <= MAX_KNOWN);
    }

    pub(crate) fn seq_of(&self, peer: &PeerId) -> Option<UnixMillis> {
        self.records.get(&(*peer, Scope::Global)).map(|held| held.record.seq)
    }
}
