//! The newest snapshot of the key-value store's entries, kept open between two commits.

use std::sync::{Arc, PoisonError, RwLock};

use crate::{KvSnapshot, KvTable, StoreError, database::Disk};

/// Beginning a read transaction and opening a table costs about as much as reading a row, so point
/// reads share one snapshot.
///
/// | state | on | becomes |
/// |---|---|---|
/// | none | a point read | open, of the last commit |
/// | open | a commit, before it is acknowledged; a failure; close | none |
///
/// So it is never older than the last write that anybody was told of, and holds back the reuse of
/// no more pages than one commit frees.
#[derive(Default)]
pub(crate) struct Latest(RwLock<Option<Arc<KvSnapshot>>>);

impl Latest {
    pub(crate) fn get(&self, disk: &Disk) -> Result<Arc<KvSnapshot>, StoreError> {
        let open = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        open.map_or_else(|| self.renew(disk), Ok)
    }

    fn renew(&self, disk: &Disk) -> Result<Arc<KvSnapshot>, StoreError> {
        let mut latest = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*latest {
            return Ok(open.clone());
        }
        // Begun under the lock: what began before a commit is here before `forget` that follows it.
        let begun = KvSnapshot::open_some(&disk.begin_read()?, &[KvTable::Entries])?;
        Ok(latest.insert(Arc::new(begun)).clone())
    }

    /// To be called between a commit and its acknowledgement, without a lock that a snapshot needs
    /// to begin.
    pub(crate) fn forget(&self) {
        let former = self.0.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(former);
    }

    /// Whether a snapshot is open.
    #[cfg(test)]
    pub(crate) fn is_open(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering::Relaxed},
        thread,
    };

    use super::*;
    use crate::{
        Store,
        tests::{flaky, wait},
    };

    fn put(store: &Store, key: u8, value: u32) -> crate::Pending {
        let put = move |txn: &mut crate::KvTxn<'_>| {
            txn.put(KvTable::Entries, &[key], &value.to_be_bytes())
        };
        store.kv().write(5, put)
    }

    fn peek(store: &Store, key: u8) -> Result<Option<u32>, StoreError> {
        let value = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        store.kv().peek(&[key], value)
    }

    #[test]
    fn what_was_acknowledged_is_seen_while_others_commit_and_read() {
        const WRITERS: u8 = 3;
        let store = Store::in_memory();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|key| {
                    let store = &store;
                    scope.spawn(move || {
                        for value in 0..1_000 {
                            wait(put(store, key, value)).unwrap();
                            assert_eq!(peek(store, key).unwrap(), Some(value));
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                let mut seen = [None; WRITERS as usize];
                while !done.load(Relaxed) {
                    for (key, last) in (0..).zip(&mut seen) {
                        let now = peek(&store, key).unwrap();
                        assert!(now >= *last, "{now:?} after {last:?}");
                        *last = now;
                    }
                }
            });
            let outcomes: Vec<_> =
                writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            done.store(true, Relaxed);
            outcomes.into_iter().for_each(|outcome| outcome.unwrap());
        });
    }

    #[test]
    fn a_snapshot_is_not_kept_past_a_commit_and_keeps_no_pages_from_reuse() {
        let store = Store::in_memory();
        for value in 0..2_000 {
            wait(put(&store, 1, value)).unwrap();
            assert!(!store.latest().is_open());
            assert_eq!(peek(&store, 1).unwrap(), Some(value));
            assert!(store.latest().is_open());
        }
        // Without reuse at least two pages of 4 KiB a commit: 16 MB.
        assert!(store.stats().file_bytes < 1 << 20, "{:?}", store.stats());
    }

    #[test]
    fn a_closed_store_is_not_read_from() {
        let store = Store::in_memory();
        wait(put(&store, 1, 1)).unwrap();
        assert_eq!(peek(&store, 1).unwrap(), Some(1));
        let other = store.clone();
        wait(store.close()).unwrap();
        assert!(matches!(peek(&other, 1), Err(StoreError::Closed)));
        assert!(!other.latest().is_open());
    }

    #[test]
    fn a_file_that_was_opened_again_is_read_from() {
        let (store, disk) = flaky();
        wait(put(&store, 1, 1)).unwrap();
        assert_eq!(peek(&store, 1).unwrap(), Some(1));
        disk.writes_fail.store(5, std::sync::atomic::Ordering::SeqCst);
        wait(put(&store, 1, 2)).unwrap_err();
        assert!(!store.latest().is_open());
        disk.writes_fail.store(0, std::sync::atomic::Ordering::SeqCst);
        wait(put(&store, 1, 3)).unwrap();
        assert_eq!(peek(&store, 1).unwrap(), Some(3));
    }
}
