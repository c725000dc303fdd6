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
