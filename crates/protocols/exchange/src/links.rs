//! Who has which stream in which state. Pure.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use libp2p_swarm::ConnectionId;
use peerage_api::exchange::Outbox;
use peerage_types::PeerId;
use tokio_util::sync::CancellationToken;

use crate::{bounds::MAX_INBOUND_PER_PEER, door::Door};

/// All streams, named by `Id`, and the peers that take our messages.
#[derive(Debug)]
pub(crate) struct Links<Id> {
    /// Oldest first: the last is in use, or opening while the one before it still is.
    ///
    /// | streams | state |
    /// |---|---|
    /// | `a` | opening, then in use |
    /// | `a b` | `b` opens: `a` in use; `b` is open: `a` drains |
    outbound: HashMap<PeerId, Vec<Outbound<Id>>>,
    /// Oldest first: each reads only after the one before it has read to its end.
    inbound: HashMap<PeerId, Vec<Inbound<Id>>>,
    members: HashSet<PeerId>,
}

/// A stream that we write messages to.
#[derive(Debug, Clone)]
pub(crate) struct Outbound<Id> {
    pub(crate) id: Id,
    pub(crate) outbox: Outbox,
    pub(crate) door: Arc<Door>,
    pub(crate) turns: Turns,
}

/// A stream that we read messages from.
#[derive(Debug, Clone)]
pub(crate) struct Inbound<Id> {
    pub(crate) id: Id,
    pub(crate) turns: Turns,
}

/// The order in which the streams with one peer and direction have their turn.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    /// Cancelled when another stream is to take over.
    pub(crate) succeeded: CancellationToken,
    /// Cancelled when all its messages have gone through.
    pub(crate) done: CancellationToken,
}

/// What to do with a stream that a peer opens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission<Id> {
    /// Serve it.
    Serve,
    /// End this one, which only waits for late answers, and serve the new one.
    Replace(Id),
    /// Too many.
    Refuse,
}

impl<Id: Copy + Eq> Links<Id> {
    pub(crate) fn new() -> Self {
        Self { outbound: HashMap::new(), inbound: HashMap::new(), members: HashSet::new() }
    }

    /// The stream that takes messages for this peer: open if there is one.
    pub(crate) fn outbound(&self, peer: &PeerId) -> Option<&Outbound<Id>> {
        let live = || self.outbound.get(peer)?.iter().rev().find(|o| !o.outbox.is_closed());
        let open = |o: &&Outbound<Id>| !o.outbox.is_closed() && o.door.connection().is_some();
        self.outbound.get(peer)?.iter().rev().find(open).or_else(live)
    }

    pub(crate) fn opened(&mut self, peer: PeerId, stream: Outbound<Id>) {
        self.outbound.entry(peer).or_default().push(stream);
    }

    /// Whether the messages for this peer should move to a new stream on a better connection.
    pub(crate) fn should_move(&self, peer: &PeerId, better: ConnectionId) -> bool {
        match self.outbound.get(peer).map(Vec::as_slice) {
            Some([only]) => !only.outbox.is_closed() && only.door.connection() != Some(better),
            _ => false,
        }
    }

    pub(crate) fn admit(&self, peer: &PeerId) -> Admission<Id> {
        match self.inbound.get(peer).map(Vec::as_slice) {
            Some(streams @ [oldest, ..]) if streams.len() >= MAX_INBOUND_PER_PEER => {
                match oldest.turns.done.is_cancelled() {
                    true => Admission::Replace(oldest.id),
                    false => Admission::Refuse,
                }
            }
            _ => Admission::Serve,
        }
    }

    /// The stream after which a new one has its turn.
    pub(crate) fn latest_inbound(&self, peer: &PeerId) -> Option<&Inbound<Id>> {
        self.inbound.get(peer)?.last()
    }

    pub(crate) fn serving(&mut self, peer: PeerId, stream: Inbound<Id>) {
        self.inbound.entry(peer).or_default().push(stream);
    }

    /// Forgets a stream; returns it if it was one of ours.
    pub(crate) fn finished(&mut self, peer: &PeerId, id: Id) -> Option<Outbound<Id>> {
        if let Some(streams) = self.inbound.get_mut(peer) {
            streams.retain(|s| s.id != id);
            if streams.is_empty() {
                self.inbound.remove(peer);
            }
        }
        let streams = self.outbound.get_mut(peer)?;
        let at = streams.iter().position(|s| s.id == id)?;
        let stream = streams.remove(at);
        if streams.is_empty() {
            self.outbound.remove(peer);
        }
        Some(stream)
    }

    pub(crate) fn identified(&mut self, peer: PeerId, member: bool) {
        match member {
            true => self.members.insert(peer),
            false => self.members.remove(&peer),
        };
    }

    /// The last connection to a peer is gone; its streams end by themselves.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        self.members.remove(peer);
    }

    /// Whom a broadcast goes to.
    pub(crate) fn members(&self) -> Vec<PeerId> {
        let sent_to = self.outbound.keys().filter(|peer| !self.members.contains(*peer));
        self.members.iter().chain(sent_to).copied().collect()
    }

    pub(crate) fn all_outbound(&self) -> impl Iterator<Item = &Outbound<Id>> {
        self.outbound.values().flatten()
    }

    pub(crate) fn all_inbound(&self) -> impl Iterator<Item = &Inbound<Id>> {
        self.inbound.values().flatten()
    }

    /// Peers with an open stream to or from them.
    pub(crate) fn peers(&self) -> usize {
        let open = |streams: &[Outbound<Id>]| streams.iter().any(|s| s.door.connection().is_some());
        let outbound = self.outbound.iter().filter(|(_, streams)| open(streams));
        self.inbound.len() + outbound.filter(|(peer, _)| !self.inbound.contains_key(peer)).count()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    struct Opened(Outbound<u32>, #[expect(dead_code, reason = "keeps it open")] Queue);
    type Queue = mpsc::Receiver<peerage_api::exchange::Outgoing>;

    fn outbound(peer: PeerId, id: u32, connection: Option<usize>) -> Opened {
        let (outbox, queue) = Outbox::new();
        let door = Arc::new(Door::new(peer));
        if let Some(connection) = connection {
            door.open(ConnectionId::new_unchecked(connection), &outbox);
        }
        Opened(Outbound { id, outbox, door, turns: Turns::default() }, queue)
    }

    fn in_use(links: &Links<u32>, peer: &PeerId) -> Option<u32> {
        links.outbound(peer).map(|stream| stream.id)
    }

    #[test]
    fn the_newest_open_stream_is_used_and_an_opening_one_only_when_there_is_no_other() {
        let (mut links, peer) = (Links::new(), PeerId::random());
        assert_eq!(in_use(&links, &peer), None);
        let first = outbound(peer, 1, None);
        links.opened(peer, first.0.clone());
        assert_eq!((in_use(&links, &peer), links.peers()), (Some(1), 0));
        first.0.door.open(ConnectionId::new_unchecked(7), &first.0.outbox);
        let second = outbound(peer, 2, None);
        links.opened(peer, second.0.clone());
        assert_eq!((in_use(&links, &peer), links.peers()), (Some(1), 1));
        second.0.door.open(ConnectionId::new_unchecked(8), &second.0.outbox);
        assert_eq!(in_use(&links, &peer), Some(2));
        drop(second);
        assert_eq!(in_use(&links, &peer), Some(1), "the second is closed");
        assert!(links.finished(&peer, 2).is_some() && links.finished(&peer, 2).is_none());
        drop(first);
        assert_eq!(in_use(&links, &peer), None);
        links.finished(&peer, 1);
        assert_eq!(links.peers(), 0);
    }

    #[test]
    fn messages_move_once_and_only_to_another_connection() {
        let (mut links, peer) = (Links::new(), PeerId::random());
        let [relayed, direct] = [1, 2].map(ConnectionId::new_unchecked);
        assert!(!links.should_move(&peer, direct));
        let first = outbound(peer, 1, Some(1));
        links.opened(peer, first.0.clone());
        assert!(links.should_move(&peer, direct) && !links.should_move(&peer, relayed));
        let second = outbound(peer, 2, None);
        links.opened(peer, second.0.clone());
        assert!(!links.should_move(&peer, direct), "it moves already");
    }

    #[test]
    fn a_third_inbound_stream_is_refused_unless_the_first_has_been_read_to_its_end() {
        let (mut links, peer) = (Links::new(), PeerId::random());
        let streams = [1, 2].map(|id| Inbound { id, turns: Turns::default() });
        for stream in &streams {
            assert_eq!(links.admit(&peer), Admission::Serve);
            links.serving(peer, stream.clone());
        }
        assert_eq!(links.latest_inbound(&peer).map(|s| s.id), Some(2));
        assert_eq!(links.admit(&peer), Admission::Refuse);
        streams[0].turns.done.cancel();
        assert_eq!(links.admit(&peer), Admission::Replace(1));
        links.finished(&peer, 1);
        assert_eq!(links.admit(&peer), Admission::Serve);
    }

    #[test]
    fn a_broadcast_goes_once_to_members_and_to_whom_we_send() {
        let (mut links, [a, b]) = (Links::new(), [PeerId::random(), PeerId::random()]);
        links.identified(a, true);
        let (one, two) = (outbound(a, 1, None), outbound(b, 2, None));
        links.opened(a, one.0.clone());
        links.opened(b, two.0.clone());
        let mut members = links.members();
        members.sort_unstable();
        let mut expected = vec![a, b];
        expected.sort_unstable();
        assert_eq!(members, expected);
        links.disconnected(&a);
        links.finished(&a, 1);
        assert_eq!(links.members(), [b]);
    }
}
