use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer as _, SigningKey};
use peerage_types::{Multiaddr, Namespace, PeerId, UnixMillis};
use peerage_wire::{
    fuzz,
    mainline::{
        MAX_VALUE_BYTES, key_of, packet, peer_of,
        slot::{HOUR, LEAD, MAX_RECORD_BYTES, MAX_RECORDS, Record, RecordError, Slot, join, split},
    },
};
use proptest::prelude::*;

use crate::replay::replay;

/// 2027-01-15T08:00:00Z, the first millisecond of an hour.
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

fn namespace() -> Namespace {
    Namespace::new("golden").unwrap()
}

fn slot(number: u8) -> Slot {
    Slot::of(&namespace(), Slot::hour_at(NOW), number)
}

fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn relayed() -> Multiaddr {
    format!("/ip4/11.0.0.9/udp/4001/quic-v1/p2p/{RELAY}/p2p-circuit").parse().unwrap()
}

fn record_at(slot: &Slot, seed: u8, at: UnixMillis) -> Record {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let addresses = [relayed(), "/ip4/11.0.0.1/tcp/4001".parse().unwrap()];
    slot.record(key.verifying_key().as_bytes(), &addresses, at, |signed| {
        key.sign(signed).to_bytes()
    })
    .unwrap()
}

fn record(slot: &Slot, seed: u8) -> Record {
    record_at(slot, seed, NOW)
}

#[test]
fn the_key_of_an_item_is_this_one() {
    assert_eq!(HEXLOWER.encode(&slot(3).key()), GOLDEN_KEY);
}

#[test]
fn a_record_is_these_bytes() {
    let value = join([record(&slot(3), 7).bytes()]);
    assert_eq!(HEXLOWER.encode(&value), GOLDEN_VALUE);
    assert_eq!(slot(3).records(&value, NOW), [record(&slot(3), 7)]);
}

#[test]
fn an_item_full_of_the_longest_records_fits_in_a_mutable_item() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let long = vec![relayed(); 4];
    let sign = |signed: &[u8]| key.sign(signed).to_bytes();
    let record = slot(0).record(key.verifying_key().as_bytes(), &long, NOW, sign).unwrap();
    assert_eq!(record.addresses().len(), 2, "two relays and no more");
    assert!(record.bytes().len() <= MAX_RECORD_BYTES);
    let longest = [0; MAX_RECORD_BYTES];
    let value = join([&longest[..]; MAX_RECORDS + 1]);
    assert!(value.len() <= MAX_VALUE_BYTES, "{} bytes", value.len());
    assert_eq!(split(&value).unwrap().len(), MAX_RECORDS);
}

#[test]
fn a_record_for_another_item_hour_or_namespace_does_not_verify() {
    let genuine = record(&slot(3), 7);
    let opens = |slot: &Slot, at| slot.open(genuine.bytes(), at);
    assert_eq!(opens(&slot(4), NOW), Err(RecordError::Signature));
    let other = Slot::of(&Namespace::new("other").unwrap(), Slot::hour_at(NOW), 3);
    assert_eq!(opens(&other, NOW), Err(RecordError::Signature));
    let later = NOW.plus(HOUR * 2);
    let next = Slot::of(&namespace(), Slot::hour_at(later), 3);
    assert_eq!(opens(&next, later), Err(RecordError::Time), "kept for another hour");
}

#[test]
fn a_record_from_the_future_or_from_long_before_its_hour_is_refused() {
    let slot = slot(0);
    for (at, expected) in [
        (UnixMillis(NOW.0 - 15 * 60_000), true),
        (UnixMillis(NOW.0 - 26 * 60_000), false),
        (NOW.plus(LEAD), false),
        (NOW.plus(HOUR * 3), false),
    ] {
        let opened = slot.open(record_at(&slot, 1, at).bytes(), NOW);
        assert_eq!(opened.is_ok(), expected, "{at:?}: {opened:?}");
    }
}

#[test]
fn no_changed_byte_of_a_record_is_believed() {
    let genuine = record(&slot(0), 9);
    for at in 0..genuine.bytes().len() {
        let mut forged = genuine.bytes().to_vec();
        forged[at] ^= 0x20;
        assert!(slot(0).open(&forged, NOW).is_err(), "byte {at}");
    }
}

#[test]
fn forged_and_older_records_beside_genuine_ones_are_ignored() {
    let slot = slot(0);
    let newer = record_at(&slot, 1, NOW.plus(LEAD / 15));
    let mut forged = record(&slot, 2).bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let others = record(&slot, 3);
    let older = record(&slot, 1);
    let value = join([older.bytes(), &forged, newer.bytes(), others.bytes()]);
    assert_eq!(slot.records(&value, NOW), [newer, others]);
}

#[test]
fn ed25519_peer_ids_hold_their_key_and_hashed_ones_do_not() {
    let peer: PeerId = RELAY.parse().unwrap();
    assert_eq!(peer_of(&key_of(&peer).unwrap()), peer);
    let hashed: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
    assert_eq!(key_of(&hashed), None);
}

#[test]
fn a_packet_holds_addresses_that_end_in_the_peer() {
    let key = key_of(&RELAY.parse().unwrap()).unwrap();
    let value = packet::encode(&key, &addresses(&["/ip4/11.0.0.1/tcp/4001"])).unwrap();
    assert_eq!(HEXLOWER.encode(&value), GOLDEN_PACKET);
    let expected = addresses(&[&format!("/ip4/11.0.0.1/tcp/4001/p2p/{RELAY}")]);
    assert_eq!(packet::decode(&key, &value), expected);
    assert_eq!(packet::decode(&[1; 32], &value), [], "of another peer");
}

#[test]
fn a_packet_takes_as_many_addresses_as_fit() {
    let key = [1; 32];
    let many = vec![relayed(); 1];
    let many: Vec<_> = many.into_iter().cycle().take(50).collect();
    let value = packet::encode(&key, &many).unwrap();
    assert!(value.len() <= MAX_VALUE_BYTES, "{} bytes", value.len());
    assert_eq!(packet::decode(&key, &value).len(), 1, "the same one is read once");
    assert_eq!(packet::encode(&key, &[]), None);
}

#[test]
fn packets_of_yesterday_and_of_tomorrow_are_not_current() {
    let seq = packet::seq_at(NOW);
    assert!(packet::is_current(seq, NOW));
    assert!(packet::is_current(seq, NOW.plus(packet::MAX_AGE)));
    assert!(!packet::is_current(seq, NOW.plus(packet::MAX_AGE + HOUR)));
    assert!(!packet::is_current(packet::seq_at(NOW.plus(HOUR * 2)), NOW));
    assert!(!packet::is_current(-1, NOW) && !packet::is_current(i64::MAX, NOW));
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoders() {
    replay(env!("CARGO_MANIFEST_DIR"), "mainline_slot", fuzz::mainline_slot);
    replay(env!("CARGO_MANIFEST_DIR"), "mainline_packet", fuzz::mainline_packet);
}

proptest! {
    #[test]
    fn no_bytes_break_the_decoders(bytes: Vec<u8>) {
        fuzz::mainline_packet(&bytes);
        let mut item = bytes;
        item.insert(0, 1);
        fuzz::mainline_slot(&item);
    }
}

const GOLDEN_KEY: &str = "04c2f082c1f545a575bc0f28515260f324b2764ba6971f7a1e7727f058d36e0f";
const GOLDEN_VALUE: &str = "\
    01a9ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c000001a3185c50000236\
    040b00000991020fa1cd03a503260024080112203b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a6\
    3ac048a18b59da29a20208040b000001060fa18f8340912e3da7fbc8c0d4470c0a499e57cad3a486980356f4\
    ea18094ef2a04cd5bfc9d70a28502da2cabc16c14cd8923696b9373eb98a1713afcb0c8eb85d0a";
const GOLDEN_PACKET: &str = "\
    000080000000000100000000085f646e7361646472343870696e787867717334316e346169646964656e7735\
    61707170317572666d7a647a7472386a74346162726b646e34333565776f000010000100000e10005857646e\
    73616464723d2f6970342f31312e302e302e312f7463702f343030312f7032702f313244334b6f6f5744704a\
    3741733742574177524d6675315655325743714e6a76713338374a45594b44426a346b78366e58544e";
