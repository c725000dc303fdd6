//! Counts dialogs against the caps; a [`Slot`] gives its place back when it is dropped.

use std::{collections::HashMap, sync::Arc};

use libp2p_identity::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Config;

/// One place among a peer's dialogs and among all.
#[derive(Debug)]
pub(crate) struct Slot {
    _total: OwnedSemaphorePermit,
    _peer: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(crate) struct Slots {
    total: Arc<Semaphore>,
    inbound: Side,
    outbound: Side,
}

#[derive(Debug)]
struct Side {
    max: usize,
    peers: HashMap<PeerId, Arc<Semaphore>>,
}

impl Slots {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            total: semaphore(config.max_total),
            inbound: Side { max: config.max_inbound_per_peer, peers: HashMap::new() },
            outbound: Side { max: config.max_outbound_per_peer, peers: HashMap::new() },
        }
    }

    pub(crate) fn inbound(&mut self, peer: PeerId) -> Option<Slot> {
        self.inbound.take(peer, &self.total)
    }

    pub(crate) fn outbound(&mut self, peer: PeerId) -> Option<Slot> {
        self.outbound.take(peer, &self.total)
    }

    /// Forgets peers that hold no place, so that the maps do not outgrow the total cap for long.
    pub(crate) fn sweep(&mut self) {
        // A permit keeps a reference to its semaphore.
        self.inbound.peers.retain(|_, s| Arc::strong_count(s) > 1);
        self.outbound.peers.retain(|_, s| Arc::strong_count(s) > 1);
    }
}

impl Side {
    fn take(&mut self, peer: PeerId, total: &Arc<Semaphore>) -> Option<Slot> {
        let of_peer = self.peers.entry(peer).or_insert_with(|| semaphore(self.max));
        Some(Slot {
            _peer: of_peer.clone().try_acquire_owned().ok()?,
            _total: total.clone().try_acquire_owned().ok()?,
        })
    }
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}
