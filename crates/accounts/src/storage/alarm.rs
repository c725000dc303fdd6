//! When the next entry is over, told to who waits for it.

use std::sync::{
    Arc,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
};

use peerage_types::UnixMillis;
use tokio::sync::Notify;

/// The next expiry in one space. Set by whoever has changed the space, read by the task that waits
/// for all of them, which is woken when one becomes sooner.
#[derive(Debug)]
pub(crate) struct Alarm {
    at: AtomicU64,
    wake: Arc<Notify>,
}

const NEVER: u64 = u64::MAX;

impl Alarm {
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        Self { at: AtomicU64::new(NEVER), wake }
    }

    /// Something is over then, or nothing ever. Changes of one space come one after the other.
    pub(crate) fn set(&self, at: Option<UnixMillis>) {
        let at = at.map_or(NEVER, |at| at.0);
        if at < self.at.swap(at, Release) {
            self.wake.notify_one();
        }
    }

    pub(crate) fn at(&self) -> Option<UnixMillis> {
        let at = self.at.load(Acquire);
        (at != NEVER).then_some(UnixMillis(at))
    }
}
