use std::{collections::HashSet, time::Instant};

use libp2p_core::ConnectedPoint;
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use proptest::prelude::*;

use super::{accepted, address, config, dialled, id, peer, public, secs, sorted, start};
use crate::{
    Config, Keep,
    pool::{Pool, State, Told},
    prune::{Action, SIMULTANEOUS, Standing},
};

#[derive(Default)]
struct Judge {
    protected: HashSet<PeerId>,
    liked: Option<PeerId>,
}

impl Standing for Judge {
    fn is_protected(&self, peer: &PeerId) -> bool {
        self.protected.contains(peer)
    }
    fn score(&self, peer: &PeerId) -> i32 {
        i32::from(self.liked == Some(*peer))
    }
}

/// A pool whose node has the smaller id, and the peer with the larger one.
fn smaller() -> (Pool, PeerId) {
    let ids = sorted([1, 2]);
    (Pool::new(Config { local: ids[0], ..config() }), ids[1])
}

fn relayed() -> ConnectedPoint {
    dialled(address(&format!("/ip4/11.0.0.9/tcp/1/p2p/{}/p2p-circuit", peer(9))))
}

fn tick(pool: &mut Pool, now: Instant) -> Vec<Action> {
    pool.tick(&Judge::default(), now).0
}

fn retired(connection: ConnectionId, peer: PeerId) -> Vec<Action> {
    vec![Action::Retire { peer, connection }]
}

#[test]
fn the_dial_of_the_smaller_id_survives_and_the_other_is_drained() {
    let ((mut pool, other), now) = (smaller(), start());
    pool.established(id(1), other, &accepted(public(1)), now);
    pool.established(id(2), other, &dialled(public(1)), now + secs(1));
    let (actions, next) = pool.tick(&Judge::default(), now + secs(2));
    assert_eq!((actions, next), (vec![], Some(now + secs(3))), "both have their grace");
    let (actions, next) = pool.tick(&Judge::default(), now + secs(3));
    assert_eq!(actions, retired(id(1), other));
    assert_eq!(next, Some(now + secs(18)), "when the streams have had their time");
    assert_eq!(tick(&mut pool, now + secs(17)), []);
    let close = Action::Close { peer: other, connection: id(1) };
    assert_eq!(tick(&mut pool, now + secs(18)), [close]);
    assert_eq!(tick(&mut pool, now + secs(60)), []);
}

#[test]
fn the_larger_id_closes_nothing() {
    let (ids, now) = (sorted([1, 2]), start());
    let mut pool = Pool::new(Config { local: ids[1], ..config() });
    pool.established(id(1), ids[0], &accepted(public(1)), now);
    pool.established(id(2), ids[0], &dialled(public(1)), now);
    assert_eq!(pool.tick(&Judge::default(), now + secs(600)), (vec![], None));
}

#[test]
fn a_relayed_connection_gives_way_to_a_direct_one_whoever_made_it() {
    let ((mut pool, other), now) = (smaller(), start());
    pool.established(id(1), other, &relayed(), now);
    pool.established(id(2), other, &accepted(public(1)), now + secs(60));
    assert_eq!(tick(&mut pool, now + secs(61)), []);
    assert_eq!(tick(&mut pool, now + secs(62)), retired(id(1), other));
}

#[test]
fn who_dials_anew_long_after_has_lost_the_old_connection() {
    let ((mut pool, other), now) = (smaller(), start());
    pool.established(id(1), other, &dialled(public(1)), now);
    let later = now + SIMULTANEOUS + secs(1);
    pool.established(id(2), other, &accepted(public(1)), later);
    assert_eq!(tick(&mut pool, later + secs(2)), retired(id(1), other));
}

#[test]
fn the_last_connection_is_used_again_when_the_better_one_is_gone() {
    let ((mut pool, other), now) = (smaller(), start());
    pool.established(id(1), other, &accepted(public(1)), now);
    pool.established(id(2), other, &dialled(public(1)), now);
    assert_eq!(tick(&mut pool, now + secs(2)), retired(id(1), other));
    assert!(pool.closed(id(2)).unwrap().last.is_none());
    assert_eq!(pool.revive(&other), Some(id(1)));
    assert_eq!(tick(&mut pool, now + secs(600)), []);
    assert_eq!(pool.best(&other).unwrap().state, State::Live);
}

#[test]
fn foreigners_are_let_go_when_their_grace_is_over() {
    let ((mut pool, _), now) = (smaller(), start());
    for number in 10..15u8 {
        pool.established(id(number.into()), peer(number), &dialled(public(1)), now);
        let member = number == 10;
        let told = Told { agent: "x".into(), protocols: vec![], member };
        pool.peers.get_mut(&peer(number)).unwrap().told = (number != 11).then_some(told);
    }
    pool.peers.get_mut(&peer(12)).unwrap().wanted = true;
    let judge = Judge { protected: HashSet::from([peer(13)]), ..Judge::default() };
    assert_eq!(pool.tick(&judge, now), (vec![], Some(now + secs(60))));
    assert_eq!(pool.tick(&judge, now + secs(60)).0, [Action::LetGo { peer: peer(14) }]);
    assert_eq!(pool.peers[&peer(14)].keep, Keep::WhileUsed);
    assert_eq!(pool.tick(&judge, now + secs(61)), (vec![], None), "once");
}

#[test]
fn too_many_peers_are_trimmed_foreigners_first_and_protected_ones_not() {
    let now = start();
    let mut pool = Pool::new(Config { max_peers: 6, low_peers: 3, ..config() });
    // 1 protected, 2 wanted, 3 foreign, 4 silent, 5 a liked member, 6 a member, 7 too young.
    for number in 1..=7u8 {
        let since = if number == 7 { now + secs(20) } else { now };
        pool.established(id(number.into()), peer(number), &dialled(public(1)), since);
        let told = Told { agent: "x".into(), protocols: vec![], member: number != 3 };
        let live = pool.peers.get_mut(&peer(number)).unwrap();
        live.told = (number != 4).then_some(told);
        live.wanted = number == 2;
    }
    let judge = Judge { protected: HashSet::from([peer(1)]), liked: Some(peer(5)) };
    assert_eq!(pool.tick(&judge, now + secs(21)).0, [], "all have their grace");
    let (actions, _) = pool.tick(&judge, now + secs(30));
    let trimmed: Vec<_> = [3, 4, 6, 5].map(|number| Action::Trim { peer: peer(number) }).into();
    assert_eq!(actions, trimmed);
    assert_eq!(pool.tick(&judge, now + secs(31)).0, [], "those are on their way out");
}

#[derive(Debug, Clone)]
enum Step {
    Made { ours: bool, relayed: bool },
    Gone(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any::<bool>(), any::<bool>()).prop_map(|(ours, relayed)| Step::Made { ours, relayed }),
        1 => any::<usize>().prop_map(Step::Gone),
        2 => (0..30u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn pruning_leaves_a_connection_and_a_direct_one_if_there_was(
        steps in proptest::collection::vec(step(), 0..60)
    ) {
        let ((mut pool, other), mut now) = (smaller(), start());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Made { ours, relayed: through } => {
                    if pool.admit_established(id(number), other).is_err() {
                        continue;
                    }
                    let point = match (ours, through) {
                        (_, true) => relayed(),
                        (true, false) => dialled(public(1)),
                        (false, false) => accepted(public(1)),
                    };
                    pool.established(id(number), other, &point, now);
                }
                Step::Gone(at) => {
                    let Some(live) = pool.peers.get(&other) else { continue };
                    let gone = live.connections[at % live.connections.len()].id;
                    pool.closed(gone);
                    pool.revive(&other);
                }
                Step::Wait(seconds) => now += secs(seconds),
            }
            let direct_before = has_direct(&pool, &other);
            for action in tick(&mut pool, now) {
                if let Action::Close { connection, .. } = action {
                    pool.closed(connection);
                }
            }
            let Some(live) = pool.peers.get(&other) else { continue };
            prop_assert!(live.connections.iter().any(|c| c.state == State::Live));
            prop_assert_eq!(has_direct(&pool, &other), direct_before);
        }
        // Left alone, exactly one remains.
        if pool.peers.contains_key(&other) {
            for _ in 0..3 {
                now += secs(30);
                for action in tick(&mut pool, now) {
                    if let Action::Close { connection, .. } = action {
                        pool.closed(connection);
                    }
                }
            }
            prop_assert_eq!(pool.peers[&other].connections.len(), 1);
        }
    }
}

fn has_direct(pool: &Pool, peer: &PeerId) -> bool {
    let live = pool.peers.get(peer).into_iter();
    live.flat_map(|live| &live.connections).any(|c| c.state == State::Live && !c.relayed)
}
