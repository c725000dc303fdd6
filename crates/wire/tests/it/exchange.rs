use bytes::{Bytes, BytesMut};
use data_encoding::HEXLOWER;
use peerage_types::{MessageType, NameError};
use peerage_wire::{
    exchange::{
        Encoding, Frame, FrameError, Id, MAX_BODY_BYTES, MAX_DEADLINE_MS, MAX_FRAME_BYTES,
        MAX_HEAD_BYTES, MAX_REASON_BYTES, Refusal, decode, protocol,
    },
    fuzz,
};
use proptest::prelude::*;

use crate::replay::{corpus, replay};

fn kind(name: &str) -> MessageType {
    MessageType::new(name).unwrap()
}

fn id(id: u64) -> Id {
    Id::new(id).unwrap()
}

fn encoded(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode(&mut bytes);
    bytes
}

/// Version 1 of the protocol. These bytes never change: a change is a new version.
fn golden() -> Vec<(Frame, &'static str)> {
    let body = Bytes::from_static(b"hi");
    let refusal = |code| Frame::Refusal { id: id(7), code };
    vec![
        (
            Frame::Message {
                kind: kind("chat"),
                encoding: Encoding::Bytes,
                body: body.clone(),
                ack: None,
            },
            "0a010000046368617468 69",
        ),
        (
            Frame::Message {
                kind: kind("chat"),
                encoding: Encoding::Json,
                body: Bytes::new(),
                ack: Some(id(300)),
            },
            "0901ac02010463686174",
        ),
        (
            Frame::Request {
                id: id(1),
                deadline_ms: 5000,
                kind: kind("sum"),
                encoding: Encoding::Cbor,
                body: body.clone(),
            },
            "0b02018827020373756d6869",
        ),
        (Frame::Ack { id: id(u64::MAX) }, "0b11ffffffffffffffffff01"),
        (Frame::Response { id: id(1), encoding: Encoding::Json, body }, "051201016869"),
        (refusal(Refusal::NoListener), "03130701"),
        (refusal(Refusal::NoResponder), "03130702"),
        (refusal(Refusal::Refused("no".into())), "051307036e6f"),
        (refusal(Refusal::Busy), "03130704"),
        (refusal(Refusal::TooLate), "03130705"),
    ]
}

fn bytes_of(hex: &str) -> BytesMut {
    HEXLOWER.decode(hex.replace(' ', "").as_bytes()).unwrap().as_slice().into()
}

#[test]
fn version_1_is_these_bytes() {
    for (frame, hex) in golden() {
        let mut bytes = bytes_of(hex);
        assert_eq!(HEXLOWER.encode(&encoded(&frame)), HEXLOWER.encode(&bytes), "{frame:?}");
        assert_eq!(decode(&mut bytes), Ok(Some(frame)));
        assert!(bytes.is_empty());
    }
    assert_eq!(protocol(&Default::default()), "/peerage/peerage/exchange/1");
}

#[test]
fn a_frame_is_decoded_once_its_last_byte_is_there() {
    for (frame, hex) in golden() {
        let bytes = bytes_of(hex);
        let mut buffer = BytesMut::new();
        for byte in &bytes[..bytes.len() - 1] {
            buffer.extend_from_slice(&[*byte]);
            assert_eq!(decode(&mut buffer), Ok(None));
        }
        buffer.extend_from_slice(&bytes[bytes.len() - 1..]);
        assert_eq!(decode(&mut buffer), Ok(Some(frame)));
    }
}

#[test]
fn what_is_no_frame_is_refused_with_the_reason() {
    for (hex, error) in [
        ("ffffff7f", FrameError::TooLong { len: (1 << 28) - 1 }),
        ("ffffffff", FrameError::Number),
        ("8000", FrameError::Number),
        ("00", FrameError::Short),
        ("0111", FrameError::Short),
        ("021180", FrameError::Short),
        ("03118000", FrameError::Number),
        ("0b11 8080808080808080800b", FrameError::Number),
        ("0112", FrameError::Short),
        ("0163", FrameError::Tag(0x63)),
        ("021100", FrameError::Id),
        ("03110101", FrameError::Trailing(1)),
        ("0413070199", FrameError::Trailing(1)),
        ("03130709", FrameError::Code(9)),
        ("041307 03ff", FrameError::Reason),
        ("03120103", FrameError::Encoding(3)),
        ("0401000005", FrameError::Short),
        ("0401000000", FrameError::Kind(NameError::Empty { kind: "message type", max: 64 })),
        ("05010000 01ff", FrameError::KindText),
        ("0602010000 0161", FrameError::Deadline(0)),
        ("090201 81dddb01 000161", FrameError::Deadline(u64::from(MAX_DEADLINE_MS) + 1)),
    ] {
        assert_eq!(decode(&mut bytes_of(hex)), Err(error), "{hex}");
    }
}

#[test]
fn limits_are_accepted_and_one_more_is_not() {
    let message = |len: usize| Frame::Message {
        kind: kind(&"k".repeat(64)),
        encoding: Encoding::Bytes,
        body: vec![7; len].into(),
        ack: Some(id(u64::MAX)),
    };
    let largest = message(MAX_BODY_BYTES);
    assert_eq!(decode(&mut encoded(&largest)), Ok(Some(largest)));
    let len = MAX_BODY_BYTES + 1;
    assert_eq!(decode(&mut encoded(&message(len))), Err(FrameError::Body { len }));
    let len = MAX_BODY_BYTES + MAX_HEAD_BYTES;
    assert!(matches!(decode(&mut encoded(&message(len))), Err(FrameError::TooLong { .. })));

    let refusal = |len| Frame::Refusal { id: id(1), code: Refusal::Refused("x".repeat(len)) };
    let longest = refusal(MAX_REASON_BYTES);
    assert_eq!(decode(&mut encoded(&longest)), Ok(Some(longest)));
    let longer = refusal(MAX_REASON_BYTES + 1);
    assert_eq!(decode(&mut encoded(&longer)), Err(FrameError::Reason));
}

#[test]
fn an_announced_length_allocates_nothing() {
    let mut buffer = BytesMut::with_capacity(8);
    unsigned_varint_of(MAX_FRAME_BYTES).iter().for_each(|b| buffer.extend_from_slice(&[*b]));
    let capacity = buffer.capacity();
    assert_eq!(decode(&mut buffer), Ok(None));
    assert_eq!(buffer.capacity(), capacity);
}

fn unsigned_varint_of(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[test]
fn bodies_are_slices_of_what_was_read() {
    let frame =
        Frame::Response { id: id(1), encoding: Encoding::Bytes, body: Bytes::from_static(b"here") };
    let mut buffer = encoded(&frame);
    let at = buffer.as_ptr() as usize + buffer.len() - 4;
    let decoded = decode(&mut buffer).unwrap().unwrap();
    assert_eq!(decoded.body().unwrap().as_ptr() as usize, at);
}

fn frames() -> impl Strategy<Value = Frame> {
    let ids = || (1u64..).prop_map(id);
    let encodings =
        || prop_oneof![Just(Encoding::Bytes), Just(Encoding::Json), Just(Encoding::Cbor)];
    let kinds = || "[a-zé.:/-]{1,32}".prop_map(|name| kind(&name));
    let bodies = || prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    let codes = prop_oneof![
        Just(Refusal::NoListener),
        Just(Refusal::NoResponder),
        ".{0,60}".prop_map(Refusal::Refused),
        Just(Refusal::Busy),
        Just(Refusal::TooLate),
    ];
    prop_oneof![
        (kinds(), encodings(), bodies(), prop::option::of(ids()))
            .prop_map(|(kind, encoding, body, ack)| Frame::Message { kind, encoding, body, ack }),
        (ids(), 1..=MAX_DEADLINE_MS, kinds(), encodings(), bodies()).prop_map(
            |(id, deadline_ms, kind, encoding, body)| Frame::Request {
                id,
                deadline_ms,
                kind,
                encoding,
                body
            }
        ),
        ids().prop_map(|id| Frame::Ack { id }),
        (ids(), encodings(), bodies()).prop_map(|(id, encoding, body)| Frame::Response {
            id,
            encoding,
            body
        }),
        (ids(), codes).prop_map(|(id, code)| Frame::Refusal { id, code }),
    ]
}

proptest! {
    #[test]
    fn frames_come_back_in_order_however_they_are_cut(
        sent in prop::collection::vec(frames(), 1..8),
        cut in 1usize..64,
    ) {
        let mut bytes = BytesMut::new();
        sent.iter().for_each(|frame| frame.encode(&mut bytes));
        let (mut buffer, mut received) = (BytesMut::new(), Vec::new());
        for piece in bytes.chunks(cut) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = decode(&mut buffer).unwrap() {
                received.push(frame);
            }
        }
        prop_assert_eq!(received, sent);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn no_bytes_break_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::exchange_frames(&bytes);
    }

    #[test]
    fn no_change_to_a_frame_breaks_the_decoder(
        frame in frames(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&frame);
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        fuzz::exchange_frames(&bytes);
    }
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoder() {
    replay(env!("CARGO_MANIFEST_DIR"), "exchange_frames", fuzz::exchange_frames);
}

#[test]
fn the_corpus_has_every_golden_vector() {
    let corpus = corpus(env!("CARGO_MANIFEST_DIR"), "exchange_frames");
    for (frame, hex) in golden() {
        let bytes = bytes_of(hex);
        assert!(corpus.iter().any(|(_, file)| *file == bytes), "{frame:?} is missing");
        for cut in 0..=bytes.len() {
            fuzz::exchange_frames(&bytes[..cut]);
        }
    }
}
