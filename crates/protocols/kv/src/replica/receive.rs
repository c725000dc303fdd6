//! Entries of other replicas: verified, then dated, allowed and counted, then stored.

use std::thread::available_parallelism;

use bytes::Bytes;
use futures::future::try_join_all;
use peerage_api::kv::{KvError, Value, ValueKind};
use peerage_types::{PeerId, SpaceId, UnixMillis};
use peerage_wire::kv::{Claimed, Entry, EntryError, Kind, MAX_GROUP, SignedEntry, Verifier};

use super::{
    Cursor, Incoming, ReceiveError, Received, Replica, SpaceState,
    batch::{Batch, Mode, Orders, Outcome, only_winners},
    edit::{Candidate, row},
    stored,
};
use crate::{
    bounds::{MAX_AT_ONCE, MAX_CHANGED, MAX_DRIFT},
    clock::is_ahead,
    key_hash,
    rows::{self, EXPIRED, REMOTE},
};

/// Entries of which the signatures and values are right.
#[derive(Debug, Default)]
struct Verified {
    candidates: Vec<Candidate>,
    /// Without their value, though it is not over.
    incomplete: u64,
}

impl Replica {
    /// Of each entry whether it would win here. A large value need not be fetched for the others.
    ///
    /// # Errors
    /// [`KvError::NoSuchSpace`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn lacks(&self, space: &SpaceId, claimed: &[Claimed]) -> Result<Vec<bool>, KvError> {
        let place = self.joined(space)?.place;
        let entries: Vec<_> = claimed.iter().map(|claimed| claimed.entry.clone()).collect();
        let read = self.inner.kv.read(move |snapshot| {
            let mut lacks = Vec::with_capacity(entries.len());
            for entry in &entries {
                let here = row(snapshot, place, &entry.key)?;
                let rank = entry.rank(&entry.fingerprint());
                lacks
                    .push(here.is_none_or(|row| rank > row.entry().rank(row.signed.fingerprint())));
            }
            Ok(lacks)
        });
        read.await.map_err(stored)
    }

    /// Takes entries, and in the same transaction notes how far the feed of `from` was taken over.
    /// Durable when it returns. Entries dated too far ahead, without a grant to write them, over a
    /// quota, or without a value that is still alive are left out and counted.
    ///
    /// # Errors
    /// [`ReceiveError::Misbehaviour`]: one of them, with which none was taken, is not what its author
    /// has signed. [`KvError::NoSuchSpace`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// What was handed in may still be taken.
    pub async fn receive(
        &self,
        space: &SpaceId,
        from: PeerId,
        entries: Vec<Incoming>,
        cursor: Option<Cursor>,
        now: UnixMillis,
    ) -> Result<Received, ReceiveError> {
        let space = self.joined(space)?;
        let count = entries.len() as u64;
        let Verified { mut candidates, incomplete } =
            self.verify(entries, space.place.id, now).await?;
        let mut received = Received { refused: incomplete, ..Received::default() };

        let gate = space.gate.lock().await;
        received.refused += self.refuse(&mut candidates, &space, now);
        if candidates.is_empty() && cursor.is_none() {
            received.known = count - received.refused;
            return Ok(received);
        }
        let batch = self.batch(&space, from, candidates, cursor, now).await?;
        let keys: Vec<_> = batch.candidates.iter().map(|it| it.entry().key.clone()).collect();
        let Outcome { seqs, refused } = self.hand_in(&space, batch, gate).await?;
        received.refused += refused;
        received.new = seqs.iter().filter(|seq| **seq > 0).count() as u64;
        received.known = count - received.new - received.refused;
        let changed = keys.into_iter().zip(seqs).filter(|(_, seq)| *seq > 0);
        received.changed = changed.map(|(key, _)| key).take(MAX_CHANGED).collect();
        Ok(received)
    }

    async fn verify(
        &self,
        entries: Vec<Incoming>,
        space: SpaceId,
        now: UnixMillis,
    ) -> Result<Verified, ReceiveError> {
        let cores = available_parallelism().map_or(1, usize::from);
        let heavy = entries.len() > MAX_AT_ONCE
            || entries
                .iter()
                .any(|it| it.claimed.entry.size as usize > peerage_wire::kv::MAX_INLINE_BYTES);
        // A group that is cut in two costs one more signature.
        let each = entries.len().div_ceil(cores).next_multiple_of(MAX_GROUP).max(MAX_GROUP);
        let mut rest = entries;
        let mut works = Vec::with_capacity(cores);
        while !rest.is_empty() {
            let next = rest.split_off(rest.len().min(each));
            let part = std::mem::replace(&mut rest, next);
            works.push(self.work(heavy, move || verify_all(part, space, now)));
        }
        let mut all = Verified::default();
        for part in try_join_all(works).await? {
            let Verified { candidates, incomplete } = part?;
            all.candidates.extend(candidates);
            all.incomplete += incomplete;
        }
        Ok(all)
    }

    /// Takes out what may not be stored, and counts it.
    fn refuse(&self, candidates: &mut Vec<Candidate>, space: &SpaceState, now: UnixMillis) -> u64 {
        let before = candidates.len();
        let max_value = self.inner.limits.max_value;
        candidates.retain(|candidate| {
            let entry = candidate.entry();
            let fits = !is_ahead(entry.hlc, now) && entry.size as usize <= max_value;
            fits && space.may_write(&entry.author, candidate.key(), entry.hlc)
        });
        let refused = before - candidates.len();
        if refused > 0 {
            tracing::debug!(space = %space.space, refused, "entries refused: date, size or grant");
        }
        // Forgotten everywhere: not refused, but known.
        let floor = self.floor(now);
        candidates.retain(|candidate| {
            let dead = rows::is_dead(candidate.entry(), candidate.flags);
            !dead || rows::died(candidate.entry()) > floor
        });
        refused as u64
    }

    async fn batch(
        &self,
        space: &SpaceState,
        from: PeerId,
        mut candidates: Vec<Candidate>,
        cursor: Option<Cursor>,
        now: UnixMillis,
    ) -> Result<Batch, KvError> {
        let high = {
            let mut clock = self.clock();
            candidates.iter().for_each(|candidate| clock.observe(candidate.entry().hlc));
            clock.high()
        };
        let (place, space, limits) = (space.place, space.space, self.inner.limits);
        let mode = Mode::Remote { from: rows::from(&from) };
        let cursor = cursor.map(|cursor| (rows::replica(place.no, &from), cursor));
        let heavy = candidates.len() > 8 * MAX_AT_ONCE;
        let work = self.work(heavy, move || {
            only_winners(&mut candidates);
            let orders = Orders::of(&candidates);
            Batch {
                place,
                space,
                mode,
                limits,
                now,
                high,
                checks: Vec::new(),
                candidates,
                orders,
                cursor,
            }
        });
        work.await
    }

    /// Hands a batch in, waiting while the store is busy, and opens the gate for the next.
    async fn hand_in(
        &self,
        space: &std::sync::Arc<SpaceState>,
        batch: Batch,
        gate: tokio::sync::MutexGuard<'_, ()>,
    ) -> Result<Outcome, KvError> {
        let bytes = batch.candidates.iter().map(Candidate::bytes).sum();
        let batch = std::sync::Arc::new(batch);
        let mut pending;
        loop {
            let written = batch.clone();
            pending = self.commit(space, bytes, move |txn| written.write(txn));
            match pending.refused() {
                Some(peerage_store::StoreError::Busy) => {
                    self.inner.kv.flush().await.map_err(stored)?
                }
                _ => break,
            }
        }
        drop(gate);
        let (_, outcome) = pending.await.map_err(stored)??;
        Ok(outcome)
    }
}

fn verify_all(
    entries: Vec<Incoming>,
    space: SpaceId,
    now: UnixMillis,
) -> Result<Verified, EntryError> {
    let mut verifier = Verifier::default();
    let mut all = Verified::default();
    for Incoming { claimed, value } in entries {
        if claimed.entry.space != space {
            return Err(EntryError::Field("space"));
        }
        let signed = verifier.verify(claimed)?;
        match verify_value(signed.entry(), value, now)? {
            Some((flags, value)) => all.candidates.push(candidate(signed, flags, value)),
            None => all.incomplete += 1,
        }
    }
    Ok(all)
}

fn candidate(signed: SignedEntry, flags: u8, value: Bytes) -> Candidate {
    let hash = key_hash(signed.entry().key.as_str());
    Candidate::new(signed, hash, REMOTE | flags, value)
}

/// The flags that an entry is stored with and its value; nothing if it should have one.
fn verify_value(
    entry: &Entry,
    value: Option<Bytes>,
    now: UnixMillis,
) -> Result<Option<(u8, Bytes)>, EntryError> {
    if !entry.kind.has_value() {
        let none = value.is_none_or(|value| value.is_empty());
        return if none { Ok(Some((0, Bytes::new()))) } else { Err(EntryError::Value) };
    }
    let Some(value) = value else {
        // By the clock of who has sent it, its time was over.
        let over = entry.expires.is_some_and(|at| at <= now.plus(MAX_DRIFT));
        return Ok(over.then(|| (EXPIRED, Bytes::new())));
    };
    let is_it =
        value.len() == entry.size as usize && *blake3::hash(&value).as_bytes() == entry.hash;
    if !is_it {
        return Err(EntryError::Value);
    }
    if !is_readable(entry.kind, &value) {
        return Err(EntryError::Field("value"));
    }
    let over = entry.expires.is_some_and(|at| at <= now);
    Ok(Some(if over { (EXPIRED, Bytes::new()) } else { (0, value) }))
}

fn is_readable(kind: Kind, value: &Bytes) -> bool {
    match kind {
        Kind::String => std::str::from_utf8(value).is_ok(),
        Kind::Int => value.len() == 8,
        Kind::Float => Value::from_bytes(ValueKind::Float, value).is_some(),
        Kind::Json => Value::from_bytes(ValueKind::Json, value).is_some(),
        Kind::Bytes => true,
        Kind::Delete | Kind::Purge => false,
    }
}
