//! Receiving: what is wanted, what is at a path, and a place for it.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use libp2p_identity::PeerId;
use peerage_api::{
    Ask,
    files::{FilesError, Get, State, Wanted},
};
use peerage_dialog::{DialogError, Open};
use peerage_types::TransferId;
use peerage_wire::files::{Answer, Content, Refusal, Request, Ticket, path::check_name};

use crate::{
    behaviour::{Behaviour, Done, Job},
    bounds::MAX_RECEIVING,
    config::Event,
    download::{Download, Place},
    session::{SessionError, ask as ask_peer},
    shares::ShareRow,
    transfer::{Row, Side, Stage, Transfer},
    work::{self, Destination, Opening, Work},
};

impl Behaviour {
    pub(crate) fn get(&mut self, ask: Ask<Get>, now: Instant) {
        let id = ask.request.transfer.unwrap_or_else(|| TransferId(rand::random()));
        let row = self.check_new(id).and_then(|()| self.wanted(&ask.request));
        let row = match row {
            Ok(row) => row,
            Err(error) => return ask.reply(Err(error)),
        };
        let mut transfer = Transfer::new(id, row, Arc::clone(&self.received), now);
        transfer.patience = Some(now + transfer.contact_timeout());
        self.insert_new(transfer, now, |transfer| ask.reply(transfer));
        self.step(id, now);
    }

    pub(crate) fn wanted(&self, request: &Get) -> Result<Row, FilesError> {
        let into = request.into.clone().unwrap_or_else(|| self.config.downloads.clone());
        if !into.is_absolute() {
            let reason = "is not absolute; the node does not know your working directory".into();
            return Err(FilesError::Path { path: into, reason });
        }
        if let Some(name) = &request.name
            && let Err(fault) = check_name(name)
        {
            let reason = format!("cannot be called {name:?}: {fault}");
            return Err(FilesError::Path { path: into, reason });
        }
        let (content, published, providers) = match &request.wanted {
            Wanted::Ticket(text) => {
                let ticket = Ticket::decode(text)
                    .map_err(|error| FilesError::BadTicket { reason: error.to_string() })?;
                (Some(ticket.content), None, ticket.peers)
            }
            Wanted::Published { peer, path } => {
                (None, Some(path.clone()), vec![(*peer, Vec::new())])
            }
        };
        let own = |(peer, _): &(PeerId, _)| *peer == self.config.local;
        let peer = providers.iter().find(|provider| !own(provider)).map(|(peer, _)| *peer);
        if peer.is_none() && !providers.is_empty() {
            return Err(self.own_content(content.as_ref()));
        }
        let last = published.as_deref().and_then(|path| path.rsplit('/').find(|p| !p.is_empty()));
        let named = content.as_ref().map(|content| content.name.clone());
        let name = request.name.clone().or(named).or(last.map(str::to_owned));
        let side = Side::Receive {
            pushed: false,
            published,
            providers: providers.into_iter().filter(|provider| !own(provider)).collect(),
            into,
            rename: request.name.clone(),
            share: request.share,
            begun: false,
        };
        Ok(Row {
            peer,
            content,
            name: name.unwrap_or_default(),
            limit_bps: request.limit_bps,
            patient: request.patient,
            ..Row::new(State::Connecting, side)
        })
    }

    /// Why nothing is fetched that only this node is said to have.
    pub(crate) fn own_content(&self, content: Option<&Content>) -> FilesError {
        let root = content.map(|content| content.root);
        let shared = self.shares.values().find(|share| root.is_some() && share.hash() == root);
        match shared.and_then(ShareRow::path) {
            Some(path) => FilesError::Path { path, reason: "is shared by this node itself".into() },
            None => FilesError::Unreachable {
                peer: self.config.local,
                reason: "it is this node itself".into(),
            },
        }
    }

    /// Does what a transfer needs now, if it is under way.
    pub(crate) fn step(&mut self, id: TransferId, now: Instant) {
        if self.stopping {
            return;
        }
        self.tell_peer(id);
        let Some(transfer) = self.transfers.get(&id) else { return };
        match (&transfer.row.side, transfer.row.state) {
            (Side::Send { .. }, _) => self.step_send(id, now),
            (Side::Receive { .. }, State::Connecting | State::AwaitingDirect | State::Running) => {
                self.step_receive(id, now)
            }
            _ => {}
        }
        self.wake();
    }

    pub(crate) fn step_receive(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        match &transfer.stage {
            Stage::Closed if transfer.row.content.is_none() => self.resolve(id, now),
            Stage::Closed if self.is_reachable(transfer) && self.open_places() < MAX_RECEIVING => {
                self.open_place(id, None);
            }
            Stage::Resolving(_) | Stage::Opening | Stage::Finishing => {}
            Stage::Manifest(download) | Stage::Files(download) if download.is_complete() => {
                self.on_complete(id, now);
            }
            Stage::Closed | Stage::Manifest(_) | Stage::Files(_) => self.fetch_from_all(id, now),
        }
    }

    /// Places that are open: what [`MAX_RECEIVING`] bounds.
    pub(crate) fn open_places(&self) -> usize {
        let opened = |t: &&Transfer| !matches!(t.stage, Stage::Closed | Stage::Resolving(_));
        self.transfers.values().filter(opened).count()
    }

    /// Whether it could be fetched from somebody at once.
    pub(crate) fn is_reachable(&self, transfer: &Transfer) -> bool {
        transfer.providers.candidates().any(|peer| {
            let path = self.dialogs.best(&peer);
            path.is_some_and(|path| self.config.allow_relay || !path.relayed)
        })
    }

    /// Opens places for those that wait for one, as far as there is room.
    pub(crate) fn open_places_that_wait(&mut self, now: Instant) {
        let room = MAX_RECEIVING.saturating_sub(self.open_places());
        let waiting = self.transfers.values().filter(|t| t.is_closed() && self.is_reachable(t));
        let waiting: Vec<_> = waiting.map(|transfer| transfer.id).take(room).collect();
        for id in waiting {
            self.step(id, now);
        }
    }

    /// Asks the peer what is at its published path.
    pub(crate) fn resolve(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Side::Receive { published: Some(path), .. } = &transfer.row.side else { return };
        let (Some(peer), path) = (transfer.row.peer, path.clone()) else {
            let (peer, path) = (self.config.local, path.clone());
            return self.fail(id, FilesError::NotPublished { peer, path }, now);
        };
        if !self.dialogs.is_connected(&peer) {
            return self.dial(id, peer, now);
        }
        let open = Open::new(peer, self.protocol.clone());
        let dialog = self.dialogs.open(open, |stream| async {
            Done::Asked(ask_peer(stream, Request::Resolve { path }, |_, _| {}).await)
        });
        self.jobs.insert(dialog, Job::Resolve(id));
        transfer.patience = None;
        transfer.stage = Stage::Resolving(dialog);
    }

    pub(crate) fn on_resolved(
        &mut self,
        id: TransferId,
        peer: PeerId,
        answer: Result<Answer, SessionError>,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.stage = Stage::Closed;
        let known = transfer.row.content.as_ref().map(|content| content.root);
        match answer {
            Ok(Answer::Resolved(content)) if known.is_some_and(|root| root != content.root) => {
                let reason = "what is at the path has changed meanwhile; get it again".to_owned();
                self.fail(id, FilesError::Broken { peer, reason }, now);
            }
            Ok(Answer::Resolved(content)) => {
                if !matches!(transfer.row.side, Side::Receive { rename: Some(_), .. }) {
                    transfer.row.name.clone_from(&content.name);
                }
                transfer.row.content = Some(content);
                self.save(id);
                self.tell_state(id, now);
                self.step(id, now);
            }
            Ok(Answer::Refused(Refusal::NotFound)) => {
                let path = match &transfer.row.side {
                    Side::Receive { published: Some(path), .. } => path.clone(),
                    _ => String::new(),
                };
                self.fail(id, FilesError::NotPublished { peer, path }, now);
            }
            Ok(other) => {
                let reason = format!("it answered {other:?}");
                self.fail(id, FilesError::Broken { peer, reason }, now);
            }
            Err(error) => {
                self.fail(id, FilesError::Broken { peer, reason: error.to_string() }, now);
            }
        }
    }

    pub(crate) fn on_resolve_lost(
        &mut self,
        id: TransferId,
        peer: PeerId,
        error: &DialogError,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.stage = Stage::Closed;
        match error {
            DialogError::Unsupported(_) => self.fail(id, FilesError::Unsupported { peer }, now),
            _ => {
                let until = now + transfer.contact_timeout();
                transfer.patience.get_or_insert(until);
                if let Some(provider) = transfer.providers.get(&peer) {
                    provider.on_failure(now);
                }
                self.wake();
            }
        }
    }

    pub(crate) fn place(&self, id: TransferId) -> Option<Destination> {
        let transfer = self.transfers.get(&id)?;
        let Side::Receive { into, rename, .. } = &transfer.row.side else { return None };
        Some(Destination {
            id,
            content: transfer.row.content.clone()?,
            into: into.clone(),
            rename: rename.clone(),
            state: self.config.home.join("parts").join(id.to_string()),
        })
    }

    /// Has a worker open the place; with the manifest, if that was fetched.
    pub(crate) fn open_place(&mut self, id: TransferId, manifest: Option<bytes::Bytes>) {
        let Some(place) = self.place(id) else { return };
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.stage = Stage::Opening;
        let former = transfer.former.take();
        let (cache, store) = (self.cache.clone(), self.store.clone());
        self.work.spawn_blocking(move || {
            former.inspect(|former| former.close());
            let outcome = work::contain(|| {
                std::fs::create_dir_all(&place.into)
                    .map_err(|e| FilesError::Path {
                        path: place.into.clone(),
                        reason: e.to_string(),
                    })
                    .and_then(|()| work::open(&place, manifest, &cache, &store))
            });
            Work::Opened { place: Box::new(place), outcome }
        });
        self.wake();
    }

    pub(crate) fn on_opened(
        &mut self,
        place: Destination,
        outcome: Result<Opening, FilesError>,
        now: Instant,
    ) {
        let id = place.id;
        let wanted = |t: &&mut Transfer| t.row.state != State::Cancelled;
        let Some(transfer) = self.transfers.get_mut(&id).filter(wanted) else {
            // Cancelled, and perhaps forgotten, while the worker was at it.
            drop(outcome);
            if let Some(transfer) = self.transfers.get_mut(&id) {
                transfer.stage = Stage::Closed;
            }
            return self.discard_place(place, None);
        };
        transfer.stage = Stage::Closed;
        let under_way = transfer.is_receiving();
        let traffic = Arc::clone(&transfer.traffic);
        match outcome {
            _ if !under_way => return,
            Ok(Opening::Manifest(plan, collector)) => {
                let place = Place::Memory(Mutex::new(Some(collector)));
                transfer.stage = Stage::Manifest(Arc::new(Download::new(plan, place, traffic)));
            }
            Ok(Opening::Files(plan, sink)) => {
                let download = Download::new(plan, Place::Disk(sink), traffic);
                transfer.resumed_bytes = download.done_bytes();
                transfer.ticked_bytes = download.done_bytes();
                transfer.checkpoint.bytes = download.done_bytes();
                transfer.stage = Stage::Files(Arc::new(download));
            }
            Err(error @ FilesError::Corrupt { .. }) => {
                self.blame_all(id, &error);
                return self.fail_for_peer(id, error, now);
            }
            Err(error) => return self.fail_for_peer(id, error, now),
        }
        // It may have waited for room until now.
        let until = now + transfer.contact_timeout();
        transfer.patience = transfer.patience.map(|_| until);
        if transfer.resumed_bytes > 0 {
            self.tell_state(id, now);
        }
        self.step(id, now);
    }

    /// The description of content does not fit its manifest: whoever gave both lied.
    pub(crate) fn blame_all(&mut self, id: TransferId, error: &FilesError) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        if transfer.is_pushed()
            && let Some(peer) = transfer.row.peer
        {
            self.emit(Event::Misbehaved { peer, reason: error.to_string() });
        }
    }
}
