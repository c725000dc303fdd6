//! Changes of one thing, one after the other.

use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};

/// Changes that wait for their turn; each holds what its caller has handed in, 12 KiB at most.
const MAX_WAITING: usize = 1024;

/// A queue in front of something that is changed on disk first and in memory afterwards: whoever
/// has the turn sees in memory what is on disk. Fair.
#[derive(Debug)]
pub(crate) struct Turns {
    waiting: Semaphore,
    turn: Mutex<()>,
}

/// The turn; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _turn: MutexGuard<'a, ()>,
    _place: SemaphorePermit<'a>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { waiting: Semaphore::new(MAX_WAITING), turn: Mutex::default() }
    }
}

impl Turns {
    /// Waits for the turn.
    ///
    /// # Errors
    /// Why there is none: too many wait.
    ///
    /// # Cancel safety
    /// The place in the queue is lost.
    pub(crate) async fn take(&self) -> Result<Turn<'_>, String> {
        let busy = |_| "too many changes at once; try again shortly".to_owned();
        let place = self.waiting.try_acquire().map_err(busy)?;
        Ok(Turn { _turn: self.turn.lock().await, _place: place })
    }
}
