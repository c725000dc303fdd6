//! Answers to the commands of the facet.

use libp2p_identity::PeerId;
use peerage_api::{
    Ask,
    peers::{
        Command, Connect, Connected, Connection, Disconnect, Known, KnownAddress, Peer, PeersError,
        Transport,
    },
};
use peerage_store::List;

use crate::{
    address,
    connect::resolve,
    peers::{Now, Peers},
    pool::{self, Live},
    redial::Target,
    saves::Save,
};

/// Callers that wait for a peer to be gone.
const MAX_CLOSING: usize = 64;

impl Peers {
    /// Answers now or later; gives back what is not for this crate.
    pub(crate) fn on_command(&mut self, command: Command, now: Now) -> Option<Command> {
        match command {
            Command::List(ask) => ask.reply(Ok(self.list(now))),
            Command::Show(ask) => {
                let answer = self.show(&ask.request.peer, now);
                ask.reply(answer);
            }
            Command::GetLists(ask) => ask.reply(Ok(self.lists.snapshot())),
            Command::Events(open) => self.feeds.open(open),
            Command::Connect(ask) => self.connect(ask, now),
            Command::Disconnect(ask) => self.disconnect(ask),
            Command::Block(ask) => {
                let peer = ask.request.peer;
                self.set_listed(Save::new(List::Blocked, peer, true, ask), now);
            }
            Command::Unblock(ask) => {
                let peer = ask.request.peer;
                self.set_listed(Save::new(List::Blocked, peer, false, ask), now);
            }
            Command::Allow(ask) => {
                let (peer, allowed) = (ask.request.peer, ask.request.allowed);
                self.set_listed(Save::new(List::Allowed, peer, allowed, ask), now);
            }
            Command::Protect(ask) => {
                let (peer, protected) = (ask.request.peer, ask.request.protected);
                self.set_listed(Save::new(List::Protected, peer, protected, ask), now);
            }
            other @ (Command::Ping(_) | Command::Measure(_)) => return Some(other),
        }
        None
    }

    fn list(&self, now: Now) -> Vec<Peer> {
        let mut peers: Vec<_> =
            self.pool.peers.iter().map(|(peer, live)| self.peer(peer, live, now)).collect();
        peers.sort_unstable_by_key(|peer| peer.peer_id);
        peers
    }

    fn peer(&self, peer: &PeerId, live: &Live, now: Now) -> Peer {
        let mut connections: Vec<_> = live.connections.iter().collect();
        connections.sort_by_key(|connection| connection.rank());
        let rtt = connections.first().and_then(|best| best.rtt);
        Peer {
            peer_id: *peer,
            rtt_ms: rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            connections: connections.into_iter().map(shown).collect(),
            agent: live.told.as_ref().map(|told| told.agent.clone()),
            connected_s: now.at.duration_since(live.since).as_secs(),
            protected: self.lists.is_protected(peer),
            sources: self.sources(peer),
        }
    }

    pub(crate) fn sources(&self, peer: &PeerId) -> Vec<peerage_api::peers::Source> {
        self.book.get(peer).map(|entry| entry.sources.to_vec()).unwrap_or_default()
    }

    fn show(&self, peer: &PeerId, now: Now) -> Result<Known, PeersError> {
        let (live, entry) = (self.pool.peers.get(peer), self.book.get(peer));
        let (blocked, allowed) = (self.lists.is_blocked(peer), self.lists.is_allowed(peer));
        let protected = self.lists.is_protected(peer);
        if live.is_none() && entry.is_none() && !blocked && !allowed && !protected {
            return Err(PeersError::Unknown { peer: *peer });
        }
        let addresses = self.book.ranked(peer).into_iter().map(|known| KnownAddress {
            address: known.address.clone(),
            worked_ms: known.worked,
            failures: known.failures,
        });
        let told = live.and_then(|live| live.told.as_ref());
        Ok(Known {
            peer_id: *peer,
            connected: live.map(|live| self.peer(peer, live, now)),
            protocols: told.map(|told| told.protocols.clone()).unwrap_or_default(),
            addresses: addresses.collect(),
            sources: self.sources(peer),
            seen_ms: entry.and_then(|entry| entry.seen),
            score: self.book.score(peer),
            blocked,
            allowed,
            protected,
        })
    }

    fn connect(&mut self, ask: Ask<Connect>, now: Now) {
        let (peer, given) = match resolve(&ask.request, &self.config().local) {
            Ok(resolved) => resolved,
            Err(error) => return ask.reply(Err(error)),
        };
        if let Some(peer) = peer
            && self.lists.check(&peer).is_err()
        {
            return ask.reply(Err(PeersError::Blocked { peer }));
        }
        if let Some(already) = self.already(peer, &given) {
            self.want(already.peer_id);
            return ask.reply(Ok(already));
        }
        let known = peer.is_some_and(|peer| !self.book.addresses_of(&peer).is_empty());
        let effects = self.connects.begin(ask, peer, given, known, now.at);
        self.connect_effects(effects);
    }

    /// The connection that is asked for, if there is one.
    fn already(&self, peer: Option<PeerId>, given: &[libp2p_core::Multiaddr]) -> Option<Connected> {
        let found = |peer: PeerId, connection: &pool::Connection| Connected {
            peer_id: peer,
            address: connection.address.clone(),
            already: true,
        };
        match peer {
            // Who names a direct address is not content with a relayed connection.
            Some(peer) => {
                let direct = given.iter().any(|address| !address::is_relayed(address));
                let best = self.pool.best(&peer).filter(|best| !(direct && best.relayed));
                best.map(|best| found(peer, best))
            }
            None => self.pool.peers.iter().find_map(|(peer, live)| {
                let at_it = |c: &&pool::Connection| {
                    !c.is_closing() && given.contains(&address::split(&c.address).0)
                };
                live.connections.iter().find(at_it).map(|connection| found(*peer, connection))
            }),
        }
    }

    fn want(&mut self, peer: PeerId) {
        if let Some(live) = self.pool.peers.get_mut(&peer) {
            live.wanted = true;
        }
        self.keep_open(peer);
    }

    fn disconnect(&mut self, ask: Ask<Disconnect>) {
        let peer = ask.request.peer;
        if !self.pool.close(&peer, "closed by the user") {
            return ask.reply(Err(PeersError::NotConnected { peer }));
        }
        self.close_all(peer);
        self.closing.retain(|ask| !ask.is_cancelled());
        if self.closing.len() < MAX_CLOSING {
            self.closing.push(ask);
        } else {
            ask.reply(Ok(()));
        }
    }

    /// Changes a list at once; the caller is answered when it is saved.
    fn set_listed(&mut self, save: Save, now: Now) {
        let peer = save.peer;
        if peer == self.config().local {
            return save.refuse(PeersError::Own { peer });
        }
        if !self.lists.set(save.list, peer, save.listed) {
            return save.refuse(PeersError::Refused { reason: "the list is full".into() });
        }
        match (save.list, save.listed) {
            (List::Blocked, true) => self.refuse_peer(peer),
            (List::Blocked, false) => self.redials.hurry(peer, now.at),
            (List::Allowed, _) => {
                self.refuse_those_not_allowed();
                self.redials.hurry(peer, now.at);
            }
            (List::Protected, true) => self.protect(peer, now),
            (List::Protected, false) if self.is_bootstrap(&peer) => {}
            (List::Protected, false) => self.redials.forget(&Target::Peer(peer)),
        }
        self.saves.push(save);
    }

    fn refuse_peer(&mut self, peer: PeerId) {
        self.pool.close(&peer, "blocked");
        self.close_all(peer);
        self.connects.on_refused(peer);
    }

    fn refuse_those_not_allowed(&mut self) {
        let refused = |peer: &&PeerId| self.lists.check(peer).is_err();
        let refused: Vec<_> = self.pool.peers.keys().filter(refused).copied().collect();
        for peer in refused {
            self.pool.close(&peer, "not on the allow list");
            self.close_all(peer);
        }
    }

    fn is_bootstrap(&self, peer: &PeerId) -> bool {
        self.config().bootstrap.iter().any(|address| address::split(address).1 == Some(*peer))
    }

    fn protect(&mut self, peer: PeerId, now: Now) {
        let connected = self.pool.peers.get(&peer).map(|live| (peer, live.since));
        self.redials.keep(Target::Peer(peer), connected, now.at);
        self.keep_open(peer);
    }
}

fn shown(connection: &pool::Connection) -> Connection {
    let address = connection.address.clone();
    let transport = match connection.relayed {
        true => Transport::Relay,
        false => Transport::of(&address),
    };
    Connection { transport, direction: connection.direction, relayed: connection.relayed, address }
}
