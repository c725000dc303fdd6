//! Peers that were connected and are no longer, or may have been started anew. Pure.

use std::{collections::HashMap, time::Duration};

use peerage_types::{PeerId, UnixMillis};

use crate::bounds::MAX_LOST;

/// Connections made within this time are made at once, by both sides or over several transports.
const SIMULTANEOUS: Duration = Duration::from_secs(4);

/// Peers that are missed, and since when. Beyond [`MAX_LOST`] the one that is missed longest is
/// forgotten.
///
/// A process that is killed and started at once is back before its last connection has timed out
/// (QUIC: 10 s). So a peer that connects once more, later than [`SIMULTANEOUS`], counts as missed:
/// it may be another process. Both sides see the same; the one that is not anew says again who is
/// logged in there.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    since: HashMap<PeerId, UnixMillis>,
    /// When the newest connection to each peer that is connected was made.
    made: HashMap<PeerId, UnixMillis>,
}

impl Lost {
    /// The last connection to a peer has closed.
    pub(crate) fn on_gone(&mut self, peer: PeerId, now: UnixMillis) {
        if self.since.len() >= MAX_LOST
            && let Some(first) = self.since.iter().min_by_key(|(_, at)| **at).map(|(id, _)| *id)
        {
            self.since.remove(&first);
        }
        self.made.remove(&peer);
        self.since.insert(peer, now);
    }

    /// A connection was made: since when the peer was missed, if it was.
    pub(crate) fn on_met(&mut self, peer: PeerId, now: UnixMillis) -> Option<UnixMillis> {
        let before = self.made.insert(peer, now);
        let is_anew = before.is_some_and(|before| before.plus(SIMULTANEOUS) < now);
        self.since.remove(&peer).or(is_anew.then_some(now))
    }

    /// Since when a peer is missed.
    pub(crate) fn since(&self, peer: &PeerId) -> Option<UnixMillis> {
        self.since.get(peer).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_missed_until_it_is_met_again_and_no_more_of_them_than_there_is_room_for() {
        let mut lost = Lost::default();
        let [first, second] = [(); 2].map(|()| PeerId::random());
        lost.on_gone(first, UnixMillis(1));
        lost.on_gone(second, UnixMillis(2));
        assert_eq!(
            (lost.since(&second), lost.on_met(second, UnixMillis(3))),
            (Some(UnixMillis(2)), Some(UnixMillis(2)))
        );
        assert_eq!((lost.since(&second), lost.on_met(second, UnixMillis(4))), (None, None));
        (3..).take(MAX_LOST).for_each(|at| lost.on_gone(PeerId::random(), UnixMillis(at)));
        assert_eq!((lost.since(&first), lost.since.len()), (None, MAX_LOST));
    }

    #[test]
    fn a_peer_that_connects_once_more_may_be_a_new_process_unless_it_is_at_once() {
        let (mut lost, peer) = (Lost::default(), PeerId::random());
        let begin = UnixMillis(1_000_000);
        let [at_once, later] = [SIMULTANEOUS, SIMULTANEOUS * 2].map(|after| begin.plus(after));
        assert_eq!(lost.on_met(peer, begin), None);
        assert_eq!(lost.on_met(peer, at_once), None);
        assert_eq!(lost.on_met(peer, later), None, "soon after the one before");
        let anew = later.plus(SIMULTANEOUS * 2);
        assert_eq!(lost.on_met(peer, anew), Some(anew));
        lost.on_gone(peer, anew);
        assert_eq!((lost.on_met(peer, anew), lost.made.len()), (Some(anew), 1));
    }
}
