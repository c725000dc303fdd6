//! One write on its way to the disk, and the future of its outcome.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use redb::WriteTransaction;
use tokio::sync::oneshot;

use crate::{StoreError, queue::Queue};

/// A write as the store's thread sees it.
pub(crate) trait Job: Send {
    /// Does the work. Called again in a new transaction when another job spoilt the first, so the
    /// transaction is the only thing it may change.
    fn apply(&mut self, txn: &WriteTransaction) -> Result<(), StoreError>;

    /// Hands the outcome to the caller; false if nobody is there to hear of it.
    fn settle(self: Box<Self>, outcome: Result<(), StoreError>) -> bool;
}

struct Write<T, F, D> {
    apply: F,
    value: Option<T>,
    done: D,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F, D> Job for Write<T, F, D>
where
    T: Send,
    F: Fn(&WriteTransaction) -> Result<T, StoreError> + Send,
    D: FnOnce(&T) + Send,
{
    fn apply(&mut self, txn: &WriteTransaction) -> Result<(), StoreError> {
        self.value = Some((self.apply)(txn)?);
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<(), StoreError>) -> bool {
        let Self { value, reply, done, .. } = *self;
        let unapplied = || StoreError::defect("settled before it was applied");
        let outcome = outcome.and_then(|()| value.ok_or_else(unapplied)).inspect(done);
        reply.send(outcome).is_ok()
    }
}

struct Flush(oneshot::Sender<Result<(), StoreError>>);

impl Job for Flush {
    fn apply(&mut self, _: &WriteTransaction) -> Result<(), StoreError> {
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<(), StoreError>) -> bool {
        self.0.send(outcome).is_ok()
    }
}

/// A job that does nothing, for the outcome of those before it.
pub(crate) fn flush(queue: &Arc<Queue>) -> (Box<dyn Job>, Pending) {
    let (reply, outcome) = oneshot::channel();
    (Box::new(Flush(reply)), Pending(State::Waiting { outcome, queue: Some(queue.clone()) }))
}

/// A job and the future of what it returns. `done` is told first, on the store's thread.
pub(crate) fn write<T, F, D>(queue: &Arc<Queue>, apply: F, done: D) -> (Box<dyn Job>, Pending<T>)
where
    T: Send + 'static,
    F: Fn(&WriteTransaction) -> Result<T, StoreError> + Send + 'static,
    D: FnOnce(&T) + Send + 'static,
{
    let (reply, outcome) = oneshot::channel();
    let job = Box::new(Write { apply, value: None, done, reply });
    (job, Pending(State::Waiting { outcome, queue: Some(queue.clone()) }))
}

/// A write that was handed in: resolves when its batch is committed and durable, or failed.
///
/// The write happens whether or not this is polled or dropped. Awaiting it makes the store commit
/// at once; without anybody waiting a batch collects for up to [`BATCH_DELAY`](crate::BATCH_DELAY).
/// A caller that does not await should still look at [`Pending::refused`].
///
/// Resolves to [`StoreError::Busy`] when the queue was full and nothing will be written; for the
/// others see [`StoreError`].
///
/// # Panics
/// When polled again after it resolved.
///
/// # Cancel safety
/// Dropping it loses the outcome, not the write.
#[must_use = "a refused or failed write says so only here"]
pub struct Pending<T = ()>(State<T>);

enum State<T> {
    /// `queue` is there until the first poll told it that somebody waits.
    Waiting {
        outcome: oneshot::Receiver<Result<T, StoreError>>,
        queue: Option<Arc<Queue>>,
    },
    Refused(StoreError),
}

impl<T> Pending<T> {
    pub(crate) fn refuse(error: StoreError) -> Self {
        Self(State::Refused(error))
    }

    /// The reason if the write was refused at once, without waiting for its outcome.
    #[must_use]
    pub fn refused(&self) -> Option<&StoreError> {
        match &self.0 {
            State::Waiting { .. } => None,
            State::Refused(error) => Some(error),
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (outcome, queue) = match &mut self.0 {
            State::Refused(error) => return Poll::Ready(Err(error.clone())),
            State::Waiting { outcome, queue } => (outcome, queue),
        };
        if let Some(queue) = queue.take() {
            queue.hurry();
        }
        // A reply dropped without an answer means that the thread is gone.
        Poll::Ready(ready!(Pin::new(outcome).poll(cx)).unwrap_or(Err(StoreError::Closed)))
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("refused", &self.refused()).finish_non_exhaustive()
    }
}
