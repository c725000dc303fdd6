//! Entry points for fuzzers: each panics if its decoder breaks a promise on the given bytes.
//!
//! The targets are in `fuzz/`, a workspace of its own: `cargo +nightly fuzz run exchange_frames`
//! in the folder of this crate. What they found is in `fuzz/corpus`, which the tests run again.

use bytes::{Bytes, BytesMut};

use peerage_types::{Namespace, Network, SpaceId, UnixMillis};

use crate::{
    exchange::{self, Frame},
    files::manifest::{Manifest, ManifestBuilder},
    identity::{
        Bundle, Presence, Profile, Record, Signed, Succession,
        frames::{self, LENGTH_BYTES},
    },
    introductions, kv,
    kv::{
        grant::{Grant, GrantRecord, Revocation, Statement},
        ticket,
    },
    link,
    mainline::{packet, slot},
};

/// [`exchange::decode`] neither panics nor accepts bytes that encode differently, and the frames
/// are the same however the bytes are cut on their way.
///
/// # Panics
/// When it does, or they are not.
pub fn exchange_frames(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    let mut read = 0;
    let mut frames = Vec::new();
    let refused = loop {
        match exchange::decode(&mut buffer) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break false,
            Err(_) => break true,
        }
        let frame = &frames[frames.len() - 1];
        let mut again = BytesMut::new();
        frame.encode(&mut again);
        assert_eq!(again, bytes[read..read + again.len()], "{frame:?} encodes differently");
        read += again.len();
        assert_eq!(buffer, bytes[read..], "{frame:?} took more or less than its bytes");
    };
    assert_eq!(in_pieces(bytes), (frames, refused), "the frames depend on how they are cut");
}

/// What [`exchange::decode`] makes of the bytes when they come in pieces of 1 to 64, and whether it
/// refused some.
fn in_pieces(mut bytes: &[u8]) -> (Vec<Frame>, bool) {
    // Where they are cut depends on nothing but the bytes, so that a finding can be repeated.
    let mut state = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    while !bytes.is_empty() {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let len = (state >> 58) as usize + 1;
        let (piece, rest) = bytes.split_at(len.min(bytes.len()));
        buffer.extend_from_slice(piece);
        bytes = rest;
        loop {
            match exchange::decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return (frames, true),
            }
        }
    }
    (frames, false)
}

/// [`link::Request::decode`] neither panics nor accepts bytes that encode differently.
///
/// # Panics
/// When it does.
pub fn link_request(bytes: &[u8]) {
    let Some(header) = bytes.first_chunk() else { return };
    if let Ok(request) = link::Request::decode(header) {
        assert_eq!(request.encode(), *header, "{request:?} encodes differently");
    }
}

/// [`Manifest::decode`] neither panics nor accepts bytes that encode differently, and its entries are
/// found by number as they are in order.
///
/// # Panics
/// When it does, or they are not.
pub fn files_manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::decode(Bytes::copy_from_slice(bytes)) else { return };
    let mut builder = ManifestBuilder::new(manifest.name()).expect("the name was accepted");
    for (number, entry) in (0..).zip(manifest.entries()) {
        assert_eq!(manifest.entry(number), Some(entry), "by number");
        builder.push(entry).expect("the entry was accepted");
    }
    assert_eq!(builder.pushed().entries, manifest.len(), "{manifest:?} lost entries");
    let again = builder.finish();
    assert_eq!(again.bytes(), bytes, "{manifest:?} encodes differently");
    assert_eq!(again.root(), manifest.root(), "{manifest:?} has another root");
}

/// [`Bundle::decode`] neither panics nor accepts bytes that encode differently; nor do the records in
/// it, whose signatures a fuzzer cannot make.
///
/// # Panics
/// When it does.
pub fn identity_bundle(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::decode(bytes) {
        assert_eq!(bundle.encode(), bytes, "{bundle:?} encodes differently");
        assert!(bundle.user().is_some(), "{bundle:?} is nobody's");
    }
    record::<Profile>(bytes);
    record::<Succession>(bytes);
    record::<Presence>(bytes);
}

/// The same bytes as a signed record, and as the body of one.
fn record<T: Record>(bytes: &[u8]) {
    if let Ok(signed) = Signed::<T>::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(signed.keep().open(), signed, "{signed:?} is kept differently");
    }
    if let Ok(record) = cbor4ii::serde::from_slice::<T>(bytes)
        && record.check().is_ok()
    {
        let again = cbor4ii::serde::to_vec(Vec::new(), &record).expect("records have a CBOR form");
        let read = cbor4ii::serde::from_slice::<T>(&again).expect("what was written is read");
        assert_eq!(read, record, "it reads differently");
    }
}

/// [`frames::Frame::decode`] and [`frames::split`] neither panic nor accept bytes that encode
/// differently.
///
/// # Panics
/// When they do.
pub fn identity_frames(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(frame) = frames::Frame::decode(&bytes) {
        assert_eq!(frame.encode()[LENGTH_BYTES..], bytes, "{frame:?} encodes differently");
    }
    if let Ok(bundles) = frames::split(&bytes) {
        let mut again = Vec::new();
        bundles.iter().for_each(|bundle| frames::push(&mut again, bundle));
        assert_eq!(again, bytes, "{bundles:?} encode differently");
    }
}

/// [`GrantRecord::decode`] neither panics nor accepts bytes that encode differently; nor do the
/// statements in records, whose signatures a fuzzer cannot make.
///
/// # Panics
/// When it does.
pub fn kv_grant(bytes: &[u8]) {
    if let Ok(record) = GrantRecord::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(record.bytes(), bytes, "{record:?} has other bytes");
        assert_eq!(GrantRecord::claimed_id(bytes), Some(record.id()), "{record:?} has two ids");
    }
    if let Some((_, body)) = bytes.split_first() {
        statement::<Grant>(body);
        statement::<Revocation>(body);
    }
}

fn statement<T: Statement>(bytes: &[u8]) {
    let mut rest = bytes;
    if let Some(says) = T::take(&mut rest) {
        let mut again = Vec::new();
        says.put(&mut again);
        assert_eq!(again, bytes[..bytes.len() - rest.len()], "{says:?} encodes differently");
    }
}

/// The inside of a [`ticket::SpaceTicket`] is decoded without panic, and only if it encodes to the same
/// bytes again.
///
/// # Panics
/// When it is not.
pub fn kv_ticket(bytes: &[u8]) {
    if let Ok(body) = ticket::Body::decode(bytes) {
        assert_eq!(body.encode()[..], *bytes, "it encodes differently");
        _ = ticket::SpaceTicket::open(body);
    }
}

/// [`kv::frames::Frame::decode`] and [`kv::frames::decode_entries`] neither panic nor accept bytes
/// that encode differently.
///
/// # Panics
/// When they do.
pub fn kv_frames(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(frame) = kv::frames::Frame::decode(&bytes) {
        assert_eq!(frame.encode()[kv::frames::LENGTH_BYTES..], bytes, "{frame:?} differs");
    }
    let body = bytes.slice(1.min(bytes.len())..);
    if let Ok(entries) = kv::frames::decode_entries(&body, SpaceId([1; 32])) {
        let shown: Vec<_> = entries.iter().map(kv::frames::Carried::shown).collect();
        assert_eq!(kv::frames::encode_entries(&shown), body, "{entries:?} encode differently");
        for body in kv::frames::pack(&shown) {
            assert!(body.len() <= kv::frames::MAX_ENTRIES_BYTES, "{} bytes", body.len());
        }
    }
}

/// [`kv::gossip::decode`] neither panics nor accepts bytes that encode differently.
///
/// # Panics
/// When it does.
pub fn kv_gossip(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(entries) = kv::gossip::decode(&bytes, SpaceId([1; 32])) else { return };
    let shown: Vec<_> = entries.iter().map(kv::frames::Carried::shown).collect();
    let again = kv::gossip::encode(&shown);
    assert_eq!(again, Some(bytes), "it encodes differently");
}

/// Neither [`introductions::Frame::decode`] nor [`introductions::Signed::decode`] panics or accepts
/// bytes that encode differently.
///
/// # Panics
/// When it does.
pub fn introductions(bytes: &[u8]) {
    let network = Network::default();
    if let Ok(record) = introductions::Signed::decode(bytes, &network) {
        assert_eq!(record.bytes(), bytes, "{record:?} encodes differently");
    }
    let body = Bytes::copy_from_slice(bytes);
    let Ok(frame) = introductions::Frame::decode(&body) else { return };
    let again = frame.encode();
    assert_eq!(again[introductions::LENGTH_BYTES..], *bytes, "{frame:?} encodes differently");
    let records = match frame {
        introductions::Frame::Ask { own, .. } => own,
        introductions::Frame::Answer(records) => records,
    };
    for record in records {
        // Verified or refused, but read.
        drop(introductions::Signed::decode(&record, &network));
    }
}

/// [`slot::split`] neither panics nor accepts bytes that encode differently, nor do the records in an
/// item, whose signatures a fuzzer cannot make; and none of them is taken for genuine.
///
/// # Panics
/// When it does, or one is.
pub fn mainline_slot(bytes: &[u8]) {
    let now = UnixMillis(1_800_000_000_000);
    let namespace = Namespace::new("fuzz").expect("a valid name");
    let item = slot::Slot::of(&namespace, slot::Slot::hour_at(now), 0);
    let Some(parts) = slot::split(bytes) else { return };
    assert_eq!(slot::join(parts.iter().copied()), bytes, "the item encodes differently");
    for part in parts {
        if let Ok(shape) = slot::Shape::read(part) {
            let again = item
                .record(shape.key, &shape.addresses, shape.signed_at, |_| *shape.signature)
                .expect("what was read fits");
            assert_eq!(again.bytes(), part, "{shape:?} encodes differently");
        }
    }
    for record in item.records(bytes, now) {
        assert_eq!(item.open(record.bytes(), now), Ok(record), "it is read differently");
    }
}

/// [`packet::decode`] does not panic, and what it reads can be written and read again.
///
/// # Panics
/// When it does, or it cannot.
pub fn mainline_packet(bytes: &[u8]) {
    let addresses = packet::decode(&[7; 32], bytes);
    assert!(addresses.len() <= packet::MAX_ADDRESSES, "{} addresses", addresses.len());
    if let Some(again) = packet::encode(&[7; 32], &addresses) {
        let read = packet::decode(&[7; 32], &again);
        assert!(addresses.starts_with(&read), "{addresses:?} became {read:?}");
    }
}
