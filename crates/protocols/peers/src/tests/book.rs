use std::collections::HashMap;

use bytes::Bytes;
use libp2p_identity::PeerId;
use peerage_api::peers::Source;
use proptest::prelude::*;

use super::{address, ms, peer, public};
use crate::{
    book::{Book, Learned, MAX_ADDRESSES, MAX_SCORE},
    row::{Address, Entry, Sources},
};

fn nobody(_: &PeerId) -> bool {
    false
}

fn empty(max: usize) -> Book {
    Book::load(max, Vec::new())
}

#[test]
fn a_report_teaches_a_peer_then_a_source_then_an_address() {
    let (mut book, p) = (empty(9), peer(1));
    let mut learn = |at, source| book.learn(p, [public(at)], Some(source), ms(1), nobody);
    assert_eq!(learn(1, Source::Kad), Learned::Peer);
    assert_eq!(learn(1, Source::Mdns), Learned::Source);
    assert_eq!(learn(2, Source::Mdns), Learned::Address);
    assert_eq!(learn(2, Source::Mdns), Learned::Nothing);
    assert_eq!(book.get(&p).unwrap().sources.to_vec(), [Source::Mdns, Source::Kad]);
}

#[test]
fn the_best_address_comes_first() {
    let (mut book, p) = (empty(9), peer(1));
    let relayed = address(&format!("/ip4/11.0.0.9/tcp/1/p2p/{}/p2p-circuit", peer(2)));
    let all = [public(1), public(2), public(3), relayed.clone()];
    book.learn(p, all, None, ms(0), nobody);
    book.worked(p, &public(2), ms(5));
    book.worked(p, &public(3), ms(9));
    book.worked(p, &relayed, ms(10));
    book.failed(p, &public(1));
    assert_eq!(book.addresses_of(&p), [public(3), public(2), relayed, public(1)]);
}

#[test]
fn claims_do_not_push_out_what_is_proven() {
    let (mut book, p) = (empty(9), peer(1));
    book.learn(p, [public(1)], Some(Source::Manual), ms(0), nobody);
    for proven in 2..=8 {
        book.worked(p, &public(proven), ms(1));
    }
    book.learn(p, (100..200).map(public), Some(Source::Kad), ms(2), nobody);
    let mut kept = book.addresses_of(&p);
    kept.sort();
    assert_eq!(kept, (1..=8).map(public).collect::<Vec<_>>());
}

#[test]
fn an_address_that_answered_finds_a_place_among_proven_ones() {
    let (mut book, p) = (empty(9), peer(1));
    book.learn(p, [], None, ms(0), nobody);
    for proven in 0..=8 {
        book.worked(p, &public(proven), ms(u64::from(proven)));
    }
    assert_eq!(book.addresses_of(&p).first(), Some(&public(8)));
    assert!(!book.addresses_of(&p).contains(&public(0)), "the one that worked longest ago goes");
}

#[test]
fn an_address_that_never_answers_is_forgotten_unless_the_user_gave_it() {
    let (mut book, p) = (empty(9), peer(1));
    book.learn(p, [public(1)], Some(Source::Kad), ms(0), nobody);
    book.learn(p, [public(2)], Some(Source::Manual), ms(0), nobody);
    for _ in 0..20 {
        book.failed(p, &public(1));
        book.failed(p, &public(2));
    }
    assert_eq!(book.addresses_of(&p), [public(2)]);
    book.wrong(p, &public(2));
    assert!(book.addresses_of(&p).is_empty(), "that somebody else answers is proof enough");
}

#[test]
fn a_flood_of_strangers_replaces_itself() {
    let (mut book, friend, pinned) = (empty(16), peer(200), peer(201));
    for known in [friend, pinned] {
        book.learn(known, [public(1)], Some(Source::Manual), ms(0), nobody);
    }
    book.connected(friend, ms(1));
    for stranger in 0..100 {
        let learned =
            book.learn(peer(stranger), [public(2)], Some(Source::Kad), ms(2), |p| *p == pinned);
        assert_eq!(learned, Learned::Peer);
        assert!(book.len() <= 16);
    }
    assert!(book.get(&friend).is_some(), "it connected once");
    assert!(book.get(&pinned).is_some(), "it is pinned");
}

#[test]
fn a_book_full_of_pinned_peers_takes_nobody() {
    let mut book = empty(2);
    for known in [1, 2] {
        book.learn(peer(known), [], None, ms(0), nobody);
    }
    assert_eq!(book.learn(peer(3), [], None, ms(0), |_| true), Learned::Full);
    assert_eq!(book.len(), 2);
}

#[test]
fn members_that_were_connected_are_the_best_to_begin_with() {
    let mut book = empty(9);
    for known in 1..=5 {
        book.learn(peer(known), [public(1)], None, ms(0), nobody);
    }
    for seen in [2, 3, 4] {
        book.connected(peer(seen), ms(u64::from(seen)));
    }
    book.identified(peer(2), true);
    book.identified(peer(4), false);
    assert_eq!(book.best(9), [peer(2), peer(3)], "no foreigner, nobody who was never connected");
    book.penalise(peer(2), 50);
    assert!(!book.is_worth_dialling(&peer(2)));
    assert_eq!(book.best(9), [peer(3)]);
}

#[test]
fn a_row_that_cannot_be_read_is_removed() {
    let good = Entry { score: 3, ..Entry::default() }.encode().unwrap();
    let rows = vec![
        (peer(1), good),
        (peer(2), Bytes::from_static(b"\xffnonsense")),
        (peer(3), Bytes::new()),
        (peer(4), Bytes::from_static(b"\x01\x00")),
    ];
    let mut book = Book::load(9, rows);
    assert_eq!((book.len(), book.score(&peer(1))), (1, 3));
    let mut removed = book.take_changes().remove;
    removed.sort_unstable();
    assert_eq!(removed, super::sorted([2, 3, 4]));
}

#[test]
fn a_damaged_score_is_brought_back_within_its_bounds() {
    let row = |score| Entry { score, ..Entry::default() }.encode().unwrap();
    let rows = vec![(peer(1), row(i32::MIN)), (peer(2), row(i32::MAX))];
    let mut book = Book::load(9, rows);
    book.unreachable(peer(1));
    book.connected(peer(2), ms(1));
    assert_eq!((book.score(&peer(1)), book.score(&peer(2))), (-MAX_SCORE, MAX_SCORE));
}

#[test]
fn what_the_store_refused_is_offered_again() {
    let mut book = empty(9);
    book.learn(peer(1), [], None, ms(0), nobody);
    let changes = book.take_changes();
    assert!(!book.has_changes());
    book.restore(changes.put.into_iter().map(|(peer, _)| peer));
    assert_eq!(book.take_changes().put.len(), 1);
}

/// The bytes of the first version: a row that is on somebody's disk stays readable.
#[test]
fn the_row_of_version_one_is_read() {
    let entry = Entry {
        addresses: vec![Address {
            address: public(1),
            worked: Some(ms(7)),
            failures: 2,
            sources: sources([Source::Mdns, Source::Manual]),
        }],
        sources: sources([Source::Kad]),
        score: -5,
        seen: Some(ms(9)),
        added: ms(3),
        member: Some(true),
    };
    let golden = GOLDEN.replace([' ', '\n'], "");
    let hex: String = entry.encode().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden);
    let bytes: Vec<u8> = (0..golden.len() / 2)
        .map(|at| u8::from_str_radix(&golden[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    assert_eq!(Entry::decode(&bytes), Some(entry));
}

const GOLDEN: &str = "
    01a66961646472657373657381a4676164647265737348040b000001060fa166776f726b65640768
    6661696c757265730267736f7572636573182167736f7572636573026573636f726524647365656e
    0965616464656403666d656d626572f5
";

fn sources(of: impl IntoIterator<Item = Source>) -> Sources {
    let mut sources = Sources::default();
    for source in of {
        sources.add(source);
    }
    sources
}

#[derive(Debug, Clone)]
enum Step {
    Learn(u8, Vec<u32>),
    Worked(u8, u32),
    Failed(u8, u32),
    Wrong(u8, u32),
    Connected(u8),
    Penalise(u8, u32),
    Save,
}

fn step() -> impl Strategy<Value = Step> {
    let (who, place) = (0..24u8, 0..20u32);
    prop_oneof![
        3 => (who.clone(), proptest::collection::vec(place.clone(), 0..12))
            .prop_map(|(p, a)| Step::Learn(p, a)),
        1 => (who.clone(), place.clone()).prop_map(|(p, a)| Step::Worked(p, a)),
        3 => (who.clone(), place.clone()).prop_map(|(p, a)| Step::Failed(p, a)),
        1 => (who.clone(), place).prop_map(|(p, a)| Step::Wrong(p, a)),
        1 => who.clone().prop_map(Step::Connected),
        1 => (who, 0..300u32).prop_map(|(p, points)| Step::Penalise(p, points)),
        1 => Just(Step::Save),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_book_is_bounded_and_the_disk_follows_it(
        steps in proptest::collection::vec(step(), 0..300)
    ) {
        let (mut book, mut disk) = (empty(12), HashMap::new());
        for (at, step) in steps.into_iter().enumerate() {
            let now = ms(at as u64);
            match step {
                Step::Learn(p, a) => {
                    let source = Some(Source::Kad);
                    book.learn(peer(p), a.into_iter().map(public), source, now, |p| *p == peer(0));
                }
                Step::Worked(p, a) => book.worked(peer(p), &public(a), now),
                Step::Failed(p, a) => book.failed(peer(p), &public(a)),
                Step::Wrong(p, a) => book.wrong(peer(p), &public(a)),
                Step::Connected(p) => book.connected(peer(p), now),
                Step::Penalise(p, points) => book.penalise(peer(p), points),
                Step::Save => save(&mut book, &mut disk),
            }
            prop_assert!(book.len() <= 12);
        }
        save(&mut book, &mut disk);
        let again = Book::load(12, disk.into_iter().collect());
        prop_assert_eq!(again.len(), book.len());
        for p in (0..24).map(peer) {
            prop_assert_eq!(again.get(&p), book.get(&p));
            let Some(entry) = book.get(&p) else { continue };
            prop_assert!(entry.addresses.len() <= MAX_ADDRESSES);
            prop_assert!(entry.score.abs() <= MAX_SCORE);
            let mut distinct = book.addresses_of(&p);
            distinct.sort();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), entry.addresses.len());
        }
    }
}

fn save(book: &mut Book, disk: &mut HashMap<PeerId, Bytes>) {
    let changes = book.take_changes();
    disk.extend(changes.put);
    disk.retain(|peer, _| !changes.remove.contains(peer));
}
