//! Sending: hash, offer, and be there while the other side fetches.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use peerage_api::{
    Ask, LinkError,
    files::{FilesError, Send, Skipped, State},
    peers::PeersError,
};
use peerage_content::{Prepared, Progress};
use peerage_dialog::{DialogError, Open};
use peerage_types::TransferId;
use peerage_wire::files::{Answer, News, Refusal, Request};

use crate::{
    behaviour::{Behaviour, Done, Job},
    bounds::{MAX_HASHING_QUEUED, MAX_TRANSFERS, OFFER_EXPIRY},
    session::{SessionError, ask as ask_peer},
    shares::check_paths,
    transfer::{Row, Side, Transfer},
    work::{self, Work, content_of},
};

/// Between attempts to reach a peer: 1 s, 2 s, 4 s … this.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// Attempts to reach a peer with something new; after them its user is told.
const MAX_ATTEMPTS: u32 = 3;

impl Behaviour {
    pub(crate) fn send(&mut self, ask: Ask<Send>, now: Instant) {
        let request = &ask.request;
        let id = request.transfer.unwrap_or_else(|| TransferId(rand::random()));
        let own = PeersError::Own { peer: request.to };
        let checked = match request.to == self.config.local {
            true => Err(unreached(request.to, &own)),
            false => check_paths(&request.paths).and_then(|()| self.check_new(id)),
        };
        if let Err(error) = checked {
            return ask.reply(Err(error));
        }
        let first = request.paths.first().and_then(|path| path.file_name());
        let name = first.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let side = Side::Send { keep_links: request.keep_links, record: None, offered: false };
        let row = Row {
            peer: Some(request.to),
            name,
            limit_bps: request.limit_bps,
            paths: request.paths.clone(),
            patient: request.patient,
            ..Row::new(State::Preparing, side)
        };
        let mut transfer = Transfer::new(id, row, Arc::clone(&self.sent), now);
        transfer.patience = Some(now + transfer.contact_timeout());
        self.insert_new(transfer, now, |transfer| ask.reply(transfer));
        self.prepare(id);
        // Meanwhile the path can be made.
        if let Some(peer) = self.transfers.get(&id).and_then(|transfer| transfer.row.peer)
            && !self.dialogs.is_connected(&peer)
        {
            self.connect(peer, Vec::new());
        }
    }

    pub(crate) fn check_new(&mut self, id: TransferId) -> Result<(), FilesError> {
        if self.stopping {
            return Err(LinkError::Stopped.into());
        }
        if self.transfers.contains_key(&id) {
            let action = "be begun again: its id is taken".to_owned();
            return Err(FilesError::WrongState { transfer: id, state: State::Running, action });
        }
        if !self.make_room() {
            let what = "transfers that are not over".to_owned();
            return Err(FilesError::TooMany { what, max: MAX_TRANSFERS as u64 });
        }
        Ok(())
    }

    /// Adds a transfer and answers once it is durable.
    pub(crate) fn insert_new(
        &mut self,
        transfer: Transfer,
        now: Instant,
        reply: impl FnOnce(Result<peerage_api::files::Transfer, FilesError>)
        + std::marker::Send
        + 'static,
    ) {
        let (id, shown) = (transfer.id, transfer.shown(now));
        let Some(row) = transfer.row.encode() else {
            return reply(Err(FilesError::Store { reason: "a path is not text".into() }));
        };
        let pending = self.store.transfers().put(peerage_store::RowKind::Transfer, id, row);
        self.transfers.insert(id, transfer);
        self.work.spawn(async move {
            let saved = pending.await.map_err(|e| FilesError::Store { reason: e.to_string() });
            reply(saved.map(|()| shown));
            Work::Nothing
        });
        self.tell_state(id, now);
    }

    /// Hashes what is to be sent, after what is hashed already.
    pub(crate) fn prepare(&mut self, id: TransferId) {
        let queued = self.transfers.values().filter(|t| t.hashing.is_some()).count();
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Side::Send { keep_links, .. } = transfer.row.side else { return };
        if transfer.hashing.is_some() || queued >= MAX_HASHING_QUEUED {
            return;
        }
        let progress = Arc::new(Progress::default());
        transfer.hashing = Some(Arc::clone(&progress));
        let (cache, paths) = (self.cache.clone(), transfer.row.paths.clone());
        let permits = Arc::clone(&self.hashing);
        self.work.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let hash = move || work::hash(&paths, keep_links, &cache, &progress);
            let hashed = tokio::task::spawn_blocking(hash).await;
            let outcome = hashed.unwrap_or(Err(LinkError::Stopped.into()));
            Work::Prepared { id, outcome }
        });
        self.wake();
    }

    /// Hashes what found the line too long.
    pub(crate) fn prepare_what_waits(&mut self) {
        let waits = |t: &&Transfer| t.row.state == State::Preparing && t.hashing.is_none();
        let next = self.transfers.values().find(waits).map(|transfer| transfer.id);
        if let Some(id) = next {
            self.prepare(id);
        }
    }

    pub(crate) fn on_prepared(
        &mut self,
        id: TransferId,
        outcome: Result<Prepared, FilesError>,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.hashing = None;
        if transfer.row.state != State::Preparing {
            return;
        }
        let prepared = match outcome {
            Ok(prepared) => prepared,
            Err(error) => return self.fail(id, error, now),
        };
        let row = &mut transfer.row;
        row.content = Some(content_of(&prepared.record));
        row.name.clone_from(&prepared.record.name);
        row.skipped_count = prepared.skipped_count;
        let skipped = prepared.skipped.into_iter();
        row.skipped = skipped.map(|s| Skipped { path: s.path, reason: s.reason }).collect();
        if let Side::Send { record, .. } = &mut row.side {
            *record = Some(prepared.record);
        }
        transfer.patience = Some(now + transfer.contact_timeout());
        self.set_state(id, State::Connecting, now);
        self.step(id, now);
    }

    /// Does what a sending transfer needs now.
    pub(crate) fn step_send(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Some(peer) = transfer.row.peer else { return };
        let Side::Send { offered, .. } = transfer.row.side else { return };
        let connected = self.dialogs.is_connected(&peer);
        match transfer.row.state {
            State::Preparing => return self.prepare(id),
            State::Running if transfer.serving.is_empty() && !connected => {
                self.set_state(id, State::Connecting, now);
            }
            State::Offered | State::Connecting => {}
            _ => return,
        }
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        if !connected {
            if transfer.retry_at.is_none_or(|at| at <= now) {
                transfer.retry_at = None;
                self.connect(peer, Vec::new());
            }
        } else if !offered && transfer.talking.is_none() {
            self.offer(id, peer);
        }
    }

    fn offer(&mut self, id: TransferId, peer: PeerId) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Some(content) = transfer.row.content.clone() else { return };
        let open = Open::new(peer, self.protocol.clone());
        let dialog = self.dialogs.open(open, move |stream| async move {
            let request = Request::Offer { transfer: id, content };
            Done::Asked(ask_peer(stream, request, |_, _| {}).await)
        });
        transfer.talking = Some(dialog);
        self.jobs.insert(dialog, Job::Offer(id));
    }

    pub(crate) fn on_offered(
        &mut self,
        id: TransferId,
        peer: PeerId,
        answer: Result<Answer, SessionError>,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.talking = None;
        match answer {
            Ok(Answer::Accepted | Answer::Later) if transfer.row.state == State::Cancelled => {
                // Meanwhile; who has just heard of it must hear of that, too.
                transfer.row.untold = Some(News::Cancelled);
                self.tell_peer(id);
            }
            Ok(_) if transfer.row.state.is_over() => {}
            Ok(Answer::Accepted | Answer::Later) => {
                if let Side::Send { offered, .. } = &mut transfer.row.side {
                    *offered = true;
                }
                transfer.patience = Some(now + OFFER_EXPIRY);
                match answer {
                    Ok(Answer::Accepted) => self.on_accepted(id, now),
                    _ if transfer.row.state == State::Connecting => {
                        self.set_state(id, State::Offered, now);
                    }
                    _ => {}
                }
                self.save(id);
            }
            Ok(Answer::Refused(Refusal::Declined(reason))) => {
                self.on_rejected(id, peer, reason, now);
            }
            Ok(answer) => {
                tracing::debug!(%id, %peer, ?answer, "offer not taken yet");
                // It is reached, and has too many unanswered offers: this one waits for a place.
                if transfer.row.state == State::Connecting {
                    transfer.patience = Some(now + OFFER_EXPIRY);
                    self.set_state(id, State::Offered, now);
                }
                self.retry_later(id, now);
            }
            Err(error) => {
                tracing::debug!(%id, %peer, %error, "offer lost");
                self.retry_later(id, now);
            }
        }
    }

    pub(crate) fn on_offer_lost(
        &mut self,
        id: TransferId,
        peer: PeerId,
        error: &DialogError,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.talking = None;
        match error {
            DialogError::Unsupported(_) => self.fail(id, FilesError::Unsupported { peer }, now),
            _ => self.retry_later(id, now),
        }
    }

    pub(crate) fn retry_later(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let delay = Duration::from_secs(1 << transfer.failures.min(6)).min(MAX_RETRY);
        transfer.failures += 1;
        transfer.retry_at = Some(now + delay);
        self.wake();
    }

    pub(crate) fn on_accepted(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        if let Side::Send { offered, .. } = &mut transfer.row.side {
            *offered = true;
        }
        transfer.patience = None;
        if matches!(transfer.row.state, State::Offered | State::Connecting) {
            self.set_state(id, State::Running, now);
        }
    }

    pub(crate) fn on_rejected(
        &mut self,
        id: TransferId,
        peer: PeerId,
        reason: String,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.row.error = Some(FilesError::Rejected { peer, reason });
        self.set_state(id, State::Rejected, now);
    }

    /// The other side has everything.
    pub(crate) fn on_done(&mut self, id: TransferId, now: Instant) {
        self.set_state(id, State::Done, now);
    }

    /// The other side cannot go on for now; its user decides whether it does.
    pub(crate) fn on_failed_there(&mut self, id: TransferId, peer: PeerId, reason: &str) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let reason = format!("it says: {reason}");
        transfer.row.error = Some(FilesError::Broken { peer, reason });
        self.set_state(id, State::Failed, Instant::now());
    }

    /// A peer cannot be reached: who still waits for the first contact gives up in time.
    pub(crate) fn on_unreachable(&mut self, peer: PeerId, error: &PeersError, now: Instant) {
        let concerned: Vec<_> = self.transfers.keys().copied().collect();
        for id in concerned {
            let Some(transfer) = self.transfers.get_mut(&id) else { continue };
            if let Some(provider) = transfer.providers.get(&peer) {
                // The addresses of the ticket did not do: the next attempt asks the book.
                provider.addresses.clear();
                provider.on_failure(now);
                self.step(id, now);
                continue;
            }
            let waits = matches!(transfer.row.state, State::Offered | State::Connecting);
            if !waits || transfer.row.peer != Some(peer) || transfer.is_pull() {
                continue;
            }
            let patient = transfer.row.patient;
            let hopeless = match error {
                PeersError::Own { .. } | PeersError::Blocked { .. } => true,
                // It may be heard of yet.
                PeersError::NoAddress { .. } => !patient,
                _ => transfer.failures >= MAX_ATTEMPTS && !patient,
            };
            let is_new = matches!(transfer.row.side, Side::Send { offered: false, .. })
                && transfer.row.state == State::Connecting;
            // What came of the addresses there were says more than that none is left.
            let error = match (transfer.unreached.take(), error) {
                (Some(former), PeersError::NoAddress { .. }) => former,
                _ => unreached(peer, error),
            };
            if is_new && hopeless {
                self.fail(id, error, now);
            } else {
                transfer.unreached = Some(error);
                self.retry_later(id, now);
            }
        }
    }
}

/// Why no connection came about, as the user of a transfer reads it.
fn unreached(peer: PeerId, error: &PeersError) -> FilesError {
    let reason = match error {
        PeersError::Blocked { .. } => return FilesError::Blocked { peer },
        PeersError::NoAddress { .. } => {
            "no address of it is known; give one with `peerage connect ADDRESS`".to_owned()
        }
        PeersError::Own { .. } => "it is this node itself".to_owned(),
        PeersError::Unreachable { tried, .. } => {
            let mut tried = tried.clone();
            tried.dedup();
            format!("is it running? {}", tried.join("; "))
        }
        other => other.to_string(),
    };
    FilesError::Unreachable { peer, reason }
}
