use std::net::IpAddr;

use libp2p_identity::PeerId;
use peerage_api::peers::Direction;
use proptest::prelude::*;

use super::{accepted, address, config, dialled, id, peer, public, start};
use crate::{Config, Denied, pool::Pool};

fn limits() -> Config {
    Config {
        max_connections: 8,
        max_connections_per_peer: 3,
        max_connections_per_ip: 4,
        max_pending_inbound: 3,
        max_pending_dials: 2,
        ..config()
    }
}

fn ip(number: u32) -> IpAddr {
    IpAddr::from((0x0b00_0000 + number).to_be_bytes())
}

#[test]
fn incoming_connections_that_fail_are_uncounted() {
    let mut pool = Pool::new(limits());
    for round in 0..10 {
        for number in 0..3 {
            assert_eq!(pool.admit_inbound(id(3 * round + number), &public(1)), Ok(()));
        }
        assert_eq!(pool.admit_inbound(id(99), &public(1)), Err(Denied::Pending { max: 3 }));
        pool.failed(id(99));
        assert_eq!(pool.counted(&ip(1)), 3);
        for number in 0..3 {
            pool.failed(id(3 * round + number));
        }
        assert_eq!((pool.counted(&ip(1)), pool.pending_inbound()), (0, 0));
    }
}

#[test]
fn an_address_has_only_so_many_connections() {
    let mut pool = Pool::new(limits());
    for number in 0..4 {
        pool.admit_inbound(id(number), &public(1)).unwrap();
        let who = peer(u8::try_from(number).unwrap());
        pool.established(id(number), who, &accepted(public(1)), start());
    }
    let full = Denied::IpFull { ip: ip(1), max: 4 };
    assert_eq!(pool.admit_inbound(id(10), &public(1)), Err(full));
    assert_eq!(pool.admit_inbound(id(11), &public(2)), Ok(()), "another address is free");
    assert_eq!(pool.admit_inbound(id(12), &address("/ip4/127.0.0.1/tcp/9")), Ok(()));
    pool.closed(id(0)).unwrap();
    assert_eq!(pool.admit_inbound(id(13), &public(1)), Ok(()));
}

#[test]
fn a_peer_has_only_three_connections() {
    let mut pool = Pool::new(limits());
    for number in 0..3 {
        assert_eq!(pool.admit_established(id(number), peer(1)), Ok(()));
        pool.established(id(number), peer(1), &dialled(public(1)), start());
    }
    let full = Denied::PeerFull { peer: peer(1), max: 3 };
    assert_eq!(pool.admit_established(id(4), peer(1)), Err(full));
    assert_eq!(pool.admit_established(id(4), peer(2)), Ok(()));
}

#[test]
fn dials_are_limited_but_not_those_the_user_waits_for() {
    let mut pool = Pool::new(limits());
    assert_eq!(pool.admit_dial(id(1), false), Ok(()));
    assert_eq!(pool.admit_dial(id(2), false), Ok(()));
    assert_eq!(pool.admit_dial(id(3), false), Err(Denied::Pending { max: 2 }));
    assert_eq!(pool.admit_dial(id(4), true), Ok(()));
    pool.failed(id(4));
    pool.failed(id(1));
    assert_eq!(pool.admit_dial(id(5), false), Ok(()));
}

#[test]
fn a_refusal_of_another_behaviour_leaves_no_trace() {
    let mut pool = Pool::new(limits());
    pool.admit_inbound(id(1), &public(1)).unwrap();
    pool.admit_established(id(1), peer(1)).unwrap();
    // No `established` follows, the swarm reports a failure.
    pool.failed(id(1));
    assert_eq!((pool.len(), pool.peers.len(), pool.counted(&ip(1))), (0, 0, 0));
    assert_eq!(pool.pending_inbound(), 0);
}

#[test]
fn a_hole_punch_counts_as_dialled_by_one_side_only() {
    use libp2p_core::{ConnectedPoint, Endpoint, transport::PortUse};
    let punched = ConnectedPoint::Dialer {
        address: public(1),
        role_override: Endpoint::Listener,
        port_use: PortUse::Reuse,
    };
    assert_eq!(crate::pool::direction(&punched), Direction::In);
    assert_eq!(crate::pool::direction(&dialled(public(1))), Direction::Out);
}

#[derive(Debug, Clone)]
enum Step {
    Incoming(u32),
    Dial(bool),
    /// Of those on their way, this one proves to be that peer.
    Proven(usize, u8),
    Failed(usize),
    Closed(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3u32).prop_map(Step::Incoming),
        2 => any::<bool>().prop_map(Step::Dial),
        4 => (any::<usize>(), 0..5u8).prop_map(|(at, who)| Step::Proven(at, who)),
        1 => any::<usize>().prop_map(Step::Failed),
        1 => any::<usize>().prop_map(Step::Closed),
    ]
}

/// The pool with the swarm around it: what is on its way and what stands.
struct World {
    pool: Pool,
    on_the_way: Vec<(usize, Option<u32>)>,
    standing: Vec<(usize, PeerId)>,
    next: usize,
}

impl World {
    fn apply(&mut self, step: &Step) {
        self.next += 1;
        let (number, pool) = (self.next, &mut self.pool);
        match *step {
            Step::Incoming(from) => match pool.admit_inbound(id(number), &public(from)) {
                Ok(()) => self.on_the_way.push((number, Some(from))),
                Err(_) => pool.failed(id(number)),
            },
            Step::Dial(free) => match pool.admit_dial(id(number), free) {
                Ok(()) => self.on_the_way.push((number, None)),
                Err(_) => pool.failed(id(number)),
            },
            Step::Proven(at, who) if !self.on_the_way.is_empty() => {
                let (number, from) = self.on_the_way.swap_remove(at % self.on_the_way.len());
                match pool.admit_established(id(number), peer(who)) {
                    Ok(()) => {
                        let point = from.map_or(dialled(public(9)), |from| accepted(public(from)));
                        pool.established(id(number), peer(who), &point, start());
                        self.standing.push((number, peer(who)));
                    }
                    Err(_) => pool.failed(id(number)),
                }
            }
            Step::Failed(at) if !self.on_the_way.is_empty() => {
                pool.failed(id(self.on_the_way.swap_remove(at % self.on_the_way.len()).0));
            }
            Step::Closed(at) if !self.standing.is_empty() => {
                let (number, who) = self.standing.swap_remove(at % self.standing.len());
                let last = self.standing.iter().all(|(_, other)| *other != who);
                assert_eq!(pool.closed(id(number)).unwrap().last.is_some(), last);
            }
            Step::Proven(..) | Step::Failed(_) | Step::Closed(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn limits_hold_and_every_connection_is_uncounted_in_the_end(
        steps in proptest::collection::vec(step(), 0..200)
    ) {
        let pool = Pool::new(limits());
        let mut world = World { pool, on_the_way: vec![], standing: vec![], next: 0 };
        for step in &steps {
            world.apply(step);
            let pool = &world.pool;
            prop_assert_eq!(pool.len(), world.standing.len());
            prop_assert!(pool.len() + pool.pending_inbound() <= 8);
            prop_assert!(pool.pending_inbound() <= 3);
            prop_assert!((0..3).all(|from| pool.counted(&ip(from)) <= 4));
            prop_assert!(pool.peers.values().all(|live| (1..=3).contains(&live.connections.len())));
        }
        for (number, _) in std::mem::take(&mut world.on_the_way) {
            world.pool.failed(id(number));
        }
        for (number, _) in std::mem::take(&mut world.standing) {
            world.pool.closed(id(number));
        }
        let pool = &world.pool;
        prop_assert_eq!((pool.len(), pool.peers.len(), pool.pending_inbound()), (0, 0, 0));
        prop_assert_eq!(pool.dials(), 0);
        prop_assert!((0..3).all(|from| pool.counted(&ip(from)) == 0));
    }
}
