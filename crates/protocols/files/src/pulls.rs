//! What peers fetch of our shares, as transfers that our user sees and can stop. They live with the
//! process.
//!
//! | state              | on                             | becomes |
//! |--------------------|--------------------------------|---------|
//! | –                  | a fetch                        | Running |
//! | Running            | the last stream ends, all sent | Done |
//! | Running            | a source cannot be read        | Failed |
//! | Running            | the peer resets its stream     | Cancelled by it |
//! | Running            | the peer closes its stream     | Running for [`LINGER`], then Done: others had the rest |
//! | Running            | the connection is lost         | Running for [`LINGER`], then Cancelled by the peer |
//! | Paused, Cancelled by us | a fetch                   | the same; the peer is refused |
//! | Cancelled          | it is forgotten                | – |

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use peerage_api::files::{FilesError, SEND_AGAIN, Side as Who, State};
use peerage_content::SourceRecord;
use peerage_types::TransferId;
use peerage_wire::files::{Answer, Part, Refusal};

use crate::{
    behaviour::Behaviour,
    bounds::MAX_PULLS,
    fetching::shown_path,
    inbound::Verdict,
    session::SessionError,
    shares::Counted,
    traffic::Traffic,
    transfer::{Row, Side, Transfer},
    work::{content_of, is_content},
};

/// How long a peer may be without a stream before it is taken to be content with what it has.
const LINGER: Duration = Duration::from_secs(10);

/// A fetch of something that is shared.
pub(crate) struct Pull {
    pub(crate) peer: PeerId,
    pub(crate) share: Counted,
    pub(crate) record: SourceRecord,
    pub(crate) part: Part,
    /// Bytes that the peer has already.
    pub(crate) have: u64,
}

impl Behaviour {
    pub(crate) fn on_pull(&mut self, token: u64, pull: Pull, now: Instant) -> Verdict {
        let path = self.dialogs.best(&pull.peer).map(shown_path);
        let Some(dialog) = self.inbound.get(&token).map(|(dialog, _)| *dialog) else {
            return Verdict::Answer(Answer::Refused(Refusal::Busy));
        };
        let id = self.pull_of(&pull).unwrap_or_else(|| self.new_pull(&pull, now));
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return Verdict::Answer(Answer::Refused(Refusal::Busy));
        };
        let refused = |refusal| Verdict::Answer(Answer::Refused(refusal));
        match transfer.row.state {
            State::Paused => return refused(Refusal::Paused),
            State::Cancelled => {
                return refused(Refusal::Declined("its user has ended it".to_owned()));
            }
            _ => {}
        }
        if is_content(pull.part, &pull.record) {
            transfer.take_up(pull.have);
            if let Side::Serve { main, .. } = &mut transfer.row.side {
                *main = true;
            }
        }
        transfer.serving.push(dialog);
        transfer.path = path;
        transfer.patience = None;
        let traffic = Arc::clone(&transfer.traffic);
        if let Some(inbound) = self.inbound.get_mut(&token) {
            inbound.1 = Some(id);
        }
        self.set_state(id, State::Running, now);
        Verdict::Serve { record: Box::new(pull.record), part: pull.part, traffic }
    }

    /// What the peer fetches already, or must not.
    fn pull_of(&self, pull: &Pull) -> Option<TransferId> {
        let same = |transfer: &&Transfer| {
            let Side::Serve { share, .. } = transfer.row.side else { return false };
            let root = transfer.row.content.as_ref().map(|content| content.root);
            let by_us = transfer.row.error == Some(FilesError::Cancelled { by: Who::Us });
            let counts = !transfer.row.state.is_over() || by_us;
            counts
                && share == pull.share.0
                && transfer.row.peer == Some(pull.peer)
                && root == Some(pull.record.root)
        };
        self.transfers.values().find(same).map(|transfer| transfer.id)
    }

    fn new_pull(&mut self, pull: &Pull, now: Instant) -> TransferId {
        self.make_room_for_pull();
        let id = TransferId(rand::random());
        let (share, served) = pull.share.clone();
        let content = content_of(&pull.record);
        let row = Row {
            peer: Some(pull.peer),
            name: content.name.clone(),
            content: Some(content),
            paths: pull.record.items.iter().map(|item| item.path.clone()).collect(),
            ..Row::new(State::Connecting, Side::Serve { share, main: false })
        };
        let traffic = Traffic::counted(Arc::clone(&self.sent), Some(served));
        let mut transfer = Transfer::new(id, row, Arc::clone(&self.sent), now);
        transfer.traffic = Arc::new(traffic);
        self.transfers.insert(id, transfer);
        id
    }

    /// What is complete gives way first, then what has no stream; what our user has stopped, last.
    fn make_room_for_pull(&mut self) {
        let pulls = || self.transfers.values().filter(|transfer| transfer.is_pull());
        if pulls().count() < MAX_PULLS && self.transfers.len() < crate::bounds::MAX_TRANSFERS {
            return;
        }
        let worth = |t: &&Transfer| {
            let stopped = t.row.state == State::Paused
                || t.row.error == Some(FilesError::Cancelled { by: Who::Us });
            (stopped, t.row.state != State::Done, t.row.started)
        };
        let idle = pulls().filter(|transfer| transfer.serving.is_empty());
        if let Some(id) = idle.min_by_key(worth).map(|transfer| transfer.id) {
            self.transfers.remove(&id);
        }
    }

    /// The last stream of a pull has ended: closed by the peer, or with an error of the session, or of
    /// the connection.
    pub(crate) fn on_pull_idle(
        &mut self,
        id: TransferId,
        outcome: Result<(), Option<&SessionError>>,
        now: Instant,
    ) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        let Side::Serve { main, .. } = transfer.row.side else { return };
        let Some(peer) = transfer.row.peer else { return };
        let gone = FilesError::Cancelled { by: Who::Them };
        match outcome {
            _ if main && transfer.done_bytes() >= transfer.total() => {
                return self.set_state(id, State::Done, now);
            }
            Ok(()) => transfer.unreached = None,
            Err(Some(SessionError::Refused(refusal))) => {
                let reason = match refusal {
                    Refusal::Changed => format!("the files have changed; {SEND_AGAIN}"),
                    Refusal::NotFound => "the files are gone; put them back".to_owned(),
                    _ => "the files cannot be read; see the log".to_owned(),
                };
                let error = FilesError::Broken { peer, reason };
                return self.fail(id, error, now);
            }
            Err(_) if self.dialogs.is_connected(&peer) => {
                transfer.row.error = Some(gone);
                return self.set_state(id, State::Cancelled, now);
            }
            Err(_) => transfer.unreached = Some(gone),
        }
        transfer.patience = Some(now + LINGER);
        self.wake();
    }

    /// Nothing came any more: the peer has it from others, or has gone.
    pub(crate) fn end_pull(&mut self, id: TransferId, now: Instant) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        // Resumed, and nobody came for it.
        let nobody = transfer.row.state == State::Connecting;
        let gone = nobody.then_some(FilesError::Cancelled { by: Who::Them });
        transfer.row.error = transfer.unreached.take().or(gone);
        let state = if transfer.row.error.is_some() { State::Cancelled } else { State::Done };
        self.set_state(id, state, now);
    }

    /// Ends what peers fetch of a share.
    pub(crate) fn end_pulls_of(&mut self, share: TransferId, now: Instant) {
        let of = |transfer: &&Transfer| {
            let its = matches!(transfer.row.side, Side::Serve { share: of, .. } if of == share);
            its && !transfer.row.state.is_over()
        };
        let ending: Vec<_> = self.transfers.values().filter(of).map(|t| t.id).collect();
        for id in ending {
            self.cut_off(|served| *served == Some(id));
            if let Some(transfer) = self.transfers.get_mut(&id) {
                transfer.serving.clear();
                transfer.row.error = Some(FilesError::Cancelled { by: Who::Us });
            }
            self.set_state(id, State::Cancelled, now);
        }
    }
}
