use std::time::Instant;

use peerage_types::UnixMillis;
use peerage_wire::introductions::{MAX_LIFETIME, MAX_SKEW};
use rand::{SeedableRng as _, rngs::StdRng};

use super::{Person, START, secs};
use crate::{
    bounds::{LATELY, MAX_KNOWN, MAX_LATELY, MAX_PER_SOURCE},
    known::{Known, Learned},
};

const US: Person = Person(0);
const TELLER: Person = Person(1);
const OTHER: Person = Person(2);

fn known() -> Known {
    Known::new(US.peer())
}

/// What `asker`, far away, is told.
fn told(known: &Known, asker: &Person, limit: usize, unix: UnixMillis) -> Vec<bytes::Bytes> {
    let random = &mut StdRng::seed_from_u64(1);
    known.introduce(&asker.peer(), false, None, limit, unix, random)
}

#[test]
fn the_newest_record_counts_and_an_old_one_does_not_come_back() {
    let mut known = known();
    let at = |seconds| OTHER.record(START.plus(secs(seconds)));
    let mut learn = |record| known.learn(record, TELLER.peer(), false, START);
    assert_eq!(learn(at(10)), Learned::News);
    assert_eq!(learn(at(10)), Learned::Known);
    assert_eq!(learn(at(5)), Learned::Nothing, "replayed");
    assert_eq!(learn(at(20)), Learned::News);
    assert_eq!(known.seq_of(&OTHER.peer()), Some(START.plus(secs(20))));
    known.check();
}

#[test]
fn what_has_expired_is_from_the_future_or_is_about_us_does_not_count() {
    let mut known = known();
    let later = START.plus(MAX_LIFETIME);
    let mut learn =
        |person: &Person, seq, unix| known.learn(person.record(seq), TELLER.peer(), false, unix);
    assert_eq!(learn(&OTHER, START, later), Learned::Nothing);
    let future = START.plus(MAX_SKEW + secs(1));
    assert_eq!(learn(&OTHER, future, START), Learned::Nothing);
    assert_eq!(learn(&US, START, START), Learned::Nothing);
    assert_eq!(learn(&OTHER, START, START), Learned::News);
    assert_eq!(known.len(), 1);
    known.expire(Instant::now(), later);
    assert_eq!(known.len(), 0);
    known.check();
}

#[test]
fn one_liar_with_thousands_of_records_displaces_nobody() {
    let (mut known, liar) = (known(), Person(9));
    known.on_connected(OTHER.peer());
    known.learn(OTHER.record(START), OTHER.peer(), false, START);
    let honest = 100..100 + MAX_PER_SOURCE as u32;
    for number in honest.clone() {
        known.learn(Person(number).record(START), TELLER.peer(), false, START);
    }
    for number in 1000..6000 {
        known.learn(Person(number).record(START), liar.peer(), false, START);
    }
    known.check();
    assert_eq!(known.len(), 1 + 2 * MAX_PER_SOURCE);
    assert!(known.seq_of(&OTHER.peer()).is_some());
    assert!(honest.into_iter().all(|n| known.seq_of(&Person(n).peer()).is_some()));
}

#[test]
fn many_liars_only_displace_each_other_once_all_is_full() {
    let mut known = known();
    known.on_connected(OTHER.peer());
    known.learn(OTHER.record(START), OTHER.peer(), false, START);
    for number in 100..110 {
        known.learn(Person(number).record(START), TELLER.peer(), false, START);
    }
    for number in 0..4000 {
        let liar = Person(50 + number % 40);
        known.learn(Person(1000 + number).record(START), liar.peer(), false, START);
    }
    known.check();
    assert_eq!(known.len(), MAX_KNOWN);
    assert!(known.seq_of(&OTHER.peer()).is_some(), "who was met stays");
    assert!(
        (100..110).all(|n| known.seq_of(&Person(n).peer()).is_some()),
        "who told little keeps it"
    );
}

#[test]
fn only_who_was_met_is_passed_on_and_not_for_ever() {
    let (mut known, now) = (known(), Instant::now());
    known.learn(OTHER.record(START), TELLER.peer(), false, START);
    assert!(told(&known, &TELLER, 16, START).is_empty(), "hearsay");
    known.on_connected(OTHER.peer());
    assert_eq!(told(&known, &TELLER, 16, START), [OTHER.record(START).bytes().clone()]);
    assert!(told(&known, &OTHER, 16, START).is_empty(), "it knows itself");
    assert!(told(&known, &TELLER, 16, START.plus(MAX_LIFETIME)).is_empty(), "expired");
    known.on_gone(OTHER.peer(), now);
    known.expire(now + LATELY - secs(1), START);
    assert_eq!(told(&known, &TELLER, 16, START).len(), 1, "lately");
    known.expire(now + LATELY, START);
    assert!(told(&known, &TELLER, 16, START).is_empty());
    known.check();
}

#[test]
fn an_answer_has_as_many_as_were_asked_for_and_only_of_the_namespace() {
    let mut known = known();
    for number in 100..140 {
        known.on_connected(Person(number).peer());
        known.learn(Person(number).record(START), Person(number).peer(), false, START);
    }
    let mut records = told(&known, &TELLER, 16, START);
    records.sort_unstable();
    records.dedup();
    assert_eq!(records.len(), 16);
    let random = &mut StdRng::seed_from_u64(1);
    let mut of = |namespace| {
        known.introduce(&TELLER.peer(), false, Some(namespace), 16, START, random).len()
    };
    assert_eq!([of([1; 20]), of([2; 20])], [16, 0]);
    assert_eq!(known.of([1; 20], START).len(), 40);
    assert!(known.of([2; 20], START).is_empty());
}

#[test]
fn private_addresses_stay_on_the_local_network() {
    let mut known = known();
    let both = OTHER.says(vec![OTHER.public(), OTHER.private()], START);
    assert_eq!(known.learn(both.clone(), TELLER.peer(), false, START), Learned::Nothing);
    assert_eq!(known.learn(both.clone(), TELLER.peer(), true, START), Learned::News);
    known.on_connected(OTHER.peer());
    assert!(told(&known, &TELLER, 16, START).is_empty(), "it is far away");
    let near = || {
        let random = &mut StdRng::seed_from_u64(1);
        known.introduce(&TELLER.peer(), true, None, 16, START, random)
    };
    assert_eq!(near(), [both.bytes().clone()]);
    // The other record of the same node, for everybody.
    let global = OTHER.record(START);
    assert_eq!(known.learn(global.clone(), OTHER.peer(), false, START), Learned::News);
    assert_eq!(told(&known, &TELLER, 16, START), [global.bytes().clone()]);
    let nowhere = Person(3).says(vec![super::address("/ip4/0.0.0.0/tcp/1")], START);
    assert_eq!(known.learn(nowhere, TELLER.peer(), true, START), Learned::Nothing);
    known.check();
}

#[test]
fn who_comes_and_goes_in_masses_is_forgotten_first() {
    let (mut known, now) = (known(), Instant::now());
    known.on_connected(OTHER.peer());
    known.learn(OTHER.record(START), OTHER.peer(), false, START);
    for number in 0..3000 {
        let passer = Person(1000 + number);
        known.on_connected(passer.peer());
        known.learn(passer.record(START), passer.peer(), false, START);
        known.on_gone(passer.peer(), now + secs(number.into()));
    }
    known.check();
    assert_eq!(known.len(), MAX_KNOWN);
    assert!(known.seq_of(&OTHER.peer()).is_some(), "a connected one stays");
    assert_eq!(told(&known, &TELLER, 3000, START).len(), 1 + MAX_LATELY);
}
