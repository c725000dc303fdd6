//! Writes of this node.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use peerage_api::kv::{self, Applied, KvError, Value, ValueKind, Write};
use peerage_types::{Hlc, KvKey, Space, UnixMillis};
use peerage_wire::kv::{Entry, Kind, MAX_INLINE_BYTES, SignedEntry};

use super::{
    Limits, Replica, Signer, SpaceState,
    batch::{Batch, Check, Mode, Needs, Orders},
    edit::Candidate,
    stored,
};
use crate::{KeyHash, bounds::MAX_AT_ONCE, key_hash};

/// A write with all that does not depend on when it happens.
#[derive(Debug)]
struct Prepared {
    key: KvKey,
    key_hash: KeyHash,
    kind: Kind,
    value: Bytes,
    hash: [u8; 32],
    expires: Option<UnixMillis>,
}

/// Of several to one key the last one, and what must be true for all.
#[derive(Debug, Default)]
struct Writes {
    /// With their numbers in the batch.
    prepared: Vec<(usize, Prepared)>,
    checks: Vec<Check>,
}

impl Replica {
    /// Applies up to [`kv::MAX_BATCH`] writes, all or none; of several to one key the last one
    /// counts, and what is expected is expected of the entries as they were before. Durable when it
    /// returns.
    ///
    /// # Errors
    /// As [`kv::Kv::batch`]; then nothing has changed. [`KvError::Clock`]: this machine's clock is
    /// behind what was already stored by more than [`MAX_DRIFT`](crate::bounds::MAX_DRIFT).
    ///
    /// # Cancel safety
    /// A write that was handed in may still happen.
    pub async fn apply(
        &self,
        space: Space,
        signer: &Signer,
        writes: Vec<Write>,
        now: UnixMillis,
    ) -> Result<Applied, KvError> {
        let space = self.named(space)?;
        let bytes = check_size(&writes, &self.inner.limits)?;
        let heavy = writes.len() > MAX_AT_ONCE || bytes > MAX_INLINE_BYTES;
        let writes = self.work(heavy, move || prepare(writes, now)).await??;
        let count = writes.prepared.len() as u64;

        let gate = space.gate.lock().await;
        let (first, high) = {
            let mut clock = self.clock();
            (clock.tick(now, count), clock.high())
        };
        let first = first.map_err(|behind| KvError::Clock { seconds: behind.seconds })?;
        if let Some(denied) = writes.prepared.iter().zip(first.0..).find_map(|((_, write), hlc)| {
            let key = write.key.as_str();
            space.denies(&signer.author, key, Hlc(hlc))
        }) {
            return Err(denied);
        }
        let (for_whom, signer, limits) = (space.clone(), signer.clone(), self.inner.limits);
        let batch = self
            .work(heavy, move || {
                let (candidates, checks) = sign(writes, &for_whom, &signer, first);
                let orders = Orders::of(&candidates);
                let (place, space, mode) = (for_whom.place, for_whom.space, Mode::Local);
                Batch {
                    place,
                    space,
                    mode,
                    limits,
                    now,
                    high,
                    checks,
                    candidates,
                    orders,
                    cursor: None,
                }
            })
            .await?;
        let last =
            batch.candidates.last().map(|last| last.entry().revision(last.signed.fingerprint()));
        let pending = self.commit(&space, bytes, move |txn| batch.write(txn));
        drop(gate);
        let (counters, _) = pending.await.map_err(stored)??;
        let revision = last.ok_or_else(empty)?;
        Ok(Applied { seq: counters.head, revision })
    }
}

fn empty() -> KvError {
    KvError::BadField { field: "writes".into(), reason: "must have at least one".into() }
}

fn too_large(what: impl Into<String>, bytes: usize, max: usize) -> KvError {
    KvError::TooLarge { what: what.into(), bytes: bytes as u64, max: max as u64 }
}

/// The bytes of keys and values of a batch that is within its bounds.
fn check_size(writes: &[Write], limits: &Limits) -> Result<usize, KvError> {
    match writes.len() {
        0 => return Err(empty()),
        count if count > kv::MAX_BATCH => {
            return Err(KvError::TooMany { what: "writes".into(), max: kv::MAX_BATCH as u64 });
        }
        _ => {}
    }
    let mut bytes = 0;
    for write in writes {
        let size = match write {
            Write::Put { value, .. } => size(value),
            Write::Delete { .. } | Write::Purge { .. } => 0,
        };
        if size > limits.max_value {
            return Err(too_large(
                format!("the value of {:?}", write.key()),
                size,
                limits.max_value,
            ));
        }
        bytes += size + write.key().as_str().len();
    }
    if writes.len() > 1 && bytes > kv::MAX_BATCH_BYTES {
        return Err(too_large("the batch", bytes, kv::MAX_BATCH_BYTES));
    }
    Ok(bytes)
}

pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Int(_) | Value::Float(_) => 8,
        Value::Bytes(bytes) => bytes.len(),
        // Turned into text only once.
        Value::Json(json) => json.to_string().len(),
    }
}

fn prepare(writes: Vec<Write>, now: UnixMillis) -> Result<Writes, KvError> {
    let mut made = Writes::default();
    let last: HashMap<KvKey, usize> =
        writes.iter().enumerate().map(|(at, write)| (write.key().clone(), at)).collect();
    let mut first = HashSet::with_capacity(last.len());
    let mut asked = Vec::new();
    for (at, write) in writes.into_iter().enumerate() {
        let key = write.key().clone();
        let is_first = first.insert(key.clone());
        let (expect, needs) = match &write {
            Write::Put { expect, .. } => (*expect, Needs::Nothing),
            // What an earlier write of the batch has set may be deleted.
            Write::Delete { expect, .. } if !is_first => (*expect, Needs::Nothing),
            Write::Delete { expect, .. } => (*expect, Needs::Entry),
            Write::Purge { .. } if !is_first => (None, Needs::Nothing),
            Write::Purge { .. } => (None, Needs::Trace),
        };
        if expect.is_some() || needs != Needs::Nothing {
            asked.push((last[&key], expect, needs));
        }
        if last[&key] == at {
            made.prepared.push((at, Prepared::new(write, now)?));
        }
    }
    for (at, expect, needs) in asked {
        let at = made.prepared.binary_search_by_key(&at, |(at, _)| *at);
        made.checks.extend(at.ok().map(|at| Check { at, expect, needs }));
    }
    Ok(made)
}

impl Prepared {
    fn new(write: Write, now: UnixMillis) -> Result<Self, KvError> {
        let (key, kind, value, expires) = match write {
            Write::Delete { key, .. } => (key, Kind::Delete, None, None),
            Write::Purge { key } => (key, Kind::Purge, None, None),
            Write::Put { key, value, ttl_ms, .. } => {
                let bytes = checked(&key, &value)?;
                let expires = ttl_ms.map(|ttl| UnixMillis(now.0.saturating_add(ttl).max(1)));
                (key, kind_of(value.kind()), Some(bytes), expires)
            }
        };
        let hash = value.as_ref().map_or([0; 32], |value| *blake3::hash(value).as_bytes());
        let key_hash = key_hash(key.as_str());
        Ok(Self { key, key_hash, kind, value: value.unwrap_or_default(), hash, expires })
    }
}

/// The bytes of a value that everybody can read.
fn checked(key: &KvKey, value: &Value) -> Result<Bytes, KvError> {
    let bytes = value.to_bytes();
    let bad = |reason: &str| KvError::BadField {
        field: format!("the value of {key:?}"),
        reason: reason.into(),
    };
    match value {
        Value::Float(number) if !number.is_finite() => Err(bad("must be a finite number")),
        Value::Json(_) if Value::from_bytes(ValueKind::Json, &bytes).is_none() => {
            Err(bad("must be nested less deeply"))
        }
        _ => Ok(bytes),
    }
}

fn kind_of(kind: ValueKind) -> Kind {
    match kind {
        ValueKind::String => Kind::String,
        ValueKind::Int => Kind::Int,
        ValueKind::Float => Kind::Float,
        ValueKind::Bytes => Kind::Bytes,
        ValueKind::Json => Kind::Json,
    }
}

fn sign(
    writes: Writes,
    space: &SpaceState,
    signer: &Signer,
    first: Hlc,
) -> (Vec<Candidate>, Vec<Check>) {
    let Writes { prepared, checks } = writes;
    let mut values = Vec::with_capacity(prepared.len());
    let entries = prepared.into_iter().zip(first.0..).map(|((_, write), hlc)| {
        let Prepared { key, key_hash, kind, value, hash, expires } = write;
        let size = value.len() as u32;
        values.push((key_hash, value));
        let (space, hlc, author) = (space.place.id, Hlc(hlc), signer.author);
        Entry { space, key, hlc, author, kind, size, hash, expires }
    });
    let signed = SignedEntry::sign(entries.collect(), &signer.key);
    let candidates = signed.into_iter().zip(values);
    let candidates =
        candidates.map(|(signed, (hash, value))| Candidate::new(signed, hash, 0, value));
    (candidates.collect(), checks)
}

impl Candidate {
    /// Of an entry and its value, whatever its size.
    pub(super) fn new(signed: SignedEntry, hash: KeyHash, flags: u8, value: Bytes) -> Self {
        let apart = value.len() > MAX_INLINE_BYTES;
        let inline = if apart { &[][..] } else { &value[..] };
        let mut body = Vec::with_capacity(320 + inline.len());
        signed.keep(&mut body);
        body.extend_from_slice(inline);
        let large = Some(value).filter(|_| apart);
        Self { signed, hash, flags, body, large }
    }
}
