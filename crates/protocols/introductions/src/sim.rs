//! A network of cores without a network: virtual time, real records.
//!
//! `PEERAGE_SEED` repeats a run.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

use bytes::Bytes;
use peerage_types::{Network, PeerId, UnixMillis};
use peerage_wire::introductions::{Frame, LENGTH_BYTES, Signed};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{
    introductions::Introductions,
    own::Own,
    tests::{Person, START},
};

const NODES: usize = 40;
/// Of which so many tell of peers that there are not.
const LIARS: usize = 8;
/// Connections that each wants.
const TARGET: usize = 8;
const TICK: Duration = Duration::from_millis(250);

struct Node {
    peer: PeerId,
    core: Introductions<StdRng>,
    links: BTreeSet<usize>,
    candidates: BTreeSet<PeerId>,
    dead_dials: usize,
    bytes: usize,
    lies: u32,
}

struct Net {
    nodes: Vec<Node>,
    places: HashMap<PeerId, usize>,
    base: Instant,
    past: Duration,
}

impl Net {
    fn new() -> Self {
        let seed = std::env::var("PEERAGE_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one("introductions"));
        println!("PEERAGE_SEED={seed}");
        let node = |number: usize| {
            let person = Person(number as u32);
            let mut own = Own::new(&person.keys(), Network::default(), false);
            own.on_listening(&person.public(), true);
            let random = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
            let core = Introductions::new(own, person.peer(), false, random);
            Node {
                peer: person.peer(),
                core,
                links: BTreeSet::new(),
                candidates: BTreeSet::new(),
                dead_dials: 0,
                bytes: 0,
                lies: 0,
            }
        };
        let nodes: Vec<_> = (0..NODES).map(node).collect();
        let places = nodes.iter().enumerate().map(|(at, node)| (node.peer, at)).collect();
        Self { nodes, places, base: Instant::now(), past: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        self.base + self.past
    }

    fn unix(&self) -> UnixMillis {
        START.plus(self.past)
    }

    fn is_liar(at: usize) -> bool {
        at > 0 && at <= LIARS
    }

    fn link(&mut self, one: usize, two: usize) {
        let now = self.now();
        for (here, there) in [(one, two), (two, one)] {
            let peer = self.nodes[there].peer;
            let node = &mut self.nodes[here];
            if node.links.insert(there) {
                node.core.on_connected(peer, false);
                node.core.on_speaks(peer, now);
            }
        }
    }

    /// A whole dialog, over the bytes that it would send.
    fn ask(&mut self, here: usize, there: usize) {
        let (now, unix) = (self.now(), self.unix());
        let (asker, asked) = (self.nodes[here].peer, self.nodes[there].peer);
        let admitted = self.nodes[there].core.served.admit(asker, now);
        let mut answered = false;
        if admitted {
            let question = self.nodes[here].core.question(&asked, unix);
            let (limit, namespace) = (question.limit, question.namespace);
            let ask = Frame::Ask { limit, namespace, own: question.own };
            let Frame::Ask { own, .. } = self.carry(here, there, &ask) else { unreachable!() };
            let records = match Self::is_liar(there) {
                true => self.lie(there, limit),
                false => self.nodes[there].core.answer(&asker, limit, namespace, unix),
            };
            let answer = Frame::Answer(records);
            let Frame::Answer(records) = self.carry(there, here, &answer) else { unreachable!() };
            self.learn(there, own, asker);
            self.learn(here, records, asked);
            answered = true;
        }
        let Introductions { rounds, random, .. } = &mut self.nodes[here].core;
        rounds.on_done(&asked, answered, now, random);
    }

    fn lie(&mut self, at: usize, limit: u8) -> Vec<Bytes> {
        let (unix, node) = (self.unix(), &mut self.nodes[at]);
        let lie = |_| {
            node.lies += 1;
            let stranger = Person(1_000_000 * (at as u32 + 1) + node.lies);
            stranger.record(unix).bytes().clone()
        };
        (0..limit).map(lie).collect()
    }

    fn carry(&mut self, from: usize, to: usize, frame: &Frame) -> Frame {
        let bytes = Bytes::from(frame.encode());
        self.nodes[from].bytes += bytes.len();
        self.nodes[to].bytes += bytes.len();
        Frame::decode(&bytes.slice(LENGTH_BYTES..)).unwrap()
    }

    fn learn(&mut self, at: usize, records: Vec<Bytes>, from: PeerId) {
        let (unix, network) = (self.unix(), Network::default());
        let records = records.iter().map(|bytes| Signed::decode(bytes, &network).unwrap());
        let node = &mut self.nodes[at];
        let introduced = node.core.learn(records.collect(), from, None, unix);
        node.candidates.extend(introduced.into_iter().map(|it| it.peer));
    }

    /// One dial of each lonely node, then all that is due.
    fn tick(&mut self) {
        self.past += TICK;
        for here in 0..NODES {
            if self.nodes[here].links.len() < TARGET
                && let Some(candidate) = self.nodes[here].candidates.pop_first()
            {
                match self.places.get(&candidate).copied() {
                    Some(there) => self.link(here, there),
                    None => self.nodes[here].dead_dials += 1,
                }
            }
            let now = self.now();
            while let Some(peer) = self.nodes[here].core.rounds.next(now) {
                self.ask(here, self.places[&peer]);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.past + time;
        while self.past < end {
            self.tick();
        }
    }

    fn poorest(&self) -> usize {
        let honest = (0..NODES).filter(|at| !Self::is_liar(*at));
        honest.map(|at| self.nodes[at].links.len()).min().unwrap()
    }
}

#[test]
fn nodes_that_know_one_peer_meet_enough_others_although_some_lie_and_then_it_costs_little() {
    let mut net = Net::new();
    for node in 1..NODES {
        net.link(0, node);
    }
    while net.poorest() < TARGET {
        net.tick();
        assert!(net.past < Duration::from_secs(15 * 60), "{} links", net.poorest());
    }
    println!("everybody honest has {TARGET} links after {:?}", net.past);
    let dead = net.nodes.iter().map(|node| node.dead_dials).max().unwrap();
    println!("dials to nobody: {dead} at most");
    assert!(dead <= 16 * LIARS * 4);

    net.run(Duration::from_secs(10 * 60));
    net.nodes.iter_mut().for_each(|node| node.bytes = 0);
    net.run(Duration::from_secs(10 * 60));
    // The hub has 39 peers, the others about 8 to 16.
    let rates: Vec<_> = net.nodes.iter().map(|node| node.bytes / 600).collect();
    let (most, hub) = (rates[1..].iter().max().unwrap(), rates[0]);
    println!("settled: {most} B/s at most, {hub} B/s at the hub, both directions together");
    assert!(*most <= 150 && hub <= 300, "{rates:?}");
    for node in &net.nodes {
        node.core.known.check();
    }
}

#[test]
fn a_namespace_is_found_through_somebody_in_between() {
    let mut net = Net::new();
    let (seeker, between, wanted) = (10, 11, 12);
    net.nodes[wanted].core.own.join([5; 20]);
    net.link(seeker, between);
    net.link(between, wanted);
    net.ask(between, wanted);
    let unix = net.unix();
    let (known, asked) = net.nodes[seeker].core.search(1, [5; 20], unix);
    assert!(known.is_empty());
    let (asker, between_peer) = (net.nodes[seeker].peer, net.nodes[between].peer);
    assert_eq!(asked, [between_peer]);
    let records = net.nodes[between].core.answer(&asker, 16, Some([5; 20]), unix);
    let decode = |bytes: &Bytes| Signed::decode(bytes, &Network::default()).unwrap();
    let records: Vec<_> = records.iter().map(decode).collect();
    let learn = |net: &mut Net| {
        let seeker = &mut net.nodes[seeker].core;
        let learned = seeker.learn(records.clone(), between_peer, Some(1), unix);
        learned.into_iter().filter(|it| it.is_found).map(|it| it.peer).collect::<Vec<_>>()
    };
    assert_eq!(learn(&mut net), [net.nodes[wanted].peer]);
    assert!(learn(&mut net).is_empty(), "each once");
    let seeker = &mut net.nodes[seeker].core;
    assert!(seeker.on_searched(1), "everybody was asked");
    let (known, _) = seeker.search(2, [5; 20], unix);
    assert_eq!(known.len(), 1, "it need not be asked for again");
}
