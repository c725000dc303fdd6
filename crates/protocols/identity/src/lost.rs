//! Peers that were connected and are no longer. Pure.

use std::collections::HashMap;

use peerage_types::{PeerId, UnixMillis};

use crate::bounds::MAX_LOST;

/// Peers that are missed, and since when. Beyond [`MAX_LOST`] the one that is missed longest is
/// forgotten.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    since: HashMap<PeerId, UnixMillis>,
}

impl Lost {
    /// The last connection to a peer has closed.
    pub(crate) fn on_gone(&mut self, peer: PeerId, now: UnixMillis) {
        if self.since.len() >= MAX_LOST
            && let Some(first) = self.since.iter().min_by_key(|(_, at)| **at).map(|(id, _)| *id)
        {
            self.since.remove(&first);
        }
        self.since.insert(peer, now);
    }

    /// A peer is connected: since when it was missed.
    pub(crate) fn on_met(&mut self, peer: &PeerId) -> Option<UnixMillis> {
        self.since.remove(peer)
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
            (lost.since(&second), lost.on_met(&second)),
            (Some(UnixMillis(2)), Some(UnixMillis(2)))
        );
        assert_eq!((lost.since(&second), lost.on_met(&second)), (None, None));
        (3..).take(MAX_LOST).for_each(|at| lost.on_gone(PeerId::random(), UnixMillis(at)));
        assert_eq!((lost.since(&first), lost.since.len()), (None, MAX_LOST));
    }
}
