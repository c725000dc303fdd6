//! Receiving: whom to fetch from, and what became of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use peerage_api::files::{self as api, FilesError, SEND_AGAIN, State};
use peerage_dialog::{DialogError, DialogId, Open, Path};
use peerage_types::{ContentHash, TransferId};
use peerage_wire::files::{Kind, Part, Refusal, Request};

use crate::{
    behaviour::{Behaviour, Done, Job},
    bounds::{MAX_FETCHING, MAX_STALLS, PROGRESS_TIMEOUT},
    config::Event,
    providers::State as Standing,
    session::{Fetched, SessionError, fetch},
    transfer::{Side, Stage, Transfer},
    work,
};

/// How often a provider that has paused is asked again.
const PAUSED_REST: Duration = Duration::from_secs(5);

impl Behaviour {
    /// Connects to idle providers and fetches from those that are connected.
    pub(crate) fn fetch_from_all(&mut self, id: TransferId, now: Instant) {
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
    pub(crate) fn exhausted(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Some(hash) = transfer.row.content.as_ref().map(|content| content.root) else { return };
        // Somebody else may be found yet.
        let found_by = transfer.search.may_bring_until().filter(|at| *at > now);
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

    pub(crate) fn fetch_from(&mut self, id: TransferId, peer: PeerId, path: Path) {
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
        if transfer.providers.fetching() == 0 {
            transfer.row.peer = Some(peer);
        }
        if let Some(provider) = transfer.providers.get(&peer) {
            provider.state = Standing::Fetching(dialog);
        }
    }

    pub(crate) fn dial(&mut self, id: TransferId, peer: PeerId, now: Instant) {
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
    pub(crate) fn search(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let named = matches!(
            transfer.row.side,
            Side::Receive { pushed: true, .. } | Side::Receive { published: Some(_), .. }
        );
        let Some(hash) = transfer.row.content.as_ref().map(|content| content.root) else { return };
        if named {
            return;
        }
        let fetching = transfer.providers.fetching() > 0;
        let due = transfer.search.is_due(fetching, now);
        if due {
            transfer.search.on_begun(fetching, now);
        }
        let next = transfer.search.next(fetching, now);
        transfer.retry_at = Some(transfer.retry_at.map_or(next, |at| at.min(next)));
        if due {
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
                let reason =
                    format!("some of the files have changed or are gone since; {SEND_AGAIN}");
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

    pub(crate) fn on_fetch_error(
        &mut self,
        id: TransferId,
        peer: PeerId,
        error: &SessionError,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let hash = transfer.row.content.as_ref().map(|content| content.root);
        let pushed = transfer.is_pushed();
        let published = matches!(transfer.row.side, Side::Receive { published: Some(_), .. });
        let ask_again = published && !transfer.asked_again;
        let Some(provider) = transfer.providers.get(&peer) else { return };
        match (error, hash) {
            (SessionError::Refused(Refusal::Declined(_)), _) if pushed => {
                return self.cancel_for_peer(id, now);
            }
            (SessionError::Refused(Refusal::Paused), _) if pushed => {
                provider.state = Standing::Idle;
                return self.pause_for_peer(id, now);
            }
            // Nobody tells when it goes on.
            (SessionError::Refused(Refusal::Paused), _) => provider.rest(PAUSED_REST, now),
            (SessionError::Refused(Refusal::Declined(reason)), _) => {
                provider.state = Standing::Out;
                let reason = reason.clone();
                transfer.row.error = Some(FilesError::Rejected { peer, reason });
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
            (SessionError::Refused(refusal @ (Refusal::Changed | Refusal::Unreadable)), _) => {
                provider.state = Standing::Out;
                let reason = match refusal {
                    Refusal::Changed => format!("the files have changed; {SEND_AGAIN}"),
                    _ => "the files cannot be read where they are".to_owned(),
                };
                transfer.row.error = Some(FilesError::Broken { peer, reason });
            }
            // Whoever made the ticket may be the one who is wrong: nobody is blamed.
            (SessionError::OtherSize, _) if !pushed => {
                provider.state = Standing::Out;
                let reason = "it gives another size than its content has".to_owned();
                transfer.row.error = Some(FilesError::BadTicket { reason });
            }
            (error, Some(hash))
                if error.is_misbehaviour() || matches!(error, SessionError::OtherSize) =>
            {
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
}

pub(crate) fn shown_path(path: Path) -> api::Path {
    if path.relayed { api::Path::Relayed } else { api::Path::Direct }
}
