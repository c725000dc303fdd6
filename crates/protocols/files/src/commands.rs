//! The facet's commands, and what workers bring.

use std::{path::PathBuf, time::Instant};

use libp2p_identity::PeerId;
use peerage_api::{
    Ask, LinkError, Open,
    files::{
        self as api, Accept, Cancel, Command, Events, FilesError, Forget, GetTransfers, Pause,
        Reject, Resume, Show, Side as Who, State,
    },
};
use peerage_dialog::{DialogError, Open as Dial};
use peerage_store::RowKind;
use peerage_types::TransferId;
use peerage_wire::files::{Answer, News, Refusal, Request, reason};

use crate::{
    behaviour::{Behaviour, Done, Job},
    bounds::MAX_FEEDS,
    search::Search,
    session::ask as ask_peer,
    transfer::{Side, Stage},
    work::Work,
};

impl Behaviour {
    /// Takes a command of the facet.
    pub fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Send(ask) => self.send(ask, now),
            Command::MakeShare(ask) => self.share(ask),
            Command::Publish(ask) => self.publish(ask),
            Command::GetShares(ask) => self.list_shares(ask),
            Command::Unshare(ask) => self.unshare(ask),
            Command::Get(ask) => self.get(ask, now),
            Command::GetTransfers(ask) => self.list(ask, now),
            Command::Show(ask) => self.show(ask, now),
            Command::Accept(ask) => self.accept(ask, now),
            Command::Reject(ask) => self.reject(ask, now),
            Command::Pause(ask) => self.pause(ask, now),
            Command::Resume(ask) => self.resume(ask, now),
            Command::Cancel(ask) => self.cancel(ask, now),
            Command::Forget(ask) => self.forget(ask),
            Command::GetStats(ask) => ask.reply(Ok(self.stats())),
            Command::Events(open) => self.open_feed(open, now),
        }
        self.wake();
    }

    fn list(&self, ask: Ask<GetTransfers>, now: Instant) {
        let mut all: Vec<_> = self.transfers.values().map(|t| t.shown(now)).collect();
        all.sort_by_key(|transfer| transfer.started_ms);
        ask.reply(Ok(all));
    }

    fn shown(&self, transfer: TransferId, now: Instant) -> Result<api::Transfer, FilesError> {
        let found = self.transfers.get(&transfer);
        found.map(|t| t.shown(now)).ok_or(FilesError::UnknownTransfer { transfer })
    }

    fn show(&self, ask: Ask<Show>, now: Instant) {
        let shown = self.shown(ask.request.transfer, now);
        ask.reply(shown);
    }

    fn open_feed(&mut self, open: Open<Events>, now: Instant) {
        self.feeds.retain(|(_, sink)| !sink.is_closed());
        if self.feeds.len() >= MAX_FEEDS || self.stopping {
            return open.refuse(LinkError::Overloaded.into());
        }
        let (request, sink) = open.accept();
        let wanted = |id: TransferId, over: bool| match request.transfer {
            Some(only) => only == id,
            None => !over,
        };
        for transfer in self.transfers.values() {
            if wanted(transfer.id, transfer.row.state.is_over()) {
                sink.offer(api::Event::State { transfer: Box::new(transfer.shown(now)) });
            }
        }
        self.feeds.push((request.transfer, sink));
    }

    /// The transfer, if it stands as `may` allows.
    fn may(
        &self,
        transfer: TransferId,
        action: &str,
        may: impl Fn(State) -> bool,
    ) -> Result<State, FilesError> {
        let known = self.transfers.get(&transfer);
        let state = known.ok_or(FilesError::UnknownTransfer { transfer })?.row.state;
        if may(state) {
            return Ok(state);
        }
        Err(FilesError::WrongState { transfer, state, action: action.to_owned() })
    }

    fn accept(&mut self, ask: Ask<Accept>, now: Instant) {
        let Accept { transfer: id, into } = ask.request.clone();
        let may = self.may(id, "be accepted", |state| state == State::Asked);
        let into = match (may, into) {
            (Err(error), _) => return ask.reply(Err(error)),
            (Ok(_), Some(path)) if !path.is_absolute() => {
                let reason = "is not absolute".to_owned();
                return ask.reply(Err(FilesError::Path { path, reason }));
            }
            (Ok(_), into) => into,
        };
        if let Some(transfer) = self.transfers.get_mut(&id) {
            if let (Side::Receive { into: place, .. }, Some(into)) = (&mut transfer.row.side, into)
            {
                *place = into;
            }
            transfer.row.untold = Some(News::Accepted);
        }
        self.set_state(id, State::Connecting, now);
        self.step(id, now);
        ask.reply(self.shown(id, now));
    }

    fn reject(&mut self, ask: Ask<Reject>, now: Instant) {
        let Reject { transfer: id, reason: words } = ask.request.clone();
        if let Err(error) = self.may(id, "be rejected", |state| state == State::Asked) {
            return ask.reply(Err(error));
        }
        let words = if words.is_empty() { "declined".to_owned() } else { reason(&words) };
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.row.untold = Some(News::Rejected(words));
        }
        self.set_state(id, State::Rejected, now);
        self.tell_peer(id);
        ask.reply(Ok(()));
    }

    fn pause(&mut self, ask: Ask<Pause>, now: Instant) {
        let id = ask.request.transfer;
        let running = |state| {
            matches!(
                state,
                State::Connecting | State::AwaitingDirect | State::Running | State::PausedByPeer
            )
        };
        if let Err(error) = self.may(id, "be paused", running) {
            return ask.reply(Err(error));
        }
        self.news(id, News::Paused);
        self.suspend(id, now);
        self.set_state(id, State::Paused, now);
        self.tell_peer(id);
        ask.reply(self.shown(id, now));
    }

    fn resume(&mut self, ask: Ask<Resume>, now: Instant) {
        let id = ask.request.transfer;
        if let Some(transfer) = self.transfers.get(&id)
            && transfer.row.state == State::PausedByPeer
        {
            // Ours would be a resume on one side only, as the other one knows that it has paused.
            let action = "be resumed here; it goes on when the other side resumes it".to_owned();
            let (transfer, state) = (id, State::PausedByPeer);
            return ask.reply(Err(FilesError::WrongState { transfer, state, action }));
        }
        let stopped = |state| matches!(state, State::Paused | State::Failed);
        if let Err(error) = self.may(id, "be resumed", stopped) {
            return ask.reply(Err(error));
        }
        if let Some(into) = ask.request.into.clone()
            && let Err(error) = self.redirect(id, into)
        {
            return ask.reply(Err(error));
        }
        self.news(id, News::Resumed);
        self.restart(id, now);
        ask.reply(self.shown(id, now));
    }

    /// Has what is received go elsewhere; what is there already is removed where it is.
    fn redirect(&mut self, id: TransferId, into: PathBuf) -> Result<(), FilesError> {
        let old = self.place(id);
        let Some(transfer) = self.transfers.get_mut(&id) else { return Ok(()) };
        let wrong = |action: &str| FilesError::WrongState {
            transfer: id,
            state: transfer.row.state,
            action: action.to_owned(),
        };
        let place = match &mut transfer.row.side {
            _ if !into.is_absolute() => {
                let reason = "is not absolute".to_owned();
                return Err(FilesError::Path { path: into, reason });
            }
            _ if !matches!(transfer.stage, Stage::Closed) => {
                return Err(wrong("go elsewhere while its place is in use; try again"));
            }
            Side::Send { .. } | Side::Serve { .. } => {
                return Err(wrong("go elsewhere: the other side chooses where it puts it"));
            }
            Side::Receive { into: place, .. } if *place == into => return Ok(()),
            Side::Receive { into: place, .. } => place,
        };
        *place = into;
        if let Some(old) = old {
            self.clear(id, old);
        }
        Ok(())
    }

    /// Goes on from what is there.
    fn restart(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.row.error = None;
        transfer.row.finished = None;
        transfer.failures = 0;
        transfer.retry_at = None;
        transfer.search = Search::default();
        transfer.providers.reset();
        let state = match &transfer.row.side {
            Side::Send { record: None, .. } => State::Preparing,
            _ => State::Connecting,
        };
        let begun = matches!(transfer.row.side, Side::Receive { begun: true, .. });
        transfer.patience = (!begun).then_some(now + transfer.contact_timeout());
        self.set_state(id, state, now);
        self.step(id, now);
    }

    fn cancel(&mut self, ask: Ask<Cancel>, now: Instant) {
        let id = ask.request.transfer;
        let may = |state: State| !state.is_over() || state == State::Failed;
        if let Err(error) = self.may(id, "be cancelled", may) {
            return ask.reply(Err(error));
        }
        if self.is_finishing(id) {
            let (transfer, state) = (id, State::Running);
            let action = "be cancelled: all of it is there".to_owned();
            return ask.reply(Err(FilesError::WrongState { transfer, state, action }));
        }
        let asked = self.transfers.get(&id).is_some_and(|t| t.row.state == State::Asked);
        self.news(id, if asked { News::Rejected("declined".into()) } else { News::Cancelled });
        self.end(id, Who::Us, now);
        self.tell_peer(id);
        ask.reply(self.shown(id, now));
    }

    fn is_finishing(&self, id: TransferId) -> bool {
        self.transfers.get(&id).is_some_and(|t| matches!(t.stage, Stage::Finishing))
    }

    fn end(&mut self, id: TransferId, by: Who, now: Instant) {
        self.suspend(id, now);
        if let Some(transfer) = self.transfers.get_mut(&id) {
            transfer.row.error = Some(FilesError::Cancelled { by });
        }
        self.set_state(id, State::Cancelled, now);
        self.discard(id);
    }

    fn forget(&mut self, ask: Ask<Forget>) {
        let id = ask.request.transfer;
        match self.may(id, "be forgotten before it is cancelled", State::is_over) {
            Ok(State::Failed) => self.discard(id),
            Ok(_) => {}
            Err(error) => return ask.reply(Err(error)),
        }
        self.drop_transfer(id);
        ask.reply(Ok(()));
    }

    pub(crate) fn drop_transfer(&mut self, id: TransferId) {
        self.transfers.remove(&id);
        let rows = vec![(RowKind::Transfer, id), (RowKind::Pieces, id)];
        drop(self.store.transfers().remove(rows));
    }

    /// What the other side is to be told, if it knows the transfer.
    fn news(&mut self, id: TransferId, news: News) {
        if let Some(transfer) = self.transfers.get_mut(&id)
            && transfer.is_shared_with_peer()
        {
            transfer.row.untold = Some(news);
        }
    }

    /// Tells the other side what it does not know yet, if it is connected.
    pub(crate) fn tell_peer(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let (Some(peer), Some(news)) = (transfer.row.peer, transfer.row.untold.clone()) else {
            return;
        };
        if transfer.talking.is_some() || !self.dialogs.is_connected(&peer) || self.stopping {
            return;
        }
        transfer.telling = Some(news.clone());
        let open = Dial::new(peer, self.protocol.clone());
        let dialog = self.dialogs.open(open, move |stream| async move {
            let request = Request::Tell { transfer: id, news };
            Done::Asked(ask_peer(stream, request, |_, _| {}).await)
        });
        transfer.talking = Some(dialog);
        self.jobs.insert(dialog, Job::Tell(id));
        self.save(id);
    }

    pub(crate) fn on_told(
        &mut self,
        id: TransferId,
        outcome: Result<Done, DialogError>,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        transfer.talking = None;
        let told = transfer.telling.take();
        match outcome {
            Ok(Done::Asked(Ok(Answer::Noted | Answer::Refused(Refusal::NotFound)))) => {
                if transfer.row.untold == told {
                    transfer.row.untold = None;
                }
                self.save(id);
                // There may be newer news.
                self.tell_peer(id);
            }
            // With the next connection, or the next step.
            other => {
                tracing::debug!(%id, ?other, "the other side was not told");
                self.retry_later(id, now);
            }
        }
    }

    pub(crate) fn pause_for_peer(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        if !matches!(transfer.row.state, State::Paused | State::Asked) {
            self.suspend(id, now);
            self.set_state(id, State::PausedByPeer, now);
        }
    }

    pub(crate) fn resume_for_peer(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get(&id) else { return };
        // What failed on one side is tried again when either side says so.
        if matches!(transfer.row.state, State::PausedByPeer | State::Failed) {
            self.restart(id, now);
        }
    }

    /// Too late once everything is there.
    pub(crate) fn cancel_for_peer(&mut self, id: TransferId, now: Instant) {
        if !self.is_finishing(id) {
            self.end(id, Who::Them, now);
        }
    }

    pub(crate) fn on_broken_there(
        &mut self,
        id: TransferId,
        peer: PeerId,
        reason: String,
        now: Instant,
    ) {
        self.fail(id, FilesError::Broken { peer, reason: format!("it says: {reason}") }, now);
    }

    pub(crate) fn on_work(&mut self, work: Work, now: Instant) {
        match work {
            Work::Prepared { id, outcome } => self.on_prepared(id, outcome, now),
            Work::Shared { ask, outcome } => self.on_shared(ask, outcome),
            Work::Opened { place, outcome } => self.on_opened(*place, outcome, now),
            Work::Checkpointed { id, bytes, outcome } => {
                self.on_checkpointed(id, bytes, outcome, now);
            }
            Work::Finished { id, outcome } => self.on_finished_work(id, outcome, now),
            Work::Reshared { id, finished, outcome } => {
                self.on_reshared(id, finished, outcome, now);
            }
            Work::Cleared { id } => self.on_cleared(id, now),
            Work::Nothing => {}
        }
    }
}
