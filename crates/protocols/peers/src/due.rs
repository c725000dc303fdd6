//! The core's part that follows the clock: what is due, and when to look again.

use std::time::Instant;

use libp2p_identity::PeerId;
use libp2p_swarm::{
    CloseConnection, ToSwarm,
    dial_opts::{DialOpts, PeerCondition},
};

use crate::{
    Event, Keep,
    book::Book,
    dials::Purpose,
    lists::Lists,
    peers::{Now, Peers},
    prune::{Action, Standing},
    redial::{Redials, Target},
};

/// What the pool asks about a peer when it has to choose.
struct Views<'a> {
    lists: &'a Lists,
    redials: &'a Redials,
    book: &'a Book,
}

impl Standing for Views<'_> {
    fn is_protected(&self, peer: &PeerId) -> bool {
        self.lists.is_protected(peer) || self.redials.keeps(peer)
    }

    fn score(&self, peer: &PeerId) -> i32 {
        self.book.score(peer)
    }
}

impl Peers {
    /// Does what is due and says when to be called again.
    pub(crate) fn tick(&mut self, now: Now) -> Option<Instant> {
        let views = Views { lists: &self.lists, redials: &self.redials, book: &self.book };
        let (actions, pool_due) = self.pool.tick(&views, now.at);
        for action in actions {
            self.act(action);
        }
        self.connects.tick(now.at);
        self.closing.retain(|ask| !ask.is_cancelled());
        if !self.stopping {
            if self.pool.peers.is_empty() && self.dials.is_revisit_due(now.at) {
                self.want_best(now);
            }
            self.redial(now);
            self.dial_found(now);
        }
        let mut next = [pool_due, self.connects.next_due(), None, None, None];
        if !self.stopping && self.room() > 0 {
            next[2] = self.redials.next_due();
            next[3] = self.dials.next_due(self.pool.peers.len());
            next[4] = self.pool.peers.is_empty().then(|| self.dials.next_revisit()).flatten();
        }
        next.into_iter().flatten().min()
    }

    /// Dials that may begin now.
    fn room(&self) -> usize {
        let under_way = self.pool.dials().max(self.dials.len());
        self.config().max_pending_dials.saturating_sub(under_way)
    }

    fn redial(&mut self, now: Now) {
        for target in self.redials.take_due(self.room(), now.at) {
            let opts = match &target {
                Target::Peer(peer) if self.lists.check(peer).is_err() => {
                    self.redials.on_failed(&target, now.at);
                    continue;
                }
                Target::Peer(peer) => dial_if_needed(*peer),
                Target::Address(address) => {
                    DialOpts::unknown_peer_id().address(address.clone()).build()
                }
            };
            self.dial(opts, Purpose::Redial(target));
        }
    }

    fn dial_found(&mut self, now: Now) {
        while self.room() > 0 {
            let (pool, book, lists) = (&self.pool, &self.book, &self.lists);
            let usable = |peer: &PeerId| {
                !pool.peers.contains_key(peer)
                    && book.is_worth_dialling(peer)
                    && lists.check(peer).is_ok()
            };
            let Some(peer) = self.dials.next_wanted(pool.peers.len(), now.at, usable) else {
                return;
            };
            self.dial(dial_if_needed(peer), Purpose::Found(peer));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Retire { peer, connection } => {
                self.notify(peer, connection, Keep::WhileUsed);
                self.emit(Event::Retired { peer, connection });
            }
            Action::Close { peer, connection } => {
                let connection = CloseConnection::One(connection);
                self.outbox.push_back(ToSwarm::CloseConnection { peer_id: peer, connection });
            }
            Action::LetGo { peer } => {
                for id in self.live_connections(&peer) {
                    self.notify(peer, id, Keep::WhileUsed);
                }
            }
            Action::Trim { peer } => {
                self.close_all(peer);
                self.emit(Event::Trimmed { peer });
            }
        }
    }
}

/// Dials what all behaviours know of the peer, unless it is connected or somebody dials it.
fn dial_if_needed(peer: PeerId) -> DialOpts {
    DialOpts::peer_id(peer).condition(PeerCondition::DisconnectedAndNotDialing).build()
}
