//! A smaller file at a clean stop, when most of it is free.
//!
//! redb reuses free pages and gives back those at the end of the file, but moves none. So the rows are copied into a
//! new file, in their order, which also fills its pages; it takes the name of the old one once it is complete and
//! durable. The old one is closed before and not written any more: whoever is killed meanwhile, or has no room,
//! keeps it as it is. A row that cannot be read ends it, too; what can be read is copied as it is and not verified,
//! as it is whenever somebody reads it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use redb::{
    Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, WriteTransaction, backends::FileBackend,
};

use crate::{
    StoreError,
    database::Disk,
    medium::{builder, private, sync_dir},
    tables::{self, Table},
};

/// Smaller files are left alone: 64 MiB.
const MIN_FILE: u64 = 64 << 20;
/// A file is rewritten when it is this many times as large as its rows will then be.
const MIN_GAIN: u64 = 2;
/// Rows of larger stores are not even read through: 512 MiB, some 1,000,000 small entries.
const MAX_ROWS: u64 = 512 << 20;
/// All of it takes no longer than this, give or take one commit; else the file stays as it is.
pub(crate) const MAX_TIME: Duration = Duration::from_secs(5);
/// Rows copied in one commit: 4 MiB. Together with the caches of both files some 40 MiB of memory.
const CHUNK_BYTES: u64 = 4 << 20;
/// What a row takes beside its key and value, at most: two offsets and its part of the branches.
const ROW_OVERHEAD: u64 = 16;
/// Bytes of a page: 4 KiB.
const PAGE: u64 = 4 << 10;
/// Rows between two looks at the clock.
const STRIDE: u64 = 1024;

/// Name in [`tables::MARKS`] of what the file was when it was not worth the work: bytes and rows, `u64`
/// big-endian.
const LOOKED_AT: &[u8] = b"store/looked-at";

/// Where a file grows until it is complete.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("redb.new")
}

/// Removes what a process that was killed has left.
pub(crate) fn remove_unfinished(path: &Path) -> io::Result<()> {
    match fs::remove_file(unfinished(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A new, empty database under the unfinished name, readable by the owner alone.
pub(crate) fn create_unfinished(path: &Path) -> Result<Database, StoreError> {
    remove_unfinished(path)?;
    let mut options = fs::OpenOptions::new();
    let file = private(options.read(true).write(true).create_new(true)).open(unfinished(path))?;
    Ok(builder().create_with_backend(FileBackend::new(file)?)?)
}

/// Gives the file its name, durably.
pub(crate) fn finish(path: &Path) -> io::Result<()> {
    fs::rename(unfinished(path), path)?;
    sync_dir(path.parent().unwrap_or(path))
}

/// Whether the file of an open database should be rewritten. If not, that is noted in it, such that it is looked
/// through again only after it has changed much.
pub(crate) fn is_due(disk: &Disk, until: Instant) -> Result<bool, StoreError> {
    let bytes = disk.bytes();
    if disk.sound_path().is_none() || bytes < MIN_FILE {
        return Ok(false);
    }
    let txn = disk.begin_read()?;
    let rows = count(&txn)?;
    if !has_changed(looked_at(&txn)?, (bytes, rows)) {
        return Ok(false);
    }
    let is_due = fits(&txn, MAX_ROWS.min(bytes / MIN_GAIN), until)?;
    if !is_due {
        note(disk.begin_write()?, (bytes, rows))?;
    }
    Ok(is_due)
}

fn note(txn: WriteTransaction, (bytes, rows): (u64, u64)) -> Result<(), StoreError> {
    let note = [bytes.to_be_bytes(), rows.to_be_bytes()].concat();
    txn.open_table(tables::MARKS)?.insert(LOOKED_AT, &note[..])?;
    Ok(txn.commit()?)
}

/// Whether it has grown by a quarter since, or lost a quarter of its rows.
fn has_changed(before: Option<(u64, u64)>, (bytes, rows): (u64, u64)) -> bool {
    before.is_none_or(|before| bytes >= before.0 / 4 * 5 || rows <= before.1 / 4 * 3)
}

fn looked_at(txn: &ReadTransaction) -> Result<Option<(u64, u64)>, StoreError> {
    let note = tables::get(txn, tables::MARKS, LOOKED_AT)?;
    let parts = note.as_deref().and_then(|note| note.split_first_chunk::<8>());
    Ok(parts.and_then(|(bytes, rows)| {
        Some((u64::from_be_bytes(*bytes), u64::from_be_bytes(rows.try_into().ok()?)))
    }))
}

fn count(txn: &ReadTransaction) -> Result<u64, StoreError> {
    tables::ALL.iter().map(|table| Ok(txn.open_table(*table)?.len()?)).sum()
}

/// Whether all rows take no more than `max` bytes, and that can be told in time.
fn fits(txn: &ReadTransaction, max: u64, until: Instant) -> Result<bool, StoreError> {
    let (mut bytes, mut rows) = (0, 0_u64);
    for table in tables::ALL {
        for row in txn.open_table(table)?.iter()? {
            let (key, value) = row?;
            bytes += size(key.value(), value.value());
            rows += 1;
            let is_late = rows.is_multiple_of(STRIDE) && Instant::now() >= until;
            if bytes > max || is_late {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// What a row takes. One that does not fit into a page has its own, of a power of two.
fn size(key: &[u8], value: &[u8]) -> u64 {
    let bytes = (key.len() + value.len()) as u64 + ROW_OVERHEAD;
    if bytes > PAGE { bytes.next_power_of_two() } else { bytes }
}

/// Rewrites the file of a closed database, unless it takes too long or gains too little. Tells whether it did.
pub(crate) fn rewrite(path: &Path, until: Instant) -> Result<bool, StoreError> {
    // Open until the other file has taken its name, so that nobody writes to it meanwhile.
    let source = builder().open_read_only(path)?;
    let is_copied = copy_all(&source, path, until).and_then(|is_worth| {
        if is_worth {
            finish(path)?;
        }
        Ok(is_worth)
    });
    drop(source);
    if let Ok(true) = is_copied {
        return Ok(true);
    }
    remove_unfinished(path)?;
    if let Ok(false) = is_copied {
        // It would not be otherwise the next time.
        let database = builder().open(path)?;
        let rows = count(&database.begin_read()?)?;
        note(database.begin_write()?, (path.metadata()?.len(), rows))?;
        database.close()?;
    }
    is_copied
}

/// Whether the copy is complete and much smaller.
fn copy_all(source: &ReadOnlyDatabase, path: &Path, until: Instant) -> Result<bool, StoreError> {
    let from = source.begin_read()?;
    if from.list_tables()?.count() != tables::ALL.len() {
        return Err(StoreError::defect("the file has tables that are not known"));
    }
    let to = create_unfinished(path)?;
    for table in tables::ALL {
        if !copy(&from, &to, table, until)? {
            return Ok(false);
        }
    }
    to.close()?;
    let bytes = |path: &Path| path.metadata().map(|file| file.len());
    Ok(bytes(&unfinished(path))? <= bytes(path)? / 4 * 3)
}

/// Whether it was done in time.
fn copy(
    from: &ReadTransaction,
    to: &Database,
    table: Table,
    until: Instant,
) -> Result<bool, StoreError> {
    let source = from.open_table(table)?;
    let mut rows = source.iter()?;
    loop {
        let txn = to.begin_write()?;
        let (mut bytes, mut copied) = (0, 0);
        let mut target = txn.open_table(table)?;
        while bytes < CHUNK_BYTES
            && let Some(row) = rows.next()
        {
            let (key, value) = row?;
            bytes += size(key.value(), value.value());
            copied = target.insert(key.value(), value.value()).map(|_| copied + 1)?;
        }
        let is_whole = target.len()? == source.len()?;
        drop(target);
        txn.commit()?;
        match (is_whole, copied) {
            (true, _) => return Ok(true),
            (false, 0) => return Err(StoreError::defect("rows are missing from the copy")),
            (false, _) if Instant::now() >= until => return Ok(false),
            (false, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, tests::wait};

    #[test]
    fn a_file_is_looked_through_again_only_after_it_has_changed_much() {
        assert!(has_changed(None, (100, 100)));
        assert!(!has_changed(Some((100, 100)), (100, 100)));
        assert!(!has_changed(Some((100, 100)), (124, 76)));
        assert!(has_changed(Some((100, 100)), (125, 100)));
        assert!(has_changed(Some((100, 100)), (100, 75)));
    }

    #[test]
    fn what_does_not_end_in_time_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap().store;
        let value = bytes::Bytes::from(vec![7; 1 << 20]);
        for n in 0..10 {
            wait(store.marks().put(&n.to_string(), value.clone())).unwrap();
        }
        wait(store.close()).unwrap();
        let path = dir.path().join("peerage.redb");
        assert!(!rewrite(&path, Instant::now()).unwrap());
        assert!(!unfinished(&path).exists());
        let store = Store::open(dir.path()).unwrap().store;
        for n in 0..10 {
            assert_eq!(wait(store.marks().get(&n.to_string())).unwrap().as_ref(), Some(&value));
        }
        let disk = store.read_blocking(looked_at).unwrap();
        assert_eq!(disk.map(|(_, rows)| rows), Some(11));
    }
}
