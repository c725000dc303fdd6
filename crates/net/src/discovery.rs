//! The facet `discovery`: every way of finding peers is asked at once, and the answers are one.

mod announcing;
mod lookups;
mod searches;

use std::{collections::HashMap, time::Instant};

use libp2p::{Multiaddr, PeerId};
use peerage_api::{
    Ask, Open,
    discovery::{
        Announce, Command, DiscoveryError, Find, Found, GetStatus, MAX_NAMESPACES, Resolve, Status,
        Withdraw,
    },
    peers::Source,
};
use peerage_introductions as introductions;
use peerage_mainline::{self as mainline, FindId, Infohash, Rendezvous, ResolveId};
use peerage_peers as peers;
use peerage_types::{Author, Namespace};

use crate::kad::{self, Queries, infohash, routing_peers};
use announcing::Announcing;
use lookups::{Lookups, Whom};
use searches::Searches;

/// State of the facet.
#[derive(Default)]
pub(crate) struct Discovery {
    announcing: Announcing,
    searches: Searches,
    lookups: Lookups,
    /// What the bridge was asked for, by its numbers and by ours. Both are bounded by the bridge.
    finds: HashMap<FindId, u64>,
    resolves: HashMap<ResolveId, u64>,
}

/// What the facet needs of the rest of the node.
pub(crate) struct Around<'a> {
    pub(crate) kad: Option<&'a mut kad::Behaviour>,
    pub(crate) queries: &'a mut Queries,
    pub(crate) mainline: Option<&'a mut mainline::Behaviour>,
    pub(crate) peers: &'a mut peers::Behaviour,
    pub(crate) introductions: &'a mut introductions::Behaviour,
    pub(crate) local: PeerId,
    /// Peers that mDNS sees, if it is on.
    pub(crate) mdns: Option<usize>,
}

impl Around<'_> {
    /// The bridge, if an answer is likely, or if nobody else is there to ask and it has only just started.
    fn bridge(&mut self, others: bool) -> Option<&mut mainline::Behaviour> {
        self.mainline.as_deref_mut().filter(|bridge| {
            let health = bridge.health();
            health.is_up || !others && health.restarts == 0
        })
    }

    /// Why nobody can be asked, if that is how it is.
    fn why(&self, error: DiscoveryError) -> DiscoveryError {
        match (error, self.mainline.is_some()) {
            (DiscoveryError::Off, true) => DiscoveryError::NoNetwork,
            (error, _) => error,
        }
    }
}

/// Why Kademlia was not asked for a peer that the bridge cannot know.
fn only_kad(peer: PeerId, error: DiscoveryError) -> DiscoveryError {
    match error {
        DiscoveryError::Off => DiscoveryError::Unlisted { peer },
        error => error,
    }
}

impl Discovery {
    /// Answers a command of the facet.
    pub(crate) fn on_command(&mut self, around: Around<'_>, command: Command, now: Instant) {
        match command {
            Command::Announce(ask) => self.announce(around, ask, now),
            Command::Withdraw(ask) => self.withdraw(around, ask),
            Command::Resolve(ask) => self.resolve(around, ask),
            Command::GetStatus(ask) => self.status(around, ask),
            Command::Find(open) => self.find(around, open),
        }
    }

    fn announce(&mut self, mut around: Around<'_>, ask: Ask<Announce>, now: Instant) {
        let namespace = ask.request.namespace.clone();
        if !self.announcing.has_room(&namespace) {
            return ask.reply(Err(DiscoveryError::TooManyNamespaces { max: MAX_NAMESPACES }));
        }
        let introduces = around.introductions.peers() > 0;
        let asked = around.queries.announce(around.kad.as_deref_mut(), &namespace);
        let alone = around.mainline.is_none() && !introduces;
        let asks_kad = match asked {
            // Without Kademlia the word still spreads through the others.
            Err(error) if alone => return ask.reply(Err(error)),
            asked => asked.is_ok(),
        };
        around.introductions.join(infohash(&namespace));
        let rendezvous = Rendezvous::namespace(namespace.clone());
        let joined = around.mainline.as_deref_mut().map(|bridge| bridge.join(rendezvous));
        if let Some(Err(refused)) = joined {
            tracing::debug!(%refused, %namespace, "not announced on Mainline");
        }
        self.announcing.hold(&namespace);
        if introduces {
            self.announcing.on_told(&namespace, Source::Pex, true);
        }
        let waits_for = [
            asks_kad.then_some(Source::Kad),
            around.bridge(asks_kad || introduces).map(|_| Source::Mainline),
        ];
        self.announcing.wait(ask, waits_for.into_iter().flatten(), now);
    }

    /// Announces again what Kademlia could not be told.
    pub(crate) fn announce_all(&self, queries: &mut Queries, mut kad: Option<&mut kad::Behaviour>) {
        for namespace in self.announcing.held() {
            if let Err(error) = queries.announce(kad.as_deref_mut(), namespace) {
                tracing::debug!(%error, %namespace, "not announced");
            }
        }
    }

    /// The first round of Kademlia is over for a namespace.
    pub(crate) fn on_announced(&mut self, namespace: &Namespace, stored: bool) {
        self.announcing.on_told(namespace, Source::Kad, stored);
    }

    /// The bridge has announced a namespace.
    pub(crate) fn on_announced_by_bridge(&mut self, infohash: Infohash) {
        if let Some(namespace) = self.announcing.by_infohash(infohash.0) {
            self.announcing.on_told(&namespace, Source::Mainline, true);
        }
    }

    fn withdraw(&mut self, around: Around<'_>, ask: Ask<Withdraw>) {
        let namespace = ask.request.namespace.clone();
        if !self.announcing.release(&namespace) {
            return ask.reply(Err(DiscoveryError::NotAnnounced { namespace }));
        }
        around.introductions.leave(infohash(&namespace));
        Queries::withdraw(around.kad, &namespace);
        if let Some(bridge) = around.mainline {
            bridge.withdraw(Infohash(infohash(&namespace)));
        }
        ask.reply(Ok(()));
    }

    fn find(&mut self, mut around: Around<'_>, open: Open<Find>) {
        if !self.searches.has_room() {
            return open.refuse(DiscoveryError::Busy);
        }
        let namespace = open.request.namespace.clone();
        let search = self.searches.reserve();
        let introduces = around.introductions.peers() > 0;
        let asked = around.queries.find(around.kad.as_deref_mut(), &namespace, search);
        let rendezvous = Rendezvous::namespace(namespace.clone());
        let bridge = around.bridge(asked.is_ok() || introduces);
        let found = bridge.and_then(|bridge| bridge.find(rendezvous).ok());
        let questions =
            [asked.is_ok(), introduces, found.is_some()].into_iter().filter(|asks| *asks).count();
        match (asked, questions) {
            (Err(error), 0) => return open.refuse(around.why(error)),
            _ => self.searches.begin(search, around.local, open.accept().1, questions),
        }
        if introduces {
            around.introductions.find(search, infohash(&namespace));
        }
        self.finds.extend(found.map(|find| (find, search)));
    }

    /// A source has found a peer for a search.
    pub(crate) fn on_found(&mut self, search: u64, found: Found) {
        if self.searches.is_new(search, found.peer_id) {
            self.searches.report(search, found);
        }
    }

    /// A source has nothing more to tell for a search.
    pub(crate) fn on_searched(&mut self, search: u64) {
        self.searches.answered(search);
    }

    /// Kademlia names peers for a search: where they are is known, or looked for first.
    pub(crate) fn on_providers(
        &mut self,
        mut around: Around<'_>,
        search: u64,
        found: Vec<PeerId>,
        last: bool,
    ) {
        for peer in found {
            if !self.searches.is_new(search, peer) {
                continue;
            }
            let addresses = around.peers.addresses_of(&peer);
            let kad = around.kad.as_deref_mut();
            if addresses.is_empty() && around.queries.locate(kad, peer, search) {
                self.searches.asked(search);
            } else {
                self.searches
                    .report(search, Found { peer_id: peer, addresses, source: Source::Kad });
            }
        }
        if last {
            self.searches.answered(search);
        }
    }

    /// Where a peer is that a search came across.
    pub(crate) fn on_located(&mut self, search: u64, peer: PeerId, addresses: Vec<Multiaddr>) {
        self.searches.report(search, Found { peer_id: peer, addresses, source: Source::Kad });
        self.searches.answered(search);
    }

    /// The bridge has found a peer for a find; false when nobody waits for it.
    pub(crate) fn on_found_by_bridge(
        &mut self,
        find: FindId,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) -> bool {
        let Some(&search) = self.finds.get(&find) else { return false };
        if !self.searches.is_read(search) {
            self.on_searched_by_bridge(find);
            return false;
        }
        self.on_found(search, Found { peer_id: peer, addresses, source: Source::Mainline });
        true
    }

    /// A find of the bridge is over.
    pub(crate) fn on_searched_by_bridge(&mut self, find: FindId) {
        if let Some(search) = self.finds.remove(&find) {
            self.searches.answered(search);
        }
    }

    fn resolve(&mut self, around: Around<'_>, ask: Ask<Resolve>) {
        let peer = ask.request.peer;
        self.look_up(around, peer, Whom::Resolve(ask));
    }

    /// Looks for the addresses that `protocols/peers` needs; it is told what is found, or that nothing
    /// is.
    pub(crate) fn locate_for_connect(&mut self, around: Around<'_>, peer: PeerId) {
        self.look_up(around, peer, Whom::Connect);
    }

    fn look_up(&mut self, mut around: Around<'_>, peer: PeerId, whom: Whom) {
        let Some(id) = self.lookups.begin(peer, whom, around.peers) else { return };
        let asked = around.queries.look_up(around.kad.as_deref_mut(), peer, id);
        let bridge = around.bridge(asked.is_ok());
        let resolve = bridge.and_then(|bridge| bridge.resolve(peer).ok());
        let questions = usize::from(asked.is_ok()) + usize::from(resolve.is_some());
        self.resolves.extend(resolve.map(|resolve| (resolve, id)));
        let unasked = asked.err().map(|error| match Author::of_peer(&peer) {
            Some(_) => around.why(error),
            None => only_kad(peer, error),
        });
        self.lookups.asked(id, questions, unasked, around.peers);
    }

    /// Kademlia has answered a lookup.
    pub(crate) fn on_addresses(
        &mut self,
        peers: &mut peers::Behaviour,
        lookup: u64,
        addresses: Vec<Multiaddr>,
        now: Instant,
    ) {
        self.lookups.on_answer(lookup, addresses, Source::Kad, peers, now);
    }

    /// The bridge has answered a lookup.
    pub(crate) fn on_resolved(
        &mut self,
        peers: &mut peers::Behaviour,
        resolve: ResolveId,
        addresses: Vec<Multiaddr>,
        now: Instant,
    ) {
        if let Some(lookup) = self.resolves.remove(&resolve) {
            self.lookups.on_answer(lookup, addresses, Source::Mainline, peers, now);
        }
    }

    fn status(&self, around: Around<'_>, ask: Ask<GetStatus>) {
        let kad = around.kad.map(|kad| {
            let serves = kad.mode() == libp2p::kad::Mode::Server;
            (serves, routing_peers(kad), kad.store_mut().len())
        });
        let (kad_server, kad_peers, kad_records) = kad.unwrap_or_default();
        let protocol = around.queries.protocol();
        let bridge = around.mainline.map(|bridge| bridge.health());
        let health = bridge.unwrap_or_default();
        ask.reply(Ok(Status {
            kad_protocol: protocol.map(ToString::to_string).unwrap_or_default(),
            kad_server,
            kad_peers,
            kad_records,
            mdns: around.mdns.is_some(),
            mdns_peers: around.mdns.unwrap_or_default(),
            mainline: bridge.is_some(),
            mainline_up: health.is_up,
            mainline_nodes: health.nodes,
            mainline_seen_as: health.seen_as.map(Into::into),
            pex_peers: around.introductions.peers(),
            announced: self.announcing.shown().collect(),
        }));
    }

    /// When [`Discovery::on_time`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.announcing.deadline()
    }

    /// Answers what has waited long enough.
    pub(crate) fn on_time(&mut self, now: Instant) {
        self.announcing.on_time(now);
    }
}
