//! Replicas as their users see them.

use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use peerage_api::{
    kv::{Applied, KvError, Op, Value, ValueKind, Write},
    users::Page,
};
use peerage_store::{Power, Store};
use peerage_types::{Expected, KvKey, Network, PeerId, Space, UnixMillis};
use peerage_wire::kv::Claimed;

use super::*;
use crate::{View, key_hash};

mod exchange;
mod history;
mod sweep;
mod writes;

/// 2026-01-01.
const START: UnixMillis = UnixMillis(1_767_225_600_000);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn signer(number: u8) -> Signer {
    Signer::node(SigningKey::from_bytes(&[number; 32]))
}

fn peer(number: u8) -> PeerId {
    signer(number).author.peer().unwrap()
}

fn key(name: impl AsRef<str>) -> KvKey {
    KvKey::new(name.as_ref()).unwrap()
}

fn put(name: impl AsRef<str>, value: impl Into<Value>) -> Write {
    Write::put(key(name), value)
}

async fn on(store: &Store, number: u8, limits: Limits) -> Replica {
    let (signer, network) = (signer(number), Network::default());
    Replica::open(signer, &network, limits, store.kv(), START).await.unwrap()
}

async fn replica(number: u8) -> (Replica, Store, Power) {
    let (store, power) = Store::simulated();
    (on(&store, number, Limits::default()).await, store, power)
}

impl Replica {
    async fn write(&self, writes: Vec<Write>, now: UnixMillis) -> Result<Applied, KvError> {
        let applied = self.apply(Space::Default, self.local(), writes, now).await;
        self.assert_sound().await;
        applied
    }

    async fn read(&self, name: &str, now: UnixMillis) -> Option<Value> {
        match self.get(Space::Default, key(name), now).await {
            Ok(entry) => Some(entry.value),
            Err(KvError::NotFound { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn assert_sound(&self) {
        assert_eq!(self.audit(&self.default_space()).await, Ok(Vec::new()));
    }

    async fn whole(&self) -> View {
        self.view(&self.default_space(), &self.local().author, START).await.unwrap()
    }

    /// Everything, as it would be sent.
    async fn outgoing(&self) -> Vec<Incoming> {
        let view = self.whole().await;
        let (sent, through) = view.since(0, None, usize::MAX).await.unwrap();
        assert_eq!(through, view.head());
        let mut all = Vec::new();
        for it in sent {
            let value = match it.value {
                None if !it.signed.entry().kind.has_value() => None,
                None => large(&view, &it.signed).await,
                value => value,
            };
            all.push(incoming(&it.signed, value));
        }
        all
    }

    async fn take(&self, from: u8, entries: Vec<Incoming>, now: UnixMillis) -> Received {
        let received = self.receive(&self.default_space(), peer(from), entries, None, now).await;
        self.assert_sound().await;
        received.unwrap()
    }
}

async fn large(view: &View, signed: &peerage_wire::kv::SignedEntry) -> Option<Bytes> {
    let hash = key_hash(signed.entry().key.as_str());
    let mut bytes = Vec::new();
    for part in 0.. {
        let Some(more) = view.value(hash, part).await.unwrap() else { break };
        bytes.extend_from_slice(&more);
    }
    (!bytes.is_empty()).then(|| bytes.into())
}

fn incoming(signed: &peerage_wire::kv::SignedEntry, value: Option<Bytes>) -> Incoming {
    let claimed = Claimed { entry: signed.entry().clone(), proof: signed.proof().clone() };
    Incoming { claimed, value }
}
