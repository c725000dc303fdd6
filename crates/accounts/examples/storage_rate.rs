//! How fast services store: `cargo run --release -p peerage-accounts --example storage_rate [DIR]`.
//!
//! Prints puts per second, one after the other, many at once, and in batches, next to what the
//! store does alone: rows of the same size, one commit each. DIR should be on the disk in question.

use std::{future::Future, path::PathBuf, sync::Arc, time::Instant};

use bytes::Bytes;
use peerage_accounts::{Accounts, Config, Outside};
use peerage_api::{
    Command, Desk, Link, Local, Node,
    storage::{Storage, Write},
    users::Page,
};
use peerage_store::{AccountChange, Store};
use peerage_types::{Handle, Password, PeerId, ServiceName, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Profile, Signed};

const SINGLES: usize = 5_000;
const BATCHES: usize = 50;
const BATCH: usize = 1_000;
const AT_ONCE: usize = 64;
const VALUE: &[u8] = &[7; 100];

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base)?;
    let store = Store::open(dir.path())?.store;
    let storage = storage(&store).await?;
    rate("store alone, one commit each", SINGLES, raw(&store)).await?;
    rate("put, one after the other", SINGLES, singles(&storage, "single")).await?;
    rate("put, 64 at once", SINGLES / AT_ONCE * AT_ONCE, at_once(&storage)).await?;
    rate("batches of 1,000", BATCHES * BATCH, batches(&storage)).await?;
    rate("get", SINGLES, gets(&storage)).await?;
    rate("list, pages of 1,000", BATCHES * BATCH, lists(&storage)).await?;
    store.close().await?;
    Ok(())
}

async fn rate(what: &str, count: usize, work: impl Future<Output = Outcome>) -> Outcome {
    let begun = Instant::now();
    work.await?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what:<32}{:>10.0} entries/s", count as f64 / seconds);
    Ok(())
}

/// Rows as large as sealed entries: key, value, and what CBOR and sealing add.
async fn raw(store: &Store) -> Outcome {
    for at in 0..SINGLES {
        let row = Bytes::from(vec![at as u8; VALUE.len() + 90]);
        let change = AccountChange::Service(format!("rate {at:05}"), Some(row));
        store.accounts().apply(vec![change]).await?;
    }
    Ok(())
}

async fn singles(storage: &Storage, prefix: &str) -> Outcome {
    for at in 0..SINGLES {
        storage.put(format!("{prefix}/{at}"), VALUE, None, None).await?;
    }
    Ok(())
}

async fn at_once(storage: &Storage) -> Outcome {
    let one = |lane: usize, storage: Storage| async move {
        for at in 0..SINGLES / AT_ONCE {
            storage.put(format!("lane/{lane}/{at}"), VALUE, None, None).await?;
        }
        Ok::<_, peerage_api::storage::StorageError>(())
    };
    let lanes: Vec<_> = (0..AT_ONCE).map(|l| tokio::spawn(one(l, storage.clone()))).collect();
    for lane in lanes {
        lane.await??;
    }
    Ok(())
}

async fn batches(storage: &Storage) -> Outcome {
    for batch in 0..BATCHES {
        let put = |at| Write::Put {
            key: format!("batch/{batch:03}/{at:04}"),
            value: VALUE.into(),
            if_revision: None,
            ttl_ms: None,
        };
        storage.batch((0..BATCH).map(put).collect()).await?;
    }
    Ok(())
}

async fn gets(storage: &Storage) -> Outcome {
    for at in 0..SINGLES {
        storage.get(format!("single/{at}")).await?;
    }
    Ok(())
}

async fn lists(storage: &Storage) -> Outcome {
    let (mut count, mut after) = (0, None);
    loop {
        let page = storage.list("batch/", Page { after, ..Page::default() }).await?;
        count += page.items.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(count, BATCHES * BATCH);
    Ok(())
}

/// The storage of a service for a new user, as an application gets it.
async fn storage(store: &Store) -> Outcome<Storage> {
    let snapshot = store.accounts().load_blocking()?;
    let outside = Arc::new(Nowhere(PeerId::random()));
    let accounts = Accounts::new(Config::default(), store.clone(), snapshot, outside);
    let (commands, _) = tokio::sync::mpsc::channel(1);
    let node = Node::new(Link::Local(Local::new(commands).with_desk(Arc::new(Front(accounts)))));
    let created = node.users().create(Password::new("password".into())?, None).await?;
    Ok(node.storage(created.session.auth(), ServiceName::new("org.example.rate")?))
}

#[derive(Debug)]
struct Front(Accounts);

impl Desk for Front {
    fn take(&self, command: Command) {
        match command {
            Command::Users(command) => self.0.on_users(command),
            Command::Storage(command) => self.0.on_storage(command),
            // Dropped, which tells that nobody answers.
            _ => {}
        }
    }
}

/// No network.
#[derive(Debug)]
struct Nowhere(PeerId);

impl Outside for Nowhere {
    fn node(&self) -> PeerId {
        self.0
    }
    fn publish(&self, _: Bundle) {}
    fn release(&self, _: &UserId) {}

    fn profile(&self, _: &UserId) -> Option<Signed<Profile>> {
        None
    }
    fn fate(&self, _: &UserId) -> Option<Option<UserId>> {
        None
    }
    fn user(&self, _: &UserId) -> Option<peerage_api::users::User> {
        None
    }

    fn met_again(&self) -> Option<UnixMillis> {
        None
    }

    fn is_online(&self, _: &UserId) -> bool {
        false
    }
    fn named(&self, _: &Handle) -> Vec<UserId> {
        Vec::new()
    }
    fn pin(&self, _: &UserId) {}
    fn unpin(&self, _: &UserId) {}
}
