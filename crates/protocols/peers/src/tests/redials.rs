use std::time::Duration;

use proptest::prelude::*;

use super::{peer, public, secs, start};
use crate::redial::{Redials, Target, backoff};

fn within(delay: Duration, nominal: Duration) -> bool {
    delay >= nominal.mul_f64(0.79) && delay <= nominal.mul_f64(1.21)
}

#[test]
fn delays_double_from_a_second_to_two_minutes_and_never_end() {
    let (mut redials, target, mut now) = (Redials::new(&peer(0)), Target::Peer(peer(1)), start());
    redials.keep(target.clone(), None, now);
    assert_eq!(redials.take_due(9, now), std::slice::from_ref(&target), "at once the first time");
    for failures in 0..40u32 {
        redials.on_failed(&target, now);
        let due = redials.next_due().unwrap();
        let nominal = secs(1 << failures.min(7)).min(secs(120));
        assert!(within(due - now, nominal), "after {failures}: {:?}", due - now);
        assert!(redials.take_due(9, due - Duration::from_millis(1)).is_empty());
        now = due;
        assert_eq!(redials.take_due(9, now), std::slice::from_ref(&target));
        assert_eq!(redials.next_due(), None, "not while it is being dialled");
    }
}

#[test]
fn a_stable_connection_that_broke_is_restored_after_two_seconds() {
    let (mut redials, target, now) = (Redials::new(&peer(0)), Target::Peer(peer(1)), start());
    redials.keep(target.clone(), None, now);
    for _ in 0..9 {
        redials.on_failed(&target, now);
    }
    redials.on_connected(peer(1), None, now);
    assert_eq!(redials.next_due(), None);
    let broke = now + secs(60);
    redials.on_disconnected(peer(1), false, broke);
    assert!(within(redials.next_due().unwrap() - broke, secs(2)));
}

#[test]
fn a_connection_that_breaks_at_once_counts_as_a_failure() {
    let (mut redials, target, mut now) = (Redials::new(&peer(0)), Target::Peer(peer(1)), start());
    redials.keep(target.clone(), None, now);
    for failures in 0..12u32 {
        redials.on_connected(peer(1), None, now);
        redials.on_disconnected(peer(1), false, now);
        let due = redials.next_due().unwrap();
        assert!(within(due - now, secs(1 << failures.min(7)).min(secs(120))));
        now = due;
        redials.take_due(1, now);
    }
}

#[test]
fn a_lost_member_is_dialled_six_times_and_then_forgotten() {
    let (mut redials, target, mut now) = (Redials::new(&peer(0)), Target::Peer(peer(1)), start());
    redials.on_disconnected(peer(1), true, now);
    for _ in 0..6 {
        now = redials.next_due().unwrap();
        assert_eq!(redials.take_due(9, now), std::slice::from_ref(&target));
        redials.on_failed(&target, now);
    }
    assert_eq!(redials.next_due(), None);
    assert!(!redials.keeps(&peer(1)));
}

#[test]
fn whoever_answers_at_a_bootstrap_address_is_kept() {
    let (mut redials, target, now) = (Redials::new(&peer(0)), Target::Address(public(1)), start());
    redials.keep(target.clone(), None, now);
    redials.take_due(1, now);
    redials.on_connected(peer(7), Some(&target), now);
    assert!(redials.keeps(&peer(7)) && !redials.keeps(&peer(8)));
    redials.on_disconnected(peer(7), false, now + secs(600));
    assert!(redials.next_due().is_some());
}

#[test]
fn a_change_of_network_makes_everybody_due() {
    let (mut redials, now) = (Redials::new(&peer(0)), start());
    for number in 1..20 {
        let target = Target::Peer(peer(number));
        redials.keep(target.clone(), None, now);
        for _ in 0..10 {
            redials.on_failed(&target, now);
        }
    }
    assert!(redials.take_due(99, now + secs(60)).is_empty());
    redials.reset(now);
    assert_eq!(redials.take_due(99, now + secs(1)).len(), 19);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_delay_is_longer_than_two_minutes_and_a_fifth(seed: u64, who in 0..50u8, failures: u32) {
        let delay = backoff(seed, &Target::Peer(peer(who)), failures);
        prop_assert!(delay >= Duration::from_millis(800) && delay <= secs(144));
    }

    #[test]
    fn two_nodes_do_not_come_back_at_the_same_moment(who in 0..50u8, failures in 1..9u32) {
        let delays: std::collections::HashSet<_> =
            (0..8).map(|seed| backoff(seed, &Target::Peer(peer(who)), failures)).collect();
        prop_assert!(delays.len() > 6);
    }
}
