//! Receiving: find who has it, make a place for it, fetch, put it to its destination.

use std::{
    mem,
    sync::{Arc, Mutex},
    time::Instant,
};

use libp2p_identity::PeerId;
use peerage_api::{
    Ask,
    files::{self as api, FilesError, Get, State, Wanted},
};
use peerage_content::{Bitfield, Finished};
use peerage_dialog::{DialogError, DialogId, Open, Path};
use peerage_store::RowKind;
use peerage_types::{ContentHash, TransferId, UnixMillis};
use peerage_wire::files::{
    Answer, Content, Kind, News, Part, Refusal, Request, Ticket, path::check_name, reason,
};

use crate::{
    behaviour::{Behaviour, Done, Event, Job},
    bounds::{
        CHECKPOINT_BYTES, CHECKPOINT_INTERVAL, FIRST_CONTACT_TIMEOUT, MAX_FETCHING, MAX_RECEIVING,
        MAX_STALLS, PROGRESS_TIMEOUT, SEARCH_INTERVAL, SEARCH_TIMEOUT,
    },
    download::{Download, Place, lock},
    providers::State as Standing,
    session::{Fetched, SessionError, ask as ask_peer, fetch},
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
        transfer.patience = Some(now + FIRST_CONTACT_TIMEOUT);
        self.insert_new(transfer, now, |transfer| ask.reply(transfer));
        self.step(id, now);
    }

    fn wanted(&self, request: &Get) -> Result<Row, FilesError> {
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
        Ok(Row {
            state: State::Connecting,
            peer,
            content,
            name: name.unwrap_or_default(),
            side: Side::Receive {
                pushed: false,
                published,
                providers: providers.into_iter().filter(|provider| !own(provider)).collect(),
                into,
                rename: request.name.clone(),
                share: request.share,
                begun: false,
            },
            wire_bytes: 0,
            done_bytes: 0,
            seconds: 0.0,
            limit_bps: request.limit_bps,
            paths: Vec::new(),
            skipped: Vec::new(),
            skipped_count: 0,
            started: UnixMillis::now(),
            finished: None,
            error: None,
            untold: None,
        })
    }

    /// Why nothing is fetched that only this node is said to have.
    fn own_content(&self, content: Option<&Content>) -> FilesError {
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
        self.tell_peer(id, now);
        let Some(transfer) = self.transfers.get(&id) else { return };
        match (&transfer.row.side, transfer.row.state) {
            (Side::Send { .. }, _) => self.step_send(id, now),
            (_, State::Connecting | State::AwaitingDirect | State::Running) => {
                self.step_receive(id, now);
            }
            _ => {}
        }
        self.wake();
    }

    fn step_receive(&mut self, id: TransferId, now: Instant) {
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
    fn open_places(&self) -> usize {
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
    fn resolve(&mut self, id: TransferId, now: Instant) {
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
                transfer.patience.get_or_insert(now + FIRST_CONTACT_TIMEOUT);
                if let Some(provider) = transfer.providers.get(&peer) {
                    provider.on_failure(now);
                }
                self.wake();
            }
        }
    }

    fn place(&self, id: TransferId) -> Option<Destination> {
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
    fn open_place(&mut self, id: TransferId, manifest: Option<bytes::Bytes>) {
        let Some(place) = self.place(id) else { return };
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.stage = Stage::Opening;
        let former = transfer.former.take();
        let (cache, store) = (self.cache.clone(), self.store.clone());
        self.work.spawn_blocking(move || {
            former.inspect(|former| former.close());
            let outcome = std::fs::create_dir_all(&place.into)
                .map_err(|e| FilesError::Path { path: place.into.clone(), reason: e.to_string() })
                .and_then(|()| work::open(&place, manifest, &cache, &store));
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
        if let Some(until) = &mut transfer.patience {
            // It may have waited for room until now.
            *until = now + FIRST_CONTACT_TIMEOUT;
        }
        self.tell_state(id, now);
        self.step(id, now);
    }

    /// The description of content does not fit its manifest: whoever gave both lied.
    fn blame_all(&mut self, id: TransferId, error: &FilesError) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        if transfer.is_pushed()
            && let Some(peer) = transfer.row.peer
        {
            self.emit(Event::Misbehaved { peer, reason: error.to_string() });
        }
    }

    /// Connects to idle providers and fetches from those that are connected.
    fn fetch_from_all(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let idle = transfer.providers.idle(now);
        let mut relayed = false;
        for peer in idle {
            match self.dialogs.best(&peer) {
                Some(path) if path.relayed && !self.config.allow_relay => relayed = true,
                Some(path) => self.fetch_from(id, peer, path),
                None => self.dial(id, peer, now),
            }
        }
        self.search(id, now);
        let Some(transfer) = self.transfers.get(&id) else { return };
        let state = match transfer.providers.fetching() {
            0 if relayed => State::AwaitingDirect,
            0 => State::Connecting,
            _ => State::Running,
        };
        if state == State::Connecting && transfer.providers.is_exhausted() {
            return self.exhausted(id, now);
        }
        self.set_state(id, state, now);
    }

    /// Nobody is left who may have it.
    fn exhausted(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Some(hash) = transfer.row.content.as_ref().map(|content| content.root) else { return };
        // Somebody else may be found yet.
        let found_by = transfer.searched.map(|at| at + SEARCH_TIMEOUT).filter(|at| *at > now);
        if let Some(at) = found_by {
            transfer.retry_at = Some(at);
            return self.set_state(id, State::Connecting, now);
        }
        let error = match transfer.row.error.take() {
            Some(error) => error,
            None if transfer.providers.has_liar() => FilesError::Corrupt { hash },
            // It has begun, or patience will end.
            None => return self.set_state(id, State::Connecting, now),
        };
        self.fail_for_peer(id, error, now);
    }

    fn fetch_from(&mut self, id: TransferId, peer: PeerId, path: Path) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        if transfer.providers.fetching() >= MAX_FETCHING {
            return;
        }
        let (download, part) = match &transfer.stage {
            Stage::Manifest(download) => (download, Part::Root),
            Stage::Files(download) => match transfer.row.content.as_ref().map(|c| c.kind) {
                Some(Kind::Tree) => (download, Part::Tree),
                _ => (download, Part::Root),
            },
            _ => return,
        };
        let download = Arc::clone(download);
        let request = Request::Fetch {
            transfer: transfer.is_pushed().then_some(id),
            root: download.plan.root(),
            part,
            have: download.done_bytes(),
        };
        self.next_token += 1;
        let (provider, round_trip) = (self.next_token, path.rtt.unwrap_or_default());
        let open = Open::new(peer, self.protocol.clone());
        let dialog = self.dialogs.open(open, move |stream| async move {
            Done::Fetched(fetch(stream, request, download, provider, round_trip).await)
        });
        self.jobs.insert(dialog, Job::Fetch(id));
        transfer.path = Some(shown_path(path));
        if let Some(provider) = transfer.providers.get(&peer) {
            provider.state = Standing::Fetching(dialog);
        }
    }

    fn dial(&mut self, id: TransferId, peer: PeerId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Some(provider) = transfer.providers.get(&peer) else { return };
        if matches!(provider.state, Standing::Resting { until } if until > now) {
            return;
        }
        provider.state = Standing::Dialling;
        let addresses = provider.addresses.clone();
        self.connect(peer, addresses);
    }

    /// Looks for more providers now and then; not of what was pushed, which is between two.
    fn search(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let due = transfer.searched.is_none_or(|at| now.duration_since(at) >= SEARCH_INTERVAL);
        let named = matches!(
            transfer.row.side,
            Side::Receive { pushed: true, .. } | Side::Receive { published: Some(_), .. }
        );
        let Some(hash) = transfer.row.content.as_ref().map(|content| content.root) else { return };
        if named {
            return;
        }
        let next = if due { now } else { transfer.searched.unwrap_or(now) } + SEARCH_INTERVAL;
        transfer.retry_at = Some(transfer.retry_at.map_or(next, |at| at.min(next)));
        if due {
            transfer.searched = Some(now);
            self.emit(Event::NeedProviders { hash });
        }
    }

    /// Peers that provide content, as asked for by [`Event::NeedProviders`].
    pub fn on_providers(&mut self, hash: ContentHash, peers: &[PeerId]) {
        let now = Instant::now();
        let wants = |transfer: &&mut Transfer| {
            let content = transfer.row.content.as_ref();
            matches!(transfer.row.side, Side::Receive { pushed: false, published: None, .. })
                && content.is_some_and(|content| content.root == hash)
                && !transfer.row.state.is_over()
        };
        let mut touched = Vec::new();
        for transfer in self.transfers.values_mut().filter(wants) {
            for peer in peers.iter().filter(|peer| **peer != self.config.local) {
                transfer.providers.add(*peer, Vec::new());
            }
            touched.push(transfer.id);
        }
        for id in touched {
            self.step(id, now);
        }
    }

    pub(crate) fn on_fetched(
        &mut self,
        id: TransferId,
        dialog: DialogId,
        peer: PeerId,
        outcome: Result<Done, DialogError>,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Some(provider) = transfer.providers.by_dialog(dialog) else { return };
        tracing::debug!(%id, %peer, ?outcome, "fetch ended");
        match outcome {
            Ok(Done::Fetched(Ok(Fetched::All))) => {
                provider.failures = 0;
                provider.state = Standing::Idle;
            }
            Ok(Done::Fetched(Ok(Fetched::Idle))) => provider.on_failure(now),
            Ok(Done::Fetched(Ok(Fetched::Useless))) => {
                provider.state = Standing::Out;
                let reason = "some of its files have changed or are gone".to_owned();
                transfer.row.error = Some(FilesError::Broken { peer, reason });
            }
            Ok(Done::Fetched(Err(SessionError::Write(error)))) => {
                let error = match transfer.download() {
                    Some(download) => work::write_error(download, &error),
                    None => return,
                };
                return self.fail_for_peer(id, error, now);
            }
            Ok(Done::Fetched(Err(error))) => return self.on_fetch_error(id, peer, &error, now),
            Ok(_) => {}
            Err(DialogError::Unsupported(_)) => {
                provider.state = Standing::Out;
                transfer.row.error = Some(FilesError::Unsupported { peer });
            }
            Err(DialogError::Stalled) => {
                provider.on_failure(now);
                if provider.failures >= MAX_STALLS {
                    provider.state = Standing::Out;
                    let seconds = PROGRESS_TIMEOUT.as_secs();
                    transfer.row.error = Some(FilesError::TimedOut { peer, seconds });
                }
            }
            Err(_) => provider.on_failure(now),
        }
        self.step(id, now);
    }

    fn on_fetch_error(&mut self, id: TransferId, peer: PeerId, error: &SessionError, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let hash = transfer.row.content.as_ref().map(|content| content.root);
        let pushed = transfer.is_pushed();
        let published = matches!(transfer.row.side, Side::Receive { published: Some(_), .. });
        let ask_again = published && !transfer.asked_again;
        let Some(provider) = transfer.providers.get(&peer) else { return };
        match (error, hash) {
            (SessionError::Refused(Refusal::Paused), _) if pushed => {
                provider.state = Standing::Idle;
                return self.pause_for_peer(id, now);
            }
            (SessionError::Refused(Refusal::NotFound), _) if ask_again => {
                // It has forgotten what it told us, as after a restart.
                transfer.asked_again = true;
                self.park(id, now);
                return self.resolve(id, now);
            }
            (SessionError::Refused(Refusal::NotFound), Some(hash)) => {
                provider.state = Standing::Out;
                transfer.row.error = Some(FilesError::NotThere { peer, hash });
            }
            (SessionError::Refused(Refusal::Changed | Refusal::Unreadable), _) => {
                provider.state = Standing::Out;
                let reason = "its files have changed or cannot be read".to_owned();
                transfer.row.error = Some(FilesError::Broken { peer, reason });
            }
            (error, Some(hash)) if error.is_misbehaviour() => {
                provider.state = Standing::Lied;
                transfer.row.error = Some(FilesError::Corrupt { hash });
            }
            _ => provider.on_failure(now),
        }
        self.step(id, now);
    }

    /// Fetches again over a better connection.
    pub(crate) fn refetch(&mut self, id: TransferId, peer: PeerId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Some(provider) = transfer.providers.get(&peer) else { return };
        if let Standing::Fetching(dialog) = provider.state {
            provider.state = Standing::Idle;
            self.jobs.remove(&dialog);
            self.dialogs.cancel(dialog);
        }
        self.step(id, now);
    }

    /// All pieces of the stage are there.
    fn on_complete(&mut self, id: TransferId, now: Instant) {
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
                    outcome: work::finish(&download, &into),
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
        let state = self.place(id).map(|place| place.state);
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.stage = Stage::Closed;
        let finished = match outcome {
            Ok(finished) => finished,
            Err(error) => return self.fail_for_peer(id, error, now),
        };
        transfer.row.paths.clone_from(&finished.paths);
        transfer.row.done_bytes = transfer.total();
        transfer.row.error = None;
        if transfer.is_pushed() {
            transfer.row.untold = Some(News::Done);
        }
        let share = matches!(transfer.row.side, Side::Receive { share: true, .. });
        self.set_state(id, State::Done, now);
        self.tell_peer(id, now);
        drop(self.store.transfers().remove(vec![(RowKind::Pieces, id)]));
        if let Some(state) = state {
            self.work.spawn_blocking(move || {
                peerage_content::Sink::forget(&state);
                Work::Nothing
            });
        }
        if share {
            self.reshare(finished);
        }
    }

    fn reshare(&mut self, finished: Finished) {
        let (cache, permits) = (self.cache.clone(), Arc::clone(&self.hashing));
        self.work.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let hash = move || {
                work::hash(&finished.paths, true, &cache, &peerage_content::Progress::default())
            };
            let hashed = tokio::task::spawn_blocking(hash).await;
            Work::Reshared {
                outcome: hashed.unwrap_or(Err(peerage_api::LinkError::Stopped.into())),
            }
        });
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
            outcome: work::checkpoint(&download),
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
    fn park(&mut self, id: TransferId, now: Instant) {
        self.checkpoint(id, true, now);
        self.end_fetching(id);
        self.close_place(id, now);
        self.wake();
    }

    fn close_place(&mut self, id: TransferId, now: Instant) {
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

    fn end_fetching(&mut self, id: TransferId) {
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

    /// Fails and lets the pushing side know.
    fn fail_for_peer(&mut self, id: TransferId, error: FilesError, now: Instant) {
        if let Some(transfer) = self.transfers.get_mut(&id)
            && transfer.is_pushed()
        {
            transfer.row.untold = Some(News::Failed(reason(&error.to_string())));
        }
        self.fail(id, error, now);
        self.tell_peer(id, now);
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

    fn discard_place(&mut self, place: Destination, former: Option<Arc<Download>>) {
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

pub(crate) fn shown_path(path: Path) -> api::Path {
    if path.relayed { api::Path::Relayed } else { api::Path::Direct }
}

/// The manifest; taken once.
fn collected(download: &Download) -> Option<bytes::Bytes> {
    let Place::Memory(collector) = &download.place else { return None };
    lock(collector).take()?.finish()
}
