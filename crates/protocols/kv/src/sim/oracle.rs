//! What must come out: a map, in which the greatest version of each key wins.

use std::collections::BTreeMap;

use bytes::Bytes;
use peerage_types::{Hlc, KvKey, UnixMillis};
use peerage_wire::kv::{Fingerprint, SignedEntry};

use crate::bounds::floor;

/// A version as all must have it: what it says, who has signed that, and the value.
pub(super) type Kept = (Fingerprint, [u8; 64], Option<Bytes>);

/// All that was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    best: BTreeMap<KvKey, (Rank, SignedEntry, Option<Bytes>)>,
}

type Rank = (Hlc, [u8; 32], Fingerprint);

impl Oracle {
    pub(super) fn acknowledged(&mut self, signed: SignedEntry, value: Option<Bytes>) {
        let rank = signed.entry().rank(signed.fingerprint());
        let key = signed.entry().key.clone();
        if self.best.get(&key).is_none_or(|(best, ..)| rank > *best) {
            self.best.insert(key, (rank, signed, value));
        }
    }

    /// What is left of it, when what is over is marked as such.
    pub(super) fn merged(&self, now: UnixMillis) -> BTreeMap<KvKey, Kept> {
        let mut merged = BTreeMap::new();
        for (key, (_, signed, value)) in &self.best {
            let entry = signed.entry();
            let over = entry.expires.is_some_and(|at| at <= now);
            let died = if entry.kind.has_value() { entry.expires } else { Some(entry.hlc.at()) };
            let dead = over || !entry.kind.has_value();
            if dead && died.is_some_and(|at| at <= floor(now)) {
                continue;
            }
            let value = value.clone().filter(|_| !over);
            merged.insert(key.clone(), (*signed.fingerprint(), signed.proof().signature, value));
        }
        merged
    }
}
