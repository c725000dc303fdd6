//! The store as its own crate sees it: batches, snapshots and a disk that fails.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
    mpsc::{SyncSender, sync_channel},
};

use bytes::Bytes;

use crate::{
    MAX_BATCH, MAX_QUEUED, Pending, Store, StoreError,
    medium::{Medium, Shared, tests::Flaky},
    schema, tables,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Holds the thread inside a transaction until the sender is dropped.
fn hold(store: &Store) -> (SyncSender<()>, Pending) {
    let (release, released) = sync_channel::<()>(0);
    let (began, begun) = sync_channel(1);
    let released = std::sync::Mutex::new(released);
    let held = store.write(0, move |_| {
        let _ = began.try_send(());
        let _ = released.lock().unwrap().recv();
        Ok(())
    });
    begun.recv().unwrap();
    (release, held)
}

fn value(n: usize) -> Bytes {
    n.to_be_bytes().to_vec().into()
}

#[test]
fn a_thousand_writes_become_one_commit() {
    let store = Store::in_memory();
    let (release, held) = hold(&store);
    let writes: Vec<_> = (0..1000).map(|n| store.marks().put(&n.to_string(), value(n))).collect();
    assert_eq!(store.stats().queued, 1000);
    drop(release);
    wait(held).unwrap();
    for write in writes {
        wait(write).unwrap();
    }
    let stats = store.stats();
    assert_eq!((stats.commits, stats.operations, stats.queued), (2, 1001, 0));
}

#[test]
fn a_large_commit_gives_back_the_pages_that_it_has_replaced() {
    let store = Store::in_memory();
    let rows = || (0..4_000_u32).map(|n| n.wrapping_mul(0x9e37_79b1).to_be_bytes());
    for round in 0..4_u8 {
        let write = move |txn: &mut crate::KvTxn<'_>| {
            rows().try_for_each(|key| txn.put(crate::KvTable::Leaves, &key, &[round; 200]))
        };
        wait(store.kv().write(4_000 * 204, write)).unwrap();
    }
    let usage = wait(store.usage()).unwrap();
    // Two thirds of a page are used, and with what the last commit has replaced it would be over three times
    // as much.
    assert!(usage.allocated_bytes < usage.row_bytes * 2, "{usage:?}");
}

#[test]
fn a_full_queue_refuses_at_once_and_takes_more_later() {
    let store = Store::in_memory();
    let (release, held) = hold(&store);
    for n in 0..MAX_QUEUED {
        assert!(store.marks().put("n", value(n)).refused().is_none(), "{n} was refused");
    }
    let refused = store.marks().put("n", value(0));
    assert!(matches!(refused.refused(), Some(StoreError::Busy)));
    assert!(matches!(wait(refused), Err(StoreError::Busy)));
    drop(release);
    wait(store.flush()).unwrap();
    wait(held).unwrap();
    assert_eq!(store.stats().commits, 1 + (MAX_QUEUED / MAX_BATCH) as u64);
    assert_eq!(store.marks().get_blocking("n").unwrap(), Some(value(MAX_QUEUED - 1)));
}

#[test]
fn a_failing_operation_does_not_take_its_batch_with_it() {
    let store = Store::in_memory();
    let (release, held) = hold(&store);
    let faulty = |n: usize| n == 17 || n == 18 || n == 399;
    let writes: Vec<_> = (0..400)
        .map(|n| match n {
            399 => store.write(0, |_| panic!("a panic that belongs to a test")),
            n if faulty(n) => store.write(0, |txn| {
                // What it did before it failed must not stay.
                txn.open_table(tables::MARKS)?.insert(&b"half"[..], &b""[..])?;
                Err(StoreError::defect("faulty"))
            }),
            n => store.marks().put(&n.to_string(), value(n)),
        })
        .collect();
    drop(release);
    wait(held).unwrap();
    for (n, write) in writes.into_iter().enumerate() {
        let outcome = wait(write);
        assert_eq!(outcome.is_err(), faulty(n), "{n}: {outcome:?}");
        let expected = (!faulty(n)).then(|| value(n));
        assert_eq!(store.marks().get_blocking(&n.to_string()).unwrap(), expected, "{n}");
    }
    assert_eq!(store.marks().get_blocking("half").unwrap(), None);
    assert!(store.stats().commits < 40, "halving took {} commits", store.stats().commits);
    assert_eq!(store.stats().failures, 3);
}

#[test]
fn operations_are_applied_in_the_order_they_were_handed_in() {
    let store = Store::in_memory();
    for n in 0..3000 {
        drop(store.marks().put("last", value(n)));
    }
    wait(store.flush()).unwrap();
    assert_eq!(store.marks().get_blocking("last").unwrap(), Some(value(2999)));
}

#[test]
fn a_snapshot_does_not_see_what_is_committed_meanwhile() {
    let store = Store::in_memory();
    wait(store.marks().put("a", value(1))).unwrap();
    let seen = store.read_blocking(|txn| {
        wait(store.marks().put("a", value(2)))?;
        wait(store.marks().put("b", value(2)))?;
        Ok((tables::get(txn, tables::MARKS, b"a")?, tables::get(txn, tables::MARKS, b"b")?))
    });
    assert_eq!(seen.unwrap(), (Some(value(1)), None));
    assert_eq!(store.marks().get_blocking("a").unwrap(), Some(value(2)));
}

#[test]
fn a_panicking_read_is_an_error_of_that_read() {
    let store = Store::in_memory();
    let outcome = store.read_blocking(|_| -> Result<(), _> { panic!("a panic of a test") });
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("a panic of a test"), "{error}");
    wait(store.marks().put("a", value(1))).unwrap();
    assert_eq!(store.marks().get_blocking("a").unwrap(), Some(value(1)));
}

#[test]
fn the_outcome_of_an_operation_reaches_the_caller() {
    let store = Store::in_memory();
    let counter = Arc::new(AtomicUsize::new(0));
    let seen = counter.clone();
    let number = wait(store.write(0, move |_| Ok(seen.fetch_add(1, SeqCst) + 41))).unwrap();
    assert_eq!((number, counter.load(SeqCst)), (41, 1));
}

pub(crate) fn flaky() -> (Store, Arc<Flaky>) {
    let flaky = Arc::<Flaky>::default();
    let medium = Medium::Memory(Shared(flaky.clone()));
    let database = medium.open().unwrap();
    schema::initialise(&database).unwrap();
    (Store::start(medium, database).unwrap(), flaky)
}

#[test]
fn a_failed_commit_answers_every_writer_and_the_thread_goes_on() {
    let (store, disk) = flaky();
    wait(store.marks().put("before", value(1))).unwrap();
    for (number, full) in [(ENOSPC, true), (EIO, false)] {
        let (release, held) = hold(&store);
        let writes: Vec<_> = (0..20).map(|n| store.marks().put("lost", value(n))).collect();
        disk.writes_fail.store(number, SeqCst);
        drop(release);
        wait(held).unwrap_err();
        for write in writes {
            let error = wait(write).unwrap_err();
            assert!(!error.is_retryable());
            assert_eq!(matches!(error, StoreError::Full { .. }), full, "{error:?}");
            assert_eq!(matches!(error, StoreError::Io { .. }), !full, "{error:?}");
        }
        // Still failing: a typed error again, not silence.
        wait(store.marks().put("lost", value(0))).unwrap_err();
        disk.writes_fail.store(0, SeqCst);
        wait(store.marks().put("after", value(2))).unwrap();
        assert_eq!(store.marks().get_blocking("before").unwrap(), Some(value(1)));
        assert_eq!(store.marks().get_blocking("after").unwrap(), Some(value(2)));
    }
    wait(store.close()).unwrap();
}

#[test]
fn a_failed_read_has_the_file_opened_again() {
    let (store, disk) = flaky();
    // More than redb keeps in memory, so that reading it needs the disk.
    for n in 0..12 {
        wait(store.marks().put(&n.to_string(), vec![n; 1 << 20].into())).unwrap();
    }
    disk.reads_fail.store(true, SeqCst);
    let failed = (0..12).find_map(|n| store.marks().get_blocking(&n.to_string()).err());
    assert!(matches!(failed, Some(StoreError::Io { .. })), "{failed:?}");
    disk.reads_fail.store(false, SeqCst);
    // The next write finds the file open, however far the thread has come with reopening it.
    wait(store.marks().put("after", value(1))).unwrap();
    assert_eq!(store.marks().get_blocking("3").unwrap(), Some(vec![3; 1 << 20].into()));
}

#[test]
fn flush_tells_of_a_loss_nobody_heard_of_once() {
    let (store, disk) = flaky();
    let (release, held) = hold(&store);
    drop(held);
    disk.writes_fail.store(ENOSPC, SeqCst);
    drop(release);
    assert!(matches!(wait(store.flush()), Err(StoreError::Full { .. })));
    disk.writes_fail.store(0, SeqCst);
    wait(store.flush()).unwrap();
    drop(store.write::<(), _>(0, |_| Err(StoreError::defect("unheard"))));
    assert!(matches!(wait(store.flush()), Err(StoreError::Defect { .. })));
    wait(store.flush()).unwrap();
}

#[test]
fn an_operation_may_hold_the_last_handle() {
    let store = Store::in_memory();
    let (release, held) = hold(&store);
    let last = store.clone();
    let written = store.write(0, move |_| Ok(last.stats().commits));
    drop(store);
    drop(release);
    wait(held).unwrap();
    assert_eq!(wait(written).unwrap(), 1);
}

#[test]
fn damage_met_while_running_makes_the_file_suspect_until_it_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let suspect = dir.path().join("peerage.redb.suspect");
    let open = || Store::open(dir.path()).unwrap().store;
    let store = open();
    wait(store.marks().put("a", value(1))).unwrap();
    store.read_blocking(|_| Err::<(), _>(StoreError::corrupt("a page"))).unwrap_err();
    assert!(suspect.exists());
    // What does not meet the damage goes on.
    assert_eq!(store.marks().get_blocking("a").unwrap(), Some(value(1)));
    drop(store);
    let store = open();
    assert!(!suspect.exists());
    wait(store.write::<(), _>(0, |_| Err(StoreError::corrupt("a page")))).unwrap_err();
    assert!(suspect.exists());
}

#[test]
fn a_commit_is_told_of_before_the_outcome_and_also_when_nobody_waits() {
    let store = Store::in_memory();
    let told = Arc::new(AtomicUsize::new(0));
    let write = |fails: bool| {
        let told = told.clone();
        let outcome = move |_: &_| if fails { Err(StoreError::defect("no")) } else { Ok(7) };
        store.write_then(0, outcome, move |seven| _ = told.fetch_add(*seven, SeqCst))
    };
    assert_eq!(wait(write(false)).unwrap(), 7);
    assert_eq!(told.load(SeqCst), 7);
    drop(write(false));
    wait(store.flush()).unwrap();
    assert_eq!(told.load(SeqCst), 14);
    wait(write(true)).unwrap_err();
    assert_eq!(told.load(SeqCst), 14, "nothing was committed");
}
