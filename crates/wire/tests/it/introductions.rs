use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use peerage_types::{Author, Multiaddr, Network, UnixMillis};
use peerage_wire::{
    fuzz,
    introductions::{
        Frame, FrameError, LENGTH_BYTES, MAX_FRAME_BYTES, MAX_LIFETIME, MAX_RECORD_BYTES,
        MAX_RECORDS, MAX_SKEW, Record, RecordError, Signed, SigningKey, length, protocol,
    },
};

use crate::replay::{corpus, replay};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const RECORD: &str = include_str!("introductions/record.hex");
const ASK: &str = include_str!("introductions/ask.hex");
const ANSWER: &str = include_str!("introductions/answer.hex");

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn record() -> Record {
    let address = |text: &str| text.parse::<Multiaddr>().unwrap();
    Record {
        peer: Author::Node(key(1).verifying_key().to_bytes()).peer().unwrap(),
        seq: NOW,
        lifetime: MAX_LIFETIME,
        namespaces: vec![[1; 20], [2; 20]],
        addresses: vec![
            address("/ip4/203.0.113.9/tcp/4001"),
            address("/ip6/2001:db8::9/udp/4001/quic-v1"),
        ],
    }
}

fn signed() -> Signed {
    Signed::sign(record(), &key(1), &Network::default()).unwrap()
}

fn ask() -> Frame {
    Frame::Ask { limit: 16, namespace: Some([2; 20]), own: vec![signed().bytes().clone()] }
}

fn answer() -> Frame {
    Frame::Answer(vec![signed().bytes().clone(); 2])
}

fn bytes_of(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.trim().as_bytes()).unwrap()
}

fn decode(bytes: &[u8]) -> Result<Signed, RecordError> {
    Signed::decode(bytes, &Network::default())
}

#[test]
fn the_bytes_of_the_first_version_never_change() {
    assert_eq!(protocol(&Network::default()), "/peerage/peerage/introductions/1");
    assert_eq!(HEXLOWER.encode(signed().bytes()), RECORD.trim());
    assert_eq!(HEXLOWER.encode(&ask().encode()), ASK.trim());
    assert_eq!(HEXLOWER.encode(&answer().encode()), ANSWER.trim());
    assert_eq!(decode(&bytes_of(RECORD)).unwrap(), signed());
    for (hex, frame) in [(ASK, ask()), (ANSWER, answer())] {
        let bytes = Bytes::from(bytes_of(hex));
        assert_eq!(length([bytes[0], bytes[1]]), Ok(bytes.len() - LENGTH_BYTES));
        assert_eq!(Frame::decode(&bytes.slice(LENGTH_BYTES..)), Ok(frame));
    }
}

#[test]
fn a_record_with_one_bit_changed_is_refused() {
    let good = bytes_of(RECORD);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bad).is_err(), "bit {bit}");
    }
    for len in 0..good.len() {
        assert!(decode(&good[..len]).is_err(), "{len} bytes");
    }
    assert!(decode(&[&good[..], &[0]].concat()).is_err(), "a byte more");
}

#[test]
fn nobody_signs_for_another_node_or_another_network() {
    let refused = Signed::sign(record(), &key(2), &Network::default());
    assert_eq!(refused, Err(RecordError::Signature));
    let elsewhere = Network::new("elsewhere").unwrap();
    let theirs = Signed::sign(record(), &key(1), &elsewhere).unwrap();
    assert_eq!(decode(theirs.bytes()), Err(RecordError::Signature));
    assert!(Signed::decode(theirs.bytes(), &elsewhere).is_ok());
}

#[test]
fn a_record_that_breaks_a_bound_is_not_signed() {
    let address = record().addresses[0].clone();
    let long: Multiaddr = format!("/dns4/{}/tcp/1", "a".repeat(130)).parse().unwrap();
    for wrong in [
        Record { lifetime: MAX_LIFETIME + Duration::from_secs(1), ..record() },
        Record { lifetime: Duration::ZERO, ..record() },
        Record { lifetime: Duration::from_millis(1500), ..record() },
        Record { namespaces: (0..9).map(|n| [n; 20]).collect(), ..record() },
        Record { namespaces: vec![[2; 20], [1; 20]], ..record() },
        Record { namespaces: vec![[1; 20]; 2], ..record() },
        Record { addresses: vec![], ..record() },
        Record { addresses: vec![address; 9], ..record() },
        Record { addresses: vec![long], ..record() },
    ] {
        let refused = Signed::sign(wrong.clone(), &key(1), &Network::default());
        assert!(matches!(refused, Err(RecordError::Field { .. })), "{wrong:?}");
    }
}

#[test]
fn the_longest_record_fits_and_so_do_sixteen_of_them() {
    // 2 bytes for the protocol, 1 for the length, 3 for the port.
    let long: Multiaddr = format!("/dns4/{}/tcp/1", "a".repeat(123)).parse().unwrap();
    assert_eq!(long.len(), 128);
    let most = Record {
        namespaces: (0..8).map(|n| [n; 20]).collect(),
        addresses: vec![long; 8],
        ..record()
    };
    let most = Signed::sign(most, &key(1), &Network::default()).unwrap();
    assert_eq!(most.bytes().len(), MAX_RECORD_BYTES);
    assert_eq!(decode(most.bytes()).unwrap(), most);
    let frame = Frame::Answer(vec![most.bytes().clone(); MAX_RECORDS]).encode();
    assert_eq!(frame.len(), LENGTH_BYTES + MAX_FRAME_BYTES);
    let body = Bytes::from(frame).slice(LENGTH_BYTES..);
    assert!(Frame::decode(&body).is_ok());
    assert!(length([0xff, 0xff]).is_err() && length([0, 0]).is_err());
    let one_more = [&body[..], &[0, 1, 9]].concat();
    assert_eq!(Frame::decode(&one_more.into()), Err(FrameError::Malformed));
}

#[test]
fn a_record_counts_for_its_lifetime_and_clocks_may_be_minutes_off() {
    let before = |by: Duration| UnixMillis(NOW.0 - by.as_millis() as u64);
    assert_eq!(record().check_time(NOW), Ok(()));
    assert_eq!(record().check_time(before(MAX_SKEW)), Ok(()));
    let off = before(MAX_SKEW + Duration::from_secs(1));
    assert_eq!(record().check_time(off), Err(RecordError::Future { seconds: 601 }));
    assert_eq!(record().check_time(NOW.plus(MAX_LIFETIME)), Err(RecordError::Expired));
    let never = Record { seq: UnixMillis(u64::MAX), ..record() };
    assert!(matches!(never.check_time(NOW), Err(RecordError::Future { .. })));
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoder() {
    replay(env!("CARGO_MANIFEST_DIR"), "introductions", fuzz::introductions);
}

#[test]
fn the_corpus_has_every_golden_vector() {
    let corpus = corpus(env!("CARGO_MANIFEST_DIR"), "introductions");
    let frame = |hex| bytes_of(hex)[LENGTH_BYTES..].to_vec();
    for bytes in [bytes_of(RECORD), frame(ASK), frame(ANSWER)] {
        assert!(corpus.iter().any(|(_, file)| *file == bytes), "one is missing");
    }
}
