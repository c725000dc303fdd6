use bytes::Bytes;
use data_encoding::HEXLOWER;
use peerage_types::{Author, Hlc, KvKey, SpaceId, UnixMillis, UserId};
use peerage_wire::{
    fuzz,
    identity::SigningKey,
    kv::{
        Entry, Kind, MAX_INLINE_BYTES, SignedEntry, Verifier,
        frames::{
            Carried, Cursor, FRAME_TARGET, Facts, Frame, FrameError, Item, Items, LENGTH_BYTES,
            MAX_ENTRIES_BYTES, MAX_FRAME_BYTES, MAX_HASHES, MAX_ITEMS, Node, Part, Reason, Row,
            Shown, State, decode_entries, encode_entries, length, pack,
        },
        gossip,
    },
};
use proptest::prelude::*;

use crate::replay::{corpus, replay};

const SPACE: SpaceId = SpaceId([1; 32]);

fn facts() -> Facts {
    let state = State { partial: true, epoch: 1, as_of: 3, head: 5, count: 6, digest: [7; 16] };
    let cursor = Some(Cursor { epoch: 8, seq: 9 });
    Facts { floor: 2, grants: [4; 8], cursor, state: Some(state) }
}

fn items() -> Items {
    let item = |byte| Item { hash: [byte; 16], fingerprint: [byte; 32] };
    Items { node: Node { level: 1, prefix: 1 }, more: true, items: vec![item(0x10), item(0x11)] }
}

fn golden() -> Vec<(&'static str, Frame, String)> {
    let n = |number: u8| format!("{number:016x}");
    let state = format!("01 {}{}{}{} {}", n(1), n(3), n(5), n(6), "07".repeat(16));
    let long = format!("03 {} {} {}{} {state}", n(2), "04".repeat(8), n(8), n(9));
    let short = format!("00 {} {}", n(2), "04".repeat(8));
    let few = Facts { cursor: None, state: None, ..facts() };
    let done = facts().state.unwrap();
    let part = Part { count: 258, sum: [3; 32] };
    let row = |answer, parts| Row { node: Node { level: 2, prefix: 0xab }, answer, parts };
    let sum = "03".repeat(32);
    let rows = vec![row(false, vec![(0, part), (15, part)]), row(true, vec![(1, Part::default())])];
    let none = Items { node: Node { level: 4, prefix: 0xffff }, more: false, items: vec![] };
    let value = |last, bytes| Frame::Value { last, bytes: Bytes::from_static(bytes) };
    vec![
        (
            "hello",
            Frame::Hello { space: SPACE, facts: facts() },
            format!("01 {} {long}", "01".repeat(32)),
        ),
        (
            "same",
            Frame::Same { epoch: 1, as_of: 2, head: 3 },
            format!("02 {}{}{}", n(1), n(2), n(3)),
        ),
        ("refused", Frame::Refused(Reason::NoGrant), "03 02".into()),
        ("show", Frame::Show, "04".into()),
        ("welcome", Frame::Welcome(few), format!("05 {short}")),
        ("grants", Frame::Grants(vec!["ab".into(), "c".into()]), "06 0002 6162 0001 63".into()),
        ("entries", Frame::Entries("ab".into()), "07 6162".into()),
        ("through", Frame::Through(258), "08 0000000000000102".into()),
        (
            "rows",
            Frame::Rows(rows),
            format!(
                "09 02 00ab 8001 00000102{sum} 00000102{sum} 82 00ab 0002 00000000{}",
                "00".repeat(32)
            ),
        ),
        (
            "items",
            Frame::Items(items()),
            format!("0a 81 0001 {} {}", "10".repeat(48), "11".repeat(48)),
        ),
        ("items-none", Frame::Items(none), "0a 04 ffff".into()),
        (
            "want",
            Frame::Want(vec![[1; 16], [2; 16]]),
            format!("0b {}{}", "01".repeat(16), "02".repeat(16)),
        ),
        ("gone", Frame::Gone(vec![[1; 16]]), format!("0c {}", "01".repeat(16))),
        (
            "fetch",
            Frame::Fetch(vec![([1; 16], [2; 32])]),
            format!("0d {}{}", "01".repeat(16), "02".repeat(32)),
        ),
        ("value", value(true, b"ab"), "0e 01 6162".into()),
        ("state", Frame::State(done), format!("0f {state}")),
        ("turn", Frame::Turn { cut: true }, "10 01".into()),
        ("done", Frame::Done(done), format!("11 {state}")),
    ]
}

fn bytes_of(hex: &str) -> Bytes {
    HEXLOWER.decode(hex.replace(' ', "").as_bytes()).unwrap().into()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Entries of which each third is a deletion and each fourth expires.
fn signed(count: usize, value: &Bytes) -> Vec<(SignedEntry, Option<Bytes>)> {
    let author = Author::Node(key().verifying_key().to_bytes());
    let entry = |n: usize| {
        let (is_put, expires) = (n % 3 != 2, n % 4 == 3 && n % 3 != 2);
        Entry {
            space: SPACE,
            key: KvKey::new(&format!("key/{n}")).unwrap(),
            hlc: Hlc(n as u64 + 1),
            author,
            kind: if is_put { Kind::Bytes } else { Kind::Delete },
            size: if is_put { value.len() as u32 } else { 0 },
            hash: if is_put { *blake3::hash(value).as_bytes() } else { [0; 32] },
            expires: expires.then_some(UnixMillis(99)),
        }
    };
    let signed = SignedEntry::sign((0..count).map(entry).collect(), &key());
    let value = |entry: &SignedEntry| entry.entry().kind.has_value().then(|| value.clone());
    signed.into_iter().map(|entry| (entry.clone(), value(&entry))).collect()
}

fn show((signed, value): &(SignedEntry, Option<Bytes>)) -> Shown<'_> {
    Shown { entry: signed.entry(), proof: signed.proof(), value: value.as_ref() }
}

fn shown(entries: &[(SignedEntry, Option<Bytes>)]) -> Vec<Shown<'_>> {
    entries.iter().map(show).collect()
}

/// Entries in every form: a whole group, one of a group, one alone, another author, no value.
fn mixed() -> Bytes {
    let value = Bytes::from_static(b"value");
    let all = signed(21, &value);
    let mut shown = shown(&all[..18]);
    shown.remove(17);
    shown.push(show(&all[20]));
    let mut body = encode_entries(&shown);
    let key = SigningKey::from_bytes(&[8; 32]);
    let author = Author::User(UserId(key.verifying_key().to_bytes()));
    let entry = Entry { author, ..all[0].0.entry().clone() };
    let other = SignedEntry::sign(vec![entry], &key);
    body.extend(encode_entries(&[Shown {
        entry: other[0].entry(),
        proof: other[0].proof(),
        value: None,
    }]));
    body.into()
}

#[test]
fn frames_are_these_bytes() {
    for (name, frame, hex) in golden() {
        let body = bytes_of(&hex);
        let bytes = frame.encode();
        assert_eq!(HEXLOWER.encode(&bytes[LENGTH_BYTES..]), HEXLOWER.encode(&body), "{name}");
        assert_eq!(length(*bytes.first_chunk().unwrap()), Ok(body.len()));
        assert_eq!(Frame::decode(&body), Ok(frame.clone()), "{name}");
        for cut in 0..body.len() {
            assert_ne!(Frame::decode(&body.slice(..cut)), Ok(frame.clone()), "{name} cut at {cut}");
        }
        let longer = Bytes::from([&body[..], &[0]].concat());
        assert_ne!(Frame::decode(&longer), Ok(frame), "{name} with a byte more");
    }
}

#[test]
fn equal_replicas_say_less_than_200_bytes() {
    let hello = Frame::Hello { space: SPACE, facts: facts() }.encode().len();
    assert!(hello + Frame::Same { epoch: 1, as_of: 2, head: 3 }.encode().len() < 160);
}

#[test]
fn what_is_no_frame_is_refused() {
    assert_eq!(Frame::decode(&Bytes::new()), Err(FrameError::Malformed));
    for kind in [0, 18, 255] {
        assert_eq!(Frame::decode(&vec![kind, 1].into()), Err(FrameError::Kind(kind)));
    }
    assert_eq!(length([0; 4]), Err(FrameError::Length { len: 0 }));
    let long = MAX_FRAME_BYTES as u32 + 1;
    assert_eq!(length(long.to_be_bytes()), Err(FrameError::Length { len: long }));
    for (why, hex) in [
        ("an unknown reason", "03 05".to_owned()),
        ("an unknown flag", "10 02".into()),
        ("an empty grant", "06 0000".into()),
        ("no hash", "0b".into()),
        ("half a hash", "0b 01".into()),
        ("too many hashes", format!("0b {}", "00".repeat(16 * (MAX_HASHES + 1)))),
        ("nothing of a value", "0e 01".into()),
        ("too much of a value", format!("0e 00 {}", "00".repeat(FRAME_TARGET + 1))),
        ("a level that is none", "0a 05 0000".into()),
        ("a prefix beyond its level", "0a 01 0010".into()),
        ("parts of a leaf", "09 04 0000 0000".into()),
        ("an empty part in a row", format!("09 00 0000 0001 00000000{}", "00".repeat(32))),
        ("a sum of nothing", format!("09 80 0000 0001 00000000{}", "01".repeat(32))),
        ("items of another node", format!("0a 01 0002 {}", "10".repeat(48))),
        ("items that do not rise", format!("0a 00 0000 {0}{0}", "10".repeat(48))),
        ("more of nothing", "0a 80 0000".into()),
        ("an entry of nothing", "05".into()),
    ] {
        assert_eq!(Frame::decode(&bytes_of(&hex)), Err(FrameError::Malformed), "{why}");
    }
    let item = |n: u64| {
        let mut hash = [0; 16];
        hash[8..].copy_from_slice(&n.to_be_bytes());
        Item { hash, fingerprint: [0; 32] }
    };
    let most = |count: usize| {
        let items = (0..count as u64).map(item).collect();
        let frame = Frame::Items(Items { node: Node { level: 0, prefix: 0 }, more: false, items });
        Frame::decode(&frame.encode()[LENGTH_BYTES..].to_vec().into())
    };
    assert!(most(MAX_ITEMS).is_ok());
    assert_eq!(most(MAX_ITEMS + 1), Err(FrameError::Malformed));
}

#[test]
fn entries_arrive_as_they_were_signed_and_whole_groups_need_one_signature() {
    for count in [1, 2, 15, 16, 17, 100] {
        let all = signed(count, &Bytes::from_static(b"value"));
        let body = Bytes::from(encode_entries(&shown(&all)));
        let carried = decode_entries(&body, SPACE).unwrap();
        let mut verifier = Verifier::default();
        for (carried, (signed, value)) in carried.iter().zip(&all) {
            assert_eq!(&carried.value, value);
            assert_eq!(verifier.verify(carried.claimed.clone()).as_ref(), Ok(signed));
        }
        assert_eq!(carried.len(), count);
    }
    let all = signed(16, &Bytes::from_static(b"value"));
    let whole = encode_entries(&shown(&all)).len();
    // 16 × (1 + 8 + 2 + 6) for clock and key, 11 × 9 for values, 2 × 8 for expiries.
    assert!(whole < 98 + 16 * 17 + 11 * 9 + 3 * 8, "{whole} bytes");
    let apart = encode_entries(&shown(&all[1..])).len();
    assert!(apart > whole + 15 * 128, "{apart} bytes");
}

#[test]
fn a_value_that_was_changed_on_its_way_is_not_what_was_signed() {
    let all = signed(1, &Bytes::from_static(b"value"));
    let mut body = encode_entries(&shown(&all));
    *body.last_mut().unwrap() ^= 1;
    let carried = decode_entries(&body.into(), SPACE).unwrap().remove(0);
    assert!(Verifier::default().verify(carried.claimed).is_err());
    let other = decode_entries(&encode_entries(&shown(&all)).into(), SpaceId([2; 32])).unwrap();
    assert!(Verifier::default().verify(other[0].claimed.clone()).is_err(), "of another space");
}

#[test]
fn entries_are_packed_into_frames_with_the_largest_values_too() {
    for (count, len) in [(1000, 10), (40, 8 << 10), (40, MAX_INLINE_BYTES)] {
        let all = signed(count, &vec![7; len].into());
        let bodies = pack(&shown(&all));
        let mut carried = Vec::new();
        for body in &bodies {
            assert!(body.len() <= MAX_ENTRIES_BYTES);
            let body = Bytes::from(body.clone());
            let part = decode_entries(&body, SPACE).unwrap();
            let again: Vec<_> = part.iter().map(Carried::shown).collect();
            assert_eq!(encode_entries(&again), body, "one form only");
            carried.extend(part);
        }
        assert_eq!(carried.len(), count);
        for (carried, (signed, value)) in carried.iter().zip(&all) {
            assert_eq!((&carried.claimed.entry, &carried.value), (signed.entry(), value));
        }
        let bytes: usize = bodies.iter().map(Vec::len).sum();
        assert!(bodies.len() <= bytes / (FRAME_TARGET / 3) + 1, "frames are filled");
    }
    assert!(pack(&[]).is_empty());
}

#[test]
fn entries_that_break_a_bound_are_refused() {
    let body = mixed();
    assert_eq!(decode_entries(&body, SPACE).unwrap().len(), 19);
    for cut in 1..body.len() {
        let _ = decode_entries(&body.slice(..cut), SPACE);
    }
    assert_eq!(decode_entries(&Bytes::new(), SPACE), Err(FrameError::Malformed));
    let one = signed(1, &Bytes::from_static(b"value"));
    let one = encode_entries(&shown(&one));
    let wrong = |at: usize, byte: u8| {
        let mut body = one.clone();
        body[at] = byte;
        decode_entries(&body.into(), SPACE)
    };
    // Head, author 33, signature 64, then head, clock 8, key length 2, key 5, size 4, value.
    for (at, byte, why) in [
        (0, 5, "a tree too deep"),
        (0, 8, "a single that is a whole"),
        (0, 16, "the author of nothing before"),
        (0, 32, "an unknown flag"),
        (1, 3, "an unknown author"),
        (98, 6, "an unknown kind"),
        (98, 4, "a value that does not come"),
        (98, 16, "a deletion and something behind"),
        (98, 0x44 | 0x80, "an unknown flag of an entry"),
        (107, 0xff, "a key too long"),
        (109, 0, "a NUL in a key"),
        (114, 1, "a value too long"),
    ] {
        assert_eq!(wrong(at, byte), Err(FrameError::Malformed), "{why}");
    }
    let twice = [&one[..], &one].concat();
    assert_eq!(decode_entries(&twice.into(), SPACE), Err(FrameError::Malformed), "author twice");
    let all = signed(2, &Bytes::from_static(b"value"));
    let single = |at: usize| encode_entries(&[show(&all[at])]);
    let mut second = single(1);
    second[0] |= 16;
    second.drain(1..34);
    let both = [single(0), second].concat();
    assert_eq!(decode_entries(&both.into(), SPACE), Err(FrameError::Malformed), "a longer form");
}

#[test]
fn gossip_carries_small_entries_only() {
    let all = signed(20, &Bytes::from_static(b"value"));
    let message = gossip::encode(&shown(&all)).unwrap();
    assert_eq!(gossip::decode(&message, SPACE).unwrap().len(), 20);
    let large = signed(1, &vec![0; gossip::MAX_GOSSIPED_BYTES + 1].into());
    let message = gossip::encode(&shown(&large)).unwrap();
    assert_eq!(gossip::decode(&message, SPACE), Err(FrameError::Malformed));
    let absent = [Shown { value: None, ..show(&all[0]) }];
    let message = gossip::encode(&absent).unwrap();
    assert_eq!(gossip::decode(&message, SPACE), Err(FrameError::Malformed), "a value is missing");
    let many = signed(10, &vec![0; gossip::MAX_GOSSIPED_BYTES].into());
    assert_eq!(gossip::encode(&shown(&many)), None);
    for wrong in [&[][..], &[0], &[2], &[2, 1], &[1]] {
        assert!(gossip::decode(&wrong.to_vec().into(), SPACE).is_err(), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_decoders(kind in 0u8..20, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::kv_frames(&bytes);
        fuzz::kv_frames(&[&[kind][..], &bytes].concat());
        fuzz::kv_gossip(&bytes);
        fuzz::kv_gossip(&[&[kind % 3][..], &bytes].concat());
    }
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoders() {
    replay(env!("CARGO_MANIFEST_DIR"), "kv_frames", fuzz::kv_frames);
    replay(env!("CARGO_MANIFEST_DIR"), "kv_gossip", fuzz::kv_gossip);
}

fn gossiped() -> Vec<(&'static str, Bytes)> {
    let all = signed(3, &Bytes::from_static(b"value"));
    let entries = gossip::encode(&shown(&all)).unwrap();
    vec![("golden-entries", entries)]
}

fn framed() -> Vec<(&'static str, Bytes)> {
    let golden = golden().into_iter().map(|(name, _, hex)| (name, bytes_of(&hex)));
    golden.chain([("entries-mixed", [&[7], &mixed()[..]].concat().into())]).collect()
}

/// Run with `PEERAGE_WRITE_CORPUS` set to write what is missing.
#[test]
fn the_corpus_has_every_golden_vector() {
    for (target, vectors) in [("kv_frames", framed()), ("kv_gossip", gossiped())] {
        if std::env::var_os("PEERAGE_WRITE_CORPUS").is_some() {
            let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
            std::fs::create_dir_all(&folder).unwrap();
            for (name, bytes) in &vectors {
                std::fs::write(format!("{folder}/{name}"), bytes).unwrap();
            }
        }
        let corpus = corpus(env!("CARGO_MANIFEST_DIR"), target);
        for (name, bytes) in vectors {
            assert!(corpus.iter().any(|(_, file)| *file == bytes), "{name} is missing");
        }
    }
}
