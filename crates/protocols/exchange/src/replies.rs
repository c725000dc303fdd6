//! Requests that wait for an answer of this node's applications.

use std::{collections::HashMap, sync::Arc, time::Instant};

use peerage_api::exchange::{Body, ExchangeError};
use peerage_types::PeerId;
use peerage_wire::exchange::{Frame, Id, Refusal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc::OwnedPermit};

use crate::{bounds::MAX_WAITING, session::encoding_to_wire};

/// An answer on its way to the stream's writer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) frame: Frame,
    /// Room taken among the answers to be written; given back when this is dropped.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Names an inbound stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamKey(u64);

/// A request that an application has been shown.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) stream: StreamKey,
    pub(crate) peer: PeerId,
    /// As the asking node named it.
    pub(crate) id: Id,
    pub(crate) deadline: Instant,
    /// A place in the writer's queue, kept for the answer.
    pub(crate) place: OwnedPermit<Answer>,
    /// For the bytes of the answer.
    pub(crate) room: Arc<Semaphore>,
    /// One of the requests that the stream may have waiting.
    pub(crate) _turn: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
pub(crate) struct Replies {
    waiting: HashMap<u64, Waiting>,
    /// No deadline is before this; `None` while it is unknown.
    earliest: Option<Instant>,
    last_id: u64,
    last_stream: u64,
}

impl Replies {
    pub(crate) fn stream(&mut self) -> StreamKey {
        self.last_stream += 1;
        StreamKey(self.last_stream)
    }

    /// Names a request for the application, unless too many wait.
    pub(crate) fn insert(&mut self, request: Waiting, now: Instant) -> Option<u64> {
        if self.waiting.len() >= MAX_WAITING {
            self.sweep(now);
        }
        if self.waiting.len() >= MAX_WAITING {
            return None;
        }
        self.earliest = Some(self.earliest.map_or(request.deadline, |e| e.min(request.deadline)));
        self.last_id += 1;
        self.waiting.insert(self.last_id, request);
        Some(self.last_id)
    }

    pub(crate) fn remove(&mut self, request: u64) -> Option<Waiting> {
        self.waiting.remove(&request)
    }

    pub(crate) fn reply(
        &mut self,
        request: u64,
        body: Body,
        now: Instant,
    ) -> Result<(), ExchangeError> {
        let waiting = self.waiting.get(&request);
        let waiting = waiting.ok_or(ExchangeError::TooLate { request })?;
        let room = Arc::clone(&waiting.room);
        let len = u32::try_from(body.data.len()).unwrap_or(u32::MAX);
        let Ok(room) = room.try_acquire_many_owned(len) else {
            return Err(ExchangeError::Busy { peer: waiting.peer });
        };
        self.answer(request, now, Some(room), |id| Frame::Response {
            id,
            encoding: encoding_to_wire(body.encoding),
            body: body.data.0,
        })
    }

    pub(crate) fn refuse(
        &mut self,
        request: u64,
        reason: String,
        now: Instant,
    ) -> Result<(), ExchangeError> {
        let code = Refusal::Refused(reason);
        self.answer(request, now, None, |id| Frame::Refusal { id, code })
    }

    fn answer(
        &mut self,
        request: u64,
        now: Instant,
        room: Option<OwnedSemaphorePermit>,
        frame: impl FnOnce(Id) -> Frame,
    ) -> Result<(), ExchangeError> {
        let late = ExchangeError::TooLate { request };
        let Some(waiting) = self.waiting.remove(&request) else { return Err(late) };
        if waiting.deadline < now {
            return Err(late);
        }
        let queue = waiting.place.send(Answer { frame: frame(waiting.id), room });
        if queue.is_closed() { Err(late) } else { Ok(()) }
    }

    /// Forgets requests whose asking node has given up. Looks at all only if there is one.
    pub(crate) fn sweep(&mut self, now: Instant) {
        if self.earliest.is_some_and(|earliest| earliest < now) {
            self.waiting.retain(|_, request| request.deadline >= now);
            self.earliest = self.waiting.values().map(|request| request.deadline).min();
        }
    }

    /// When the last request of a stream expires.
    pub(crate) fn latest(&self, stream: StreamKey) -> Option<Instant> {
        self.waiting.values().filter(|r| r.stream == stream).map(|r| r.deadline).max()
    }

    pub(crate) fn forget(&mut self, stream: StreamKey) {
        self.waiting.retain(|_, request| request.stream != stream);
    }
}
