//! What has gone through all streams.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use peerage_api::exchange::Stats;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    unheard: AtomicU64,
}

impl Counts {
    pub(crate) fn sent(&self, body: usize) {
        self.sent.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(body as u64, Relaxed);
    }

    pub(crate) fn received(&self, body: usize) {
        self.received.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(body as u64, Relaxed);
    }

    pub(crate) fn unheard(&self) {
        self.unheard.fetch_add(1, Relaxed);
    }

    pub(crate) fn stats(&self, peers: usize) -> Stats {
        Stats {
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            unheard: self.unheard.load(Relaxed),
            peers,
        }
    }
}
