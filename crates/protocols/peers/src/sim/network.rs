//! The made-up network: links with latency between cores, and what is asserted of them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    io,
    time::{Duration, Instant},
};

use libp2p_core::{ConnectedPoint, Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    CloseConnection, ConnectionError, ConnectionId, DialError, NotifyHandler, ToSwarm,
    dial_opts::{DialOpts, PeerCondition},
};
use peerage_api::{
    Ask,
    peers::{Command, Connect, Source},
};
use peerage_store::BookSnapshot;
use peerage_types::UnixMillis;
use rand::{RngExt, rngs::StdRng};

use super::PARTNER;
use crate::{
    Autodial, Config, Event, Keep,
    peers::{Now, Peers},
    pool::Told,
    tests::{address, peer},
};

pub(super) const NODES: usize = 20;
/// The last ones speak none of our protocols.
const MEMBERS: usize = 16;
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

struct Node {
    id: PeerId,
    core: Peers,
    up: bool,
    /// Counts restarts: news of a former life are not delivered.
    life: u32,
    group: u8,
    disk: BTreeMap<PeerId, bytes::Bytes>,
    /// Dials that have not come to an end.
    dialling: HashMap<ConnectionId, PeerId>,
}

/// A connection as its two ends know it; the dialler first.
#[derive(Clone)]
struct Link {
    ends: [End; 2],
    /// Streams run on it: it does not close for being idle.
    busy: bool,
    retired: bool,
}

#[derive(Clone)]
struct End {
    node: usize,
    life: u32,
    id: ConnectionId,
    established: bool,
    gone: bool,
    keep: Keep,
}

#[derive(Debug)]
enum Happening {
    Tick(usize),
    /// A dial reaches the other node.
    Arrives {
        from: usize,
        life: u32,
        id: ConnectionId,
        to: usize,
    },
    /// The handshake of a link ends at one side.
    Proven {
        link: usize,
        side: usize,
    },
    /// One side learns that the link is gone.
    Gone {
        link: usize,
        side: usize,
        broken: bool,
    },
    Identify {
        link: usize,
        side: usize,
    },
    Idle {
        link: usize,
    },
}

pub(super) struct World {
    pub(super) rng: StdRng,
    start: Instant,
    at: Duration,
    nodes: Vec<Node>,
    links: Vec<Link>,
    queue: BinaryHeap<Reverse<(Duration, usize)>>,
    happenings: HashMap<usize, Happening>,
    next: usize,
    pub(super) seen: Seen,
}

/// What happened, so that a run cannot pass because nothing did.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) retired: usize,
    pub(super) trimmed: usize,
    pub(super) refused: usize,
}

fn place(node: usize) -> Multiaddr {
    address(&format!("/ip4/11.0.0.{}/tcp/4001", node + 1))
}

impl World {
    pub(super) fn new(rng: StdRng) -> Self {
        let mut world = Self {
            rng,
            start: Instant::now(),
            at: Duration::ZERO,
            nodes: Vec::new(),
            links: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            next: 0,
            seen: Seen::default(),
        };
        for number in 0..NODES {
            let core = Peers::new(config(number), BookSnapshot::default(), world.now());
            world.nodes.push(Node {
                id: id_of(number),
                core,
                up: false,
                life: 0,
                group: 0,
                disk: BTreeMap::new(),
                dialling: HashMap::new(),
            });
        }
        world
    }

    fn now(&self) -> Now {
        let millis = u64::try_from(self.at.as_millis()).unwrap();
        Now { at: self.start + self.at, wall: UnixMillis(1_000_000 + millis) }
    }

    fn later(&mut self, delay: Duration, what: Happening) {
        self.next += 1;
        self.queue.push(Reverse((self.at + delay, self.next)));
        self.happenings.insert(self.next, what);
    }

    fn latency(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(1..120))
    }

    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.at + by;
        while let Some(Reverse((at, _))) = self.queue.peek() {
            if *at > end {
                break;
            }
            let Some(Reverse((at, number))) = self.queue.pop() else { break };
            self.at = at;
            let what = self.happenings.remove(&number).unwrap();
            self.happen(what);
        }
        self.at = end;
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Tick(node) => self.settle(node),
            Happening::Arrives { from, life, id, to } => self.arrives(from, life, id, to),
            Happening::Proven { link, side } => self.proven(link, side),
            Happening::Gone { link, side, broken } => self.gone(link, side, broken),
            Happening::Identify { link, side } => self.identify(link, side),
            Happening::Idle { link } => self.idle(link),
        }
    }

    /// Lets the node do what is due, carries out its orders, and comes back when it asked for.
    fn settle(&mut self, number: usize) {
        let now = self.now();
        if !self.nodes[number].up {
            return;
        }
        loop {
            let next = self.nodes[number].core.tick(now);
            let orders = std::mem::take(&mut self.nodes[number].core.outbox);
            if orders.is_empty() {
                if let Some(at) = next {
                    assert!(at > now.at, "a timer in the past would spin");
                    self.later(at - now.at, Happening::Tick(number));
                }
                break;
            }
            for order in orders {
                self.obey(number, order);
            }
        }
        self.save(number);
        self.check(number);
    }

    fn save(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let changes = node.core.book.take_changes();
        node.disk.extend(changes.put);
        for peer in changes.remove {
            node.disk.remove(&peer);
        }
    }

    fn obey(&mut self, number: usize, order: ToSwarm<Event, Keep>) {
        match order {
            ToSwarm::Dial { opts } => self.dial(number, &opts),
            ToSwarm::CloseConnection { peer_id, connection } => {
                for link in self.links_between(number, peer_id) {
                    let end = self.end_of(link, number);
                    let all = matches!(connection, CloseConnection::All);
                    let it = matches!(connection, CloseConnection::One(id) if id == end.id);
                    if all || it {
                        self.close(link, false);
                    }
                }
            }
            ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(id), event } => {
                for link in self.links_between(number, peer_id) {
                    let end = self.links[link].ends.iter_mut().find(|end| end.node == number);
                    let end = end.unwrap();
                    if end.id == id {
                        end.keep = event;
                        self.later(IDLE_TIMEOUT, Happening::Idle { link });
                    }
                }
            }
            ToSwarm::GenerateEvent(event) => self.hear(number, event),
            other => panic!("unexpected order {other:?}"),
        }
    }

    fn hear(&mut self, number: usize, event: Event) {
        match event {
            Event::Retired { peer, connection } => {
                self.seen.retired += 1;
                assert!(self.nodes[number].id < peer, "only the smaller id prunes");
                let links = self.links_between(number, peer);
                for link in &links {
                    self.links[*link].retired |= self.end_of(*link, number).id == connection;
                }
                assert!(
                    links.iter().any(|link| !self.links[*link].retired),
                    "pruning would leave the pair without a connection"
                );
            }
            Event::NeedAddresses { peer } => {
                self.nodes[number].core.connects.on_addresses_missing(peer);
            }
            Event::Trimmed { peer } => {
                self.seen.trimmed += 1;
                let core = &self.nodes[number].core;
                assert!(!core.lists.is_protected(&peer), "protected peers are not trimmed");
            }
        }
    }

    fn dial(&mut self, number: usize, opts: &DialOpts) {
        let (id, target, now) = (opts.connection_id(), opts.get_peer_id().unwrap(), self.now());
        let asked = self.nodes[number].core.dials.is_asked_for(id);
        let node = &mut self.nodes[number];
        let dialling = node.dialling.values().any(|other| *other == target);
        let failure = if !asked && (dialling || node.core.pool.peers.contains_key(&target)) {
            Some(DialError::DialPeerConditionFalse(PeerCondition::DisconnectedAndNotDialing))
        } else {
            match node.core.admit_dial(id, Some(target)) {
                Err(cause) => Some(DialError::Denied { cause }),
                Ok(addresses) if addresses.is_empty() && !asked => Some(DialError::NoAddresses),
                Ok(_) => None,
            }
        };
        if let Some(error) = failure {
            node.core.on_dial_failure(id, Some(target), &error, now);
            return;
        }
        node.dialling.insert(id, target);
        let to = self.nodes.iter().position(|node| node.id == target).unwrap();
        let (life, latency) = (self.nodes[number].life, self.latency());
        self.later(latency, Happening::Arrives { from: number, life, id, to });
    }

    fn reachable(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        a.up && b.up && a.group == b.group
    }

    fn arrives(&mut self, from: usize, life: u32, id: ConnectionId, to: usize) {
        if self.nodes[from].life != life {
            return;
        }
        // The number of the other end: any that is not used yet.
        let theirs = DialOpts::unknown_peer_id().address(place(0)).build().connection_id();
        let refused = self.reachable(from, to)
            && self.nodes[to].core.pool.admit_inbound(theirs, &place(from)).is_err();
        if refused {
            self.seen.refused += 1;
            self.nodes[to].core.pool.failed(theirs);
        }
        if refused || !self.reachable(from, to) {
            let error = io::Error::from(io::ErrorKind::ConnectionRefused);
            let error = libp2p_core::transport::TransportError::Other(error);
            self.dial_failed(from, id, to, &DialError::Transport(vec![(place(to), error)]));
            return;
        }
        let end = |node: usize, life, id| {
            let (established, gone, keep) = (false, false, Keep::Open);
            End { node, life, id, established, gone, keep }
        };
        let ends = [end(from, life, id), end(to, self.nodes[to].life, theirs)];
        let busy = self.rng.random_bool(0.3);
        self.links.push(Link { ends, busy, retired: false });
        let link = self.links.len() - 1;
        for side in 0..2 {
            let latency = self.latency();
            self.later(latency, Happening::Proven { link, side });
        }
    }

    fn dial_failed(&mut self, from: usize, id: ConnectionId, to: usize, error: &DialError) {
        let (now, target) = (self.now(), self.nodes[to].id);
        self.nodes[from].dialling.remove(&id);
        self.nodes[from].core.on_dial_failure(id, Some(target), error, now);
        self.settle(from);
    }

    fn proven(&mut self, link: usize, side: usize) {
        let [mine, theirs] = self.sides(link, side);
        if self.nodes[mine.node].life != mine.life || mine.gone {
            return;
        }
        let (now, remote) = (self.now(), self.nodes[theirs.node].id);
        let verdict = self.nodes[mine.node].core.admit(mine.id, remote);
        let broken = theirs.gone || !self.reachable(mine.node, theirs.node);
        if broken || verdict.is_err() {
            self.fail_end(link, side, now);
            return;
        }
        self.links[link].ends[side].established = true;
        let point = point(side, theirs.node);
        let core = &mut self.nodes[mine.node].core;
        core.on_established(mine.id, remote, &point, &[], now);
        self.nodes[mine.node].dialling.remove(&mine.id);
        let latency = self.latency();
        self.later(latency, Happening::Identify { link, side });
        self.settle(mine.node);
    }

    /// The handshake fails at this side; the other hears of it like of a broken connection.
    fn fail_end(&mut self, link: usize, side: usize, now: Now) {
        let [mine, theirs] = self.sides(link, side);
        self.links[link].ends[side].gone = true;
        if side == 0 {
            let error = DialError::Aborted;
            let remote = self.nodes[theirs.node].id;
            self.nodes[mine.node].dialling.remove(&mine.id);
            self.nodes[mine.node].core.on_dial_failure(mine.id, Some(remote), &error, now);
        } else {
            self.nodes[mine.node].core.pool.failed(mine.id);
        }
        let latency = self.latency();
        self.later(latency, Happening::Gone { link, side: 1 - side, broken: true });
        self.settle(mine.node);
    }

    fn gone(&mut self, link: usize, side: usize, broken: bool) {
        let [mine, theirs] = self.sides(link, side);
        if mine.gone || self.nodes[mine.node].life != mine.life {
            return;
        }
        let now = self.now();
        if !mine.established {
            self.fail_end(link, side, now);
            return;
        }
        self.links[link].ends[side].gone = true;
        let remote = self.nodes[theirs.node].id;
        let eof = ConnectionError::IO(io::ErrorKind::UnexpectedEof.into());
        let cause = broken.then_some(&eof);
        self.nodes[mine.node].core.on_closed(mine.id, remote, cause, now);
        self.settle(mine.node);
    }

    /// Both sides learn that the link is gone, each in its time.
    fn close(&mut self, link: usize, broken: bool) {
        for side in 0..2 {
            let latency = self.latency();
            self.later(latency, Happening::Gone { link, side, broken });
        }
    }

    fn identify(&mut self, link: usize, side: usize) {
        let [mine, theirs] = self.sides(link, side);
        if mine.gone || self.nodes[mine.node].life != mine.life {
            return;
        }
        let (now, remote) = (self.now(), self.nodes[theirs.node].id);
        let told = Told { agent: "sim".into(), protocols: vec![], member: theirs.node < MEMBERS };
        let listen = [place(theirs.node), address("/ip4/127.0.0.1/tcp/1")];
        self.nodes[mine.node].core.on_identified(remote, told, &listen, now);
        self.settle(mine.node);
    }

    fn idle(&mut self, link: usize) {
        let Link { ends, busy, .. } = &self.links[link];
        let let_go = ends.iter().any(|end| end.keep == Keep::WhileUsed);
        if let_go && !busy {
            self.close(link, true);
        }
    }

    fn sides(&self, link: usize, side: usize) -> [End; 2] {
        let ends = &self.links[link].ends;
        [ends[side].clone(), ends[1 - side].clone()]
    }

    fn end_of(&self, link: usize, node: usize) -> &End {
        self.links[link].ends.iter().find(|end| end.node == node).unwrap()
    }

    /// Links that the node takes for established ones to that peer.
    fn links_between(&self, node: usize, peer: PeerId) -> Vec<usize> {
        let life = self.nodes[node].life;
        let is_it = |link: &Link| {
            let mine = link.ends.iter().find(|end| end.node == node && end.life == life);
            mine.is_some_and(|end| end.established && !end.gone)
                && link.ends.iter().any(|end| self.nodes[end.node].id == peer)
        };
        (0..self.links.len()).filter(|link| is_it(&self.links[*link])).collect()
    }

    // What befalls the nodes.

    pub(super) fn start_all(&mut self) {
        for number in 0..NODES {
            self.restart(number);
        }
    }

    pub(super) fn restart(&mut self, number: usize) {
        if self.nodes[number].up {
            return;
        }
        let peers = self.nodes[number].disk.iter().map(|(p, row)| (*p, row.clone())).collect();
        let saved = BookSnapshot { peers, ..BookSnapshot::default() };
        let core = Peers::new(config(number), saved, self.now());
        let node = &mut self.nodes[number];
        (node.core, node.up) = (core, true);
        node.life += 1;
        node.dialling.clear();
        self.settle(number);
    }

    pub(super) fn crash(&mut self, number: usize) {
        self.nodes[number].up = false;
        self.nodes[number].life += 1;
        self.break_links(|node| node == number);
    }

    /// All connections of the node break, and it stays.
    pub(super) fn cut(&mut self, number: usize) {
        self.break_links(|node| node == number);
    }

    pub(super) fn split(&mut self) {
        for number in 0..NODES {
            self.nodes[number].group = self.rng.random_range(0..2);
        }
        for link in 0..self.links.len() {
            let [a, b] = self.sides(link, 0);
            if self.nodes[a.node].group != self.nodes[b.node].group {
                self.close(link, true);
            }
        }
    }

    pub(super) fn heal(&mut self) {
        for node in &mut self.nodes {
            node.group = 0;
        }
    }

    fn break_links(&mut self, of: impl Fn(usize) -> bool) {
        for link in 0..self.links.len() {
            if self.links[link].ends.iter().any(|end| of(end.node)) {
                self.close(link, true);
            }
        }
    }

    pub(super) fn dial_both_ways(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let addresses = vec![place(to)];
            let request = Connect { peer: Some(self.nodes[to].id), addresses };
            let now = self.now();
            if self.nodes[from].up {
                // The caller goes at once; the dial remains.
                let (ask, _) = Ask::new(request);
                self.nodes[from].core.on_command(Command::Connect(ask), now);
                self.settle(from);
            }
        }
    }

    pub(super) fn discover(&mut self, node: usize, found: usize) {
        let (now, peer) = (self.now(), self.nodes[found].id);
        if self.nodes[node].up {
            let places = vec![place(found)];
            self.nodes[node].core.on_discovered(peer, places, Source::Kad, now);
            self.settle(node);
        }
    }

    pub(super) fn network_changed(&mut self, node: usize) {
        let now = self.now();
        if self.nodes[node].up {
            self.nodes[node].core.on_network_change(now);
            self.settle(node);
        }
    }

    pub(super) fn calm_down(&mut self) {
        self.heal();
        self.start_all();
    }

    // What must hold.

    fn check(&self, number: usize) {
        let core = &self.nodes[number].core;
        let config = core.config();
        assert!(core.pool.len() + core.pool.pending_inbound() <= config.max_connections);
        assert!(core.pool.pending_inbound() <= config.max_pending_inbound);
        assert!(core.book.len() <= config.max_book, "the book is bounded");
        for live in core.pool.peers.values() {
            assert!(live.connections.len() <= config.max_connections_per_peer);
        }
        for other in 0..NODES {
            let ip = std::net::IpAddr::from([11, 0, 0, u8::try_from(other + 1).unwrap()]);
            assert!(core.pool.counted(&ip) <= config.max_connections_per_ip);
        }
        let standing: usize = core.pool.peers.values().map(|live| live.connections.len()).sum();
        assert_eq!(standing, core.pool.len());
    }

    /// A full node closes those who dial it after their grace and is dialled again, so that what is
    /// younger than that is not judged.
    pub(super) fn check_quiet(&self) {
        let now = self.now();
        for (number, node) in self.nodes.iter().enumerate() {
            let config = node.core.config();
            let grace = config.prune_grace + config.drain_timeout + config.trim_grace;
            let is_old = |since: Instant| now.at - since > grace;
            let old = node.core.pool.peers.values().filter(|live| is_old(live.since)).count();
            assert!(old <= config.max_peers, "node {number} has too many peers");
            for (peer, live) in &node.core.pool.peers {
                let old = live.connections.iter().filter(|c| is_old(c.since)).count();
                assert!(old <= 1, "node {number} and {peer} keep duplicates");
            }
            if number < MEMBERS {
                let links = self.links_between(number, id_of(partner(number)));
                assert_eq!(links.len(), 1, "node {number} lacks its partner");
                let ends = &self.links[links[0]].ends;
                assert!(ends.iter().all(|e| e.established && !e.gone), "both sides agree");
            }
        }
    }
}

fn id_of(number: usize) -> PeerId {
    peer(u8::try_from(number + 100).unwrap())
}

fn partner(number: usize) -> usize {
    (number + PARTNER) % MEMBERS
}

fn config(number: usize) -> Config {
    let bootstrap = |to: usize| place(to).with_p2p(id_of(to)).unwrap();
    let mut config = Config {
        bootstrap: vec![bootstrap((number + 1) % MEMBERS)],
        max_peers: 8,
        low_peers: 6,
        max_connections: 10,
        max_connections_per_ip: 2,
        max_pending_inbound: 2,
        max_pending_dials: 5,
        max_book: 14,
        autodial: Autodial { target_peers: 7, at_start: 4, ..Autodial::default() },
        ..Config::new(id_of(number))
    };
    if number < MEMBERS {
        config.protected = vec![id_of(partner(number))];
        config.bootstrap.push(bootstrap(partner(number)));
    }
    config
}

/// The ends of a link as libp2p describes them; the one that dialled is side 0.
fn point(side: usize, remote: usize) -> ConnectedPoint {
    let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
    match side {
        0 => ConnectedPoint::Dialer { address: place(remote), role_override, port_use },
        _ => ConnectedPoint::Listener { local_addr: place(0), send_back_addr: place(remote) },
    }
}
