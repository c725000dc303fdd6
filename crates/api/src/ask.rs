//! A question on its way to the one who can answer it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::{mpsc, oneshot};

use crate::{Feed, Feeding, LinkError, Method};

/// Where the answer to a question arrives.
pub type Answer<M> = oneshot::Receiver<Result<<M as Method>::Reply, <M as Method>::Error>>;

/// The door through which the answer to a question goes.
pub type Door<M> = oneshot::Sender<Result<<M as Method>::Reply, <M as Method>::Error>>;

/// A request together with the door its answer goes through.
///
/// Travels down to where the request lives; dropping it unanswered tells the caller that the node
/// has stopped.
#[derive(Debug)]
pub struct Ask<M: Method> {
    /// What is asked.
    pub request: M,
    reply: Door<M>,
}

impl<M: Method> Ask<M> {
    /// A question and the receiver of its answer.
    #[must_use]
    pub fn new(request: M) -> (Self, Answer<M>) {
        let (reply, answer) = oneshot::channel();
        (Self { request, reply }, answer)
    }

    /// Answers. A caller that no longer waits is no error.
    pub fn reply(self, answer: Result<M::Reply, M::Error>) {
        let _ = self.reply.send(answer);
    }

    /// Separates the request from the door of its answer.
    pub fn split(self) -> (M, Door<M>) {
        (self.request, self.reply)
    }

    /// Whether the caller has gone, so that the work may stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.reply.is_closed()
    }

    /// Ready once the caller has gone; wakes the task of `cx` when that happens.
    pub fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.reply.poll_closed(cx)
    }
}

/// A request for a stream of items, with the sink they go into.
#[derive(Debug)]
pub struct Open<F: Feed> {
    /// What is asked.
    pub request: F,
    reply: oneshot::Sender<Result<(), F::Error>>,
    sink: Sink<F::Item>,
}

impl<F: Feed> Open<F> {
    /// A request for a feed with room for `capacity` unread items.
    #[must_use]
    #[expect(clippy::type_complexity, reason = "one constructor hands out both ends")]
    pub fn new(
        request: F,
        capacity: usize,
    ) -> (Self, oneshot::Receiver<Result<(), F::Error>>, mpsc::Receiver<Feeding<F::Item>>) {
        let (reply, answer) = oneshot::channel();
        let (queue, items) = mpsc::channel(capacity);
        let sink = Sink { queue, missed: Arc::default() };
        (Self { request, reply, sink }, answer, items)
    }

    /// Grants the feed: returns the sink to put items into.
    pub fn accept(self) -> (F, Sink<F::Item>) {
        let _ = self.reply.send(Ok(()));
        (self.request, self.sink)
    }

    /// Refuses the feed.
    pub fn refuse(self, error: F::Error) {
        let _ = self.reply.send(Err(error));
    }
}

/// Where the items of a feed go. Cloneable; the feed ends when the last clone is dropped.
#[derive(Debug)]
pub struct Sink<T> {
    queue: mpsc::Sender<Feeding<T>>,
    missed: Arc<AtomicU64>,
}

impl<T> Clone for Sink<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), missed: Arc::clone(&self.missed) }
    }
}

impl<T> Sink<T> {
    /// Offers an item without waiting. A reader that is too slow misses it and is told how many
    /// it missed before its next item. Returns false once the reader is gone.
    pub fn offer(&self, item: T) -> bool {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 && self.queue.try_send(Feeding::Lagged(missed)).is_err() {
            self.missed.fetch_add(missed + 1, Ordering::Relaxed);
            return !self.is_closed();
        }
        match self.queue.try_send(Feeding::Item(item)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.missed.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Puts an item in, waiting for room. Returns false once the reader is gone.
    ///
    /// # Cancel safety
    /// Dropping the future loses the item.
    pub async fn put(&self, item: T) -> bool {
        self.queue.send(Feeding::Item(item)).await.is_ok()
    }

    /// Puts an item in if there is room now, and gives it back otherwise.
    ///
    /// # Errors
    /// The item, with the reason: full or closed.
    pub fn try_put(&self, item: T) -> Result<(), mpsc::error::TrySendError<Feeding<T>>> {
        self.queue.try_send(Feeding::Item(item))
    }

    /// Whether the next item would be delivered rather than missed.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queue.capacity() > 0
    }

    /// Whether the reader is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Waits until the reader is gone.
    pub async fn closed(&self) {
        self.queue.closed().await;
    }
}

/// The error for a reply that never came: its sender was dropped with the node.
pub(crate) fn stopped<E: From<LinkError>>(_: oneshot::error::RecvError) -> E {
    LinkError::Stopped.into()
}
