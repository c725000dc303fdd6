//! What introductions tell: candidates for the address book, and what searches have found.

use std::time::Instant;

use peerage_api::{discovery::Found, peers::Source};
use peerage_introductions::Event;

use crate::{driver::Driver, stack::Stack, wiring::MISBEHAVIOUR_POINTS};

impl Driver {
    pub(crate) fn on_introductions(&mut self, event: Event) {
        let stack: &mut Stack = self.swarm.behaviour_mut();
        match event {
            Event::Introduced { peer, addresses, nearby } => {
                stack.peers.on_introduced(peer, &addresses, nearby, Instant::now());
            }
            Event::Found { search, peer, addresses } => {
                let found = Found { peer_id: peer, addresses, source: Source::Pex };
                self.discovery.on_found(search, found);
            }
            Event::Searched { search } => self.discovery.on_searched(search),
            Event::Misbehaved { peer, reason } => {
                tracing::debug!(%peer, %reason, "introductions stream reset");
                stack.peers.penalise(peer, MISBEHAVIOUR_POINTS);
            }
        }
    }
}
