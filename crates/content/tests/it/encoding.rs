//! The wire form is that of `bao_tree`.

use bao_tree::{
    BlockSize, ChunkNum, ChunkRanges,
    io::{outboard::PreOrderMemOutboard, sync::encode_ranges_validated},
};
use peerage_content::{BLOCK_BYTES, Collector, PACKED_MAX_BYTES};
use proptest::prelude::*;

use crate::support::{Place, blob, noise, read};

const K: usize = 1024;
const M: usize = 1 << 20;

/// Sizes around every boundary.
const SIZES: [usize; 38] = [
    0,
    1,
    1023,
    1024,
    1025,
    16 * K - 1,
    16 * K,
    16 * K + 1,
    17 * K,
    32 * K - 1,
    32 * K,
    32 * K + 1,
    48 * K,
    100_000,
    512 * K + 1,
    M - 16 * K,
    M - 16 * K + 1,
    M - 1,
    M,
    M + 1,
    M + 1024,
    M + 1025,
    M + 16 * K - 1,
    M + 16 * K,
    M + 16 * K + 1,
    2 * M - 1,
    2 * M,
    2 * M + 1,
    3 * M,
    3 * M + 5,
    4 * M - 1,
    4 * M,
    4 * M + 1,
    5 * M + 17 * K,
    7 * M + 1,
    8 * M,
    9 * M + 123_457,
    33 * M + 1,
];

/// What `bao_tree` sends for a block.
fn oracle(content: &[u8], outboard: &PreOrderMemOutboard, block: u64) -> Vec<u8> {
    let chunks = ChunkNum(block * BLOCK_BYTES / 1024)..ChunkNum((block + 1) * BLOCK_BYTES / 1024);
    let mut out = Vec::new();
    encode_ranges_validated(content, outboard, &ChunkRanges::from(chunks), &mut out).unwrap();
    out
}

#[test]
fn pieces_are_what_bao_tree_encodes() {
    let place = Place::new();
    for size in SIZES {
        let content = noise(size as u64, size);
        let (prepared, source) = place.source(&[place.file("blob", &content)]);
        assert_eq!(prepared.record.root.0, *blake3::hash(&content).as_bytes(), "{size}");
        let pieces = source.plan().pieces();
        if size as u64 <= PACKED_MAX_BYTES {
            assert_eq!(pieces, u32::from(size > 0));
            (0..pieces).for_each(|piece| assert_eq!(read(&source, piece), content));
            continue;
        }
        assert_eq!(pieces as usize, size.div_ceil(M));
        let outboard = PreOrderMemOutboard::create(&content, BlockSize::from_chunk_log(4));
        for piece in 0..pieces {
            let expected = oracle(&content, &outboard, piece.into());
            assert!(read(&source, piece) == expected, "piece {piece} of {size} bytes");
        }
    }
}

#[test]
fn what_bao_tree_encodes_is_accepted_and_collected() {
    for size in SIZES.into_iter().filter(|size| *size as u64 > PACKED_MAX_BYTES) {
        let content = noise(1, size);
        let outboard = PreOrderMemOutboard::create(&content, BlockSize::from_chunk_log(4));
        let mut collector = Collector::new(blob(&content));
        for piece in (0..collector.bits().len()).rev() {
            let encoded = oracle(&content, &outboard, piece.into());
            collector.write_piece(piece, &encoded).unwrap();
        }
        assert!(collector.finish().unwrap() == content, "{size}");
    }
}

#[test]
fn the_outboard_is_that_of_bao_tree_with_blocks_of_a_mebibyte() {
    let place = Place::new();
    for size in [M + 1, 3 * M + 5, 8 * M, 33 * M + 1] {
        let content = noise(2, size);
        let record = place.prepare(&[place.file("blob", &content)]).record;
        let path = place.dir.path().join("cache/outboards").join(record.root.to_string());
        let expected = PreOrderMemOutboard::create(&content, BlockSize::from_chunk_log(10));
        assert!(std::fs::read(path).unwrap() == expected.data, "{size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_changed_byte_is_accepted(
        size in 1usize..3 * M,
        piece in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let content = noise(3, size);
        let place = Place::new();
        let (_, source) = place.source(&[place.file("blob", &content)]);
        let piece = piece.index(source.plan().pieces() as usize) as u32;
        let mut encoded = read(&source, piece);
        let mut collector = Collector::new(source.plan().clone());
        let at = at.index(encoded.len());
        encoded[at] ^= 1 << bit;
        let corrupt = collector.write_piece(piece, &encoded).unwrap_err();
        prop_assert!(corrupt.offset <= at && at < corrupt.offset + (16 << 10));
        encoded[at] ^= 1 << bit;
        prop_assert!(collector.write_piece(piece, &encoded[..at]).is_err());
        encoded.push(0);
        prop_assert!(collector.write_piece(piece, &encoded).is_err());
        prop_assert_eq!(collector.bits().count(), 0);
        encoded.pop();
        prop_assert!(collector.write_piece(piece, &encoded).is_ok());
    }
}
