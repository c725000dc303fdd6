//! The core: what happens becomes changes of book, pool and schedules, and orders to the swarm.
//! Pure: time is an argument, disk and timers are `behaviour.rs`.

use std::{collections::VecDeque, time::Instant};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{CloseConnection, ConnectionId, NotifyHandler, ToSwarm, dial_opts::DialOpts};
use peerage_api::{
    Ask,
    peers::{Disconnect, Event as Told, Source},
};
use peerage_store::BookSnapshot;
use peerage_types::UnixMillis;

use crate::{
    Config, Event, Keep,
    address::{self, Reach},
    book::{Book, Learned},
    connect::{Connects, Effect},
    dials::{Dials, Purpose},
    feeds::Feeds,
    lists::Lists,
    pool::{self, Pool, State},
    redial::{Redials, Target},
    saves::Save,
};

/// Addresses that are read of one report or identify message; the book keeps half as many.
const MAX_CLAIMED: usize = 16;

/// The moment, as both clocks see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// To measure with.
    pub(crate) at: Instant,
    /// To write down.
    pub(crate) wall: UnixMillis,
}

/// All state of the behaviour but its timer and its unfinished writes.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) book: Book,
    pub(crate) pool: Pool,
    pub(crate) lists: Lists,
    pub(crate) redials: Redials,
    pub(crate) dials: Dials,
    pub(crate) connects: Connects,
    pub(crate) feeds: Feeds,
    /// Who waits for a peer to be gone; bounded in `answers.rs`.
    pub(crate) closing: Vec<Ask<Disconnect>>,
    /// Changes of lists on their way to the store; taken after every call.
    pub(crate) saves: Vec<Save>,
    /// Orders to the swarm; taken after every call.
    pub(crate) outbox: VecDeque<ToSwarm<Event, Keep>>,
    pub(crate) stopping: bool,
}

impl Peers {
    pub(crate) fn new(config: Config, saved: BookSnapshot, now: Now) -> Self {
        let mut peers = Self {
            lists: Lists::load(&saved, &config.protected),
            book: Book::load(config.max_book, saved.peers),
            redials: Redials::new(&config.local),
            dials: Dials::new(config.autodial.clone(), now.at),
            connects: Connects::new(config.local, config.lookup_timeout, config.settle_timeout),
            feeds: Feeds::default(),
            closing: Vec::new(),
            saves: Vec::new(),
            outbox: VecDeque::new(),
            stopping: false,
            pool: Pool::new(config),
        };
        for address in peers.config().bootstrap.clone() {
            peers.add_bootstrap(address, now);
        }
        let local = peers.config().local;
        let protected: Vec<_> =
            peers.lists.protected().copied().filter(|peer| *peer != local).collect();
        for peer in protected {
            peers.redials.keep(Target::Peer(peer), None, now.at);
        }
        peers.want_best(now);
        peers
    }

    pub(crate) fn config(&self) -> &Config {
        &self.pool.config
    }

    fn add_bootstrap(&mut self, address: Multiaddr, now: Now) {
        let (bare, named) = address::split(&address);
        match named {
            Some(peer) if peer == self.config().local => {}
            Some(peer) => {
                self.redials.keep(Target::Peer(peer), None, now.at);
                let bare = (!bare.is_empty()).then_some(bare);
                self.learn(peer, bare, Some(Source::Bootstrap), now);
            }
            None => self.redials.keep(Target::Address(bare), None, now.at),
        }
    }

    pub(crate) fn want_best(&mut self, now: Now) {
        for peer in self.book.best(self.config().autodial.at_start) {
            self.dials.want(peer, now.at);
        }
    }

    pub(crate) fn learn(
        &mut self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
        source: Option<Source>,
        now: Now,
    ) -> Learned {
        let (lists, redials, pool) = (&self.lists, &self.redials, &self.pool);
        let pinned = |peer: &PeerId| {
            lists.is_protected(peer)
                || lists.is_blocked(peer)
                || redials.keeps(peer)
                || pool.peers.contains_key(peer)
        };
        self.book.learn(peer, addresses, source, now.wall, pinned)
    }

    pub(crate) fn tell(&mut self, event: Told) {
        self.feeds.tell(&event);
    }

    pub(crate) fn on_discovered(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        source: Source,
        now: Now,
    ) {
        let least = match source {
            Source::Manual | Source::Bootstrap => Reach::Loopback,
            Source::Mdns => Reach::Private,
            Source::Kad | Source::Mainline | Source::Pex => Reach::Global,
        };
        self.on_found(peer, &addresses, source, least, now);
    }

    /// Somebody told of a peer at addresses of which those that reach less than `least` do not count.
    pub(crate) fn on_found(
        &mut self,
        peer: PeerId,
        addresses: &[Multiaddr],
        source: Source,
        least: Reach,
        now: Now,
    ) {
        if peer == self.config().local {
            return;
        }
        let least = if self.config().allow_private { Reach::Loopback } else { least };
        let addresses: Vec<_> = claimed(addresses, &peer, least).collect();
        let learned = self.learn(peer, addresses.iter().cloned(), Some(source), now);
        if matches!(learned, Learned::Peer | Learned::Source) {
            self.tell(Told::Discovered { peer, source });
        }
        let effects = self.connects.on_addresses(peer, &addresses);
        self.connect_effects(effects);
        if addresses.is_empty() || self.lists.check(&peer).is_err() {
            return;
        }
        if !matches!(learned, Learned::Nothing | Learned::Full) {
            self.redials.hurry(peer, now.at);
        }
        if !self.pool.peers.contains_key(&peer) && self.book.is_worth_dialling(&peer) {
            self.dials.want(peer, now.at);
        }
    }

    pub(crate) fn on_identified(
        &mut self,
        peer: PeerId,
        told: pool::Told,
        listen: &[Multiaddr],
        now: Now,
    ) {
        let Some(live) = self.pool.peers.get_mut(&peer) else { return };
        // Who reaches us over the local network may be reached there.
        let nearest = live.connections.iter().filter(|c| !c.relayed);
        let nearest = nearest.filter_map(|c| address::reach(&c.address)).min();
        let (agent, member) = (told.agent.clone(), told.member);
        let news = live.told.as_ref().is_none_or(|t| t.agent != agent || t.member != member);
        live.told = Some(told);
        let regained = member && live.keep == Keep::WhileUsed;
        let least = match nearest {
            _ if self.config().allow_private => Reach::Loopback,
            Some(reach) => reach,
            None => Reach::Global,
        };
        let listen: Vec<_> = claimed(listen, &peer, least).collect();
        self.learn(peer, listen, None, now);
        self.book.identified(peer, member);
        if regained {
            self.keep_open(peer);
        }
        if news {
            self.tell(Told::Identified { peer, agent, member });
        }
        self.connects.on_identified(peer);
    }

    pub(crate) fn connect_effects(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dial { key, opts } => self.dial(opts, Purpose::Connect(key)),
                Effect::NeedAddresses { peer } => self.emit(Event::NeedAddresses { peer }),
            }
        }
    }

    pub(crate) fn dial(&mut self, opts: DialOpts, purpose: Purpose) {
        self.dials.begin(opts.connection_id(), purpose);
        self.outbox.push_back(ToSwarm::Dial { opts });
    }

    /// Closes the peer's connections and calls off dials to it.
    pub(crate) fn close_all(&mut self, peer: PeerId) {
        let connection = CloseConnection::All;
        self.outbox.push_back(ToSwarm::CloseConnection { peer_id: peer, connection });
    }

    /// Keeps what is not retired, after the peer turned out to be worth it.
    pub(crate) fn keep_open(&mut self, peer: PeerId) {
        if let Some(live) = self.pool.peers.get_mut(&peer) {
            live.keep = Keep::Open;
        }
        for id in self.live_connections(&peer) {
            self.notify(peer, id, Keep::Open);
        }
    }

    pub(crate) fn live_connections(&self, peer: &PeerId) -> Vec<ConnectionId> {
        let live = self.pool.peers.get(peer).into_iter();
        let connections = live.flat_map(|live| &live.connections);
        connections.filter(|c| c.state == State::Live).map(|c| c.id).collect()
    }

    pub(crate) fn notify(&mut self, peer: PeerId, connection: ConnectionId, keep: Keep) {
        let handler = NotifyHandler::One(connection);
        self.outbox.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event: keep });
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.outbox.push_back(ToSwarm::GenerateEvent(event));
    }

    pub(crate) fn on_network_change(&mut self, now: Now) {
        self.redials.reset(now.at);
        self.dials.wake_all();
        self.want_best(now);
    }

    pub(crate) fn shutdown(&mut self, now: Now) {
        self.stopping = true;
        for peer in self.pool.peers.keys() {
            self.book.disconnected(*peer, now.wall);
        }
        self.connects.stop();
        self.closing.clear();
        self.feeds.close();
    }
}

/// The addresses that are believed of those that were claimed, without the peer's id: dialable,
/// reaching at least so far, and not naming somebody else.
fn claimed(
    addresses: &[Multiaddr],
    peer: &PeerId,
    least: Reach,
) -> impl Iterator<Item = Multiaddr> {
    addresses.iter().take(MAX_CLAIMED).map(address::split).filter_map(move |(bare, named)| {
        let theirs = named.is_none_or(|named| named == *peer);
        let far_enough = address::reach(&bare).is_some_and(|reach| reach >= least);
        (theirs && far_enough && address::check(&bare).is_ok()).then_some(bare)
    })
}
