//! What this node stores for Kademlia: bounded, expiring, fair between publishers.
//!
//! libp2p's `MemoryStore` counts foreign keys against one limit and never makes room: one publisher
//! fills it and everyone else is refused. Here each publisher has a quota of its own, and a full
//! store makes room by dropping what is furthest from this node in the key space.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use libp2p::{
    PeerId,
    kad::{
        KBucketDistance, KBucketKey, ProviderRecord, Record, RecordKey,
        store::{Error, RecordStore, Result},
    },
};

/// Addresses kept of a provider: enough for v4 and v6 over TCP and QUIC.
const MAX_ADDRESSES: usize = 6;

/// How much is stored.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Value records: 1,024 × 15 KiB = 15 MiB at worst.
    pub(crate) max_records: usize,
    /// Bytes of a value: what fits a Kademlia packet of 16 KiB beside key and envelope.
    pub(crate) max_value_bytes: usize,
    /// Keys with providers: 4,096 × 20 providers × about 400 bytes = 32 MiB at worst.
    pub(crate) max_keys: usize,
    /// Providers of one key.
    pub(crate) max_providers_per_key: usize,
    /// Keys that one provider, or records that one publisher, may hold here.
    pub(crate) max_per_publisher: usize,
    /// How long a provider record lives, whatever it says.
    pub(crate) provider_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_records: 1024,
            max_value_bytes: 15 * 1024,
            max_keys: 4096,
            max_providers_per_key: 20,
            max_per_publisher: 256,
            provider_ttl: Duration::from_secs(30 * 60),
        }
    }
}

/// The store.
#[derive(Debug)]
pub(crate) struct Records {
    local: PeerId,
    here: KBucketKey<PeerId>,
    limits: Limits,
    values: HashMap<RecordKey, Record>,
    /// Publishers of stored values and how many each has.
    publishers: HashMap<PeerId, usize>,
    providers: HashMap<RecordKey, BTreeMap<PeerId, ProviderRecord>>,
    /// Providers other than this node, and for how many keys each is stored.
    provides: HashMap<PeerId, usize>,
}

impl Records {
    pub(crate) fn new(local: PeerId, limits: Limits) -> Self {
        Self {
            local,
            here: local.into(),
            limits,
            values: HashMap::new(),
            publishers: HashMap::new(),
            providers: HashMap::new(),
            provides: HashMap::new(),
        }
    }

    /// Records stored, values and keys with providers together.
    pub(crate) fn len(&self) -> usize {
        self.values.len() + self.providers.len()
    }

    /// Drops what has expired.
    pub(crate) fn expire(&mut self, now: Instant) {
        let publishers = &mut self.publishers;
        self.values.retain(|_, record| {
            let keep = !record.is_expired(now);
            if !keep {
                release(publishers, record.publisher);
            }
            keep
        });
        let provides = &mut self.provides;
        self.providers.retain(|_, of_key| {
            of_key.retain(|peer, record| {
                let keep = !record.is_expired(now);
                if !keep {
                    release(provides, Some(*peer));
                }
                keep
            });
            !of_key.is_empty()
        });
    }

    fn distance(&self, key: &RecordKey) -> KBucketDistance {
        self.here.distance(&KBucketKey::new(key.clone()))
    }

    /// The foreign key furthest from this node: the first to go when there is no room.
    fn furthest<'a>(&self, keys: impl Iterator<Item = &'a RecordKey>) -> Option<RecordKey> {
        keys.max_by_key(|key| self.distance(key)).cloned()
    }

    fn is_ours(&self, key: &RecordKey) -> bool {
        self.providers.get(key).is_some_and(|of_key| of_key.contains_key(&self.local))
    }

    /// Makes room for one more value under `key`, or refuses.
    fn make_room_for_value(&mut self, key: &RecordKey) -> Result<()> {
        if self.values.len() < self.limits.max_records {
            return Ok(());
        }
        let local = Some(self.local);
        let foreign = self.values.iter().filter(|(_, r)| r.publisher != local).map(|(k, _)| k);
        match self.furthest(foreign) {
            Some(far) if self.distance(&far) > self.distance(key) => {
                self.remove(&far);
                Ok(())
            }
            _ => Err(Error::MaxRecords),
        }
    }

    fn make_room_for_key(&mut self, key: &RecordKey) -> Result<()> {
        if self.providers.contains_key(key) || self.providers.len() < self.limits.max_keys {
            return Ok(());
        }
        let foreign = self.providers.keys().filter(|k| !self.is_ours(k));
        match self.furthest(foreign) {
            Some(far) if self.distance(&far) > self.distance(key) => {
                for peer in self.providers.remove(&far).into_iter().flatten().map(|(peer, _)| peer)
                {
                    release(&mut self.provides, Some(peer));
                }
                Ok(())
            }
            _ => Err(Error::MaxProvidedKeys),
        }
    }

    fn put_at(&mut self, mut record: Record, now: Instant) -> Result<()> {
        if record.value.len() > self.limits.max_value_bytes {
            return Err(Error::ValueTooLarge);
        }
        if record.is_expired(now) {
            return Ok(());
        }
        self.remove(&record.key);
        let held = record.publisher.and_then(|p| self.publishers.get(&p)).copied().unwrap_or(0);
        if record.publisher != Some(self.local) && held >= self.limits.max_per_publisher {
            return Err(Error::MaxRecords);
        }
        self.make_room_for_value(&record.key)?;
        // Without an expiry a record would stay for ever.
        record.expires.get_or_insert(now + self.limits.provider_ttl);
        claim(&mut self.publishers, record.publisher);
        self.values.insert(record.key.clone(), record);
        Ok(())
    }

    fn add_provider_at(&mut self, mut record: ProviderRecord, now: Instant) -> Result<()> {
        let ours = record.provider == self.local;
        record.addresses.truncate(MAX_ADDRESSES);
        let longest = now + self.limits.provider_ttl;
        record.expires = Some(record.expires.map_or(longest, |at| at.min(longest)));
        let known =
            self.providers.get(&record.key).is_some_and(|k| k.contains_key(&record.provider));
        if !known && !ours {
            let held = self.provides.get(&record.provider).copied().unwrap_or(0);
            if held >= self.limits.max_per_publisher {
                return Err(Error::MaxProvidedKeys);
            }
        }
        self.make_room_for_key(&record.key)?;
        let of_key = self.providers.entry(record.key.clone()).or_default();
        if !known && !ours && of_key.len() >= self.limits.max_providers_per_key {
            // The freshest twenty are as good as any; the one that expires first goes.
            let oldest = of_key.iter().min_by_key(|(_, r)| r.expires).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                of_key.remove(&oldest);
                release(&mut self.provides, Some(oldest));
            }
        }
        let of_key = self.providers.entry(record.key.clone()).or_default();
        if of_key.insert(record.provider, record.clone()).is_none() && !ours {
            claim(&mut self.provides, Some(record.provider));
        }
        Ok(())
    }
}

fn claim(counts: &mut HashMap<PeerId, usize>, who: Option<PeerId>) {
    if let Some(who) = who {
        *counts.entry(who).or_default() += 1;
    }
}

fn release(counts: &mut HashMap<PeerId, usize>, who: Option<PeerId>) {
    let Some(who) = who else { return };
    if let Some(count) = counts.get_mut(&who) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&who);
        }
    }
}

impl RecordStore for Records {
    type RecordsIter<'a> = std::iter::Map<
        std::collections::hash_map::Values<'a, RecordKey, Record>,
        fn(&'a Record) -> Cow<'a, Record>,
    >;
    type ProvidedIter<'a> = std::vec::IntoIter<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        let record = self.values.get(key)?;
        (!record.is_expired(Instant::now())).then_some(Cow::Borrowed(record))
    }

    fn put(&mut self, record: Record) -> Result<()> {
        self.put_at(record, Instant::now())
    }

    fn remove(&mut self, key: &RecordKey) {
        if let Some(record) = self.values.remove(key) {
            release(&mut self.publishers, record.publisher);
        }
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        self.values.values().map(Cow::Borrowed)
    }

    fn add_provider(&mut self, record: ProviderRecord) -> Result<()> {
        self.add_provider_at(record, Instant::now())
    }

    fn providers(&self, key: &RecordKey) -> Vec<ProviderRecord> {
        let now = Instant::now();
        let of_key = self.providers.get(key).into_iter().flat_map(BTreeMap::values);
        of_key.filter(|record| !record.is_expired(now)).cloned().collect()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        let ours = self.providers.values().filter_map(|of_key| of_key.get(&self.local));
        ours.map(Cow::Borrowed).collect::<Vec<_>>().into_iter()
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        let Some(of_key) = self.providers.get_mut(key) else { return };
        if of_key.remove(peer).is_some() && *peer != self.local {
            release(&mut self.provides, Some(*peer));
        }
        if of_key.is_empty() {
            self.providers.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> RecordKey {
        RecordKey::new(&n.to_be_bytes())
    }

    fn provider(n: u32, peer: PeerId) -> ProviderRecord {
        ProviderRecord::new(key(n), peer, vec![])
    }

    fn records() -> (PeerId, Records) {
        let local = PeerId::random();
        (local, Records::new(local, Limits::default()))
    }

    #[test]
    fn a_flood_from_one_publisher_displaces_nobody() {
        let (_, mut records) = records();
        let (honest, flooder, now) = (PeerId::random(), PeerId::random(), Instant::now());
        for n in 0..100 {
            records.add_provider_at(provider(n, honest), now).unwrap();
        }
        let stored =
            (1000..101_000).filter(|n| records.add_provider_at(provider(*n, flooder), now).is_ok());
        assert_eq!(stored.count(), Limits::default().max_per_publisher);
        assert!((0..100).all(|n| records.providers(&key(n)).len() == 1));
    }

    #[test]
    fn a_full_store_keeps_what_is_nearest_and_what_is_ours() {
        let (local, mut records) = records();
        let now = Instant::now();
        records.add_provider_at(provider(u32::MAX, local), now).unwrap();
        for n in 0..20_000 {
            let _ = records.add_provider_at(provider(n, PeerId::random()), now);
        }
        assert_eq!(records.providers.len(), Limits::default().max_keys);
        assert_eq!(records.provided().len(), 1);
        let kept = records.providers.keys().filter(|k| !records.is_ours(k));
        let furthest_kept = kept.map(|k| records.distance(k)).max().unwrap();
        let dropped = (0..20_000).map(key).filter(|k| !records.providers.contains_key(k));
        let nearest_dropped = dropped.map(|k| records.distance(&k)).min().unwrap();
        assert!(furthest_kept < nearest_dropped);
    }

    #[test]
    fn what_expires_frees_its_place_and_its_quota() {
        let (_, mut records) = records();
        let (peer, now) = (PeerId::random(), Instant::now());
        for n in 0..256 {
            records.add_provider_at(provider(n, peer), now).unwrap();
        }
        assert!(records.add_provider_at(provider(256, peer), now).is_err());
        records.expire(now + Duration::from_secs(31 * 60));
        assert_eq!(records.len(), 0);
        assert!(records.provides.is_empty());
        records.add_provider_at(provider(256, peer), now).unwrap();
    }

    #[test]
    fn a_value_that_cannot_be_sent_is_not_stored() {
        let (_, mut records) = records();
        let record = Record::new(key(1), vec![0; 16 * 1024]);
        assert!(matches!(records.put(record), Err(Error::ValueTooLarge)));
    }
}
