//! A session: two replicas compare one space and exchange what either lacks, [`initiate`] against
//! [`respond`]. What is said is described in [`peerage_wire::kv::frames`].
//!
//! | who | opening | then by turns, until one finds that both have the same |
//! |---|---|---|
//! | initiator | `Hello` | feed behind the other's cursor, or ranges, or what was wanted |
//! | responder | `Same`, `Refused`, or `Welcome` and its first turn | the same |
//!
//! Behind a `Refused` for want of a grant come the revocations that explain it, if there are any.
//!
//! What a peer says is checked against what it has said before; entries are verified before they are
//! stored. Whatever was stored stays when a session breaks, and the next one goes on from there.

mod bounds;
mod compare;
mod convert;
mod intake;
mod ledger;
mod line;
mod reconcile;
mod refusal;
mod side;
mod standing;
#[cfg(test)]
mod tests;
mod turn;

use std::io;

use futures::{AsyncRead, AsyncWrite};
use peerage_api::kv::{KvError, SyncReport};
use peerage_types::{Author, PeerId, SpaceId, UnixMillis};
use peerage_wire::kv::frames::{Facts, Frame, FrameError, Reason};

use tokio::time::Instant;

use crate::{ReceiveError, Refusal, Replica, bounds::MAX_DRIFT, bounds::floor, fills::Fill};
pub(crate) use bounds::Bounds;
use line::Line;
use refusal::Meeting;
pub(crate) use refusal::denial;
use side::Side;

/// How a session fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer sent something that is no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The peer broke the order of the protocol.
    #[error("the peer sent something out of turn")]
    OutOfTurn,
    /// The peer sent more than a session may carry.
    #[error("the peer sent more {0} than a session may carry")]
    TooMuch(&'static str),
    /// The peer contradicts itself.
    #[error("the peer contradicts itself: {what}")]
    Lie {
        /// In what.
        what: Lie,
    },
    /// The peer sent an entry that is not valid.
    #[error("the peer sent an entry that is not valid: {0}")]
    Entry(peerage_wire::kv::EntryError),
    /// The peer showed a grant that is forged or gives more than its issuer had.
    #[error("the peer showed a grant that is none: {0}")]
    Grant(KvError),
    /// The peer has refused.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: Reason,
    },
    /// This node has refused.
    #[error("refused by this node: {0}")]
    Declined(Reason),
    /// Much is to come, and another peer sends it already.
    #[error("another peer is sending this node the same space")]
    PutOff {
        /// Which.
        space: SpaceId,
    },
    /// The store failed.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// In what a peer contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lie {
    /// The parts of a node do not add up to what was said of it.
    #[error("what it has in a range is not what it has said before")]
    Node,
    /// An entry that it has named did not come.
    #[error("an entry that it has named did not come")]
    Promise,
    /// A range that it found to differ was not opened.
    #[error("it does not open a range that it has said to differ")]
    Silence,
    /// Its feed went backwards.
    #[error("its feed goes backwards")]
    Feed,
    /// A value is shorter or longer than its entry says, or does not come.
    #[error("a value is not as long as it was said to be")]
    Value,
}

impl From<Lie> for SessionError {
    fn from(what: Lie) -> Self {
        Self::Lie { what }
    }
}

impl From<ReceiveError> for SessionError {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Misbehaviour(error) => Self::Entry(error),
            ReceiveError::Kv(error) => Self::Kv(error),
        }
    }
}

impl SessionError {
    /// Of grants that were not taken.
    fn of_grants(error: KvError) -> Self {
        match error {
            KvError::BadTicket { .. } => Self::Grant(error),
            error => Self::Kv(error),
        }
    }

    /// Whether no correct node does such a thing.
    pub(crate) fn is_misbehaviour(&self) -> bool {
        match self {
            Self::Frame(_) | Self::OutOfTurn | Self::TooMuch(_) => true,
            Self::Lie { .. } | Self::Entry(_) | Self::Grant(_) => true,
            Self::Io(_) | Self::Refused { .. } | Self::Declined(_) => false,
            Self::PutOff { .. } | Self::Kv(_) => false,
        }
    }

    /// Whether it is to be tried again soon: one of the two is being sent the space by a third.
    pub(crate) fn is_put_off(&self) -> bool {
        match self {
            Self::PutOff { .. } => true,
            Self::Refused { reason } => *reason == Reason::Busy,
            _ => false,
        }
    }
}

/// What came of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Which space it was about.
    pub(crate) space: SpaceId,
    /// What it did.
    pub(crate) report: SyncReport,
    /// Both have the same now, of what each may see of the other; otherwise there is more to do.
    pub(crate) equal: bool,
    /// Whether another one may bring more: something new came, or this side had more to send than fits.
    pub(crate) has_more: bool,
}

/// Asks a peer to compare a space.
///
/// # Cancel safety
/// What was stored stays; the next session goes on from there.
pub(crate) async fn initiate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: PeerId,
    space: SpaceId,
    replica: Replica,
    now: impl Fn() -> UnixMillis + Sync,
) -> Result<Outcome, SessionError> {
    initiate_within(Bounds::default(), stream, peer, space, replica, now).await
}

pub(crate) async fn initiate_within<S: AsyncRead + AsyncWrite + Unpin>(
    bounds: Bounds,
    stream: S,
    peer: PeerId,
    space: SpaceId,
    replica: Replica,
    now: impl Fn() -> UnixMillis + Sync,
) -> Result<Outcome, SessionError> {
    let mut line = Line::new(stream, bounds);
    replica.release(now()).await?;
    let mut opening = Opening::new(&replica, space, peer, now());
    let facts = opening.facts().await?;
    line.say(&Frame::Hello { space, facts }).await?;
    line.flush().await?;
    let mut rounds = 1;
    let mut heard = line.hear().await?;
    if heard == Frame::Show {
        line.say(&Frame::Grants(opening.chain())).await?;
        line.flush().await?;
        rounds += 1;
        heard = line.hear().await?;
    }
    match heard {
        Frame::Same { epoch, as_of, head } => {
            let mut side = Side::new(line, opening, facts, facts, now, bounds).await?;
            side.rounds = rounds;
            side.same(epoch, as_of, head).await
        }
        Frame::Refused(reason) => Err(opening.meeting().refused(&mut line, reason, now()).await),
        Frame::Welcome(theirs) => {
            refuse_if(&mut line, opening.raise(theirs.floor).await).await?;
            let fill = claim(&replica, space, (&facts, &theirs), bounds);
            let fill = fill.map_err(|_| SessionError::PutOff { space })?;
            let mut side = Side::new(line, opening, facts, theirs, now, bounds).await?;
            (side.rounds, side.intake.fill) = (rounds, fill);
            side.run(true).await
        }
        _ => Err(SessionError::OutOfTurn),
    }
}

/// Answers a peer that wants to compare a space.
///
/// # Cancel safety
/// As [`initiate`].
pub(crate) async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    peer: PeerId,
    replica: Replica,
    now: impl Fn() -> UnixMillis + Sync,
) -> Result<Outcome, SessionError> {
    respond_within(Bounds::default(), stream, peer, replica, now).await
}

pub(crate) async fn respond_within<S: AsyncRead + AsyncWrite + Unpin>(
    bounds: Bounds,
    stream: S,
    peer: PeerId,
    replica: Replica,
    now: impl Fn() -> UnixMillis + Sync,
) -> Result<Outcome, SessionError> {
    let mut line = Line::new(stream, bounds);
    let Frame::Hello { space, facts: theirs } = line.hear().await? else {
        return Err(SessionError::OutOfTurn);
    };
    replica.release(now()).await?;
    let mut opening = Opening::new(&replica, space, peer, now());
    refuse_if(&mut line, opening.raise(theirs.floor).await).await?;
    refuse_if(&mut line, opening.look().await).await?;
    let (mut rounds, mut shown) = (0, Vec::new());
    if opening.view.is_none() && opening.grants() != theirs.grants {
        line.say(&Frame::Show).await?;
        line.flush().await?;
        let Frame::Grants(grants) = line.hear().await? else { return Err(SessionError::OutOfTurn) };
        shown.clone_from(&grants);
        replica.add_grants(&space, grants, now()).await.map_err(SessionError::of_grants)?;
        refuse_if(&mut line, opening.look().await).await?;
        rounds += 1;
    }
    if opening.view.is_none() {
        opening.meeting().refuse(&mut line, Reason::NoGrant, &shown).await?;
        return Err(SessionError::Declined(Reason::NoGrant));
    }
    let facts = opening.facts().await?;
    let fill = claim(&replica, space, (&facts, &theirs), bounds);
    let fill = match refuse_if(&mut line, fill).await {
        Err(SessionError::Declined(Reason::Busy)) => return Err(SessionError::PutOff { space }),
        claimed => claimed?,
    };
    let mut side = Side::new(line, opening, facts, theirs, now, bounds).await?;
    (side.rounds, side.intake.fill) = (rounds, fill);
    if side.is_same() {
        side.rounds += 1;
        return side.say_same().await;
    }
    side.welcome().await?;
    side.run(false).await
}

/// The right to fill the space, if much is to come.
fn claim(
    replica: &Replica,
    space: SpaceId,
    (ours, theirs): (&Facts, &Facts),
    bounds: Bounds,
) -> Result<Option<Fill>, Declined> {
    if standing::coming(ours, theirs) <= bounds.beside {
        return Ok(None);
    }
    let fill = replica.fills().begin(space, Instant::now().into_std());
    fill.map(Some).ok_or(Declined::No(Reason::Busy))
}

/// Why this node does not go on.
#[derive(Debug)]
enum Declined {
    No(Reason),
    Kv(KvError),
}

impl From<KvError> for Declined {
    fn from(error: KvError) -> Self {
        Self::Kv(error)
    }
}

/// Tells the other side before giving up.
async fn refuse_if<S: AsyncRead + AsyncWrite + Unpin, T>(
    line: &mut Line<S>,
    result: Result<T, Declined>,
) -> Result<T, SessionError> {
    match result {
        Ok(value) => Ok(value),
        Err(Declined::Kv(error)) => {
            line.say(&Frame::Refused(Reason::Busy)).await?;
            line.close().await?;
            Err(error.into())
        }
        Err(Declined::No(reason)) => {
            line.say(&Frame::Refused(reason)).await?;
            line.close().await?;
            Err(SessionError::Declined(reason))
        }
    }
}

/// What this side has, before a session begins.
struct Opening {
    replica: Replica,
    space: SpaceId,
    peer: PeerId,
    now: UnixMillis,
    /// Up to when what was deleted is forgotten.
    floor: UnixMillis,
    /// What the peer may see.
    view: Option<crate::View>,
}

impl Opening {
    fn new(replica: &Replica, space: SpaceId, peer: PeerId, now: UnixMillis) -> Self {
        let floor = replica.floor(now);
        Self { replica: replica.clone(), space, peer, now, floor, view: None }
    }

    /// Forgets what the other side has forgotten, as far as this side's clock allows.
    async fn raise(&mut self, theirs: u64) -> Result<(), Declined> {
        if theirs <= self.floor.0 {
            return Ok(());
        }
        let latest = self.now.plus(MAX_DRIFT);
        if theirs > floor(latest).0 {
            return Err(Declined::No(Reason::Clock));
        }
        self.replica.release(latest).await?;
        self.floor = self.replica.floor(latest);
        Ok(())
    }

    /// Takes a view, if the peer may have one.
    async fn look(&mut self) -> Result<(), Declined> {
        let reader = Author::of_peer(&self.peer).ok_or(Declined::No(Reason::NoGrant))?;
        self.view = match self.replica.view(&self.space, &reader, self.now).await {
            Ok(view) => Some(view),
            Err(Refusal::NoGrant) => None,
            Err(Refusal::NoSuchSpace) => return Err(Declined::No(Reason::NoSuchSpace)),
            Err(Refusal::Store(error)) => return Err(error.into()),
        };
        Ok(())
    }

    fn meeting(&self) -> Meeting<'_> {
        Meeting { replica: &self.replica, space: self.space, peer: self.peer }
    }

    /// Of all grants of the space.
    fn grants(&self) -> [u8; 8] {
        self.replica.grants(&self.space).map_or([0; 8], |grants| grants.digest())
    }

    /// What shows that this node may read.
    fn chain(&self) -> Vec<bytes::Bytes> {
        let local = self.replica.local().author;
        let chain =
            |grants: std::sync::Arc<crate::grants::Grants>| grants.chain_for(&local, self.now);
        self.replica.grants(&self.space).and_then(chain).unwrap_or_default()
    }

    async fn facts(&mut self) -> Result<Facts, SessionError> {
        if self.view.is_none() {
            self.look().await.map_err(|declined| match declined {
                Declined::No(reason) => SessionError::Declined(reason),
                Declined::Kv(error) => error.into(),
            })?;
        }
        let mut cursor = None;
        if let Some(view) = &self.view {
            let row = view.peer(&self.peer).await?;
            cursor = row.and_then(|row| row.cursor).map(convert::wire_cursor);
        }
        let state = self.view.as_ref().map(convert::state_of);
        Ok(Facts { floor: self.floor.0, grants: self.grants(), cursor, state })
    }
}
