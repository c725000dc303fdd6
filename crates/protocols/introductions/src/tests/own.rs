use peerage_types::{Network, Reach, UnixMillis};
use peerage_wire::introductions::{MAX_ADDRESSES, MAX_NAMESPACES, Signed};

use super::{Person, START, address, secs};
use crate::{bounds::RENEW_INTERVAL, own::Own};

const US: Person = Person(0);

fn own(allow_private: bool) -> Own {
    Own::new(&US.keys(), Network::default(), allow_private)
}

fn records(own: &mut Own, nearby: bool, unix: UnixMillis) -> Vec<Signed> {
    let records = own.records(nearby, unix);
    records.iter().map(|bytes| Signed::decode(bytes, &Network::default()).unwrap()).collect()
}

#[test]
fn private_addresses_are_told_to_neighbours_only_and_loopback_to_nobody() {
    let mut own = own(false);
    for address in [US.public(), US.private(), address("/ip4/127.0.0.1/tcp/1")] {
        assert!(own.on_listening(&address, true));
        assert!(!own.on_listening(&address, true), "nothing new");
    }
    let far = records(&mut own, false, START);
    assert_eq!(far.len(), 1);
    assert_eq!(far[0].addresses, [US.public()]);
    let near = records(&mut own, true, START);
    assert_eq!(near[0], far[0], "it may pass this one on");
    assert_eq!(near[1].addresses, [US.public(), US.private()]);
    assert!(own.on_listening(&US.public(), false));
    assert!(records(&mut own, false, START).is_empty(), "nowhere to be met");
}

#[test]
fn where_everything_is_local_loopback_is_told() {
    let mut own = own(true);
    let loopback = address("/ip4/127.0.0.1/tcp/1");
    own.on_listening(&loopback.clone().with_p2p(US.peer()).unwrap(), true);
    let near = records(&mut own, true, START);
    assert_eq!(near.len(), 1);
    assert_eq!(near[0].addresses, [loopback], "without our id");
}

#[test]
fn no_more_is_told_than_a_record_holds() {
    let mut own = own(false);
    for number in 0..40 {
        own.on_external(&Person(number).public(), true);
        own.on_listening(&Person(number).private(), true);
        own.join([number as u8; 20]);
    }
    let [far, near] = &records(&mut own, true, START)[..] else { panic!("two records") };
    let newest: Vec<_> = (40 - MAX_NAMESPACES as u8..40).map(|number| [number; 20]).collect();
    for record in [far, near] {
        assert_eq!(record.addresses.len(), MAX_ADDRESSES);
        assert_eq!(record.namespaces, newest);
    }
    let global = near.addresses.iter().filter(|a| Reach::of(a) == Some(Reach::Global)).count();
    assert_eq!(global, MAX_ADDRESSES / 2, "room for both");
}

#[test]
fn a_record_is_signed_anew_when_it_ages_or_changes_and_its_number_only_rises() {
    let mut own = own(false);
    own.on_listening(&US.public(), true);
    let mut seqs = Vec::new();
    let first = records(&mut own, false, START)[0].clone();
    seqs.push(first.seq);
    assert_eq!(records(&mut own, false, START.plus(secs(60)))[0], first, "not yet");
    seqs.push(records(&mut own, false, START.plus(RENEW_INTERVAL))[0].seq);
    own.join([1; 20]);
    seqs.push(records(&mut own, false, START.plus(RENEW_INTERVAL))[0].seq);
    // The clock is set back by an hour.
    let back = UnixMillis(START.0 - 3_600_000);
    seqs.push(records(&mut own, false, back)[0].seq);
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    assert!(own.leave([1; 20]) && !own.leave([1; 20]));
    assert!(records(&mut own, false, START.plus(RENEW_INTERVAL))[0].namespaces.is_empty());
}
