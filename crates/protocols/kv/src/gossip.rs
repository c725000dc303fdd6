//! New entries of the default space as gossip: what is told, and what others tell.

use std::ops::RangeInclusive;

use bytes::Bytes;
use peerage_types::{PeerId, SpaceId, UnixMillis};
use peerage_wire::kv::{
    frames::Shown,
    gossip::{self, MAX_GOSSIPED_BYTES, MAX_MESSAGE_BYTES},
};

use crate::{Incoming, Outgoing, ReceiveError, Verdict, bounds::MAX_MESSAGES, handle::Kv};

/// What a worker has done.
#[derive(Debug)]
pub(crate) enum Work {
    /// A message of another.
    Judged { ticket: u64, verdict: Verdict, new: u64 },
    /// Changes of our own.
    Told {
        space: SpaceId,
        messages: Vec<Bytes>,
        /// Whether the messages hold all of them.
        all: bool,
    },
}

/// Verifies and stores what was gossiped.
pub(crate) async fn judge(kv: Kv, space: SpaceId, ticket: u64, via: PeerId, data: Bytes) -> Work {
    let judged = |verdict, new| Work::Judged { ticket, verdict, new };
    let Ok(carried) = gossip::decode(&data, space) else {
        return judged(Verdict::Reject, 0);
    };
    let entries = carried.into_iter().map(|it| Incoming { claimed: it.claimed, value: it.value });
    let now = UnixMillis::now();
    let received = kv.0.replica.receive(&space, via, entries.collect(), None, now).await;
    match received {
        Ok(received) if received.new > 0 => judged(Verdict::Accept, received.new),
        // Known already, or for a reason that is not the sender's fault.
        Ok(_) => judged(Verdict::Ignore, 0),
        Err(ReceiveError::Misbehaviour(error)) => {
            tracing::debug!(%via, %error, "a gossiped entry is rejected");
            judged(Verdict::Reject, 0)
        }
        Err(ReceiveError::Kv(error)) => {
            tracing::debug!(%error, "a gossiped entry was not stored");
            judged(Verdict::Ignore, 0)
        }
    }
}

/// Messages with changes of our own: those that are not too large and still current.
pub(crate) async fn tell(kv: Kv, space: SpaceId, range: RangeInclusive<u64>) -> Work {
    let (messages, all) = messages(&kv, space, range).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "changes are not gossiped");
        (Vec::new(), false)
    });
    Work::Told { space, messages, all }
}

async fn messages(
    kv: &Kv,
    space: SpaceId,
    range: RangeInclusive<u64>,
) -> Result<(Vec<Bytes>, bool), String> {
    let (mut messages, mut all) = (Vec::new(), true);
    let (reader, now) = (kv.0.local.author, UnixMillis::now());
    let view = kv.0.replica.view(&space, &reader, now).await.map_err(|e| e.to_string())?;
    let mut at = range.start() - 1;
    while at < *range.end() {
        if messages.len() >= MAX_MESSAGES {
            return Ok((messages, false));
        }
        // Leaves room for proofs, which are as long as small entries.
        let read = view.since(at, None, MAX_MESSAGE_BYTES / 2).await;
        let (entries, through) = read.map_err(|error| error.to_string())?;
        let small = |entry: &&Outgoing| match &entry.value {
            Some(value) => value.len() <= MAX_GOSSIPED_BYTES,
            None => !entry.signed.entry().kind.has_value(),
        };
        let shown: Vec<_> = entries.iter().filter(small).map(shown).collect();
        all &= shown.len() == entries.len();
        match gossip::encode(&shown) {
            _ if shown.is_empty() => {}
            Some(message) => messages.push(message),
            None => all = false,
        }
        if through <= at {
            break;
        }
        at = through;
    }
    Ok((messages, all))
}

pub(crate) fn shown(entry: &Outgoing) -> Shown<'_> {
    Shown { entry: entry.signed.entry(), proof: entry.signed.proof(), value: entry.value.as_ref() }
}
