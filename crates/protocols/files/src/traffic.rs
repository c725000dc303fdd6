//! How many bytes moved, and at which rate they may.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::time::sleep;

use crate::rate::Throttle;

/// Bytes that are paid for at once when there is a limit.
pub(crate) const SLICE: usize = 64 * 1024;

/// Counts and limits of everything in one direction, or of one transfer.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Bytes of pieces and proofs that crossed the network.
    pub(crate) wire: AtomicU64,
    /// Bytes of content among them.
    pub(crate) content: AtomicU64,
    throttle: Mutex<Throttle>,
    /// That of which this is a part.
    whole: Option<Arc<Traffic>>,
    /// Counts bytes of content for a share.
    share: Option<Arc<AtomicU64>>,
}

impl Traffic {
    pub(crate) fn new(limit_bps: Option<u64>, whole: Option<Arc<Self>>) -> Self {
        Self {
            wire: AtomicU64::new(0),
            content: AtomicU64::new(0),
            throttle: Mutex::new(Throttle::new(limit_bps, Instant::now())),
            whole,
            share: None,
        }
    }

    /// Without a limit of its own, counting for a share, too.
    pub(crate) fn counted(whole: Arc<Self>, share: Option<Arc<AtomicU64>>) -> Self {
        Self { share, ..Self::new(None, Some(whole)) }
    }

    /// Whether bytes have to be paid for in slices.
    pub(crate) fn is_limited(&self) -> bool {
        let limited = self.throttle.lock().unwrap_or_else(PoisonError::into_inner).is_limited();
        limited || self.whole.as_ref().is_some_and(|whole| whole.is_limited())
    }

    /// Waits until so many bytes may move.
    pub(crate) async fn pay(&self, bytes: usize) {
        let mut wait = self.take(bytes);
        if let Some(whole) = &self.whole {
            wait = wait.max(whole.take(bytes));
        }
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    fn take(&self, bytes: usize) -> std::time::Duration {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.take(bytes as u64, Instant::now())
    }

    /// Bytes of pieces crossed the network.
    pub(crate) fn on_bytes(&self, wire: usize) {
        self.wire.fetch_add(wire as u64, Relaxed);
        if let Some(whole) = &self.whole {
            whole.on_bytes(wire);
        }
    }

    /// A piece with so many bytes of content is through.
    pub(crate) fn on_piece(&self, content: u64) {
        self.content.fetch_add(content, Relaxed);
        if let Some(share) = &self.share {
            share.fetch_add(content, Relaxed);
        }
        if let Some(whole) = &self.whole {
            whole.on_piece(content);
        }
    }
}
