use super::{config, id, peer, secs, start};
use crate::dials::{Dials, Purpose};

fn anybody(_: &libp2p_identity::PeerId) -> bool {
    true
}

#[test]
fn found_peers_are_dialled_one_at_a_time_and_only_while_there_are_few() {
    let (mut dials, mut now) = (Dials::new(config().autodial, start()), start());
    for number in 1..=3 {
        dials.want(peer(number), now);
        dials.want(peer(number), now);
    }
    assert_eq!(dials.next_wanted(64, now, anybody), None, "64 are enough");
    assert_eq!(dials.next_due(64), None);
    assert_eq!(dials.next_wanted(0, now, anybody), Some(peer(1)));
    assert_eq!(dials.next_wanted(0, now, anybody), None, "too soon");
    now = dials.next_due(0).unwrap();
    assert_eq!(dials.next_wanted(0, now, |p| *p == peer(3)), Some(peer(3)), "unusable ones go");
    assert_eq!(dials.next_due(0), None);
}

#[test]
fn so_many_dials_of_found_peers_at_a_time() {
    let (mut dials, now) = (Dials::new(config().autodial, start()), start());
    for number in 0..16 {
        dials.begin(id(number), Purpose::Found(peer(1)));
    }
    dials.want(peer(2), now);
    assert_eq!(dials.next_wanted(0, now, anybody), None);
    assert_eq!(dials.end(id(3)), Some(Purpose::Found(peer(1))));
    assert_eq!(dials.next_wanted(0, now, anybody), Some(peer(2)));
}

#[test]
fn a_peer_that_did_not_answer_rests() {
    let (mut dials, now) = (Dials::new(config().autodial, start()), start());
    dials.rest(peer(1), now);
    dials.want(peer(1), now + secs(59));
    assert_eq!(dials.next_wanted(0, now + secs(59), anybody), None);
    dials.want(peer(1), now + secs(61));
    assert_eq!(dials.next_wanted(0, now + secs(61), anybody), Some(peer(1)));
}

#[test]
fn the_queue_and_the_resting_are_bounded() {
    let (mut dials, now) = (Dials::new(config().autodial, start()), start());
    for number in 0..=255u8 {
        dials.want(peer(number), now);
    }
    let extra = libp2p_identity::PeerId::random();
    dials.want(extra, now);
    let mut seen = 0;
    let mut at = now;
    while let Some(p) = dials.next_wanted(0, at, anybody) {
        assert_ne!(p, peer(0), "the oldest gave way");
        seen += 1;
        at += secs(1);
    }
    assert_eq!(seen, 256);
    for _ in 0..3000 {
        dials.rest(libp2p_identity::PeerId::random(), now);
    }
    assert!(dials.resting() <= 1024);
}
