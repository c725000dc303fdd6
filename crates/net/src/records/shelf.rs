//! Records by key, of which the furthest goes first.

use std::collections::{BTreeMap, HashMap, hash_map};

use libp2p::{
    PeerId,
    kad::{KBucketDistance, KBucketKey, RecordKey},
};

/// Things by key. Of those that may go the one is found at once that is furthest from this node: a
/// store that is full is one that is being flooded.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    here: KBucketKey<PeerId>,
    things: HashMap<RecordKey, T>,
    /// Keys of what may go.
    foreign: BTreeMap<KBucketDistance, RecordKey>,
}

impl<T> Shelf<T> {
    pub(super) fn new(local: PeerId) -> Self {
        Self { here: local.into(), things: HashMap::new(), foreign: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.things.len()
    }

    pub(super) fn get(&self, key: &RecordKey) -> Option<&T> {
        self.things.get(key)
    }

    pub(super) fn iter(&self) -> hash_map::Values<'_, RecordKey, T> {
        self.things.values()
    }

    /// How far a key is from this node.
    pub(super) fn distance(&self, key: &RecordKey) -> KBucketDistance {
        self.here.distance(&KBucketKey::new(key.clone()))
    }

    /// Puts something under a key; what is `foreign` may go when room is needed.
    pub(super) fn insert(&mut self, key: RecordKey, thing: T, foreign: bool) {
        let distance = self.distance(&key);
        match foreign {
            true => _ = self.foreign.insert(distance, key.clone()),
            false => _ = self.foreign.remove(&distance),
        }
        self.things.insert(key, thing);
    }

    pub(super) fn remove(&mut self, key: &RecordKey) -> Option<T> {
        let thing = self.things.remove(key)?;
        self.foreign.remove(&self.distance(key));
        Some(thing)
    }

    /// Takes the furthest of what may go, unless `key` is even further.
    pub(super) fn take_farther_than(&mut self, key: &RecordKey) -> Option<T> {
        let distance = self.distance(key);
        let (_, farthest) = self.foreign.last_key_value().filter(|(far, _)| **far > distance)?;
        let farthest = farthest.clone();
        self.remove(&farthest)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let gone = self.things.extract_if(|_, thing| !keep(thing));
        let gone: Vec<_> = gone.map(|(key, _)| key).collect();
        for key in gone {
            self.foreign.remove(&self.distance(&key));
        }
    }
}
