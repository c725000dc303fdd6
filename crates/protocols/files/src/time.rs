//! What is due: progress, retries, and the end of patience.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use peerage_api::files::{self as api, FilesError, State};
use peerage_types::TransferId;
use peerage_wire::files::News;

use crate::{
    behaviour::Behaviour,
    bounds::{FIRST_CONTACT_TIMEOUT, OFFER_EXPIRY, PROGRESS_INTERVAL},
    transfer::{Side, Transfer},
};

impl Behaviour {
    /// What is due.
    pub(crate) fn on_time(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        let tick = self.last_tick.is_none_or(|at| now.duration_since(at) >= PROGRESS_INTERVAL);
        if tick {
            self.last_tick = Some(now);
            self.tell_hashing();
        }
        let all: Vec<_> = self.transfers.keys().copied().collect();
        for id in all {
            self.on_time_of(id, tick, now);
        }
        self.open_places_that_wait(now);
        self.prepare_what_waits();
    }

    fn on_time_of(&mut self, id: TransferId, tick: bool, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        if let (true, Some(progress)) = (tick, &transfer.hashing) {
            let event = api::Event::Hashing {
                transfer: id,
                bytes: progress.hashed_bytes(),
                total: progress.found_bytes(),
            };
            return self.tell(id, &event);
        }
        if tick && transfer.row.state == State::Running {
            // Slow paths take long for a piece: the rate is that of what arrives.
            let wire = transfer.traffic.wire.load(Relaxed);
            transfer.rate.on_bytes(wire - transfer.ticked_wire, now);
            transfer.ticked_wire = wire;
            let done = transfer.done_bytes();
            let moved = done > transfer.ticked_bytes;
            transfer.ticked_bytes = done;
            if moved {
                // That of a pull begins with the end of its last stream, whose bytes are counted here yet.
                transfer.patience = transfer.patience.filter(|_| transfer.is_pull());
                if let Side::Receive { begun, .. } = &mut transfer.row.side {
                    *begun = true;
                }
                transfer.failures = 0;
                transfer.asked_again = false;
                transfer.providers.on_progress();
                transfer.search.on_progress();
            }
            let event = transfer.progress();
            self.tell(id, &event);
            self.checkpoint(id, false, now);
        }
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        if transfer.patience.is_some_and(|until| until <= now) {
            return self.on_out_of_patience(id, now);
        }
        let retry = transfer.retry_at.is_some_and(|at| at <= now);
        let provider = transfer.provider_due().is_some_and(|at| at <= now);
        if retry {
            transfer.retry_at = None;
        }
        if retry || provider {
            self.step(id, now);
        }
    }

    /// Nobody answered in time.
    fn on_out_of_patience(&mut self, id: TransferId, now: Instant) {
        let waits = |transfer: &Transfer| transfer.is_closed() && self.is_reachable(transfer);
        if self.transfers.get(&id).is_some_and(waits) {
            return self.be_patient(id, now);
        }
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.patience = None;
        let hash = transfer.row.content.as_ref().map(|content| content.root);
        let peer = transfer.row.peer;
        let error = match (&transfer.row.side, transfer.row.state, peer, hash) {
            (Side::Serve { .. }, State::Running | State::Connecting, ..) => {
                return self.end_pull(id, now);
            }
            (Side::Send { .. }, State::Offered, Some(peer), _) => {
                let seconds = OFFER_EXPIRY.as_secs();
                FilesError::Expired { peer, seconds }
            }
            (Side::Send { offered: false, .. }, State::Connecting, Some(peer), _) => {
                transfer.unreached.take().unwrap_or_else(|| unreachable(peer))
            }
            (Side::Receive { pushed: false, .. }, State::Connecting, _, Some(hash)) => {
                FilesError::NoProvider { hash }
            }
            (Side::Receive { .. }, State::Connecting, Some(peer), None) => unreachable(peer),
            (Side::Receive { begun: false, .. }, State::Running, ..) => {
                return self.be_patient(id, now);
            }
            (Side::Receive { pushed: true, .. }, State::Asked, ..) => {
                transfer.row.untold = Some(News::Rejected("nobody answered in time".into()));
                self.set_state(id, State::Rejected, now);
                return self.tell_peer(id);
            }
            _ => return,
        };
        self.fail(id, error, now);
    }

    /// It waits for room, or for its first byte.
    fn be_patient(&mut self, id: TransferId, now: Instant) {
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.patience = Some(now + FIRST_CONTACT_TIMEOUT);
        }
    }

    /// When [`Behaviour::on_time`] has something to do.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let tick = self.last_tick.map_or(now, |at| at + PROGRESS_INTERVAL);
        let hashing = (!self.hashing_shares.is_empty()).then_some(tick);
        let of = |transfer: &Transfer| {
            let moves = transfer.row.state == State::Running || transfer.hashing.is_some();
            let due = transfer.provider_due();
            let times = [moves.then_some(tick), transfer.patience, transfer.retry_at, due];
            times.into_iter().flatten().min()
        };
        let next = self.transfers.values().filter_map(of).chain(hashing).min();
        // Never in the past: what cannot be done now is looked at again shortly, not at once.
        next.map(|at| at.max(now + Duration::from_millis(10)))
    }
}

fn unreachable(peer: PeerId) -> FilesError {
    let reason = "no connection in time; is it running? `peerage connect` shows what was tried";
    FilesError::Unreachable { peer, reason: reason.to_owned() }
}
