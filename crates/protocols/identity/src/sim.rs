//! Networks of nodes without streams and clocks: how long a change takes to reach everybody.
//!
//! A message takes 20 to 90 ms from node to node, unless it is lost, and a session is four such ways. `PEERAGE_SEED` repeats a run.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashSet},
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

use bytes::Bytes;
use peerage_types::{PeerId, UnixMillis, UserId};
use peerage_wire::identity::{
    Bundle, Profile, Signed, SigningKey,
    frames::{Buckets, split},
    recovery_commitment,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{Known, Limits, Source, bounds::MAX_PASSED_ON, gossip::Gossip, sessions::Sessions};

const START: UnixMillis = UnixMillis(1_800_000_000_000);
const NODES: usize = 50;

struct Node {
    peer: PeerId,
    known: Known,
    gossip: Gossip,
    sessions: Sessions,
    links: Vec<usize>,
    heard: HashSet<Bytes>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Message {
        from: usize,
        to: usize,
        source: usize,
        bytes: Bytes,
    },
    Session {
        from: usize,
        to: usize,
        at: Option<UserId>,
    },
    /// A timer of a node may have run out.
    Look(usize),
}

struct Net {
    nodes: Vec<Node>,
    queue: BinaryHeap<Reverse<(Duration, u64, What)>>,
    random: StdRng,
    base: Instant,
    now: Duration,
    count: u64,
    /// Of a hundred messages so many are lost.
    lost: u32,
}

impl Net {
    fn new(lost: u32) -> Self {
        let seed = std::env::var("PEERAGE_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(lost));
        println!("PEERAGE_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let node = |_| {
            let key: [u8; 32] = random.random();
            let key = libp2p_identity::Keypair::ed25519_from_bytes(key).unwrap();
            let peer = key.public().to_peer_id();
            Node {
                peer,
                known: Known::new(peer, Limits::default()),
                gossip: Gossip::default(),
                sessions: Sessions::default(),
                links: Vec::new(),
                heard: HashSet::new(),
            }
        };
        let nodes = (0..NODES).map(node).collect();
        let (base, now) = (Instant::now(), Duration::ZERO);
        Self { nodes, queue: BinaryHeap::new(), random, base, now, count: 0, lost }
    }

    fn unix(&self) -> UnixMillis {
        START.plus(self.now)
    }

    fn after(&mut self, delay: Duration, what: What) {
        self.count += 1;
        self.queue.push(Reverse((self.now + delay, self.count, what)));
    }

    fn hop(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(20..90))
    }

    fn link(&mut self, one: usize, two: usize) {
        let now = self.base + self.now;
        for (here, there) in [(one, two), (two, one)] {
            let peer = self.nodes[there].peer;
            let first = self.nodes[here].peer < peer;
            self.nodes[here].links.push(there);
            self.nodes[here].sessions.on_speaks(peer, first, now);
            self.after(Duration::ZERO, What::Look(here));
        }
    }

    fn publish(&mut self, node: usize, bundle: &Bundle) {
        let (unix, now) = (self.unix(), self.base + self.now);
        assert!(self.nodes[node].known.merge(bundle, Source::Own, unix).changed);
        self.nodes[node].gossip.add(bundle.user().unwrap(), true, now);
        self.after(Duration::ZERO, What::Look(node));
    }

    /// Runs until everybody has what `is_done` asks for; says when that was.
    fn run(&mut self, is_done: impl Fn(&Known) -> bool) -> Duration {
        let start = self.now;
        while !self.nodes.iter().all(|node| is_done(&node.known)) {
            let Some(Reverse((at, _, what))) = self.queue.pop() else { panic!("it has ended") };
            self.now = at;
            assert!(self.now - start < PATIENCE, "it takes for ever");
            match what {
                What::Message { from, to, source, bytes } => self.hear(from, to, source, bytes),
                What::Session { from, to, at } => self.meet(from, to, at),
                What::Look(node) => self.look(node),
            }
        }
        self.now - start
    }

    fn look(&mut self, at: usize) {
        let now = self.base + self.now;
        let node = &mut self.nodes[at];
        let known = &node.known;
        let message = node.gossip.message(now, |user| Some(known.bundle(user)?.encode()));
        let sessions: Vec<_> = std::iter::from_fn(|| node.sessions.next(now)).collect();
        let dues = [node.gossip.deadline(), node.sessions.deadline()];
        if let Some(due) = dues.into_iter().flatten().min() {
            self.after(due.saturating_duration_since(now), What::Look(at));
        }
        if let Some(bytes) = message {
            self.nodes[at].heard.insert(bytes.clone());
            self.pass_on(at, at, at, &bytes);
        }
        for (peer, after) in sessions {
            let to = self.nodes.iter().position(|node| node.peer == peer).unwrap();
            let delay = self.hop() * 4;
            self.after(delay, What::Session { from: at, to, at: after });
        }
    }

    fn pass_on(&mut self, at: usize, from: usize, source: usize, bytes: &Bytes) {
        for to in self.nodes[at].links.clone() {
            if to != from && self.random.random_range(0..100) >= self.lost {
                let delay = self.hop();
                self.after(delay, What::Message { from: at, to, source, bytes: bytes.clone() });
            }
        }
    }

    fn hear(&mut self, from: usize, to: usize, source: usize, bytes: Bytes) {
        if !self.nodes[to].heard.insert(bytes.clone()) {
            return;
        }
        let (unix, told_by) = (self.unix(), Source::Peer(self.nodes[source].peer));
        let mut is_new = false;
        for bundle in split(&bytes).unwrap() {
            let bundle = Bundle::decode(&bundle).unwrap();
            is_new |= self.nodes[to].known.merge(&bundle, told_by, unix).changed;
        }
        if is_new {
            self.pass_on(to, from, source, &bytes);
        }
    }

    /// A session as it would end.
    fn meet(&mut self, from: usize, to: usize, at: Option<UserId>) {
        let (unix, now) = (self.unix(), self.base + self.now);
        let [ours, theirs] = [from, to].map(|node| {
            let mut all = Box::new([[0; 16]; 256]);
            (0..=u8::MAX).for_each(|b| all[usize::from(b)] = self.nodes[node].known.digest(b));
            all
        });
        let buckets = Buckets::differing(&ours, &theirs);
        let mut learned = [Vec::new(), Vec::new()];
        let mut after = at;
        while buckets != Buckets::default() {
            let page = self.nodes[from].known.page(buckets, after);
            let diff = self.nodes[to].known.compare(&page);
            let wanted = diff.wanted.iter().map(|place| page.entries[usize::from(*place)].user);
            let (wanted, lacking) = (wanted.collect(), diff.lacking);
            for (side, giver, taker, users) in [(0, to, from, lacking), (1, from, to, wanted)] {
                let users: Vec<UserId> = users;
                let by = Source::Peer(self.nodes[giver].peer);
                for user in users {
                    let bundle = self.nodes[giver].known.bundle(&user).unwrap();
                    if self.nodes[taker].known.merge(&bundle, by, unix).changed {
                        learned[side].push(user);
                    }
                }
            }
            after = diff.through;
            if after.is_none() {
                break;
            }
        }
        let [first, second] = [from, to].map(|node| self.nodes[node].peer);
        self.nodes[from].sessions.on_done(&second, None, now);
        self.nodes[to].sessions.on_served(&first, now);
        for (at, users) in [from, to].into_iter().zip(learned) {
            assert!(users.len() < MAX_PASSED_ON);
            let node = &mut self.nodes[at];
            if node.sessions.len() > 1 {
                users.into_iter().for_each(|user| node.gossip.add(user, false, now));
            }
            self.after(Duration::ZERO, What::Look(at));
        }
    }
}

fn profile(number: u64, seq: u64) -> Bundle {
    let key = SigningKey::from_bytes(&blake3::derive_key("test key", &number.to_be_bytes()));
    let profile = Profile {
        user: user(number),
        seq,
        handle: None,
        display_name: None,
        bio: BTreeMap::new(),
        avatar: None,
        services: [].into(),
        mailboxes: [].into(),
        recovery: recovery_commitment(&[7; 32]),
        updated: START,
    };
    Bundle { profile: Some(Signed::sign(profile, &key).unwrap()), ..Bundle::default() }
}

fn user(number: u64) -> UserId {
    let key = SigningKey::from_bytes(&blake3::derive_key("test key", &number.to_be_bytes()));
    UserId(key.verifying_key().to_bytes())
}

fn knows(number: u64, seq: u64) -> impl Fn(&Known) -> bool {
    let user = user(number);
    move |known| known.profile(&user).is_some_and(|profile| profile.seq == seq)
}

/// Hops between the nodes of a mesh, each with a session of its own at worst.
const PATIENCE: Duration = Duration::from_secs(12 * 20 * 60);
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_change_reaches_fifty_nodes_in_a_line_within_five_seconds() {
    let mut net = Net::new(0);
    (1..NODES).for_each(|node| net.link(node - 1, node));
    net.publish(0, &profile(1, 1));
    net.run(knows(1, 1));
    net.publish(0, &profile(1, 2));
    let took = net.run(knows(1, 2));
    println!("a line of {NODES}: {took:?}");
    assert!(took <= LIMIT, "{took:?}");
}

fn mesh(net: &mut Net) {
    for node in 1..NODES {
        let other = net.random.random_range(0..node);
        net.link(other, node);
    }
    for _ in 0..2 * NODES {
        let [one, two] = [(); 2].map(|()| net.random.random_range(0..NODES));
        if one != two && !net.nodes[one].links.contains(&two) {
            net.link(one, two);
        }
    }
}

#[test]
fn a_change_reaches_fifty_nodes_in_a_mesh_within_five_seconds() {
    let mut net = Net::new(0);
    mesh(&mut net);
    net.publish(0, &profile(1, 1));
    net.run(knows(1, 1));
    net.publish(0, &profile(1, 2));
    let took = net.run(knows(1, 2));
    println!("a mesh of {NODES}: {took:?}");
    assert!(took <= LIMIT, "{took:?}");
}

#[test]
fn two_lines_that_meet_know_all_of_each_other_within_five_seconds() {
    let mut net = Net::new(0);
    let half = NODES / 2;
    (1..half).for_each(|node| net.link(node - 1, node));
    (half + 1..NODES).for_each(|node| net.link(node - 1, node));
    for number in 0..NODES as u64 {
        net.publish(usize::try_from(number).unwrap(), &profile(number, 1));
    }
    net.run(|known| known.len() >= half);
    assert!(net.nodes.iter().all(|node| node.known.len() == half));
    net.link(half - 1, half);
    let took = net.run(|known| known.len() == NODES);
    println!("two lines: {took:?}");
    assert!(took <= LIMIT, "{took:?}");
}

#[test]
fn what_gossip_has_lost_is_found_by_the_next_sessions() {
    let mut net = Net::new(0);
    mesh(&mut net);
    net.publish(7, &profile(1, 1));
    net.run(knows(1, 1));
    net.lost = 100;
    net.publish(7, &profile(1, 2));
    let took = net.run(knows(1, 2));
    println!("a mesh without gossip: {took:?}");
    assert!(took > LIMIT, "nothing else tells them");
}
