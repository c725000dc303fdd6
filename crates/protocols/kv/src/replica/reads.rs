//! Single reads, many at a time: what is asked while a snapshot is read is answered from the next
//! one, by one blocking task that ends when nobody asks any more.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use peerage_api::kv::{Entry, KvError};
use peerage_store::{Kv, KvRead, KvTable, StoreError};
use peerage_types::{KvKey, Space, UnixMillis};
use tokio::sync::oneshot;

use super::{Place, Replica, list::entry_of, row, stored};
use crate::bounds::MAX_READS;

type Answer = Result<Option<Entry>, StoreError>;

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
    ) -> Result<Option<Entry>, KvError> {
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
            let tables = [KvTable::Entries, KvTable::Values];
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
    let row = row(read, place, key)?.filter(|row| !row.is_gone(now));
    row.map(|row| entry_of(read, place, row)).transpose()
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
        let place = self.named(space)?.place;
        let found = self.inner.reads.ask(place, key.clone(), now).await?;
        found.ok_or(KvError::NotFound { space, key })
    }
}

impl std::fmt::Debug for Reads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reads").field("waiting", &self.queue().asks.len()).finish_non_exhaustive()
    }
}
