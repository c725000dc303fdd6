//! The core's part that hears from the swarm: may a connection be, one stands, one is gone.

use libp2p_core::{ConnectedPoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionDenied, ConnectionError, ConnectionId, DialError};
use peerage_api::peers::{Event as Told, Source};

use crate::{
    Denied, Event, Keep, address,
    connect::Key,
    dials::Purpose,
    outcome::{Failure, broken_words},
    peers::{Now, Peers},
    pool,
    redial::Target,
};

impl Peers {
    /// Whether this side lets the connection be, given whose it is. Changes nothing.
    pub(crate) fn admit(&self, id: ConnectionId, peer: PeerId) -> Result<(), ConnectionDenied> {
        let verdict = self.lists.check(&peer).and_then(|()| self.pool.admit_established(id, peer));
        verdict.map_err(ConnectionDenied::new)
    }

    /// Counts a dial of whoever asks for it, unless it is refused, and says what the book knows.
    pub(crate) fn admit_dial(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.stopping {
            return Err(ConnectionDenied::new(Denied::Stopping));
        }
        if let Some(peer) = peer {
            self.lists.check(&peer).map_err(ConnectionDenied::new)?;
        }
        // A hole punch to a connected peer is as urgent as what a user asks for.
        let connected = peer.is_some_and(|peer| self.pool.peers.contains_key(&peer));
        let free = connected || self.dials.is_asked_for(id);
        self.pool.admit_dial(id, free).map_err(ConnectionDenied::new)?;
        Ok(peer.map(|peer| self.book.addresses_of(&peer)).unwrap_or_default())
    }

    pub(crate) fn on_established(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        point: &ConnectedPoint,
        failed: &[Multiaddr],
        now: Now,
    ) {
        let purpose = self.dials.end(id);
        let first = self.pool.established(id, peer, point, now.at);
        let address = address::split(point.get_remote_address()).0;
        let asked = matches!(purpose, Some(Purpose::Connect(_)));
        let dialled = match &purpose {
            Some(Purpose::Redial(target)) => Some(target),
            _ => None,
        };
        self.redials.on_connected(peer, dialled, now.at);
        let source = match (&purpose, dialled) {
            (_, Some(Target::Address(_))) => Some(Source::Bootstrap),
            (Some(Purpose::Connect(_)), _) => Some(Source::Manual),
            // It came by itself, or somebody else who dialled says how it was found.
            _ => None,
        };
        self.learn(peer, [], source, now);
        if point.is_dialer() {
            for address in failed {
                self.book.failed(peer, &address::split(address).0);
            }
            self.book.worked(peer, &address, now.wall);
        }
        if first {
            self.book.connected(peer, now.wall);
        }
        let wanted = asked || self.connects.is_waiting_for(&peer);
        let Some(live) = self.pool.peers.get_mut(&peer) else { return };
        live.wanted |= wanted;
        match live.keep {
            Keep::WhileUsed if live.wanted => self.keep_open(peer),
            Keep::WhileUsed => self.notify(peer, id, Keep::WhileUsed),
            Keep::Open => {}
        }
        if first {
            let direction = pool::direction(point);
            let address = point.get_remote_address().clone();
            self.tell(Told::Connected { peer, address, direction });
        }
        self.connects.on_established(id, peer, &address, now.at);
    }

    pub(crate) fn on_closed(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        cause: Option<&ConnectionError>,
        now: Now,
    ) {
        let Some(closed) = self.pool.closed(id) else { return };
        let other = self.pool.best(&peer).map(|connection| connection.id);
        self.connects.on_closed(id, other);
        let Some(live) = closed.last else {
            if let Some(revived) = self.pool.revive(&peer)
                && self.pool.peers.get(&peer).is_some_and(|live| live.keep == Keep::Open)
            {
                self.notify(peer, revived, Keep::Open);
            }
            return;
        };
        self.book.disconnected(peer, now.wall);
        let idle = matches!(cause, Some(ConnectionError::KeepAliveTimeout));
        let accident = closed.reason.is_none() && !idle;
        let lost = accident
            && live.is_member() == Some(true)
            && self.lists.check(&peer).is_ok()
            && self.dials.is_lonely(self.pool.peers.len());
        self.redials.on_disconnected(peer, lost, now.at);
        let reason = closed.reason.map_or_else(|| broken_words(cause), ToOwned::to_owned);
        self.tell(Told::Disconnected { peer, reason });
        for ask in self.closing.extract_if(.., |ask| ask.request.peer == peer) {
            ask.reply(Ok(()));
        }
    }

    pub(crate) fn on_dial_failure(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
        now: Now,
    ) {
        self.pool.failed(id);
        let failure = Failure::of(error);
        if let Some(peer) = peer {
            self.note_failure(peer, &failure);
        }
        match self.dials.end(id) {
            None => {}
            Some(Purpose::Redial(target)) => self.redial_failed(&target, &failure, now),
            Some(Purpose::Found(peer)) => self.found_failed(peer, &failure, now),
            Some(Purpose::Connect(key)) => {
                let known = match key {
                    Key::Peer(peer) => self.book.addresses_of(&peer),
                    Key::Addresses(_) => Vec::new(),
                };
                let effects = self.connects.on_failed(&key, id, failure, known, now.at);
                self.connect_effects(effects);
            }
        }
    }

    /// Writes down which addresses did not answer, whoever dialled them.
    fn note_failure(&mut self, peer: PeerId, failure: &Failure) {
        match failure {
            Failure::Tried(errors) => {
                for (address, _) in errors {
                    self.book.failed(peer, address);
                }
                if !self.pool.peers.contains_key(&peer) {
                    self.book.unreachable(peer);
                }
            }
            Failure::Wrong { address, .. } => self.book.wrong(peer, address),
            Failure::Unneeded | Failure::NoAddress | Failure::Own | Failure::Refused(_) => {}
        }
    }

    /// A member on the local network has just said that it is there, and says so once: it is worth
    /// a few attempts. On other words than its own nobody is dialled twice in a row.
    fn found_failed(&mut self, peer: PeerId, failure: &Failure, now: Now) {
        if matches!(failure, Failure::Tried(_)) && self.book.is_near(&peer) {
            self.redials.missed(peer, now.at);
        } else {
            self.dials.rest(peer, now.at);
        }
    }

    fn redial_failed(&mut self, target: &Target, failure: &Failure, now: Now) {
        match (failure, target) {
            (Failure::Unneeded, _) => self.redials.on_deferred(target, now.at),
            (Failure::Own, Target::Address(_)) => self.redials.forget(target),
            (Failure::NoAddress, Target::Peer(peer)) => {
                self.redials.on_failed(target, now.at);
                self.emit(Event::NeedAddresses { peer: *peer });
            }
            _ => self.redials.on_failed(target, now.at),
        }
    }
}
