use std::time::Instant;

use peerage_types::PeerId;
use rand::{SeedableRng as _, rngs::StdRng};

use super::{Person, secs};
use crate::{
    bounds::{
        AGAIN_DELAY, ASK_INTERVAL, FIRST_DELAY, MAX_ASK_INTERVAL, MAX_ASKED, MAX_COUNTED, MAX_TELL,
        RETRY_DELAY, SERVE_BURST, SERVE_INTERVAL, TELL_DELAY, TELL_INTERVAL,
    },
    rounds::{Rounds, Served},
};

fn peers(count: u32) -> Vec<PeerId> {
    (0..count).map(|number| Person(number).peer()).collect()
}

/// Everybody has been asked once, at `now`.
fn asked(count: u32, now: Instant, random: &mut StdRng) -> Rounds {
    let mut rounds = Rounds::default();
    for peer in peers(count) {
        rounds.on_speaks(peer, now - FIRST_DELAY, random);
        assert_eq!(rounds.next(now), Some(peer));
        rounds.on_done(&peer, true, now, random);
    }
    rounds
}

#[test]
fn a_new_peer_is_asked_soon_and_then_every_few_minutes() {
    let (random, now, peer) = (&mut StdRng::seed_from_u64(1), Instant::now(), Person(1).peer());
    let (mut rounds, mut last) = (Rounds::default(), FIRST_DELAY);
    rounds.on_speaks(peer, now, random);
    rounds.on_speaks(peer, now, random);
    assert!(rounds.deadline().unwrap() < now + FIRST_DELAY);
    let now = now + FIRST_DELAY;
    assert_eq!(rounds.next(now), Some(peer));
    assert_eq!(rounds.next(now), None);
    rounds.on_done(&peer, true, now, random);
    let wait = rounds.deadline().unwrap() - now;
    assert!(wait < AGAIN_DELAY.mul_f64(1.3), "it may not yet have met anybody: {wait:?}");
    for _ in 0..20 {
        let now = rounds.deadline().unwrap();
        assert_eq!(rounds.next(now), Some(peer));
        rounds.on_done(&peer, true, now, random);
        last = rounds.deadline().unwrap() - now;
    }
    assert!(last > ASK_INTERVAL.mul_f64(0.7) && last < ASK_INTERVAL.mul_f64(1.3), "{last:?}");
    rounds.on_gone(&peer);
    assert_eq!((rounds.deadline(), rounds.len()), (None, 0));
}

#[test]
fn the_more_peers_there_are_the_more_seldom_each_is_asked_but_before_records_expire() {
    let (random, now) = (&mut StdRng::seed_from_u64(1), Instant::now());
    let last = |count, random: &mut StdRng| {
        let mut rounds = asked(count, now, random);
        let mut last = now;
        while let Some(due) = rounds.deadline() {
            last = due;
            let peer = rounds.next(due).unwrap();
            rounds.on_gone(&peer);
        }
        last - now
    };
    let [few, more, many] = [8, 32, 512].map(|count| last(count, random));
    assert!(few < more && more < many, "{few:?} {more:?} {many:?}");
    assert!(few < ASK_INTERVAL * 2 && many < MAX_ASK_INTERVAL.mul_f64(1.3));
}

#[test]
fn a_peer_that_fails_is_tried_ever_more_seldom_and_few_are_asked_at_once() {
    let (random, mut now, peer) = (&mut StdRng::seed_from_u64(1), Instant::now(), Person(0).peer());
    let mut rounds = Rounds::default();
    rounds.on_speaks(peer, now, random);
    let mut waits = Vec::new();
    for _ in 0..20 {
        now = rounds.deadline().unwrap();
        assert_eq!(rounds.next(now), Some(peer));
        rounds.on_done(&peer, false, now, random);
        waits.push(rounds.deadline().unwrap() - now);
    }
    assert!(waits[0] < RETRY_DELAY * 2 && waits[3] > RETRY_DELAY * 4, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait < MAX_ASK_INTERVAL.mul_f64(1.3)));
    let peers = peers(MAX_ASKED as u32 + 3);
    for peer in &peers {
        rounds.on_speaks(*peer, now, random);
    }
    now += MAX_ASK_INTERVAL * 2;
    let running: Vec<_> = std::iter::from_fn(|| rounds.next(now)).collect();
    assert_eq!((running.len(), rounds.deadline()), (MAX_ASKED, None));
    rounds.on_gone(&running[0]);
    assert!(rounds.next(now).is_some());
}

#[test]
fn news_of_this_node_reach_some_peers_soon_but_not_with_every_change() {
    let (random, now) = (&mut StdRng::seed_from_u64(1), Instant::now());
    let mut rounds = asked(40, now, random);
    let ask_until = |rounds: &mut Rounds, end: Instant, random: &mut StdRng| {
        let due = std::iter::from_fn(|| {
            let peer = rounds.next(end)?;
            rounds.on_done(&peer, true, end, random);
            Some(peer)
        });
        due.count()
    };
    for _ in 0..50 {
        rounds.hurry(now, random);
    }
    assert_eq!(ask_until(&mut rounds, now + TELL_DELAY, random), MAX_TELL);
    let later = now + TELL_DELAY;
    rounds.hurry(later, random);
    rounds.hurry(later, random);
    assert_eq!(ask_until(&mut rounds, now + TELL_INTERVAL - secs(1), random), 0);
    assert_eq!(ask_until(&mut rounds, now + TELL_INTERVAL + TELL_DELAY, random), MAX_TELL);
}

#[test]
fn who_asks_too_often_is_refused_even_after_coming_back_and_others_are_not() {
    let (mut served, now) = (Served::default(), Instant::now());
    let [one, two] = peers(2)[..] else { unreachable!() };
    let burst = (0..100).filter(|_| served.admit(one, now)).count();
    assert_eq!(burst, SERVE_BURST as usize);
    assert!(served.admit(two, now));
    assert!(served.admit(one, now + SERVE_INTERVAL) && !served.admit(one, now + SERVE_INTERVAL));
    let crowd = (0..5000).filter(|n| served.admit(Person(10 + n).peer(), now)).count();
    assert_eq!(crowd, MAX_COUNTED - 2);
    assert!(served.admit(Person(9).peer(), now + SERVE_INTERVAL * 2), "they are forgotten");
}
