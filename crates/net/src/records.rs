//! What this node stores for Kademlia: bounded, expiring, fair between publishers.
//!
//! libp2p's `MemoryStore` counts foreign keys against one limit and never makes room: one publisher
//! fills it and everyone else is refused. Here each publisher has a quota of its own, a full store
//! makes room by dropping what is furthest from this node in the key space, and nobody replaces what
//! somebody else has stored. What this node itself provides stays until it is taken back.

mod shelf;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, hash_map},
    time::{Duration, Instant},
};

use libp2p::{
    PeerId,
    kad::{
        ProviderRecord, Record, RecordKey,
        store::{Error, RecordStore, Result},
    },
};

use shelf::Shelf;

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

type Providers = BTreeMap<PeerId, ProviderRecord>;

/// The store.
#[derive(Debug)]
pub(crate) struct Records {
    local: PeerId,
    limits: Limits,
    values: Shelf<Record>,
    /// Publishers of stored values and how many each has.
    publishers: HashMap<PeerId, usize>,
    providers: Shelf<Providers>,
    /// Providers other than this node, and for how many keys each is stored.
    provides: HashMap<PeerId, usize>,
}

impl Records {
    pub(crate) fn new(local: PeerId, limits: Limits) -> Self {
        Self {
            local,
            limits,
            values: Shelf::new(local),
            publishers: HashMap::new(),
            providers: Shelf::new(local),
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
        self.values.retain(|record| {
            let keep = !record.is_expired(now);
            if !keep {
                release(publishers, record.publisher);
            }
            keep
        });
        let provides = &mut self.provides;
        self.providers.retain(|of_key| {
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

    /// Stores a value that was found to be newer than what is here, whoever published that.
    pub(crate) fn replace(&mut self, record: Record) -> Result<()> {
        self.put_at(record, true, Instant::now())
    }

    /// Makes room for one more value under `key`, or refuses.
    fn make_room_for_value(&mut self, key: &RecordKey) -> Result<()> {
        if self.values.len() < self.limits.max_records {
            return Ok(());
        }
        let gone = self.values.take_farther_than(key).ok_or(Error::MaxRecords)?;
        release(&mut self.publishers, gone.publisher);
        Ok(())
    }

    fn make_room_for_key(&mut self, key: &RecordKey) -> Result<()> {
        if self.providers.get(key).is_some() || self.providers.len() < self.limits.max_keys {
            return Ok(());
        }
        let gone = self.providers.take_farther_than(key).ok_or(Error::MaxProvidedKeys)?;
        for peer in gone.into_keys() {
            release(&mut self.provides, Some(peer));
        }
        Ok(())
    }

    /// Stores a value. Unless it is to `replace` what others have stored, a different value of somebody
    /// else under the same key stays until it expires; the same value lives on as theirs.
    fn put_at(&mut self, mut record: Record, replace: bool, now: Instant) -> Result<()> {
        if record.value.len() > self.limits.max_value_bytes {
            return Err(Error::ValueTooLarge);
        }
        if record.is_expired(now) {
            return Ok(());
        }
        // Without an expiry a record would stay for ever.
        record.expires.get_or_insert(now + self.limits.provider_ttl);
        let is_ours = record.publisher == Some(self.local);
        let before = self.values.get(&record.key).filter(|before| !before.is_expired(now));
        let holder = match before {
            Some(before) if before.publisher == record.publisher => Some(before.publisher),
            Some(before) if before.value == record.value && !is_ours => {
                record.expires = record.expires.max(before.expires);
                record.publisher = before.publisher;
                Some(before.publisher)
            }
            Some(_) if !replace && !is_ours => return Err(Error::MaxRecords),
            _ => None,
        };
        if holder.is_none() && !is_ours && self.is_full(record.publisher) {
            return Err(Error::MaxRecords);
        }
        self.remove(&record.key);
        self.make_room_for_value(&record.key)?;
        claim(&mut self.publishers, record.publisher);
        let is_foreign = record.publisher != Some(self.local);
        self.values.insert(record.key.clone(), record, is_foreign);
        Ok(())
    }

    fn is_full(&self, publisher: Option<PeerId>) -> bool {
        let held = publisher.and_then(|p| self.publishers.get(&p)).copied().unwrap_or(0);
        held >= self.limits.max_per_publisher
    }

    fn add_provider_at(&mut self, mut record: ProviderRecord, now: Instant) -> Result<()> {
        let is_ours = record.provider == self.local;
        record.addresses.truncate(MAX_ADDRESSES);
        let longest = now + self.limits.provider_ttl;
        // Kademlia puts out anew what is here, and no longer what has expired.
        record.expires = (!is_ours).then(|| record.expires.map_or(longest, |at| at.min(longest)));
        let of_key = self.providers.get(&record.key);
        let is_known = of_key.is_some_and(|of_key| of_key.contains_key(&record.provider));
        let held = self.provides.get(&record.provider).copied().unwrap_or(0);
        if !is_known && !is_ours && held >= self.limits.max_per_publisher {
            return Err(Error::MaxProvidedKeys);
        }
        self.make_room_for_key(&record.key)?;
        let mut of_key = self.providers.remove(&record.key).unwrap_or_default();
        if !is_known && !is_ours && of_key.len() >= self.limits.max_providers_per_key {
            self.drop_oldest(&mut of_key);
        }
        if !is_known && !is_ours {
            claim(&mut self.provides, Some(record.provider));
        }
        let key = record.key.clone();
        of_key.insert(record.provider, record);
        self.shelve(key, of_key);
        Ok(())
    }

    /// The freshest are as good as any; the one that expires first goes, but not this node.
    fn drop_oldest(&mut self, of_key: &mut Providers) {
        let others = of_key.iter().filter(|(_, record)| record.expires.is_some());
        if let Some(oldest) = others.min_by_key(|(_, r)| r.expires).map(|(peer, _)| *peer) {
            of_key.remove(&oldest);
            release(&mut self.provides, Some(oldest));
        }
    }

    fn shelve(&mut self, key: RecordKey, of_key: Providers) {
        if !of_key.is_empty() {
            let is_foreign = !of_key.contains_key(&self.local);
            self.providers.insert(key, of_key, is_foreign);
        }
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
    type RecordsIter<'a> =
        std::iter::Map<hash_map::Values<'a, RecordKey, Record>, fn(&'a Record) -> Cow<'a, Record>>;
    type ProvidedIter<'a> = std::vec::IntoIter<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        let record = self.values.get(key)?;
        (!record.is_expired(Instant::now())).then_some(Cow::Borrowed(record))
    }

    fn put(&mut self, record: Record) -> Result<()> {
        self.put_at(record, false, Instant::now())
    }

    fn remove(&mut self, key: &RecordKey) {
        if let Some(record) = self.values.remove(key) {
            release(&mut self.publishers, record.publisher);
        }
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        self.values.iter().map(Cow::Borrowed)
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
        let ours = self.providers.iter().filter_map(|of_key| of_key.get(&self.local));
        ours.map(Cow::Borrowed).collect::<Vec<_>>().into_iter()
    }

    fn remove_provider(&mut self, key: &RecordKey, peer: &PeerId) {
        let Some(mut of_key) = self.providers.remove(key) else { return };
        if of_key.remove(peer).is_some() && *peer != self.local {
            release(&mut self.provides, Some(*peer));
        }
        self.shelve(key.clone(), of_key);
    }
}
