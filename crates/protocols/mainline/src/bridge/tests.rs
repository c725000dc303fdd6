//! The bridge against what a DHT may tell it. Time and DHT are played here.

use libp2p_swarm::ConnectionId;
use peerage_wire::mainline::slot::{Record, Slot};

use super::*;
use crate::{
    cadence::Done,
    client::Round,
    guards::{DIAL_INTERVAL, MAX_PER_LOOKUP},
};

const UNIX: UnixMillis = UnixMillis(1_800_000_600_000);

struct Game {
    bridge: Bridge,
    now: Now,
    peer: PeerId,
    connections: usize,
}

impl Game {
    fn new() -> Self {
        let keypair = Keypair::generate_ed25519();
        let peer = keypair.public().to_peer_id();
        let now = Now { instant: Instant::now(), unix: UNIX };
        let bridge = Bridge::new(&Config::default(), keypair, now.instant);
        Self { bridge, now, peer, connections: 0 }
    }

    fn namespace() -> Rendezvous {
        Rendezvous::namespace("games".parse().expect("a namespace"))
    }

    fn joined() -> Self {
        let mut game = Self::new();
        game.bridge.hold(Self::namespace(), true, game.now.instant).expect("there is room");
        game
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { instant: self.now.instant + time, unix: self.now.unix.plus(time) };
    }

    fn outputs(&mut self) -> Vec<Output> {
        self.bridge.on_time(self.now);
        std::iter::from_fn(|| self.bridge.next()).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        let told = |output| match output {
            Output::Tell(event) => Some(event),
            Output::Dial(_) | Output::Ask(_) => None,
        };
        self.outputs().into_iter().filter_map(told).collect()
    }

    /// The only round that is asked for now.
    fn round(&mut self) -> Round {
        let asked = |output| match output {
            Output::Ask(Request::Round(round)) => Some(*round),
            _ => None,
        };
        let mut rounds: Vec<Round> = self.outputs().into_iter().filter_map(asked).collect();
        assert_eq!(rounds.len(), 1, "{rounds:?}");
        rounds.remove(0)
    }

    fn report(&mut self, report: Report) {
        self.bridge.on_report(report, self.now);
    }

    fn names(&mut self, round: RoundId, addresses: impl IntoIterator<Item = SocketAddr>) {
        let addresses = addresses.into_iter().collect();
        self.report(Report::Addresses { round, addresses });
    }

    fn end(&mut self, round: RoundId, done: Done) {
        self.report(Report::RoundEnded { round, done, asked: None });
    }

    /// Dials that are begun within a time, each with the connection it becomes; all fail at once.
    fn failing_dials(&mut self, time: Duration) -> Vec<(Duration, SocketAddr)> {
        let (start, end) = (self.now.instant, self.now.instant + time);
        let mut dials = Vec::new();
        while self.now.instant <= end {
            for output in self.outputs() {
                if let Output::Dial(Effect::Dial { address, .. }) = output {
                    dials.push((self.now.instant - start, address));
                    let connection = self.dialling(Who::Address(address));
                    self.bridge.on_dial_failure(connection, true, self.now.instant);
                }
            }
            self.pass(Duration::from_millis(100));
        }
        dials
    }

    fn dialling(&mut self, who: Who) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId::new_unchecked(self.connections);
        self.bridge.on_dialling(&who, connection);
        connection
    }
}

fn public(number: u32) -> SocketAddr {
    let [a, b, c, d] = (0x0b00_0000 + (number << 8)).to_be_bytes();
    SocketAddr::from(([a, b, c, d], 4001))
}

fn multiaddr(text: &str) -> Multiaddr {
    text.parse().expect("an address")
}

fn record(slot: &Slot, keypair: &Keypair, at: UnixMillis, port: u16) -> Record {
    let key = key_of(&keypair.public().to_peer_id()).expect("an Ed25519 key");
    let address = multiaddr(&format!("/ip4/11.0.0.1/tcp/{port}"));
    let sign = |bytes: &[u8]| keypair.sign(bytes).expect("it signs").try_into().expect("64 bytes");
    slot.record(&key, &[address], at, sign).expect("it fits")
}

fn slot() -> Slot {
    let namespace = Game::namespace().name().cloned().expect("it has a name");
    Slot::of(&namespace, Slot::hour_at(UNIX), 0)
}

#[test]
fn of_a_poisoned_list_at_most_32_are_dialled_one_a_second_and_none_twice() {
    let mut game = Game::joined();
    game.bridge.on_port(Some(4001), game.now.instant);
    game.bridge.on_external(&multiaddr("/ip4/11.0.5.0/tcp/4001"), true, game.now.instant);
    let round = game.round().id;
    let private = [[10, 0, 0, 1], [127, 0, 0, 1], [192, 168, 1, 1], [0, 0, 0, 0]];
    game.names(round, private.map(|ip| SocketAddr::from((ip, 4001))));
    game.names(round, (1..5000).map(public));
    game.names(round, (1..5000).map(public));
    game.end(round, Done { lookup: true, ..Done::default() });
    let dials = game.failing_dials(Duration::from_secs(20));
    // QUIC and TCP each: the second follows at once when the first fails.
    let mut turns: Vec<_> = dials.iter().map(|(at, _)| *at).collect();
    turns.dedup_by(|later, first| *later - *first < DIAL_INTERVAL / 2);
    assert!(turns.len() <= MAX_PER_LOOKUP && turns.len() >= 15, "{} turns", turns.len());
    assert!(turns.windows(2).all(|pair| pair[1] - pair[0] >= DIAL_INTERVAL - DIAL_INTERVAL / 10));
    assert!(dials.iter().all(|(_, address)| address.ip().to_string() != "11.0.5.0"), "our own");
    for (_, address) in &dials {
        assert!(dials.iter().filter(|(_, other)| other == address).count() <= 2, "{address}");
    }
}

#[test]
fn a_stranger_at_an_address_is_closed_and_a_member_is_found() {
    let mut game = Game::joined();
    let round = game.round().id;
    game.names(round, [public(1), public(2)]);
    let (stranger, member) = (PeerId::random(), PeerId::random());
    let mut found = Vec::new();
    let mut closed = Vec::new();
    for peer in [stranger, member] {
        let mut connection = None;
        for output in game.outputs() {
            if let Output::Dial(Effect::Dial { address, .. }) = output {
                connection = Some(game.dialling(Who::Address(address)));
            }
        }
        let connection = connection.expect("it dials");
        game.bridge.on_established(connection, peer, game.now.instant);
        game.bridge.on_identified(peer, peer == member, &[], game.now.instant);
        while let Some(output) = game.bridge.next() {
            match output {
                Output::Tell(Event::Found { peer, how, .. }) => found.push((peer, how)),
                Output::Dial(Effect::Close { peer, .. }) => closed.push(peer),
                _ => {}
            }
        }
        game.pass(DIAL_INTERVAL);
    }
    assert_eq!(found, [(member, How::Announced)]);
    assert_eq!(closed, [stranger]);
    assert_eq!(game.bridge.guards.remembered(), 1);
}

#[test]
fn a_connected_member_is_found_where_it_listens_without_a_dial() {
    let mut game = Game::joined();
    let round = game.round().id;
    let peer = PeerId::random();
    let listens = [multiaddr("/ip4/11.0.1.0/udp/4001/quic-v1")];
    game.bridge.on_identified(peer, true, &listens, game.now.instant);
    game.names(round, [public(1)]);
    let outputs = game.outputs();
    let found = |output: &Output| matches!(output, Output::Tell(Event::Found { peer: p, .. }) if *p == peer);
    assert!(outputs.iter().any(found), "{outputs:?}");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Dial(_))), "{outputs:?}");
}

#[test]
fn who_announces_a_port_is_found_only_on_transports_that_it_has() {
    let both = ["/ip4/11.0.1.0/udp/4001/quic-v1", "/ip4/11.0.1.0/tcp/4001"];
    for (listens, expected) in [(&both[1..], &both[1..]), (&both[..1], &both[..1]), (&both, &both)]
    {
        let mut game = Game::joined();
        let (round, peer) = (game.round().id, PeerId::random());
        let listens: Vec<_> = listens.iter().map(|address| multiaddr(address)).collect();
        game.bridge.on_identified(peer, true, &listens, game.now.instant);
        game.names(round, [public(1)]);
        let told = game.outputs().into_iter().find_map(|output| match output {
            Output::Tell(Event::Found { addresses, .. }) => Some(addresses),
            _ => None,
        });
        let expected: Vec<_> = expected.iter().map(|address| multiaddr(address)).collect();
        assert_eq!(told, Some(expected));
    }
}

#[test]
fn a_replayed_record_does_not_replace_a_newer_one() {
    let mut game = Game::new();
    game.bridge.find(Game::namespace()).expect("there is room");
    let round = game.round().id;
    let keypair = Keypair::generate_ed25519();
    let newer = record(&slot(), &keypair, UNIX.plus(Duration::from_secs(9)), 2);
    let older = record(&slot(), &keypair, UNIX, 1);
    game.report(Report::Records { round, records: vec![newer] });
    assert_eq!(game.events().len(), 1);
    game.bridge.find(Game::namespace()).expect("there is room");
    let again = game.round().id;
    game.report(Report::Records { round: again, records: vec![older] });
    assert_eq!(game.events(), []);
}

#[test]
fn a_find_reads_every_slot_and_ends_when_its_dials_are_decided() {
    let mut game = Game::new();
    let find = game.bridge.find(Game::namespace()).expect("there is room");
    let round = game.round();
    assert_eq!((round.read.len(), round.announce, round.lookup), (16, None, true));
    game.names(round.id, [public(1)]);
    game.end(round.id, Done { lookup: true, ..Done::default() });
    let ended = Event::FindEnded { find, reached: true };
    assert!(!game.events().contains(&ended), "one is to be dialled");
    game.pass(DIAL_INTERVAL);
    // The dial was begun above; it never ends.
    game.pass(crate::dials::DIAL_TIMEOUT);
    assert!(game.events().contains(&ended));
}

#[test]
fn finds_and_questions_are_bounded_and_the_bound_is_freed() {
    let mut game = Game::new();
    for _ in 0..MAX_FINDS {
        game.bridge.find(Game::namespace()).expect("there is room");
    }
    assert_eq!(game.bridge.find(Game::namespace()), Err(Refused::Busy));
    game.outputs();
    assert_eq!(game.bridge.find(Game::namespace()), Err(Refused::Busy));
    game.pass(FIND_TIMEOUT);
    assert_eq!(game.events().len(), MAX_FINDS, "they end without an answer");
    game.bridge.find(Game::namespace()).expect("there is room again");
    for _ in 0..MAX_RESOLVES {
        game.bridge.resolve(game.peer).expect("there is room");
    }
    assert_eq!(game.bridge.resolve(game.peer), Err(Refused::Busy));
}

#[test]
fn what_is_announced_and_published_depends_on_what_can_be_reached() {
    let mut game = Game::joined();
    game.bridge.on_port(Some(4001), game.now.instant);
    assert_eq!(game.bridge.own.announced(true), Some(4001), "lonely, and nobody can tell");
    assert_eq!(game.bridge.own.announced(false), None);
    game.bridge.on_reachable(Some(false), game.now.instant);
    assert_eq!(game.bridge.own.announced(true), None);
    game.bridge.on_reachable(Some(true), game.now.instant);
    assert_eq!(game.bridge.own.announced(false), Some(4001));

    let relay = PeerId::random();
    let relayed = format!("/ip4/11.0.9.9/tcp/1/p2p/{relay}/p2p-circuit");
    for address in
        ["/ip4/192.168.1.5/tcp/4001", "/ip4/127.0.0.1/tcp/4001", "/ip4/11.0.5.0/tcp/4001"]
    {
        game.bridge.on_external(&multiaddr(address), true, game.now.instant);
    }
    game.bridge.on_external(
        &multiaddr(&format!("{relayed}/p2p/{}", game.peer)),
        true,
        game.now.instant,
    );
    let published: Vec<String> =
        game.bridge.own.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(published, [relayed, "/ip4/11.0.5.0/tcp/4001".to_owned()]);
}

#[test]
fn a_round_that_is_never_answered_does_not_stop_the_next() {
    let mut game = Game::joined();
    game.round();
    assert!(game.outputs().is_empty(), "it runs");
    game.pass(FIND_TIMEOUT * 5);
    game.outputs();
    game.pass(Duration::from_secs(30));
    game.round();
}

#[test]
fn a_settled_node_stays_within_its_bytes_though_it_holds_all_it_may() {
    let mut game = Game::new();
    for number in 0..MAX_RENDEZVOUS {
        let name = format!("n{number}").parse().expect("a namespace");
        let held = game.bridge.hold(Rendezvous::namespace(name), true, game.now.instant);
        held.expect("there is room");
    }
    let extra = game.bridge.hold(Game::namespace(), true, game.now.instant);
    assert_eq!(extra, Err(Refused::TooMany));
    game.bridge.on_identified(PeerId::random(), true, &[], game.now.instant);
    let mut lookups = 0;
    // What the first rounds borrow is paid for in the first half hour.
    let seconds = 4 * 3600;
    for _ in 0..seconds {
        for output in game.outputs() {
            let Output::Ask(Request::Round(round)) = output else { continue };
            lookups += 1 + round.read.len();
            game.end(round.id, Done { lookup: true, ..Done::default() });
        }
        game.pass(Duration::from_secs(1));
    }
    let bytes =
        lookups as u64 * u64::from(crate::budget::ASSUMED_NODES * crate::budget::NODE_BYTES);
    let rate = bytes / seconds;
    assert!(lookups > 80 && rate <= 340, "{rate} B/s in {lookups} lookups");
}

#[test]
fn what_is_newly_announced_goes_before_what_is_due_again() {
    let mut game = Game::new();
    game.bridge.on_identified(PeerId::random(), true, &[], game.now.instant);
    let mut first = Vec::new();
    for number in 0..8 {
        let rendezvous = Rendezvous::namespace(format!("n{number}").parse().expect("a namespace"));
        let infohash = rendezvous.infohash();
        game.bridge.hold(rendezvous, true, game.now.instant).expect("there is room");
        for _ in 0..3 {
            game.pass(Duration::from_secs(1));
            for output in game.outputs() {
                let Output::Ask(Request::Round(round)) = output else { continue };
                game.bridge.budget.on_asked(20);
                first.push(round.infohash == infohash);
                game.end(round.id, Done { lookup: true, ..Done::default() });
            }
        }
    }
    assert_eq!(first, [true; 8], "each at once, and none of them twice");
}

#[test]
fn an_idle_bridge_sleeps() {
    let mut game = Game::new();
    game.outputs();
    assert!(game.bridge.wake_at(game.now) >= game.now.instant + Duration::from_secs(600));
    let mut game = Game::joined();
    let round = game.round().id;
    game.end(round, Done { lookup: true, ..Done::default() });
    game.bridge.on_identified(PeerId::random(), true, &[], game.now.instant);
    game.outputs();
    assert!(game.bridge.wake_at(game.now) >= game.now.instant + Duration::from_secs(500));
}
