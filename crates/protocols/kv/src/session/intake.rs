//! Applying what comes while more is read: verified and stored in batches, large values one by one.

use std::collections::{HashSet, VecDeque};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use peerage_types::{PeerId, SpaceId, UnixMillis};
use peerage_wire::kv::{
    Claimed, Fingerprint, MAX_INLINE_BYTES, Verifier,
    frames::{Carried, decode_entries},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Lie, SessionError,
    bounds::{BATCH_BYTES, BATCH_ENTRIES, BATCHES, MAX_GRANT_BYTES, MAX_LARGE},
    ledger::Ledger,
};
use crate::{
    Cursor, Incoming, KeyHash, ReceiveError, Received, Replica, View, bounds::MAX_DRIFT,
    fills::Fill, key_hash,
};

/// What goes through the queue, in the order in which it came.
#[derive(Debug)]
pub(super) enum Work {
    Grants(Vec<Bytes>),
    Entries(Bytes),
    Through(u64),
    Value { last: bool, bytes: Bytes },
}

/// A batch that was stored.
struct Stored {
    received: Received,
    bytes: usize,
    /// The change of the feed through which it and those before reach.
    through: Option<u64>,
}

/// Batches under way.
type Batches = FuturesOrdered<BoxFuture<'static, Result<Stored, ReceiveError>>>;

/// What comes from the other side goes in here.
pub(super) struct Intake {
    replica: Replica,
    space: SpaceId,
    peer: PeerId,
    /// The feed that comes.
    pub(super) epoch: u64,
    /// Entries that were new.
    pub(super) new: u64,
    /// Entries that were refused.
    pub(super) refused: u64,
    /// Grants that the other side has shown.
    pub(super) grants: HashSet<Bytes>,
    grant_bytes: usize,
    /// Entries whose large values are to be asked for.
    pub(super) large: Vec<Claimed>,
    /// Entries whose large values have been asked for.
    pub(super) asked: VecDeque<Claimed>,
    value: BytesMut,
    batch: Vec<Incoming>,
    batch_bytes: usize,
    /// The feed was told through here.
    told: Option<u64>,
    /// The feed is stored through here.
    stored: Option<u64>,
    /// What was told of, until the first batch: a snapshot keeps every page from reuse that is replaced after
    /// it, which for as long as a first synchronisation takes would be several times what it brings.
    pub(super) view: Option<View>,
    /// The right to be sent much.
    pub(super) fill: Option<Fill>,
}

impl Intake {
    pub(super) fn new(replica: Replica, space: SpaceId, peer: PeerId) -> Self {
        Self {
            replica,
            space,
            peer,
            epoch: 0,
            new: 0,
            refused: 0,
            grants: HashSet::new(),
            grant_bytes: 0,
            large: Vec::new(),
            asked: VecDeque::new(),
            value: BytesMut::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            told: None,
            stored: None,
            view: None,
            fill: None,
        }
    }

    /// How far the feed has been taken over with everything in it.
    pub(super) fn through(&self) -> Option<u64> {
        if self.large.is_empty() && self.asked.is_empty() { self.told } else { self.stored }
    }

    /// What was asked for will not come.
    pub(super) fn give_up(&mut self) {
        self.told = self.through();
        self.large.clear();
        self.asked.clear();
    }

    /// Applies what comes until the queue is closed.
    pub(super) async fn run(
        &mut self,
        mut queue: mpsc::Receiver<Work>,
        ledger: &mut Ledger,
        now: &(impl Fn() -> UnixMillis + Sync),
    ) -> Result<(), SessionError> {
        let mut batches = Batches::new();
        let mut is_open = true;
        while is_open || !batches.is_empty() || !self.batch.is_empty() {
            let is_full = self.batch.len() >= BATCH_ENTRIES || self.batch_bytes >= BATCH_BYTES;
            let is_due = is_full || !is_open || (batches.is_empty() && queue.is_empty());
            if is_due && !self.batch.is_empty() && batches.len() < BATCHES {
                batches.push_back(self.launch(now()));
                continue;
            }
            tokio::select! {
                biased;
                Some(done) = batches.next(), if !batches.is_empty() => self.on_stored(done?),
                work = queue.recv(), if is_open && !is_full => match work {
                    Some(work) => self.on_work(work, &mut batches, ledger, now).await?,
                    None => is_open = false,
                },
            }
        }
        self.sift_large(now()).await
    }

    async fn on_work(
        &mut self,
        work: Work,
        batches: &mut Batches,
        ledger: &mut Ledger,
        now: &(impl Fn() -> UnixMillis + Sync),
    ) -> Result<(), SessionError> {
        match work {
            Work::Grants(grants) => self.on_grants(grants, now()).await,
            Work::Entries(body) => self.on_entries(&body, ledger, now()),
            Work::Through(seq) => self.on_through(seq),
            Work::Value { last, bytes } => {
                self.drain(batches).await?;
                self.on_value(last, &bytes, now()).await
            }
        }
    }

    async fn drain(&mut self, batches: &mut Batches) -> Result<(), SessionError> {
        while let Some(done) = batches.next().await {
            self.on_stored(done?);
        }
        Ok(())
    }

    async fn on_grants(&mut self, grants: Vec<Bytes>, now: UnixMillis) -> Result<(), SessionError> {
        self.grant_bytes += grants.iter().map(Bytes::len).sum::<usize>();
        if self.grant_bytes > MAX_GRANT_BYTES {
            return Err(SessionError::TooMuch("grants"));
        }
        self.grants.extend(grants.iter().cloned());
        self.replica.add_grants(&self.space, grants, now).await.map_err(SessionError::of_grants)?;
        Ok(())
    }

    fn on_entries(
        &mut self,
        body: &Bytes,
        ledger: &mut Ledger,
        now: UnixMillis,
    ) -> Result<(), SessionError> {
        self.batch_bytes += body.len();
        for Carried { claimed, value } in decode_entries(body, self.space)? {
            let entry = &claimed.entry;
            if !ledger.is_empty() {
                ledger.on_entry(key_hash(entry.key.as_str()), &entry.fingerprint());
            }
            let is_large = value.is_none() && entry.size as usize > MAX_INLINE_BYTES;
            let is_over = entry.expires.is_some_and(|at| at <= now.plus(MAX_DRIFT));
            if is_large && !is_over {
                self.large.push(claimed);
            } else {
                self.batch.push(Incoming { claimed, value });
            }
        }
        let fits = self.large.len() <= MAX_LARGE;
        if fits { Ok(()) } else { Err(SessionError::TooMuch("large values")) }
    }

    fn on_through(&mut self, seq: u64) -> Result<(), SessionError> {
        if self.told.is_some_and(|told| seq < told) {
            return Err(Lie::Feed.into());
        }
        self.told = Some(seq);
        Ok(())
    }

    /// Hands a batch in. Its cursor is of batches that were stored before.
    fn launch(&mut self, now: UnixMillis) -> BoxFuture<'static, Result<Stored, ReceiveError>> {
        let entries = std::mem::take(&mut self.batch);
        let bytes = std::mem::take(&mut self.batch_bytes);
        self.view = None;
        // What was told before the first large value that is missing, and is in this batch.
        let through = self.told.filter(|_| self.large.is_empty() && self.asked.is_empty());
        let cursor = self.stored.map(|seq| Cursor { epoch: self.epoch, seq });
        let (replica, space, peer) = (self.replica.clone(), self.space, self.peer);
        Box::pin(async move {
            let received = replica.receive(&space, peer, entries, cursor, now).await?;
            Ok(Stored { received, bytes, through })
        })
    }

    fn on_stored(&mut self, Stored { received, bytes, through }: Stored) {
        self.count(&received, bytes);
        self.stored = through.or(self.stored);
    }

    fn count(&mut self, received: &Received, bytes: usize) {
        if let Some(fill) = self.fill.as_ref().filter(|_| received.new > 0) {
            fill.on_stored(bytes as u64, Instant::now().into_std());
        }
        self.new += received.new;
        self.refused += received.refused;
    }

    /// Keeps of the entries with large values those that are wanted and signed.
    async fn sift_large(&mut self, now: UnixMillis) -> Result<(), SessionError> {
        if self.large.is_empty() {
            return Ok(());
        }
        let large = std::mem::take(&mut self.large);
        let lacks = self.replica.lacks(&self.space, &large).await?;
        let most = self.replica.limits().max_value;
        let mut verifier = Verifier::default();
        for (claimed, _) in large.into_iter().zip(lacks).filter(|(_, lacks)| *lacks) {
            // Or somebody could make us fetch what nobody has signed.
            verifier.verify(claimed.clone()).map_err(ReceiveError::from)?;
            let is_ahead = claimed.entry.hlc.at() > now.plus(MAX_DRIFT);
            if claimed.entry.size as usize > most || is_ahead {
                self.refused += 1;
            } else {
                self.large.push(claimed);
            }
        }
        Ok(())
    }

    /// What is asked for next; it is asked for from now on.
    pub(super) fn ask(&mut self) -> Vec<(KeyHash, Fingerprint)> {
        let ask =
            |claimed: &Claimed| (key_hash(claimed.entry.key.as_str()), claimed.entry.fingerprint());
        let asks = self.large.iter().map(ask).collect();
        self.asked.extend(self.large.drain(..));
        asks
    }

    async fn on_value(
        &mut self,
        last: bool,
        bytes: &Bytes,
        now: UnixMillis,
    ) -> Result<(), SessionError> {
        let due = self.asked.front().ok_or(SessionError::OutOfTurn)?;
        let size = due.entry.size as usize;
        self.value.reserve(if self.value.is_empty() { size.min(1 << 20) } else { 0 });
        self.value.extend_from_slice(bytes);
        let len = self.value.len();
        if len > size || (last && len < size) {
            return Err(Lie::Value.into());
        }
        if last {
            let claimed = self.asked.pop_front().expect("seen above");
            let value = std::mem::take(&mut self.value).freeze();
            let entries = vec![Incoming { claimed, value: Some(value) }];
            let taken = self.replica.receive(&self.space, self.peer, entries, None, now).await?;
            self.count(&taken, size);
        }
        Ok(())
    }
}
