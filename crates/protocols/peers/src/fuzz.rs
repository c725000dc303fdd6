//! Entry points for fuzzers: each panics if the crate breaks a promise on the given bytes.
//!
//! The targets are in `fuzz/`, a workspace of its own: `cargo +nightly fuzz run book_row` in the
//! folder of this crate. What they found is in `fuzz/corpus`, which the tests run again.

use bytes::Bytes;
use libp2p_identity::PeerId;
use peerage_api::peers::Source;
use peerage_types::UnixMillis;

use crate::{
    book::{Book, MAX_ADDRESSES, MAX_SCORE},
    row::Entry,
};

/// A row as a damaged store may hold it: read or dropped, never a panic, and a book that read it
/// keeps its bounds whatever happens next.
///
/// # Panics
/// When it is not so.
pub fn book_row(row: &[u8]) {
    if let Some(entry) = Entry::decode(row) {
        let again = entry.encode().expect("a row that was read can be written");
        assert_eq!(Entry::decode(&again), Some(entry), "it reads differently the second time");
    }
    let peer = PeerId::from_multihash(multihash()).expect("an identity multihash");
    let mut book = Book::load(1, vec![(peer, Bytes::copy_from_slice(row))]);
    let dropped = book.get(&peer).is_none();
    assert_eq!(book.has_changes(), dropped, "what is not read is removed, what is read is not");
    let now = UnixMillis(7);
    let known = book.addresses_of(&peer);
    for address in &known {
        book.failed(peer, address);
    }
    book.learn(peer, known.clone(), Some(Source::Kad), now, |_| false);
    bounded(&book, &peer);
    book.unreachable(peer);
    book.penalise(peer, u32::MAX);
    bounded(&book, &peer);
    for address in known.iter().take(1) {
        book.worked(peer, address, now);
    }
    book.connected(peer, now);
    bounded(&book, &peer);
    let _ = (book.best(1), book.is_worth_dialling(&peer));
    let saved = book.take_changes().put;
    assert!(!Book::load(1, saved).has_changes(), "what was saved cannot be read");
}

/// Of a key of 32 bytes, all zero; nobody's.
fn multihash() -> libp2p_core::multihash::Multihash<64> {
    let key = [&[8, 1, 0x12, 32][..], &[0; 32]].concat();
    libp2p_core::multihash::Multihash::wrap(0, &key).expect("36 bytes fit into 64")
}

fn bounded(book: &Book, peer: &PeerId) {
    let Some(entry) = book.get(peer) else { return };
    assert!(entry.addresses.len() <= MAX_ADDRESSES, "{} addresses", entry.addresses.len());
    assert!((-MAX_SCORE..=MAX_SCORE).contains(&entry.score), "a score of {}", entry.score);
}
