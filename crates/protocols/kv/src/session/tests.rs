//! Sessions over pipes in memory.

use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use peerage_api::{
    kv::{KvError, Value, Write},
    users::Page,
};
use peerage_store::{Power, Store};
use peerage_types::{KvKey, Network, Space};
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use super::*;
use crate::{Item, Limits, Node, Signer, View};

mod broken;
mod figures;
mod fills;
mod grants;
mod liars;
mod meetings;
mod oracle;

type Pipe = Compat<DuplexStream>;

/// 2026-01-01.
const START: UnixMillis = UnixMillis(1_767_225_600_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A node with a replica.
struct Peer {
    replica: Replica,
    id: PeerId,
    store: Store,
    power: Power,
}

fn signer(number: u8) -> Signer {
    Signer::node(SigningKey::from_bytes(&[number; 32]))
}

fn key(name: impl AsRef<str>) -> KvKey {
    KvKey::new(name.as_ref()).unwrap()
}

fn put(name: impl AsRef<str>, value: impl Into<Value>) -> Write {
    Write::put(key(name), value)
}

fn delete(name: impl AsRef<str>) -> Write {
    Write::Delete { key: key(name), expect: None }
}

async fn open(number: u8, store: &Store, limits: Limits) -> Replica {
    let network = Network::default();
    Replica::open(signer(number), &network, limits, store.kv(), START).await.unwrap()
}

async fn peer(number: u8) -> Peer {
    limited(number, Limits::default()).await
}

async fn limited(number: u8, limits: Limits) -> Peer {
    let (store, power) = Store::simulated();
    let replica = open(number, &store, limits).await;
    Peer { replica, id: signer(number).author.peer().unwrap(), store, power }
}

impl Peer {
    async fn write(&self, writes: Vec<Write>, now: UnixMillis) {
        let signer = self.replica.local().clone();
        self.replica.apply(Space::Default, &signer, writes, now).await.unwrap();
    }

    /// Entries `prefix/<number>`, signed in batches.
    async fn fill(&self, prefix: &str, numbers: std::ops::Range<u32>) {
        let numbers: Vec<_> = numbers.collect();
        for batch in numbers.chunks(10_000) {
            let write = |n: &u32| put(format!("{prefix}/{n}"), i64::from(*n));
            self.write(batch.iter().map(write).collect(), START).await;
        }
    }

    async fn read(&self, name: &str, now: UnixMillis) -> Option<Value> {
        match self.replica.get(Space::Default, key(name), now).await {
            Ok(entry) => Some(entry.value),
            Err(KvError::NotFound { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn view(&self) -> View {
        let local = self.replica.local().author;
        self.replica.view(&self.replica.default_space(), &local, START).await.unwrap()
    }

    async fn items(&self) -> Vec<Item> {
        self.view().await.items(vec![Node::ROOT], usize::MAX).await.unwrap().remove(0)
    }

    async fn assert_sound(&self) {
        assert_eq!(self.replica.audit(&self.replica.default_space()).await, Ok(Vec::new()));
    }
}

fn pipe() -> (Pipe, Pipe) {
    let (ours, theirs) = tokio::io::duplex(16 << 10);
    (ours.compat(), theirs.compat())
}

/// A session that `one` opens; what each has to say of it.
async fn meet(one: &Peer, two: &Peer) -> (Outcome, Outcome) {
    meet_at(one, two, START).await
}

async fn meet_at(one: &Peer, two: &Peer, now: UnixMillis) -> (Outcome, Outcome) {
    let (first, second) = try_meet(one, two, Bounds::default(), now).await;
    (first.unwrap(), second.unwrap())
}

async fn try_meet(
    one: &Peer,
    two: &Peer,
    bounds: Bounds,
    now: UnixMillis,
) -> (Result<Outcome, SessionError>, Result<Outcome, SessionError>) {
    let (first, second) = run(one, two, bounds, now).await;
    if let (Ok(first), Ok(second)) = (&first, &second) {
        let (ours, theirs) = (&first.report, &second.report);
        assert_eq!(
            (ours.sent_bytes, ours.received_bytes),
            (theirs.received_bytes, theirs.sent_bytes)
        );
        assert_eq!((first.equal, ours.rounds), (second.equal, theirs.rounds));
    }
    one.assert_sound().await;
    two.assert_sound().await;
    (first, second)
}

async fn run(
    one: &Peer,
    two: &Peer,
    bounds: Bounds,
    now: UnixMillis,
) -> (Result<Outcome, SessionError>, Result<Outcome, SessionError>) {
    let (left, right) = pipe();
    let space = one.replica.default_space();
    let ours = one.replica.clone();
    tokio::join!(
        initiate_within(bounds, left, two.id, space, ours, || now),
        respond_within(bounds, right, one.id, two.replica.clone(), || now),
    )
}

/// Without looking whether all is well afterwards.
async fn meet_quickly(one: &Peer, two: &Peer) -> (Outcome, Outcome) {
    let (first, second) = run(one, two, Bounds::default(), START).await;
    (first.unwrap(), second.unwrap())
}

async fn assert_equal(one: &Peer, two: &Peer) {
    assert_eq!(one.items().await, two.items().await);
}

fn bytes(outcome: &Outcome) -> u64 {
    outcome.report.sent_bytes + outcome.report.received_bytes
}
