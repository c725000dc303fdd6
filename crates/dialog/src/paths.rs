//! Which connection to a peer is the best one. Pure.

use std::{collections::HashMap, time::Duration};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

/// One connection to a peer, as far as choosing among them needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The connection.
    pub connection: ConnectionId,
    /// Whether a relay forwards it.
    pub relayed: bool,
    /// Its latest round-trip time, once [`crate::Dialogs::on_rtt`] has told one.
    pub rtt: Option<Duration>,
    /// Whether it will be closed once it is idle, see [`crate::Dialogs::on_retired`].
    pub retired: bool,
}

impl Path {
    /// The least is the best: direct, then not retired, then lowest round trip (unknown last), then
    /// the oldest.
    fn rank(&self) -> impl Ord + use<> {
        (self.relayed, self.retired, self.rtt.is_none(), self.rtt, self.connection)
    }
}

/// All established connections, by peer. A peer has about three at most, so they are searched.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    peers: HashMap<PeerId, Vec<Path>>,
    owners: HashMap<ConnectionId, PeerId>,
}

impl Paths {
    /// Returns the new path if it is of a strictly better class than all that the peer had.
    pub(crate) fn established(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        relayed: bool,
    ) -> Option<Path> {
        let path = Path { connection, relayed, rtt: None, retired: false };
        let paths = self.peers.entry(peer).or_default();
        let better = !relayed && !paths.is_empty() && paths.iter().all(|p| p.relayed);
        // Nearly every peer has one, and every protocol keeps its own.
        paths.reserve_exact(1);
        paths.push(path);
        self.owners.insert(connection, peer);
        better.then_some(path)
    }

    /// Returns whether that was the peer's last connection.
    pub(crate) fn closed(&mut self, connection: ConnectionId) -> bool {
        let Some(peer) = self.owners.remove(&connection) else { return false };
        let Some(paths) = self.peers.get_mut(&peer) else { return false };
        paths.retain(|p| p.connection != connection);
        let last = paths.is_empty();
        if last {
            self.peers.remove(&peer);
        }
        last
    }

    pub(crate) fn on_rtt(&mut self, connection: ConnectionId, rtt: Duration) {
        let Some(peer) = self.owners.get(&connection) else { return };
        let path = self
            .peers
            .get_mut(peer)
            .and_then(|p| p.iter_mut().find(|p| p.connection == connection));
        if let Some(path) = path {
            path.rtt = Some(rtt);
        }
    }

    /// Returns the peer and its best path, if that is now another one.
    pub(crate) fn on_retired(&mut self, connection: ConnectionId) -> Option<(PeerId, Path)> {
        let peer = *self.owners.get(&connection)?;
        let path = self.peers.get_mut(&peer)?.iter_mut().find(|p| p.connection == connection)?;
        path.retired = true;
        let best = self.best(&peer)?;
        (best.connection != connection).then_some((peer, best))
    }

    pub(crate) fn of(&self, peer: &PeerId) -> impl Iterator<Item = Path> + use<'_> {
        self.peers.get(peer).into_iter().flatten().copied()
    }

    pub(crate) fn best(&self, peer: &PeerId) -> Option<Path> {
        self.of(peer).min_by_key(Path::rank)
    }

    /// The best one, except the one that has just failed.
    pub(crate) fn best_but(&self, peer: &PeerId, avoid: Option<ConnectionId>) -> Option<Path> {
        self.of(peer).filter(|p| Some(p.connection) != avoid).min_by_key(Path::rank)
    }

    pub(crate) fn get(&self, peer: &PeerId, connection: ConnectionId) -> Option<Path> {
        self.of(peer).find(|p| p.connection == connection)
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn best(paths: &Paths, peer: &PeerId) -> Option<ConnectionId> {
        paths.best(peer).map(|path| path.connection)
    }

    #[test]
    fn direct_goes_before_relayed_whatever_the_round_trip() {
        let (mut paths, peer) = (Paths::default(), PeerId::random());
        paths.established(peer, id(1), true);
        paths.on_rtt(id(1), Duration::from_millis(1));
        paths.established(peer, id(2), false);
        assert_eq!(best(&paths, &peer), Some(id(2)));
        paths.on_rtt(id(2), Duration::from_secs(1));
        assert_eq!(best(&paths, &peer), Some(id(2)));
    }

    #[test]
    fn the_lowest_round_trip_wins_then_the_known_then_the_oldest() {
        let (mut paths, peer) = (Paths::default(), PeerId::random());
        for n in [3, 1, 2] {
            paths.established(peer, id(n), false);
        }
        assert_eq!(best(&paths, &peer), Some(id(1)));
        paths.on_rtt(id(3), Duration::from_millis(9));
        assert_eq!(best(&paths, &peer), Some(id(3)));
        paths.on_rtt(id(2), Duration::from_millis(8));
        assert_eq!(best(&paths, &peer), Some(id(2)));
        assert_eq!(paths.best_but(&peer, Some(id(2))).map(|p| p.connection), Some(id(3)));
    }

    #[test]
    fn a_retired_connection_is_used_only_while_there_is_no_other() {
        let (mut paths, peer) = (Paths::default(), PeerId::random());
        paths.established(peer, id(1), false);
        assert_eq!(paths.on_retired(id(1)), None);
        assert_eq!(best(&paths, &peer), Some(id(1)));
        paths.established(peer, id(2), false);
        paths.on_rtt(id(1), Duration::from_millis(1));
        assert_eq!(best(&paths, &peer), Some(id(2)));
        paths.established(peer, id(3), false);
        let moved = paths.on_retired(id(2)).map(|(peer, path)| (peer, path.connection));
        assert_eq!(moved, Some((peer, id(3))));
    }

    #[test]
    fn only_the_first_direct_connection_after_relayed_ones_is_better() {
        let (mut paths, peer) = (Paths::default(), PeerId::random());
        assert_eq!(paths.established(peer, id(1), true), None);
        assert_eq!(paths.established(peer, id(2), true), None);
        let direct = Path { connection: id(3), relayed: false, rtt: None, retired: false };
        assert_eq!(paths.established(peer, id(3), false), Some(direct));
        assert_eq!(paths.established(peer, id(4), false), None);
        assert_eq!(paths.established(PeerId::random(), id(5), false), None);
    }

    #[test]
    fn nothing_is_left_of_a_peer_whose_last_connection_closed() {
        let (mut paths, peer) = (Paths::default(), PeerId::random());
        paths.established(peer, id(1), false);
        paths.established(peer, id(2), false);
        assert!(!paths.closed(id(1)));
        assert_eq!(best(&paths, &peer), Some(id(2)));
        assert!(paths.closed(id(2)));
        assert!(!paths.is_connected(&peer));
        assert!(paths.peers.is_empty() && paths.owners.is_empty());
    }
}
