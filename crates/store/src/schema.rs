//! The version of all tables, and how a file of an older version becomes one of this.

use redb::{Database, ReadTransaction, TableError, WriteTransaction};

use crate::{StoreError, tables};

/// Of the tables as `tables.rs` gives them. A new or changed table is a new version: append what
/// turns the former into it to [`MIGRATIONS`] and add a file of the former version to the tests.
pub(crate) const VERSION: u32 = 4;

/// Turns version n into n + 1; missing tables have been created already.
type Migration = fn(&WriteTransaction) -> Result<(), StoreError>;

/// The first makes version 2 from 1.
const MIGRATIONS: [Migration; VERSION as usize - 1] = [
    // 2: the table of transfers, which is created before the steps.
    |_| Ok(()),
    // 3: the tables of accounts, what they seal, and known users.
    |_| Ok(()),
    // 4: the tables of the key-value store.
    |_| Ok(()),
];

/// Makes an empty database one of this version; durable when it returns.
pub(crate) fn initialise(database: &Database) -> Result<(), StoreError> {
    let txn = database.begin_write()?;
    tables::create_missing(&txn)?;
    set_version(&txn, VERSION)?;
    Ok(txn.commit()?)
}

/// Brings a file to this version; does not write if it is there.
pub(crate) fn migrate(database: &Database) -> Result<(), StoreError> {
    let found = version(&redb::ReadableDatabase::begin_read(database)?)?;
    migrate_from(database, found, &MIGRATIONS)
}

/// All steps are one transaction, so that a crash leaves the old version or the new.
fn migrate_from(
    database: &Database,
    found: u32,
    migrations: &[Migration],
) -> Result<(), StoreError> {
    let first = (found as usize).checked_sub(1).ok_or_else(|| StoreError::corrupt("version 0"))?;
    let steps = migrations.get(first..).unwrap_or_default();
    if steps.is_empty() {
        return Ok(());
    }
    let txn = database.begin_write()?;
    tables::create_missing(&txn)?;
    let mut version = found;
    for step in steps {
        step(&txn)?;
        version += 1;
    }
    set_version(&txn, version)?;
    txn.commit()?;
    tracing::info!(from = found, to = version, "the store was brought to a newer version");
    Ok(())
}

/// The version written in a file. A file without one was not made here: files get their name only
/// once they are complete.
pub(crate) fn version(txn: &ReadTransaction) -> Result<u32, StoreError> {
    let value = match tables::get(txn, tables::META, tables::SCHEMA_KEY) {
        Err(StoreError::Defect { reason }) => return Err(StoreError::corrupt(reason)),
        other => other?,
    };
    let bytes = value.as_deref().and_then(|value| value.try_into().ok());
    bytes.map(u32::from_be_bytes).ok_or_else(|| StoreError::corrupt("no schema version"))
}

fn set_version(txn: &WriteTransaction, version: u32) -> Result<(), TableError> {
    let mut meta = txn.open_table(tables::META)?;
    meta.insert(tables::SCHEMA_KEY, &version.to_be_bytes()[..])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::ReadableDatabase;

    use super::*;
    use crate::medium::Medium;

    fn database() -> Database {
        let database = Medium::memory().open().unwrap();
        initialise(&database).unwrap();
        database
    }

    fn current(database: &Database) -> u32 {
        version(&database.begin_read().unwrap()).unwrap()
    }

    fn mark(txn: &WriteTransaction, value: &[u8]) -> Result<(), StoreError> {
        txn.open_table(tables::MARKS)?.insert(&b"steps"[..], value)?;
        Ok(())
    }

    const STEPS: [Migration; 3] =
        [|txn| mark(txn, b"2"), |txn| mark(txn, b"3"), |txn| mark(txn, b"4")];

    #[test]
    fn every_step_from_the_files_version_on_is_taken_in_order() {
        let database = database();
        migrate_from(&database, 1, &STEPS[..2]).unwrap();
        assert_eq!(current(&database), 3);
        migrate_from(&database, 3, &STEPS).unwrap();
        assert_eq!(current(&database), 4);
        let txn = database.begin_read().unwrap();
        assert_eq!(tables::get(&txn, tables::MARKS, b"steps").unwrap().as_deref(), Some(&b"4"[..]));
    }

    #[test]
    fn a_step_that_fails_leaves_the_former_version() {
        let database = database();
        let steps: [Migration; 2] = [STEPS[0], |_| Err(StoreError::defect("no"))];
        migrate_from(&database, 1, &steps).unwrap_err();
        assert_eq!(current(&database), VERSION, "as it was made");
        let txn = database.begin_read().unwrap();
        assert_eq!(tables::get(&txn, tables::MARKS, b"steps").unwrap(), None);
    }

    #[test]
    fn a_database_that_is_not_ours_counts_as_damaged() {
        let database = Medium::memory().open().unwrap();
        let error = version(&database.begin_read().unwrap()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
}
