//! Opens that wait for room on a connection: first come, first served per peer, peers in turn. Pure.

use std::collections::{HashMap, VecDeque};

use libp2p_identity::PeerId;

use crate::DialogId;

/// Holds at most as many ids as there are outbound slots.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: HashMap<PeerId, Line>,
    /// Peers whose line may have become movable; each at most once.
    ready: VecDeque<PeerId>,
}

#[derive(Debug, Default)]
struct Line {
    ids: VecDeque<DialogId>,
    ready: bool,
}

impl Queue {
    pub(crate) fn push_back(&mut self, peer: PeerId, id: DialogId) {
        self.lines.entry(peer).or_default().ids.push_back(id);
        self.stir(peer);
    }

    /// For an open that already had its turn and lost its connection.
    pub(crate) fn push_front(&mut self, peer: PeerId, id: DialogId) {
        self.lines.entry(peer).or_default().ids.push_front(id);
        self.stir(peer);
    }

    pub(crate) fn remove(&mut self, peer: &PeerId, id: DialogId) {
        if let Some(line) = self.lines.get_mut(peer) {
            line.ids.retain(|i| *i != id);
            if line.ids.is_empty() && !line.ready {
                self.lines.remove(peer);
            }
        }
    }

    /// Something changed for this peer: have its line looked at again.
    pub(crate) fn stir(&mut self, peer: PeerId) {
        if let Some(line) = self.lines.get_mut(&peer)
            && !line.ready
        {
            line.ready = true;
            self.ready.push_back(peer);
        }
    }

    /// The next peer whose line is to be looked at; a line that moved is to be stirred again.
    pub(crate) fn next_ready(&mut self) -> Option<PeerId> {
        let peer = self.ready.pop_front()?;
        if let Some(line) = self.lines.get_mut(&peer) {
            line.ready = false;
            if line.ids.is_empty() {
                self.lines.remove(&peer);
            }
        }
        Some(peer)
    }

    pub(crate) fn line(&self, peer: &PeerId) -> impl Iterator<Item = DialogId> + use<'_> {
        self.lines.get(peer).into_iter().flat_map(|line| line.ids.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the first of each line that is ready, as long as there is one.
    fn drain(queue: &mut Queue) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some(peer) = queue.next_ready() {
            let Some(id) = queue.line(&peer).next() else { continue };
            queue.remove(&peer, id);
            queue.stir(peer);
            order.push(id.0);
        }
        order
    }

    #[test]
    fn peers_take_turns_and_each_keeps_its_order() {
        let (mut queue, a, b) = (Queue::default(), PeerId::random(), PeerId::random());
        for id in 1..=3 {
            queue.push_back(a, DialogId(id));
        }
        queue.push_back(b, DialogId(9));
        queue.push_front(a, DialogId(0));
        assert_eq!(drain(&mut queue), [0, 9, 1, 2, 3]);
        assert!(queue.lines.is_empty());
    }

    #[test]
    fn a_line_without_room_rests_until_it_is_stirred() {
        let (mut queue, peer) = (Queue::default(), PeerId::random());
        queue.push_back(peer, DialogId(1));
        assert_eq!(queue.next_ready(), Some(peer));
        assert_eq!(queue.next_ready(), None);
        queue.stir(peer);
        queue.stir(peer);
        assert_eq!(drain(&mut queue), [1]);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let (mut queue, peer) = (Queue::default(), PeerId::random());
        queue.push_back(peer, DialogId(1));
        queue.remove(&peer, DialogId(1));
        assert_eq!(drain(&mut queue), []);
        assert!(queue.lines.is_empty() && queue.ready.is_empty());
    }
}
