//! Lookups of a peer's addresses: several sources are asked, the first that knows answers.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use libp2p::{Multiaddr, PeerId};
use peerage_api::{
    Ask,
    discovery::{DiscoveryError, Found, Resolve},
    peers::Source,
};
use peerage_peers as peers;

/// Lookups at once; each ends within half a minute. 256 × 100 bytes.
const MAX_LOOKUPS: usize = 256;

/// Who wants to know.
pub(crate) enum Whom {
    /// Somebody who asked the facet.
    Resolve(Ask<Resolve>),
    /// `protocols/peers`, to connect.
    Connect,
}

/// Lookups that are under way, by number.
#[derive(Default)]
pub(crate) struct Lookups {
    open: HashMap<u64, Lookup>,
    next: u64,
}

struct Lookup {
    peer: PeerId,
    whom: Whom,
    /// Questions whose answer is still to come.
    asked: usize,
    /// Whether something was found.
    found: bool,
    /// Why Kademlia was not asked.
    unasked: Option<DiscoveryError>,
}

impl Lookups {
    /// Begins one; `None` when too many are under way, which is told.
    pub(crate) fn begin(
        &mut self,
        peer: PeerId,
        whom: Whom,
        peers: &mut peers::Behaviour,
    ) -> Option<u64> {
        let lookup = Lookup { peer, whom, asked: 0, found: false, unasked: None };
        if self.open.len() >= MAX_LOOKUPS {
            lookup.fail(peers, DiscoveryError::Busy);
            return None;
        }
        self.next += 1;
        self.open.insert(self.next, lookup);
        Some(self.next)
    }

    /// So many questions were asked for it; Kademlia was not if it says why.
    pub(crate) fn asked(
        &mut self,
        id: u64,
        questions: usize,
        unasked: Option<DiscoveryError>,
        peers: &mut peers::Behaviour,
    ) {
        if let Some(lookup) = self.open.get_mut(&id) {
            lookup.asked = questions;
            lookup.unasked = unasked;
        }
        self.end_if_answered(id, peers);
    }

    /// One of them was answered, with nothing if the source does not know.
    pub(crate) fn on_answer(
        &mut self,
        id: u64,
        mut addresses: Vec<Multiaddr>,
        source: Source,
        peers: &mut peers::Behaviour,
        now: Instant,
    ) {
        let Some(lookup) = self.open.get_mut(&id) else { return };
        keep_distinct(lookup.peer, &mut addresses);
        lookup.asked = lookup.asked.saturating_sub(1);
        lookup.unasked = None;
        let peer = lookup.peer;
        match (&lookup.whom, addresses.is_empty()) {
            (_, true) => self.end_if_answered(id, peers),
            (Whom::Connect, false) => {
                lookup.found = true;
                peers.on_discovered(peer, addresses, source, now);
                self.end_if_answered(id, peers);
            }
            (Whom::Resolve(_), false) => {
                if let Some(Lookup { whom: Whom::Resolve(ask), .. }) = self.open.remove(&id) {
                    ask.reply(Ok(Found { peer_id: peer, addresses, source }));
                }
            }
        }
    }

    fn end_if_answered(&mut self, id: u64, peers: &mut peers::Behaviour) {
        if self.open.get(&id).is_some_and(|lookup| lookup.asked == 0)
            && let Some(lookup) = self.open.remove(&id)
            && !lookup.found
        {
            let missing = DiscoveryError::NotFound { peer: lookup.peer };
            let error = lookup.unasked.clone().unwrap_or(missing);
            lookup.fail(peers, error);
        }
    }
}

/// Several may tell the same address, with the peer's id or without.
fn keep_distinct(peer: PeerId, addresses: &mut Vec<Multiaddr>) {
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(address.clone().with_p2p(peer)));
}

impl Lookup {
    /// Nobody knows: the address book does, or this is what is told.
    fn fail(self, peers: &mut peers::Behaviour, error: DiscoveryError) {
        match self.whom {
            Whom::Connect => peers.on_addresses_missing(self.peer, Instant::now()),
            Whom::Resolve(ask) => {
                let addresses = peers.addresses_of(&self.peer);
                let known = peers.sources(&self.peer);
                let source = known.first().copied().unwrap_or(Source::Manual);
                match addresses.is_empty() {
                    true => ask.reply(Err(error)),
                    false => ask.reply(Ok(Found { peer_id: self.peer, addresses, source })),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_several_tell_is_told_once() {
        let peer = PeerId::random();
        let [tcp, quic] = ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/udp/1/quic-v1"]
            .map(|text| text.parse::<Multiaddr>().unwrap());
        let named = tcp.clone().with_p2p(peer).unwrap();
        let mut addresses = vec![named.clone(), quic.clone(), tcp, named.clone()];
        keep_distinct(peer, &mut addresses);
        assert_eq!(addresses, [named, quic]);
    }
}
