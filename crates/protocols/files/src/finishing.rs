//! Receiving: from the last piece to the final name, and what is kept in between.

use std::{mem, sync::Arc, time::Instant};

use libp2p_identity::PeerId;
use peerage_api::files::{FilesError, State};
use peerage_content::{Bitfield, Finished, Prepared, Progress};
use peerage_store::RowKind;
use peerage_types::TransferId;
use peerage_wire::files::{News, reason};

use crate::{
    behaviour::Behaviour,
    bounds::{CHECKPOINT_BYTES, CHECKPOINT_INTERVAL},
    download::{Download, Place, lock},
    providers::State as Standing,
    transfer::{Side, Stage, Transfer},
    work::{self, Destination, Work},
};

impl Behaviour {
    /// All pieces of the stage are there.
    pub(crate) fn on_complete(&mut self, id: TransferId, now: Instant) {
        self.end_fetching(id);
        let place = self.place(id);
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        match mem::replace(&mut transfer.stage, Stage::Finishing) {
            Stage::Manifest(download) => {
                self.counts.corrupt += download.corrupt_bytes();
                transfer.stage = Stage::Closed;
                self.open_place(id, collected(&download));
            }
            Stage::Files(download) => {
                self.counts.corrupt += download.corrupt_bytes();
                let into = place.map(|place| place.into).unwrap_or_default();
                transfer.row.done_bytes = download.done_bytes();
                transfer.settle(now);
                self.work.spawn_blocking(move || Work::Finished {
                    id,
                    outcome: work::contain(|| work::finish(&download, &into)),
                });
                self.wake();
            }
            other => transfer.stage = other,
        }
    }

    pub(crate) fn on_finished_work(
        &mut self,
        id: TransferId,
        outcome: Result<Finished, FilesError>,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        match outcome {
            // Who asked for both waits for both; a restart in between finds it finished and gets here again.
            Ok(finished) if matches!(transfer.row.side, Side::Receive { share: true, .. }) => {
                self.reshare(id, finished);
            }
            Ok(finished) => self.conclude(id, finished, now),
            Err(error) => {
                transfer.stage = Stage::Closed;
                self.fail_for_peer(id, error, now);
            }
        }
    }

    /// The content is at its destination, and shared if that was wanted.
    fn conclude(&mut self, id: TransferId, finished: Finished, now: Instant) {
        let state = self.place(id).map(|place| place.state);
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.stage = Stage::Closed;
        transfer.row.paths = finished.paths;
        transfer.row.done_bytes = transfer.total();
        transfer.row.error = None;
        if transfer.is_pushed() {
            transfer.row.untold = Some(News::Done);
        }
        self.set_state(id, State::Done, now);
        self.tell_peer(id);
        drop(self.store.transfers().remove(vec![(RowKind::Pieces, id)]));
        if let Some(state) = state {
            self.work.spawn_blocking(move || {
                peerage_content::Sink::forget(&state);
                Work::Nothing
            });
        }
    }

    fn reshare(&mut self, id: TransferId, finished: Finished) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let progress = Arc::new(Progress::default());
        transfer.hashing = Some(Arc::clone(&progress));
        let (cache, permits) = (self.cache.clone(), Arc::clone(&self.hashing));
        self.work.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let paths = finished.paths.clone();
            let hash = move || work::hash(&paths, true, &cache, &progress);
            let hashed = tokio::task::spawn_blocking(hash).await;
            let outcome = hashed.unwrap_or(Err(peerage_api::LinkError::Stopped.into()));
            Work::Reshared { id, finished, outcome }
        });
        self.wake();
    }

    pub(crate) fn on_reshared(
        &mut self,
        id: TransferId,
        finished: Finished,
        outcome: Result<Prepared, FilesError>,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let cut_short = transfer.hashing.take().is_none();
        if !transfer.is_receiving() || self.stopping {
            // Paused, or the node stops: it is hashed when it goes on.
            transfer.stage = Stage::Closed;
            return;
        }
        if cut_short {
            return self.reshare(id, finished);
        }
        match outcome {
            Ok(prepared) => self.keep_share(None, prepared.record, drop),
            Err(error) => tracing::warn!(%id, %error, "what was fetched is not shared"),
        }
        self.conclude(id, finished, now);
    }

    /// Makes durable what came since the last time, if that was long ago.
    pub(crate) fn checkpoint(&mut self, id: TransferId, force: bool, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Stage::Files(download) = &transfer.stage else { return };
        let (last, done) = (&mut transfer.checkpoint, download.done_bytes());
        let since = *last.at.get_or_insert(now);
        let due = now.duration_since(since) >= CHECKPOINT_INTERVAL
            || done.saturating_sub(last.bytes) >= CHECKPOINT_BYTES;
        if last.running || done == last.bytes || !(due || force) {
            return;
        }
        (last.running, last.at) = (true, Some(now));
        let download = Arc::clone(download);
        self.work.spawn_blocking(move || Work::Checkpointed {
            id,
            bytes: done,
            outcome: work::contain(|| work::checkpoint(&download)),
        });
    }

    pub(crate) fn on_checkpointed(
        &mut self,
        id: TransferId,
        bytes: u64,
        outcome: Result<Bitfield, FilesError>,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.checkpoint.running = false;
        match outcome {
            // Its pieces are at their destination, or removed.
            Ok(_) if matches!(transfer.row.state, State::Done | State::Cancelled) => {}
            Ok(bits) => {
                transfer.checkpoint.bytes = bytes;
                transfer.settle(now);
                let bits = bytes::Bytes::from(bits.to_bytes());
                drop(self.store.transfers().put(RowKind::Pieces, id, bits));
                self.save(id);
            }
            Err(error) if !transfer.row.state.is_over() => self.fail_for_peer(id, error, now),
            Err(_) => {}
        }
    }

    /// Ends all streams of a transfer; what is open for it is closed.
    pub(crate) fn suspend(&mut self, id: TransferId, now: Instant) {
        self.checkpoint(id, true, now);
        self.end_fetching(id);
        self.cut_off(|served| *served == Some(id));
        self.close_place(id, now);
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.since = None;
        transfer.serving.clear();
        transfer.providers.reset();
        if let Some(progress) = transfer.hashing.take() {
            progress.cancel();
        }
        self.save(id);
    }

    /// Makes room for others while nobody is there to fetch from.
    pub(crate) fn park(&mut self, id: TransferId, now: Instant) {
        self.checkpoint(id, true, now);
        self.end_fetching(id);
        self.close_place(id, now);
        self.wake();
    }

    pub(crate) fn close_place(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.settle(now);
        match mem::replace(&mut transfer.stage, Stage::Closed) {
            Stage::Closed => {}
            Stage::Resolving(dialog) => {
                self.jobs.remove(&dialog);
                self.dialogs.cancel(dialog);
            }
            Stage::Manifest(download) => self.counts.corrupt += download.corrupt_bytes(),
            Stage::Files(download) => {
                self.counts.corrupt += download.corrupt_bytes();
                transfer.former = Some(download);
            }
            // A worker is at it; what it brings is looked at then.
            busy @ (Stage::Opening | Stage::Finishing) => transfer.stage = busy,
        }
    }

    pub(crate) fn end_fetching(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let dialogs: Vec<_> = transfer.providers.dialogs().collect();
        for dialog in dialogs {
            if let Some(provider) = transfer.providers.by_dialog(dialog) {
                provider.state = Standing::Idle;
            }
            self.jobs.remove(&dialog);
            self.dialogs.cancel(dialog);
        }
    }

    /// Fails and lets the pushing side know, without what is none of its business.
    pub(crate) fn fail_for_peer(&mut self, id: TransferId, error: FilesError, now: Instant) {
        if let Some(transfer) = self.transfers.get_mut(&id)
            && transfer.is_pushed()
        {
            transfer.row.untold = Some(News::Failed(reason(&to_peer(&error))));
        }
        self.fail(id, error, now);
        self.tell_peer(id);
    }

    pub(crate) fn on_disconnected(&mut self, peer: PeerId, now: Instant) {
        let concerned: Vec<_> = self.transfers.keys().copied().collect();
        for id in concerned {
            let Some(transfer) = self.transfers.get_mut(&id) else { continue };
            if transfer.row.peer != Some(peer) && transfer.providers.get(&peer).is_none() {
                continue;
            }
            let open = transfer.download().is_some_and(|download| !download.is_complete());
            if open && self.transfers.get(&id).is_some_and(|t| !self.is_reachable(t)) {
                self.park(id, now);
            }
            self.step(id, now);
        }
    }

    /// Removes what was received so far, once nobody writes to it.
    pub(crate) fn discard(&mut self, id: TransferId) {
        let Some(place) = self.place(id) else { return };
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        if matches!(transfer.stage, Stage::Opening) {
            // Its worker may be about to make what is to be removed.
            return;
        }
        let former = transfer.former.take();
        self.discard_place(place, former);
    }

    /// Has nothing left of it at its place; meanwhile no other one is opened.
    pub(crate) fn clear(&mut self, id: TransferId, old: Destination) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.row.done_bytes = 0;
        transfer.stage = Stage::Opening;
        let former = transfer.former.take();
        drop(self.store.transfers().remove(vec![(RowKind::Pieces, id)]));
        self.work.spawn_blocking(move || {
            former.inspect(|former| former.close());
            work::discard(&old);
            Work::Cleared { id }
        });
        self.wake();
    }

    pub(crate) fn on_cleared(&mut self, id: TransferId, now: Instant) {
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.stage = Stage::Closed;
        }
        self.step(id, now);
    }

    /// Gives back the room that was taken for what did not come.
    pub(crate) fn clear_if_empty(&mut self, id: TransferId) {
        let empty = |transfer: &Transfer| {
            matches!(transfer.stage, Stage::Closed)
                && transfer.former.is_some()
                && transfer.done_bytes() == 0
        };
        if self.transfers.get(&id).is_some_and(empty)
            && let Some(place) = self.place(id)
        {
            self.clear(id, place);
        }
    }

    pub(crate) fn discard_place(&mut self, place: Destination, former: Option<Arc<Download>>) {
        let id = place.id;
        drop(self.store.transfers().remove(vec![(RowKind::Pieces, id)]));
        self.work.spawn_blocking(move || {
            former.inspect(|former| former.close());
            work::discard(&place);
            Work::Nothing
        });
        self.wake();
    }
}

/// The manifest; taken once.
fn collected(download: &Download) -> Option<bytes::Bytes> {
    let Place::Memory(collector) = &download.place else { return None };
    lock(collector).take()?.finish()
}

/// What the other side of a transfer is told of why it failed here: paths of this machine and what to do
/// on it are its own user's business.
fn to_peer(error: &FilesError) -> String {
    match error {
        FilesError::DiskFull { .. } => "its disk is full; it has to make room".to_owned(),
        FilesError::Path { .. } => "it cannot write to its folder".to_owned(),
        // Said by the transfer between the same two.
        FilesError::Broken { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_side_hears_no_paths_of_this_machine() {
        let full = FilesError::DiskFull { dir: "/home/ada".into(), needed: 2, free: 1 };
        let path = FilesError::Path { path: "/home/ada/x".into(), reason: "read-only".into() };
        for error in [full, path] {
            assert!(!to_peer(&error).contains("/home"), "{}", to_peer(&error));
        }
        let peer = "12D3KooWGRhzjJbYMLRt5wYFfvv3d63xwHVsGxr97QVSRgsYKNAr".parse().unwrap();
        let broken = FilesError::Broken { peer, reason: "what was said".into() };
        assert_eq!(to_peer(&broken), "what was said");
    }
}
