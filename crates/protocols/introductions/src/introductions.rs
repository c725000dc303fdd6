//! The core: whom this node knows, what it says of itself, whom it asks and whom it answers. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use bytes::Bytes;
use libp2p_core::Multiaddr;
use peerage_types::{Network, PeerId, UnixMillis};
use peerage_wire::introductions::{Infohash, MAX_RECORDS, Signed};
use rand::Rng;

use crate::{
    bounds::{MAX_SEARCHES, SEARCH_PEERS, SETTLED_LIMIT, SETTLED_PEERS},
    known::{Known, Learned},
    own::Own,
    rounds::{Rounds, Served},
    session::Question,
};

/// Peers that one search tells of.
const MAX_FOUND: usize = 512;

/// All that is decided here. The two clocks are arguments.
#[derive(Debug)]
pub(crate) struct Introductions<R> {
    pub(crate) own: Own,
    pub(crate) known: Known,
    pub(crate) rounds: Rounds,
    pub(crate) served: Served,
    searches: BTreeMap<u64, Search>,
    pub(crate) random: R,
    /// Treat every peer as one of the local network.
    all_nearby: bool,
    /// Connected peers that are on the local network.
    nearby: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Search {
    namespace: Infohash,
    asked: usize,
    found: BTreeSet<PeerId>,
}

/// A peer that somebody told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Introduced {
    pub(crate) peer: PeerId,
    pub(crate) addresses: Vec<Multiaddr>,
    /// The one who told is on the local network.
    pub(crate) nearby: bool,
    /// It was not known before, or by an older record.
    pub(crate) is_news: bool,
    /// Somebody searched for it.
    pub(crate) is_found: bool,
}

impl<R: Rng> Introductions<R> {
    pub(crate) fn new(own: Own, local: PeerId, all_nearby: bool, random: R) -> Self {
        Self {
            own,
            known: Known::new(local),
            rounds: Rounds::default(),
            served: Served::default(),
            searches: BTreeMap::new(),
            random,
            all_nearby,
            nearby: BTreeSet::new(),
        }
    }

    pub(crate) fn network(&self) -> Network {
        self.own.network().clone()
    }

    /// A peer has a connection; `nearby`: it is on the local network.
    pub(crate) fn on_connected(&mut self, peer: PeerId, nearby: bool) {
        self.known.on_connected(peer);
        if nearby {
            self.nearby.insert(peer);
        }
    }

    /// A peer has none any more.
    pub(crate) fn on_gone(&mut self, peer: PeerId, now: Instant) {
        self.known.on_gone(peer, now);
        self.rounds.on_gone(&peer);
        self.nearby.remove(&peer);
    }

    pub(crate) fn on_speaks(&mut self, peer: PeerId, now: Instant) {
        self.rounds.on_speaks(peer, now, &mut self.random);
    }

    fn is_nearby(&self, peer: &PeerId) -> bool {
        self.all_nearby || self.nearby.contains(peer)
    }

    /// What this node says of itself has changed.
    pub(crate) fn on_changed(&mut self, changed: bool, now: Instant) {
        if changed {
            self.rounds.hurry(now, &mut self.random);
        }
    }

    /// What a peer is asked, apart from searches.
    pub(crate) fn question(&mut self, peer: &PeerId, unix: UnixMillis) -> Question {
        let settled = self.rounds.len() >= SETTLED_PEERS;
        let most = u8::try_from(MAX_RECORDS).unwrap_or(u8::MAX);
        let limit = if settled { SETTLED_LIMIT } else { most };
        Question { limit, namespace: None, own: self.own.records(self.is_nearby(peer), unix) }
    }

    /// What a peer is asked for a search.
    pub(crate) fn search_question(
        &mut self,
        peer: &PeerId,
        namespace: Infohash,
        unix: UnixMillis,
    ) -> Question {
        let limit = u8::try_from(MAX_RECORDS).unwrap_or(u8::MAX);
        let own = self.own.records(self.is_nearby(peer), unix);
        Question { limit, namespace: Some(namespace), own }
    }

    /// Answers a peer: this node first, then those that it has met.
    pub(crate) fn answer(
        &mut self,
        peer: &PeerId,
        limit: u8,
        namespace: Option<Infohash>,
        unix: UnixMillis,
    ) -> Vec<Bytes> {
        let (limit, nearby) = (usize::from(limit), self.is_nearby(peer));
        let mut records = self.own.records(nearby, unix);
        records.truncate(limit);
        let limit = limit - records.len();
        let random = &mut self.random;
        let others = self.known.introduce(peer, nearby, namespace, limit, unix, random);
        records.extend(others);
        records
    }

    /// Takes what a peer has said, of itself or of others.
    pub(crate) fn learn(
        &mut self,
        records: Vec<Signed>,
        from: PeerId,
        search: Option<u64>,
        unix: UnixMillis,
    ) -> Vec<Introduced> {
        let nearby = self.is_nearby(&from);
        let learn = |record: Signed| {
            let (peer, addresses) = (record.peer, record.addresses.clone());
            let learned = match self.known.learn(record.clone(), from, nearby, unix) {
                Learned::Nothing => return None,
                learned => learned,
            };
            let is_found = search.is_some_and(|search| self.is_found(search, &record));
            let is_news = learned == Learned::News && peer != from;
            Some(Introduced { peer, addresses, nearby, is_news, is_found })
        };
        records.into_iter().filter_map(learn).filter(|it| it.is_news || it.is_found).collect()
    }
}

impl<R: Rng> Introductions<R> {
    /// Begins a search: returns what is known already, and whom to ask; nobody: it is over.
    pub(crate) fn search(
        &mut self,
        id: u64,
        namespace: Infohash,
        unix: UnixMillis,
    ) -> (Vec<Signed>, Vec<PeerId>) {
        let known = self.known.of(namespace, unix);
        if self.searches.len() >= MAX_SEARCHES || self.searches.contains_key(&id) {
            return (known, Vec::new());
        }
        let asked = self.rounds.some(SEARCH_PEERS, &mut self.random);
        if !asked.is_empty() {
            let found = known.iter().map(|record| record.peer).collect();
            self.searches.insert(id, Search { namespace, asked: asked.len(), found });
        }
        (known, asked)
    }

    /// One of those who were asked has answered, or could not be. Returns whether that was the last.
    pub(crate) fn on_searched(&mut self, id: u64) -> bool {
        let Some(search) = self.searches.get_mut(&id) else { return false };
        search.asked -= 1;
        let is_over = search.asked == 0;
        if is_over {
            self.searches.remove(&id);
        }
        is_over
    }

    /// Nobody waits for it any more.
    pub(crate) fn end_search(&mut self, id: u64) {
        self.searches.remove(&id);
    }
}

impl<R> Introductions<R> {
    fn is_found(&mut self, id: u64, record: &Signed) -> bool {
        self.searches.get_mut(&id).is_some_and(|search| {
            record.namespaces.contains(&search.namespace)
                && search.found.len() < MAX_FOUND
                && search.found.insert(record.peer)
        })
    }
}
