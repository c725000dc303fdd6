//! The end of a session that one side refuses. Who refuses for want of a grant tells which revocations
//! are the reason; who is refused takes them in as in any other session, verified along the chain.

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use peerage_api::kv::{Denial, LastRefusal};
use peerage_types::{Author, PeerId, SpaceId, UnixMillis};
use peerage_wire::kv::frames::{Frame, Reason};

use super::{SessionError, line::Line};
use crate::{Replica, grants::MAX_SHOWN};

/// Why a reason is one, as the facet tells it.
pub(crate) fn denial(reason: Reason) -> Denial {
    match reason {
        Reason::NoSuchSpace => Denial::NoSuchSpace,
        Reason::NoGrant => Denial::NoGrant,
        Reason::Clock => Denial::Clock,
        Reason::Busy => Denial::Busy,
    }
}

/// A space, and whom it is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meeting<'a> {
    pub(super) replica: &'a Replica,
    pub(super) space: SpaceId,
    pub(super) peer: PeerId,
}

impl Meeting<'_> {
    /// Refuses. Of what the other side has shown it is told what was taken back.
    pub(super) async fn refuse<'s, S: AsyncRead + AsyncWrite + Unpin>(
        self,
        line: &mut Line<S>,
        reason: Reason,
        shown: impl IntoIterator<Item = &'s Bytes>,
    ) -> Result<(), SessionError> {
        line.say(&Frame::Refused(reason)).await?;
        let why = if reason == Reason::NoGrant { self.why_not(shown) } else { Vec::new() };
        if !why.is_empty() {
            line.say(&Frame::Grants(why)).await?;
        }
        line.close().await
    }

    fn why_not<'s>(self, shown: impl IntoIterator<Item = &'s Bytes>) -> Vec<Bytes> {
        let known = Author::of_peer(&self.peer).zip(self.replica.grants(&self.space));
        known.map(|(who, grants)| grants.why_not(&who, shown)).unwrap_or_default()
    }

    /// The other side has refused: notes it, and takes in what it tells of the reason. Gives how the
    /// session fails.
    pub(super) async fn refused<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        line: &mut Line<S>,
        reason: Reason,
        now: UnixMillis,
    ) -> SessionError {
        let refusal = LastRefusal { peer: self.peer, why: denial(reason), at_ms: now };
        self.replica.on_refused(&self.space, refusal);
        let heard = match reason {
            Reason::NoGrant => self.hear_why(line, now).await,
            Reason::NoSuchSpace | Reason::Clock | Reason::Busy => Ok(()),
        };
        heard.err().unwrap_or(SessionError::Refused { reason })
    }

    async fn hear_why<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        line: &mut Line<S>,
        now: UnixMillis,
    ) -> Result<(), SessionError> {
        let records = match line.hear().await {
            Ok(Frame::Grants(records)) => records,
            // Nothing was taken back, or it does not tell.
            Err(SessionError::Io(_)) => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => return Err(SessionError::OutOfTurn),
        };
        if records.len() > MAX_SHOWN {
            return Err(SessionError::TooMuch("revocations"));
        }
        let Self { replica, space, peer } = self;
        let new = replica.add_grants(&space, records, now).await;
        if new.map_err(SessionError::of_grants)? > 0 {
            tracing::warn!(%peer, %space, "access of this node to the space was taken back");
        }
        Ok(())
    }
}
