//! Reading a turn of the other side, while what it brings is applied.

use futures::{AsyncRead, AsyncWrite, future::try_join};
use peerage_types::UnixMillis;
use peerage_wire::kv::{
    Fingerprint,
    frames::{Frame, State},
};
use tokio::sync::mpsc;

use super::{
    SessionError,
    bounds::{MAX_LARGE, MAX_TURN_ITEMS, MAX_TURN_ROWS, QUEUE},
    compare::Said,
    intake::{Intake, Work},
    ledger::Ledger,
    line::Line,
};
use crate::KeyHash;

/// What a turn has said, but for what was applied at once.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) said: Said,
    /// Values that the other side wants.
    pub(super) fetch: Vec<(KeyHash, Fingerprint)>,
    /// What it compares from now on.
    pub(super) state: Option<State>,
    pub(super) end: End,
}

/// How a turn has ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// Not yet.
    #[default]
    Not,
    /// It is this side's turn.
    Turn,
    /// It is this side's turn; the other one has sent enough for this session.
    Cut,
    /// The session is over.
    Done,
}

/// Reads a turn and applies it; both at once, with a short queue between.
pub(super) async fn hear<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    intake: &mut Intake,
    ledger: &mut Ledger,
    now: &(impl Fn() -> UnixMillis + Sync),
) -> Result<Heard, SessionError> {
    let (into, queue) = mpsc::channel(QUEUE);
    let (heard, ()) = try_join(read(line, into), intake.run(queue, ledger, now)).await?;
    Ok(heard)
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    into: mpsc::Sender<Work>,
) -> Result<Heard, SessionError> {
    let mut heard = Heard::default();
    while heard.end == End::Not {
        if let Some(work) = heard.on_frame(line.hear().await?)? {
            // Whoever applies stops early only with an error, which ends this as well.
            into.send(work).await.map_err(|_| SessionError::OutOfTurn)?;
        }
    }
    Ok(heard)
}

impl Heard {
    /// Keeps what a frame says, unless it is to be applied at once.
    fn on_frame(&mut self, frame: Frame) -> Result<Option<Work>, SessionError> {
        match frame {
            Frame::Grants(grants) => return Ok(Some(Work::Grants(grants))),
            Frame::Entries(body) => return Ok(Some(Work::Entries(body))),
            Frame::Through(seq) => return Ok(Some(Work::Through(seq))),
            Frame::Value { last, bytes } => return Ok(Some(Work::Value { last, bytes })),
            Frame::Rows(rows) => self.said.rows.extend(rows),
            Frame::Items(items) => self.said.on_items(items)?,
            Frame::Want(hashes) => self.said.want.extend(hashes),
            Frame::Gone(hashes) => self.said.gone.extend(hashes),
            Frame::Fetch(values) => self.fetch.extend(values),
            Frame::State(state) => self.on_state(state)?,
            Frame::Turn { cut } => self.end = if cut { End::Cut } else { End::Turn },
            Frame::Done(state) => self.on_done(state)?,
            Frame::Refused(reason) => return Err(SessionError::Refused { reason }),
            Frame::Hello { .. } | Frame::Same { .. } => return Err(SessionError::OutOfTurn),
            Frame::Show | Frame::Welcome(_) => return Err(SessionError::OutOfTurn),
        }
        self.check().map(|()| None)
    }

    fn on_state(&mut self, state: State) -> Result<(), SessionError> {
        let is_first = self.state.replace(state).is_none();
        if is_first { Ok(()) } else { Err(SessionError::OutOfTurn) }
    }

    fn on_done(&mut self, state: State) -> Result<(), SessionError> {
        self.end = End::Done;
        self.on_state(state)
    }

    fn check(&self) -> Result<(), SessionError> {
        let Said { rows, want, gone, .. } = &self.said;
        if rows.len() > MAX_TURN_ROWS {
            return Err(SessionError::TooMuch("rows"));
        }
        if self.said.len().max(want.len()).max(gone.len()) > MAX_TURN_ITEMS {
            return Err(SessionError::TooMuch("items"));
        }
        let fits = self.fetch.len() <= MAX_LARGE;
        if fits { Ok(()) } else { Err(SessionError::TooMuch("questions for values")) }
    }
}
