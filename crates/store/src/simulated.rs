//! A store without a thread, whose power can be cut: for simulations that must repeat exactly.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{StoreError, queue::Entry, writer::Writer};

/// Does each write and each read at once on the calling thread.
pub(crate) struct Inline {
    pub(crate) writer: Mutex<Writer>,
    pub(crate) power: Power,
}

impl Inline {
    pub(crate) fn push(&self, entry: Entry) -> Result<(), StoreError> {
        if !self.power.take() {
            return Err(StoreError::Closed);
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.on_batch(vec![entry]);
        Ok(())
    }
}

/// The power switch of a [simulated](crate::Store::simulated) store.
#[derive(Clone, Debug, Default)]
pub struct Power(Arc<Mutex<Option<u64>>>);

impl Power {
    fn left(&self) -> MutexGuard<'_, Option<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After this many more writes every write fails with [`StoreError::Closed`] and is lost.
    pub fn cut_after(&self, writes: u64) {
        *self.left() = Some(writes);
    }

    /// Whether a write has failed for want of it, or will.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self.left() == Some(0)
    }

    /// Writes succeed again.
    pub fn restore(&self) {
        *self.left() = None;
    }

    fn take(&self) -> bool {
        match &mut *self.left() {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }
}
