use peerage_wire::{
    fuzz,
    link::{HeaderError, MAX_BYTES, Request, protocol},
};
use proptest::prelude::*;

use crate::replay::replay;

#[test]
fn requests_are_these_bytes() {
    for (request, bytes) in [
        (Request::Send { bytes: 258 }, [1, 0, 0, 0, 0, 0, 0, 1, 2]),
        (Request::Receive { bytes: MAX_BYTES }, [2, 0, 0, 0, 1, 0, 0, 0, 0]),
        (Request::Echo { blocks: 0 }, [3, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        assert_eq!(request.encode(), bytes);
        assert_eq!(Request::decode(&bytes), Ok(request));
    }
}

#[test]
fn what_is_no_request_is_refused_with_the_reason() {
    assert_eq!(Request::decode(&[0; 9]), Err(HeaderError::Kind(0)));
    let more = Request::Send { bytes: MAX_BYTES + 1 }.encode();
    assert_eq!(Request::decode(&more), Err(HeaderError::TooMany(MAX_BYTES + 1)));
}

#[test]
fn the_protocol_id_names_the_network() {
    assert_eq!(protocol(&Default::default()), "/peerage/peerage/link/1");
}

#[test]
fn neither_the_corpus_nor_changes_of_it_break_the_decoder() {
    replay(env!("CARGO_MANIFEST_DIR"), "link_request", fuzz::link_request);
}

proptest! {
    #[test]
    fn no_bytes_break_the_decoder(bytes: [u8; 9], kind in 0u8..5, small: u32) {
        fuzz::link_request(&bytes);
        let mut bytes = [0; 9];
        bytes[0] = kind;
        bytes[5..].copy_from_slice(&small.to_be_bytes());
        fuzz::link_request(&bytes);
    }
}
