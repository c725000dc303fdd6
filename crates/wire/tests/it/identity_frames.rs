use bytes::Bytes;
use data_encoding::HEXLOWER;
use peerage_types::UserId;
use peerage_wire::{
    fuzz,
    identity::frames::{
        Buckets, Entry, Frame, FrameError, LENGTH_BYTES, MAX_ENTRIES, MAX_FRAME_BYTES, Page,
        length, push, split,
    },
};
use proptest::prelude::*;

use crate::replay::{corpus, replay};

fn user(byte: u8) -> UserId {
    UserId([byte; 32])
}

fn entry(byte: u8) -> Entry {
    Entry { user: user(byte), seq: 258, profile: [1, 2, 3, 4], rest: [5; 8] }
}

fn buckets(some: &[u8]) -> Buckets {
    let mut set = Buckets::default();
    some.iter().for_each(|bucket| set.insert(*bucket));
    set
}

fn page() -> Page {
    let entries = vec![entry(2), entry(9)];
    let (after, through) = (Some(user(1)), Some(user(9)));
    Page { buckets: buckets(&[2, 9]), after, through, full: true, entries }
}

fn golden() -> Vec<(Frame, String)> {
    let mut digests = Box::new([[0; 16]; 256]);
    digests[255] = [0xee; 16];
    let all = Page { after: None, through: None, full: false, entries: vec![], ..page() };
    let set = format!("0402{}", "00".repeat(30));
    let hex = |byte: &str| byte.repeat(32);
    let entry = |byte: &str| format!("{}0000000000000102010203040505050505050505", byte.repeat(32));
    let batch = |last, bundles: &[&'static [u8]]| {
        let bundles = bundles.iter().map(|bundle| Bytes::from_static(bundle)).collect();
        Frame::Bundles { last, bundles }
    };
    vec![
        (Frame::Root([7; 32]), format!("00000021 01 {}", hex("07"))),
        (Frame::Same, "00000001 02".into()),
        (Frame::Digests(digests), format!("00001001 03 {}{}", "00".repeat(4080), "ee".repeat(16))),
        (
            Frame::Page(page()),
            format!(
                "000000ca 04 07 {set} {} {} {} {}",
                hex("01"),
                hex("09"),
                entry("02"),
                entry("09")
            ),
        ),
        (Frame::Page(all), format!("00000022 04 00 {set}")),
        (Frame::Diff { through: None, wanted: vec![] }, "00000002 05 00".into()),
        (
            Frame::Diff { through: Some(user(3)), wanted: vec![0, 258] },
            format!("00000026 05 02 {} 0000 0102", hex("03")),
        ),
        (batch(true, &[]), "00000002 06 01".into()),
        (batch(false, &[b"abc", b"d"]), "0000000a 06 00 0003 616263 0001 64".into()),
        (Frame::Done, "00000001 07".into()),
    ]
}

fn bytes_of(hex: &str) -> Bytes {
    HEXLOWER.decode(hex.replace(' ', "").as_bytes()).unwrap().into()
}

#[test]
fn frames_are_these_bytes() {
    for (frame, hex) in golden() {
        let bytes = bytes_of(&hex);
        assert_eq!(HEXLOWER.encode(&frame.encode()), HEXLOWER.encode(&bytes), "{frame:?}");
        assert_eq!(length(*bytes.first_chunk().unwrap()), Ok(bytes.len() - LENGTH_BYTES));
        let body = bytes.slice(LENGTH_BYTES..);
        assert_eq!(Frame::decode(&body), Ok(frame.clone()));
        let mut longer = body.to_vec();
        longer.push(0);
        assert_ne!(Frame::decode(&longer.into()), Ok(frame), "with a byte more");
        for cut in 0..body.len() {
            let cut = Frame::decode(&body.slice(..cut));
            // What remains of a list may be a shorter one.
            assert!(
                cut.is_err()
                    || matches!(
                        cut,
                        Ok(Frame::Page(_) | Frame::Diff { .. } | Frame::Bundles { .. })
                    )
            );
        }
    }
}

#[test]
fn what_is_no_frame_is_refused_with_the_reason() {
    assert_eq!(Frame::decode(&Bytes::new()), Err(FrameError::Malformed));
    assert_eq!(Frame::decode(&Bytes::from_static(&[0])), Err(FrameError::Kind(0)));
    assert_eq!(Frame::decode(&Bytes::from_static(&[8, 1])), Err(FrameError::Kind(8)));
    assert_eq!(length([0; 4]), Err(FrameError::Length { len: 0 }));
    let long = u32::try_from(MAX_FRAME_BYTES).unwrap() + 1;
    assert_eq!(length(long.to_be_bytes()), Err(FrameError::Length { len: long }));
    let unsorted = Frame::Diff { through: None, wanted: vec![3, 2] };
    assert_eq!(Frame::decode(&unsorted.encode()[4..].to_vec().into()), Err(FrameError::Malformed));
    let unknown_flag = Bytes::from_static(&[6, 2]);
    assert_eq!(Frame::decode(&unknown_flag), Err(FrameError::Malformed));
}

#[test]
fn a_page_whose_entries_are_not_where_they_belong_is_refused() {
    let order = |entries: Vec<Entry>| Page { entries, ..page() };
    for wrong in [
        order(vec![entry(9), entry(2)]),
        order(vec![entry(2), entry(2)]),
        order(vec![entry(3)]),
        Page { after: Some(user(2)), ..page() },
        Page { through: Some(user(8)), ..page() },
        Page { after: Some(user(9)), entries: vec![], ..page() },
    ] {
        let bytes: Bytes = Frame::Page(wrong.clone()).encode()[4..].to_vec().into();
        assert_eq!(Frame::decode(&bytes), Err(FrameError::Malformed), "{wrong:?}");
    }
}

#[test]
fn the_longest_page_fits_a_frame_and_a_longer_one_is_refused() {
    let entries = |count: usize| {
        let entry = |number: usize| {
            let mut id = [2; 32];
            id[1..9].copy_from_slice(&number.to_be_bytes());
            Entry { user: UserId(id), ..entry(2) }
        };
        Page { entries: (0..count).map(entry).collect(), after: Some(user(0)), ..page() }
    };
    let full = Frame::Page(entries(MAX_ENTRIES));
    assert_eq!(Frame::decode(&full.encode()[4..].to_vec().into()), Ok(full));
    let more = Frame::Page(entries(MAX_ENTRIES + 1)).encode()[4..].to_vec();
    assert_eq!(Frame::decode(&more.into()), Err(FrameError::Malformed));
}

#[test]
fn buckets_are_a_set() {
    let set = buckets(&[0, 8, 255]);
    assert_eq!(set.iter().collect::<Vec<_>>(), [0, 8, 255]);
    let (ours, mut theirs) = ([[0; 16]; 256], [[0; 16]; 256]);
    assert_eq!(Buckets::differing(&ours, &theirs), Buckets::default());
    theirs[8][15] = 1;
    assert_eq!(Buckets::differing(&ours, &theirs), buckets(&[8]));
}

#[test]
fn a_batch_is_cut_where_it_was_joined() {
    let mut batch = Vec::new();
    push(&mut batch, b"one");
    push(&mut batch, b"two");
    let batch = Bytes::from(batch);
    assert_eq!(split(&batch), Ok(vec!["one".into(), "two".into()]));
    for wrong in [&b""[..], &[0], &[0, 0], &[0, 2, 1], &[0, 1, 1, 0], &[0xff; 65_537]] {
        assert_eq!(split(&Bytes::from_static(wrong)), Err(FrameError::Malformed), "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_decoder(kind in 0u8..9, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::identity_frames(&bytes);
        fuzz::identity_frames(&[&[kind][..], &bytes].concat());
        fuzz::identity_frames(&[&[kind, 0][..], &bytes].concat());
    }
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoder() {
    replay(env!("CARGO_MANIFEST_DIR"), "identity_frames", fuzz::identity_frames);
}

#[test]
fn the_corpus_has_every_golden_vector() {
    let corpus = corpus(env!("CARGO_MANIFEST_DIR"), "identity_frames");
    for (frame, hex) in golden() {
        let bytes = bytes_of(&hex).slice(LENGTH_BYTES..);
        assert!(corpus.iter().any(|(_, file)| *file == bytes), "{frame:?} is missing");
    }
}
