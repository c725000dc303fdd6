//! Single reads. What was read since the last change of a space is answered from memory; the rest many
//! at a time: what is asked while a snapshot is read is answered from the next one, by one blocking
//! task that ends when nobody asks any more.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use peerage_api::kv::{Entry, KvError};
use peerage_store::{Kv, KvRead, KvTable, StoreError};
use peerage_types::{KvKey, Space, UnixMillis};
use tokio::sync::oneshot;

use super::{Place, Replica, SpaceState, list::entry_of, row, stored};
use crate::{
    bounds::{MAX_READS, MAX_RECENT_BYTES},
    rows::{self, Counters, Meta},
};

/// With the number of the last change that it has seen.
type Answer = Result<(Option<Entry>, u64), StoreError>;

/// Entries that were read since a change.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// The number of that change: what was read before it, or sees a later one, is not mixed with them.
    head: u64,
    entries: HashMap<KvKey, Entry>,
    bytes: usize,
}

impl Recent {
    fn get(&self, head: u64, key: &KvKey) -> Option<&Entry> {
        self.entries.get(key).filter(|_| self.head == head)
    }

    fn keep(&mut self, head: u64, entry: &Entry) {
        // What an entry takes beside its bytes.
        const OVERHEAD: usize = 256;
        let bytes = entry.key.as_str().len() + super::apply::size(&entry.value) + OVERHEAD;
        if head < self.head || bytes > MAX_RECENT_BYTES / 16 {
            return;
        }
        if head > self.head || self.bytes + bytes > MAX_RECENT_BYTES {
            *self = Self { head, ..Self::default() };
        }
        if self.entries.insert(entry.key.clone(), entry.clone()).is_none() {
            self.bytes += bytes;
        }
    }
}

struct Ask {
    place: Place,
    key: KvKey,
    now: UnixMillis,
    answer: oneshot::Sender<Answer>,
}

impl Ask {
    fn reply(self, answer: Answer) {
        // Whoever asked may be gone.
        let _ = self.answer.send(answer);
    }
}

#[derive(Default)]
struct Queue {
    asks: Vec<Ask>,
    /// Whether there is a task that will look again.
    served: bool,
}

#[derive(Clone)]
pub(super) struct Reads {
    kv: Kv,
    queue: Arc<Mutex<Queue>>,
}

impl Reads {
    pub(super) fn new(kv: Kv) -> Self {
        Self { kv, queue: Arc::default() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(
        &self,
        place: Place,
        key: KvKey,
        now: UnixMillis,
    ) -> Result<(Option<Entry>, u64), KvError> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask { place, key, now, answer };
        let begin = {
            let mut queue = self.queue();
            if queue.asks.len() >= MAX_READS {
                return Err(KvError::Busy);
            }
            queue.asks.push(ask);
            !mem::replace(&mut queue.served, true)
        };
        if begin {
            let reads = self.clone();
            match self.kv.is_simulated() {
                true => reads.serve(),
                false => drop(tokio::task::spawn_blocking(move || reads.serve())),
            }
        }
        answered.await.unwrap_or(Err(StoreError::Closed)).map_err(stored)
    }

    fn serve(&self) {
        let mut asks = Vec::new();
        loop {
            {
                let mut queue = self.queue();
                mem::swap(&mut queue.asks, &mut asks);
                queue.served = !asks.is_empty();
            }
            if asks.is_empty() {
                return;
            }
            let tables = [KvTable::Entries, KvTable::Values, KvTable::Meta];
            let read = self.kv.read_some_blocking(&tables, |snapshot| {
                let read = |ask: &Ask| find(snapshot, ask.place, &ask.key, ask.now);
                Ok(asks.iter().map(read).collect::<Vec<_>>())
            });
            match read {
                // All at once, so that those who are woken ask again together.
                Ok(found) => asks.drain(..).zip(found).for_each(|(ask, found)| ask.reply(found)),
                Err(error) => asks.drain(..).for_each(|ask| ask.reply(Err(error.clone()))),
            }
        }
    }
}

fn find(read: &impl KvRead, place: Place, key: &KvKey, now: UnixMillis) -> Answer {
    let counters = rows::meta(Meta::Counters, place.no);
    let counters = read.get_with(KvTable::Meta, &counters, Counters::decode)?.transpose()?;
    let row = row(read, place, key)?.filter(|row| !row.is_gone(now));
    let entry = row.map(|row| entry_of(read, place, row)).transpose()?;
    Ok((entry, counters.unwrap_or_default().head))
}

/// What is known without asking the store: an entry that was read since the last change, unless its
/// time is over since.
fn recent(space: &SpaceState, key: &KvKey, now: UnixMillis) -> Option<Entry> {
    let head = space.counters.borrow().head;
    let recent = space.recent();
    let entry = recent.get(head, key)?;
    entry.expires_ms.is_none_or(|at| at > now).then(|| entry.clone())
}

impl Replica {
    /// The entry of a key.
    ///
    /// # Errors
    /// [`KvError::NotFound`], [`KvError::NoSuchSpace`], [`KvError::Busy`], [`KvError::Store`].
    ///
    /// # Cancel safety
    /// Yes.
    pub async fn get(&self, space: Space, key: KvKey, now: UnixMillis) -> Result<Entry, KvError> {
        let joined = self.named(space)?;
        if let Some(entry) = recent(&joined, &key, now) {
            return Ok(entry);
        }
        let (found, head) = self.inner.reads.ask(joined.place, key.clone(), now).await?;
        let found = found.ok_or(KvError::NotFound { space, key })?;
        joined.recent().keep(head, &found);
        Ok(found)
    }

    /// The entry of a key if no store need be asked for it.
    pub(crate) fn recall(&self, space: Space, key: &KvKey, now: UnixMillis) -> Option<Entry> {
        recent(&*self.named(space).ok()?, key, now)
    }
}

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").field("waiting", &self.queue().asks.len()).finish_non_exhaustive()
    }
}
