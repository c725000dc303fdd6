//! `kill -9` at any moment loses nothing that was acknowledged.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    ops::{Bound::Unbounded, ControlFlow},
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p_identity::PeerId;
use peerage_store::{KvRead as _, KvTable, Store};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{child, child_dir, open, runtime};

const ROUNDS: usize = 20;
const START: &str = "PEERAGE_STORE_CHILD_START";

/// What the row of a number must be; some are larger than a page.
fn value(number: u64) -> Bytes {
    let longest = if number.is_multiple_of(16) { 6000 } else { 100 };
    let length = 8 + usize::try_from(number * 7919 % longest).unwrap();
    number.to_be_bytes().into_iter().cycle().take(length).collect()
}

fn peer(number: u64, part: u8) -> PeerId {
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([part; 24]);
    bytes.extend(number.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

/// The child.
fn write_until_killed(dir: &Path) {
    let start: u64 = std::env::var(START).unwrap().parse().unwrap();
    let mut random = StdRng::seed_from_u64(start);
    let store = Store::open(dir).unwrap();
    eprintln!("open {}", store.kept_aside.is_some());
    let store = store.store;
    let mut next = start;
    runtime().block_on(async {
        loop {
            let count = random.random_range(1..60);
            let written: Vec<_> = (next..next + count).map(|n| (n, write(&store, n))).collect();
            next += count;
            for (number, writes) in written {
                for write in writes {
                    write.await.unwrap();
                }
                eprintln!("ack {number}");
            }
        }
    });
}

/// A mark, three rows that only make sense together, and two tables that do.
fn write(store: &Store, number: u64) -> [peerage_store::Pending; 3] {
    let rows = (0..3).map(|part| (peer(number, part), value(number))).collect();
    let entry = store.kv().write(value(number).len(), move |txn| {
        txn.put(KvTable::Entries, &number.to_be_bytes(), &value(number))?;
        txn.put(KvTable::Feed, &number.to_be_bytes(), &[])
    });
    [store.marks().put(&number.to_string(), value(number)), store.book().put(rows), entry]
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    if let Some(dir) = child_dir() {
        return write_until_killed(&dir);
    }
    let seed: u64 = match std::env::var("PEERAGE_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => rand::random(),
    };
    println!("PEERAGE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let start = round as u64 * 1_000_000;
        // In every fourth round it dies while it starts: creating, repairing or verifying.
        let lines = if round % 4 == 0 { 0 } else { random.random_range(1..600) };
        let delay =
            Duration::from_micros(random.random_range(0..if lines == 0 { 40_000 } else { 3000 }));
        let new = run_and_kill(dir.path(), start, lines, delay);
        println!("round {round}: killed after {lines} lines and {delay:?}, {} acks", new.len());
        acknowledged.extend(new);
        verify(dir.path(), &acknowledged);
    }
    assert!(acknowledged.len() > ROUNDS, "the children wrote too little to prove anything");
}

/// Returns the numbers acknowledged before the child died.
fn run_and_kill(dir: &Path, start: u64, lines: usize, delay: Duration) -> Vec<u64> {
    let mut command = child("crash::acknowledged_writes_survive_kill_9", dir);
    let mut child = command.env(START, start.to_string()).spawn().unwrap();
    let mut report = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    for _ in 0..lines {
        assert_ne!(report.read_line(&mut text).unwrap(), 0, "the child died by itself: {text}");
    }
    // Between two events of the child, which its report cannot show.
    let begun = Instant::now();
    while begun.elapsed() < delay {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    report.read_to_string(&mut text).unwrap();
    assert!(!text.contains("open true"), "the child found a damaged file");
    assert!(!text.contains("panicked"), "{text}");
    // A line without an end was cut by the kill; its number may be cut as well.
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.filter_map(|line| line.strip_prefix("ack ")?.parse().ok()).collect()
}

fn verify(dir: &Path, acknowledged: &[u64]) {
    let store = open(dir);
    let rows: BTreeMap<_, _> = store.book().load_blocking().unwrap().peers.into_iter().collect();
    for &number in acknowledged {
        let found = store.marks().get_blocking(&number.to_string()).unwrap();
        assert_eq!(found, Some(value(number)), "{number} was acknowledged");
        for part in 0..3 {
            assert_eq!(rows.get(&peer(number, part)), Some(&value(number)), "{number}/{part}");
        }
    }
    let entries = kv_rows(&store, KvTable::Entries);
    for (key, found) in &entries {
        assert_eq!(*found, value(u64::from_be_bytes(key[..].try_into().unwrap())));
    }
    assert!(kv_rows(&store, KvTable::Feed).keys().eq(entries.keys()), "half of a write");
    for number in acknowledged {
        assert!(entries.contains_key(&number.to_be_bytes()[..]), "{number} was acknowledged");
    }
    // Also what was not acknowledged is there as a whole or not at all.
    for (row, found) in &rows {
        let number = u64::from_be_bytes(found[..8].try_into().unwrap());
        assert_eq!(*found, value(number));
        for part in 0..3 {
            assert!(rows.contains_key(&peer(number, part)), "{number}: {row} without part {part}");
        }
    }
}

fn kv_rows(store: &Store, table: KvTable) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    let read = store.kv().read_blocking(|snapshot| {
        snapshot.scan(table, (Unbounded, Unbounded), false, &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            Ok(ControlFlow::Continue(()))
        })
    });
    read.unwrap();
    rows
}
