//! Rows of a damaged store.

use peerage_peers::fuzz;

use crate::replay::{corpus, replay};

#[test]
fn no_damage_to_a_row_breaks_the_book() {
    replay(env!("CARGO_MANIFEST_DIR"), "book_row", fuzz::book_row);
}

#[test]
fn the_corpus_begins_with_a_row_that_is_read() {
    let (name, row) = corpus(env!("CARGO_MANIFEST_DIR"), "book_row").swap_remove(0);
    assert_eq!((name.as_str(), row[0]), ("a-golden-1", 1));
}
