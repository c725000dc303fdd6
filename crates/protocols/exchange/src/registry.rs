//! Who listens for what in this node: shared by the behaviour and the tasks that read streams, so
//! that a message reaches its listeners without passing the driver.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use peerage_api::{
    Feeding, LinkError, Open, Sink,
    exchange::{ExchangeError, Incoming, MAX_KINDS, Message, Respond, Subscribe},
};
use peerage_types::MessageType;
use tokio::sync::mpsc::error::TrySendError;

use crate::{
    bounds::{MAX_LISTENED, MAX_RESPONDERS},
    counts::Counts,
    replies::Replies,
};

#[derive(Debug, Default)]
pub(crate) struct Registry {
    table: RwLock<Table>,
    replies: Mutex<Replies>,
    pub(crate) counts: Counts,
}

#[derive(Debug, Default)]
struct Table {
    listeners: HashMap<MessageType, Vec<Sink<Message>>>,
    responders: HashMap<MessageType, Sink<Incoming>>,
}

impl Registry {
    pub(crate) fn subscribe(&self, open: Open<Subscribe>) {
        let kinds: BTreeSet<_> = open.request.kinds.iter().cloned().collect();
        if kinds.is_empty() || kinds.len() > MAX_KINDS {
            return open.refuse(ExchangeError::TooManyTypes { max: MAX_KINDS });
        }
        let mut table = self.write();
        table.forget_gone();
        let listened: usize = table.listeners.values().map(Vec::len).sum();
        if listened + kinds.len() > MAX_LISTENED {
            return open.refuse(LinkError::Overloaded.into());
        }
        let (_, sink) = open.accept();
        for kind in kinds {
            table.listeners.entry(kind).or_default().push(sink.clone());
        }
    }

    pub(crate) fn respond(&self, open: Open<Respond>) {
        let mut table = self.write();
        table.responders.retain(|_, sink| !sink.is_closed());
        let kind = open.request.kind.clone();
        if table.responders.contains_key(&kind) {
            return open.refuse(ExchangeError::ResponderTaken { kind });
        }
        if table.responders.len() >= MAX_RESPONDERS {
            return open.refuse(LinkError::Overloaded.into());
        }
        let (_, sink) = open.accept();
        table.responders.insert(kind, sink);
    }

    /// Gives a message to all its listeners, waiting for the slow ones; returns whether any took it.
    pub(crate) async fn hear(&self, message: Message) -> bool {
        let Offered { mut taken, slow } = self.offer(message);
        for (listener, message) in slow {
            taken |= listener.put(message).await;
        }
        taken
    }

    fn offer(&self, message: Message) -> Offered {
        let mut offered = Offered::default();
        let table = self.read();
        let Some((last, others)) =
            table.listeners.get(&message.kind).and_then(|listeners| listeners.split_last())
        else {
            return offered;
        };
        for listener in others {
            offered.give(listener, message.clone());
        }
        offered.give(last, message);
        offered
    }

    pub(crate) fn responder(&self, kind: &MessageType) -> Option<Sink<Incoming>> {
        self.read().responders.get(kind).filter(|sink| !sink.is_closed()).cloned()
    }

    /// Ends all subscriptions.
    pub(crate) fn clear(&self) {
        *self.write() = Table::default();
    }

    pub(crate) fn replies(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_gone(&mut self) {
        self.listeners.retain(|_, sinks| {
            sinks.retain(|sink| !sink.is_closed());
            !sinks.is_empty()
        });
    }
}

#[derive(Default)]
struct Offered {
    taken: bool,
    slow: Vec<(Sink<Message>, Message)>,
}

impl Offered {
    fn give(&mut self, listener: &Sink<Message>, message: Message) {
        match listener.try_put(message) {
            Ok(()) => self.taken = true,
            Err(TrySendError::Full(Feeding::Item(message))) => {
                self.slow.push((listener.clone(), message));
            }
            // Gone: forgotten when the next one subscribes, as the table is bounded.
            Err(_) => {}
        }
    }
}
