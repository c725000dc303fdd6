//! One side of a session: hears a turn, speaks a turn, and finds out when both have the same.

use futures::{AsyncRead, AsyncWrite};
use peerage_api::kv::SyncReport;
use peerage_types::{Author, PeerId, SpaceId, UnixMillis};
use peerage_wire::kv::{
    Fingerprint,
    frames::{Facts, Frame, MAX_FETCHED, Reason, State},
};

use super::{
    Lie, Opening, Outcome, SessionError,
    bounds::Bounds,
    compare::{Compare, Judge},
    convert::{row_of, state_of},
    intake::Intake,
    line::Line,
    reconcile::Withheld,
    refusal::Meeting,
    turn::{End, hear},
};
use crate::{Cursor, Equal, KeyHash, Node, PeerRow, Refusal, Replica, View};

/// One side.
pub(super) struct Side<S, N> {
    pub(super) line: Line<S>,
    pub(super) replica: Replica,
    pub(super) space: SpaceId,
    pub(super) peer: PeerId,
    now: N,
    began: UnixMillis,
    pub(super) bounds: Bounds,
    /// Round trips.
    pub(super) rounds: u64,
    turns: u64,
    /// What is compared. Nothing until it is known that the other side may read.
    pub(super) view: Option<View>,
    /// What was told of it.
    pub(super) told: Option<State>,
    /// What entries were sent from last.
    pub(super) served: Option<View>,
    pub(super) ours: Facts,
    pub(super) theirs: Facts,
    /// What is remembered of the other side.
    pub(super) row: Option<PeerRow>,
    pub(super) floor: u64,
    pub(super) compare: Compare,
    pub(super) intake: Intake,
    /// Values that the other side wants.
    pub(super) fetches: Vec<(KeyHash, Fingerprint)>,
    /// What was deleted while this side was away.
    pub(super) withheld: Withheld,
    /// This side has sent its feed, or cannot.
    has_fed: bool,
    /// The other one has, or cannot.
    was_fed: bool,
    has_shown_grants: bool,
    /// The other side has had a turn, and shown its grants in it.
    has_heard: bool,
    /// This side has sent enough.
    pub(super) cut: bool,
    was_cut: bool,
    /// Entries that were sent.
    pub(super) sent: u64,
    /// Something was sent in this turn that changes what the other side has.
    pub(super) has_taught: bool,
}

/// Whether a session is over, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    /// The turn is the other side's.
    Turn,
    /// It is over. Both have the same?
    Done(bool),
}

impl<S: AsyncRead + AsyncWrite + Unpin, N: Fn() -> UnixMillis + Sync> Side<S, N> {
    pub(super) async fn new(
        line: Line<S>,
        opening: Opening,
        ours: Facts,
        theirs: Facts,
        now: N,
        bounds: Bounds,
    ) -> Result<Self, SessionError> {
        let Opening { replica, space, peer, now: began, view, .. } = opening;
        let row = match &view {
            Some(view) => view.peer(&peer).await?,
            None => None,
        };
        let intake = Intake::new(replica.clone(), space, peer);
        let mut side = Self {
            line,
            replica,
            space,
            peer,
            now,
            began,
            bounds,
            rounds: 0,
            turns: 0,
            view,
            told: ours.state,
            served: None,
            ours,
            theirs,
            row,
            floor: ours.floor.max(theirs.floor),
            compare: Compare::default(),
            intake,
            fetches: Vec::new(),
            withheld: Withheld::default(),
            has_fed: false,
            was_fed: false,
            has_shown_grants: false,
            has_heard: false,
            cut: false,
            was_cut: false,
            sent: 0,
            has_taught: false,
        };
        side.intake.epoch = theirs.state.map_or(0, |state| state.epoch);
        Ok(side)
    }

    /// Whether both have the same from the beginning.
    pub(super) fn is_same(&self) -> bool {
        let digest = |facts: &Facts| facts.state.map(|state| state.digest);
        let both = digest(&self.ours).zip(digest(&self.theirs));
        self.ours.grants == self.theirs.grants && both.is_some_and(|(ours, theirs)| ours == theirs)
    }

    /// Says so.
    pub(super) async fn say_same(mut self) -> Result<Outcome, SessionError> {
        let State { epoch, as_of, head, .. } = self.ours.state.ok_or(SessionError::OutOfTurn)?;
        self.line.say(&Frame::Same { epoch, as_of, head }).await?;
        self.line.flush().await?;
        self.end(true).await
    }

    /// The other side says so.
    pub(super) async fn same(
        mut self,
        epoch: u64,
        as_of: u64,
        head: u64,
    ) -> Result<Outcome, SessionError> {
        // Only who has said what it has can be told that it is the same.
        let ours = self.ours.state.ok_or(SessionError::OutOfTurn)?;
        self.theirs.state = Some(State { epoch, as_of, head, ..ours });
        self.end(true).await
    }

    /// Begins the responder's first turn.
    pub(super) async fn welcome(&mut self) -> Result<(), SessionError> {
        self.line.say(&Frame::Welcome(self.ours)).await
    }

    /// Takes turns to the end.
    pub(super) async fn run(mut self, initiates: bool) -> Result<Outcome, SessionError> {
        if initiates && let Some(equal) = self.hear().await? {
            return self.end(equal).await;
        }
        loop {
            // A round trip is what the initiator waits for.
            self.rounds += u64::from(!initiates);
            if let Spoken::Done(equal) = self.speak().await? {
                return self.end(equal).await;
            }
            self.rounds += u64::from(initiates);
            if let Some(equal) = self.hear().await? {
                return self.end(equal).await;
            }
        }
    }

    async fn end(mut self, equal: bool) -> Result<Outcome, SessionError> {
        // All has been said; the other side may have gone already.
        let _ = self.line.close().await;
        self.finish(equal).await
    }

    /// Hears a turn. If the session is over, tells whether both have the same.
    async fn hear(&mut self) -> Result<Option<bool>, SessionError> {
        if self.turns > self.bounds.turns + 1 {
            return Err(SessionError::TooMuch("turns"));
        }
        let ours = self.view.as_ref().map(View::summary).unwrap_or_default();
        // While nothing is compared a turn brings entries or begins a comparison, never both: so nothing will be
        // asked of the view once an entry has come.
        let is_idle = self.compare.is_idle();
        if is_idle {
            self.intake.view = self.view.take();
        }
        let Self { line, intake, compare, now, replica, space, peer, .. } = self;
        let heard = match hear(line, intake, &mut compare.ledger, now).await {
            Err(SessionError::Refused { reason }) => {
                let meeting = Meeting { replica, space: *space, peer: *peer };
                return Err(meeting.refused(line, reason, now()).await);
            }
            heard => heard?,
        };
        let is_let_go = is_idle && self.told.is_some() && self.intake.view.is_none();
        if is_idle {
            self.view = self.intake.view.take();
        }
        // It may have caught up with a third one since; what it withheld it withheld before.
        let was_stale = self.is_stale(self.theirs.state);
        if let Some(state) = heard.state {
            self.intake.epoch = state.epoch;
            self.theirs.state = Some(state);
        }
        self.was_fed |= self.told.is_some();
        self.has_heard = true;
        if heard.end == End::Done {
            self.renew().await?;
            return Ok(Some(self.is_equal()));
        }
        self.was_cut |= heard.end == End::Cut;
        if self.was_cut {
            self.intake.give_up();
        } else if !self.intake.asked.is_empty() {
            return Err(Lie::Value.into());
        }
        let judge = Judge {
            digest: self.theirs.state.map_or([0; 16], |state| state.digest),
            ours,
            cut: self.was_cut,
            stale: was_stale || self.is_stale(self.theirs.state),
        };
        self.compare.on_turn(heard.said, &judge)?;
        if is_let_go && !self.compare.is_idle() {
            return Err(SessionError::OutOfTurn);
        }
        self.fetches = heard.fetch;
        Ok(None)
    }

    async fn speak(&mut self) -> Result<Spoken, SessionError> {
        self.turns += 1;
        self.cut |= self.turns >= self.bounds.turns;
        self.has_taught = false;
        if self.view.is_none() {
            // The other side has shown its grants.
            self.renew().await?;
        }
        self.show_grants().await?;
        self.answer_fetches().await?;
        self.reconcile().await?;
        if self.cut {
            self.compare.forget();
            self.intake.give_up();
        }
        self.ask_values().await?;
        if self.compare.is_idle() && self.intake.asked.is_empty() {
            return self.settle().await;
        }
        self.pass().await
    }

    /// Nothing is under way: both have the same, or something is to be begun.
    async fn settle(&mut self) -> Result<Spoken, SessionError> {
        self.renew().await?;
        if self.is_equal() && (self.has_heard || self.ours.grants == self.theirs.grants) {
            return self.say_done(true).await;
        }
        if self.is_equal() {
            // It has grants to show.
            return self.tell_and_pass().await;
        }
        if self.has_taught || self.theirs.state.is_none() {
            return self.tell_and_pass().await;
        }
        if !std::mem::replace(&mut self.has_fed, true) && self.can_feed() && self.feed().await? {
            return self.tell_and_pass().await;
        }
        if self.was_cut || self.cut {
            return self.say_done(false).await;
        }
        if !self.was_fed && self.can_be_fed() {
            return self.tell_and_pass().await;
        }
        if !self.compare.may_begin() {
            return self.say_done(false).await;
        }
        self.begin().await
    }

    /// Begins a comparison.
    async fn begin(&mut self) -> Result<Spoken, SessionError> {
        let Some((view, theirs)) = self.view.clone().zip(self.theirs.state) else {
            return self.tell_and_pass().await;
        };
        self.tell().await?;
        let ours = view.summary().count;
        if ours == 0 {
            // They see that we have nothing.
        } else if theirs.count == 0 {
            self.compare.begin_with_all(ours);
            self.reconcile().await?;
        } else {
            let row = view.children(vec![Node::ROOT]).await?;
            let row = row.first().ok_or(SessionError::OutOfTurn)?;
            self.line.say(&Frame::Rows(vec![row_of(Node::ROOT, row)])).await?;
            self.compare.begin(*row, theirs.digest);
        }
        self.pass().await
    }

    async fn pass(&mut self) -> Result<Spoken, SessionError> {
        self.line.say(&Frame::Turn { cut: self.cut }).await?;
        self.line.flush().await?;
        Ok(Spoken::Turn)
    }

    async fn tell_and_pass(&mut self) -> Result<Spoken, SessionError> {
        self.tell().await?;
        self.pass().await
    }

    /// Tells what is compared from now on, if that has changed.
    async fn tell(&mut self) -> Result<(), SessionError> {
        let state = self.view.as_ref().map(state_of);
        if let Some(state) = state.filter(|_| state != self.told) {
            self.line.say(&Frame::State(state)).await?;
            self.told = Some(state);
        }
        Ok(())
    }

    async fn say_done(&mut self, equal: bool) -> Result<Spoken, SessionError> {
        let state = self.view.as_ref().map(state_of).ok_or(SessionError::OutOfTurn)?;
        self.line.say(&Frame::Done(state)).await?;
        self.line.flush().await?;
        Ok(Spoken::Done(equal))
    }

    /// Takes a new view.
    async fn renew(&mut self) -> Result<(), SessionError> {
        let no = SessionError::Declined(Reason::NoGrant);
        let Some(reader) = Author::of_peer(&self.peer) else { return Err(no) };
        match self.replica.view(&self.space, &reader, (self.now)()).await {
            Ok(view) => self.view = Some(view),
            Err(Refusal::Store(error)) => return Err(error.into()),
            Err(refusal) => {
                let is_gone = refusal == Refusal::NoSuchSpace;
                let reason = if is_gone { Reason::NoSuchSpace } else { Reason::NoGrant };
                let Self { line, intake, replica, space, peer, .. } = self;
                let meeting = Meeting { replica, space: *space, peer: *peer };
                meeting.refuse(line, reason, &intake.grants).await?;
                return Err(SessionError::Declined(reason));
            }
        }
        Ok(())
    }

    /// Sends the grants that the other side may lack.
    async fn show_grants(&mut self) -> Result<(), SessionError> {
        let is_due = self.ours.grants != self.theirs.grants && !self.has_shown_grants;
        let Some(grants) = self.replica.grants(&self.space).filter(|_| is_due) else {
            return Ok(());
        };
        self.has_shown_grants = true;
        let (mut frame, mut bytes) = (Vec::new(), 0);
        for grant in grants.all().into_iter().filter(|it| !self.intake.grants.contains(it)) {
            bytes += 2 + grant.len();
            frame.push(grant);
            if bytes >= super::bounds::TURN_TARGET {
                self.line.say(&Frame::Grants(std::mem::take(&mut frame))).await?;
                bytes = 0;
            }
        }
        if !frame.is_empty() {
            self.line.say(&Frame::Grants(frame)).await?;
        }
        Ok(())
    }

    async fn ask_values(&mut self) -> Result<(), SessionError> {
        for asks in self.intake.ask().chunks(MAX_FETCHED) {
            self.line.say(&Frame::Fetch(asks.to_vec())).await?;
        }
        Ok(())
    }

    async fn finish(self, equal: bool) -> Result<Outcome, SessionError> {
        let now = (self.now)();
        let report = SyncReport {
            peer: self.peer,
            rounds: self.rounds,
            sent_bytes: self.line.sent,
            received_bytes: self.line.received,
            entries_in: self.intake.new,
            entries_out: self.sent,
            refused: self.intake.refused,
            ms: now.since(self.began).as_millis() as u64,
            at_ms: Some(now),
            error: None,
        };
        let is_partial = self.view.as_ref().is_none_or(View::is_partial);
        let theirs = self.theirs.state.filter(|theirs| !theirs.partial && !is_partial);
        let through = if equal { theirs.map(|state| state.head) } else { self.intake.through() };
        let cursor = theirs.zip(through).map(|(state, seq)| Cursor { epoch: state.epoch, seq });
        let head = self.view.as_ref().map(View::head).filter(|_| equal && !is_partial);
        let found = self.theirs.state.zip(head).map(|(state, head)| {
            let as_of = UnixMillis(state.as_of);
            Equal { as_of, head }
        });
        let has_more = self.cut || report.entries_in > 0;
        let Self { replica, space, peer, .. } = self;
        replica.synced(&space, peer, report.clone(), found, cursor, now).await?;
        Ok(Outcome { space, report, equal, has_more })
    }
}
