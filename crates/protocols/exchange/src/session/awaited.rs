//! What the sender of messages waits for.

use std::collections::HashMap;

use peerage_api::exchange::{Body, ExchangeError, Expect};
use peerage_types::{MessageType, PeerId};
use peerage_wire::exchange::{Id, Refusal};
use tokio::sync::oneshot;

use super::Misbehaviour;
use crate::bounds::MAX_IN_FLIGHT;

/// The doors of those who wait, by the id of what they wait for. Dropping it tells them that the
/// stream broke.
#[derive(Debug)]
pub(crate) struct Awaited {
    peer: PeerId,
    doors: HashMap<Id, Awaiting>,
    last: u64,
}

#[derive(Debug)]
struct Awaiting {
    kind: MessageType,
    answer: Expected,
}

#[derive(Debug)]
enum Expected {
    Ack(oneshot::Sender<Result<(), ExchangeError>>),
    Response { deadline_ms: u32, reply: oneshot::Sender<Result<Body, ExchangeError>> },
}

/// How a message goes out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    Ack(Id),
    Response { id: Id, deadline_ms: u32 },
}

impl Awaited {
    pub(crate) fn new(peer: PeerId) -> Self {
        Self { peer, doors: HashMap::new(), last: 0 }
    }

    /// Takes a door; `None` if the message is not to be sent, as nobody waits for its answer any more
    /// or too many others do.
    pub(crate) fn expect(&mut self, kind: &MessageType, expect: Expect) -> Option<Wanted> {
        let (answer, deadline_ms) = match expect {
            Expect::Nothing => return Some(Wanted::Nothing),
            Expect::Ack(door) if door.is_closed() => return Some(Wanted::Nothing),
            Expect::Ack(door) => (Expected::Ack(door), None),
            Expect::Response { reply, .. } if reply.is_closed() => return None,
            Expect::Response { deadline, reply } => {
                let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
                (Expected::Response { deadline_ms, reply }, Some(deadline_ms))
            }
        };
        if !self.has_room() {
            answer.fail(ExchangeError::Busy { peer: self.peer });
            return None;
        }
        self.last += 1;
        let id = Id::new(self.last)?;
        self.doors.insert(id, Awaiting { kind: kind.clone(), answer });
        Some(match deadline_ms {
            None => Wanted::Ack(id),
            Some(deadline_ms) => Wanted::Response { id, deadline_ms },
        })
    }

    fn has_room(&mut self) -> bool {
        if self.doors.len() >= MAX_IN_FLIGHT {
            self.doors.retain(|_, awaiting| !awaiting.answer.is_abandoned());
        }
        self.doors.len() < MAX_IN_FLIGHT
    }

    pub(crate) fn acked(&mut self, id: Id) -> Result<(), Misbehaviour> {
        match self.take(id)? {
            Some(Awaiting { answer: Expected::Ack(door), .. }) => {
                let _ = door.send(Ok(()));
                Ok(())
            }
            Some(_) => Err(Misbehaviour::Answer { id: id.get() }),
            None => Ok(()),
        }
    }

    pub(crate) fn answered(&mut self, id: Id, body: Body) -> Result<(), Misbehaviour> {
        match self.take(id)? {
            Some(Awaiting { answer: Expected::Response { reply, .. }, .. }) => {
                let _ = reply.send(Ok(body));
                Ok(())
            }
            Some(_) => Err(Misbehaviour::Answer { id: id.get() }),
            None => Ok(()),
        }
    }

    pub(crate) fn refused(&mut self, id: Id, code: Refusal) -> Result<(), Misbehaviour> {
        let Some(Awaiting { kind, answer }) = self.take(id)? else { return Ok(()) };
        let peer = self.peer;
        let error = match code {
            Refusal::NoListener => ExchangeError::NoListener { peer, kind },
            Refusal::NoResponder => ExchangeError::NoResponder { peer, kind },
            Refusal::Refused(reason) => ExchangeError::Refused { peer, reason },
            Refusal::Busy => ExchangeError::Busy { peer },
            Refusal::TooLate => ExchangeError::TimedOut { peer, deadline_ms: answer.deadline() },
        };
        answer.fail(error);
        Ok(())
    }

    /// The peer has no room for our stream.
    pub(crate) fn refuse_all(&mut self) {
        for (_, awaiting) in self.doors.drain() {
            awaiting.answer.fail(ExchangeError::Busy { peer: self.peer });
        }
    }

    /// An answer may come twice or when nobody waits any more, but not before it was asked for.
    fn take(&mut self, id: Id) -> Result<Option<Awaiting>, Misbehaviour> {
        match self.doors.remove(&id) {
            None if id.get() > self.last => Err(Misbehaviour::Answer { id: id.get() }),
            door => Ok(door),
        }
    }
}

impl Expected {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Ack(door) => door.is_closed(),
            Self::Response { reply, .. } => reply.is_closed(),
        }
    }

    fn deadline(&self) -> u64 {
        match self {
            Self::Ack(_) => 0,
            Self::Response { deadline_ms, .. } => u64::from(*deadline_ms),
        }
    }

    fn fail(self, error: ExchangeError) {
        match self {
            Self::Ack(door) => {
                let _ = door.send(Err(error));
            }
            Self::Response { reply, .. } => {
                let _ = reply.send(Err(error));
            }
        }
    }
}
