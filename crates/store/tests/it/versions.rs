//! Files of other versions: older ones are read, newer ones refused.

use std::{
    fs,
    ops::{Bound::Unbounded, ControlFlow},
    path::Path,
};

use bytes::Bytes;
use libp2p_identity::PeerId;
use peerage_store::{
    AccountChange, AccountId, AccountsSnapshot, BookSnapshot, KvRead as _, KvTable, KvTxn, List,
    OpenError, RowKind, SealedKey, SealedKind, Store, TransfersSnapshot,
};
use peerage_types::TransferId;
use redb::{Database, TableDefinition};

use crate::{file, kept, open, runtime};

const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");

/// The version that this code writes.
const PRESENT: u32 = 4;

fn peer(number: u8) -> PeerId {
    PeerId::from_bytes(&[&[0, 0x24, 8, 1, 0x12, 0x20][..], &[number; 32]].concat()).unwrap()
}

fn expected() -> BookSnapshot {
    BookSnapshot {
        peers: vec![(peer(1), Bytes::from_static(b"one")), (peer(2), Bytes::from_static(b"two"))],
        blocked: vec![peer(3)],
        allowed: vec![peer(1)],
        protected: vec![peer(2), peer(4)],
    }
}

const ID: TransferId = TransferId([1, 2, 3, 4, 5, 6, 7, 8]);

fn rows() -> [(RowKind, Bytes); 3] {
    [
        (RowKind::Transfer, Bytes::from_static(b"transfer")),
        (RowKind::Share, Bytes::from_static(b"share")),
        (RowKind::Pieces, Bytes::from_static(b"pieces")),
    ]
}

const ACCOUNT: AccountId = AccountId([7; 16]);
const SEALED: SealedKey =
    SealedKey { account: ACCOUNT, kind: SealedKind::Storage, place: [8; 16], name: [9; 16] };

fn accounts() -> Vec<AccountChange> {
    vec![
        AccountChange::Account(ACCOUNT, Some(Bytes::from_static(b"account"))),
        AccountChange::Service("notes".into(), Some(Bytes::from_static(b"service"))),
        AccountChange::Sealed(SEALED, Some(Bytes::from_static(b"sealed"))),
    ]
}

const KV_TABLES: [KvTable; 9] = [
    KvTable::Meta,
    KvTable::Entries,
    KvTable::Feed,
    KvTable::Leaves,
    KvTable::Summaries,
    KvTable::History,
    KvTable::Expiry,
    KvTable::Tombstones,
    KvTable::Values,
];

/// One row in each table, named after its place among them.
async fn put_kv(store: &Store) {
    let put = |txn: &mut KvTxn<'_>| {
        KV_TABLES.into_iter().zip(0..).try_for_each(|(table, n)| txn.put(table, &[n], &[n, n]))
    };
    store.kv().write(32, put).await.unwrap();
}

fn assert_has_kv(store: &Store) {
    for (table, n) in KV_TABLES.into_iter().zip(0..) {
        let rows = kv_rows(store, table);
        assert_eq!(rows, [(vec![n], vec![n, n])], "{table:?}");
    }
}

fn kv_rows(store: &Store, table: KvTable) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let read = store.kv().read_blocking(|snapshot| {
        snapshot.scan(table, (Unbounded, Unbounded), false, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            Ok(ControlFlow::Continue(()))
        })
    });
    read.unwrap();
    rows
}

fn golden(version: u32) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/v{version}.redb"))
}

/// What the golden file holds, written by the present code. Once, when a version is finished,
/// `UPDATE_GOLDEN=1` keeps it as the golden file of that version, which never changes after that.
#[test]
fn what_is_written_today_says_the_same_as_the_golden_file() {
    let dir = tempfile::tempdir().unwrap();
    let expected = expected();
    runtime().block_on(async {
        let store = open(dir.path());
        store.book().put(expected.peers).await.unwrap();
        for (list, peers) in [
            (List::Blocked, expected.blocked),
            (List::Allowed, expected.allowed),
            (List::Protected, expected.protected),
        ] {
            for peer in peers {
                store.book().set_listed(list, peer, true).await.unwrap();
            }
        }
        store.marks().put("high", Bytes::from_static(b"42")).await.unwrap();
        for (kind, row) in rows() {
            store.transfers().put(kind, ID, row).await.unwrap();
        }
        store.accounts().apply(accounts()).await.unwrap();
        store.known().apply(vec![([5; 32], Some(Bytes::from_static(b"known")))]).await.unwrap();
        put_kv(&store).await;
        store.close().await.unwrap();
        // Every close gives back more of the first megabyte.
        for _ in 0..5 {
            open(dir.path()).close().await.unwrap();
        }
    });
    assert_is_golden(&open(dir.path()));
    assert_has_transfers(&open(dir.path()));
    assert_has_accounts(&open(dir.path()));
    assert_has_kv(&open(dir.path()));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let target = golden(PRESENT);
        assert!(!target.exists(), "{} exists and never changes", target.display());
        fs::copy(file(dir.path()), target).unwrap();
    }
}

#[test]
fn a_file_of_version_1_is_read_and_has_no_transfers() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden(1), file(dir.path())).unwrap();
    let store = open(dir.path());
    assert_is_golden(&store);
    assert_eq!(store.transfers().load_blocking().unwrap(), TransfersSnapshot::default());
}

#[test]
fn a_file_of_version_2_is_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden(2), file(dir.path())).unwrap();
    let store = open(dir.path());
    assert_is_golden(&store);
    assert_has_transfers(&store);
    assert_eq!(store.accounts().load_blocking().unwrap(), AccountsSnapshot::default());
    assert_eq!(runtime().block_on(store.known().load()).unwrap(), []);
}

#[test]
fn a_file_of_version_3_is_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden(3), file(dir.path())).unwrap();
    let store = open(dir.path());
    assert_is_golden(&store);
    assert_has_transfers(&store);
    assert_has_accounts(&store);
    for table in KV_TABLES {
        assert_eq!(kv_rows(&store, table), []);
    }
}

#[test]
fn a_file_of_version_4_is_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(golden(4), file(dir.path())).unwrap();
    let store = open(dir.path());
    assert_is_golden(&store);
    assert_has_transfers(&store);
    assert_has_accounts(&store);
    assert_has_kv(&store);
}

#[test]
fn a_forgotten_account_leaves_nothing_sealed_and_takes_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let other = SealedKey { account: AccountId([8; 16]), ..SEALED };
    runtime().block_on(async {
        store.accounts().apply(accounts()).await.unwrap();
        let more = vec![AccountChange::Sealed(other, Some(Bytes::from_static(b"other")))];
        store.accounts().apply(more).await.unwrap();
        store.accounts().apply(vec![AccountChange::Forget(ACCOUNT)]).await.unwrap();
    });
    assert_eq!(store.accounts().load_blocking().unwrap().accounts, []);
    assert_eq!(store.accounts().get_blocking(&SEALED).unwrap(), None);
    assert_eq!(store.accounts().get_blocking(&other).unwrap().as_deref(), Some(&b"other"[..]));
}

fn assert_has_accounts(store: &Store) {
    let found = store.accounts().load_blocking().unwrap();
    assert_eq!(found.accounts, [(ACCOUNT, Bytes::from_static(b"account"))]);
    assert_eq!(found.services, [("notes".to_owned(), Bytes::from_static(b"service"))]);
    let sealed = vec![(SEALED, Bytes::from_static(b"sealed"))];
    let accounts = store.accounts();
    assert_eq!(accounts.sealed_blocking(ACCOUNT, SEALED.kind, SEALED.place).unwrap(), sealed);
    let bytes = SEALED.to_bytes().len() + b"sealed".len();
    let of_kind = |kind, max| accounts.sealed_kind_blocking(ACCOUNT, kind, max).unwrap();
    assert_eq!(of_kind(SEALED.kind, bytes), Some(sealed));
    assert_eq!(of_kind(SEALED.kind, bytes - 1), None, "more than was asked for");
    assert_eq!(of_kind(SealedKind::Contact, 0), Some(Vec::new()));
    assert_eq!(accounts.get_blocking(&SEALED).unwrap().as_deref(), Some(&b"sealed"[..]));
    let known = vec![([5; 32], Bytes::from_static(b"known"))];
    assert_eq!(runtime().block_on(store.known().load()).unwrap(), known);
}

fn assert_has_transfers(store: &Store) {
    let [(_, transfer), (_, share), (_, pieces)] = rows();
    let found = store.transfers().load_blocking().unwrap();
    assert_eq!(found.transfers, [(ID, transfer)]);
    assert_eq!(found.shares, [(ID, share)]);
    assert_eq!(store.transfers().get_blocking(RowKind::Pieces, ID).unwrap(), Some(pieces));
}

fn assert_is_golden(store: &Store) {
    assert_eq!(store.book().load_blocking().unwrap(), expected());
    assert_eq!(store.marks().get_blocking("high").unwrap().as_deref(), Some(&b"42"[..]));
}

/// A file of version 99; unclean as after `kill -9` if asked for.
fn newer(dir: &Path, unclean: bool) -> Vec<u8> {
    drop(open(dir));
    let database = Database::open(file(dir)).unwrap();
    let txn = database.begin_write().unwrap();
    txn.open_table(META).unwrap().insert(&b"schema"[..], &99_u32.to_be_bytes()[..]).unwrap();
    txn.commit().unwrap();
    let open = fs::read(file(dir)).unwrap();
    drop(database);
    if unclean {
        fs::write(file(dir), open).unwrap();
    }
    fs::read(file(dir)).unwrap()
}

fn is_refused(dir: &Path) {
    let error = Store::open(dir).unwrap_err();
    assert!(matches!(error, OpenError::TooNew { found: 99, known: PRESENT, .. }), "{error:?}");
    assert!(error.to_string().contains("version 99"), "{error}");
    assert!(kept(dir).is_empty());
}

#[test]
fn a_newer_file_is_refused_and_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let before = newer(dir.path(), false);
    is_refused(dir.path());
    is_refused(dir.path());
    assert_eq!(fs::read(file(dir.path())).unwrap(), before);
}

#[test]
fn a_newer_file_that_needs_repair_is_repaired_but_still_refused() {
    let dir = tempfile::tempdir().unwrap();
    newer(dir.path(), true);
    is_refused(dir.path());
    is_refused(dir.path());
}
