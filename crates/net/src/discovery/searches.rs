//! Searches for a namespace: what several sources find becomes one stream.

use std::collections::{HashMap, HashSet};

use libp2p::PeerId;
use peerage_api::{Sink, discovery::Found};

/// Searches at once; each ends within half a minute.
const MAX_SEARCHES: usize = 32;
/// Peers that one search reports: 512 × 40 bytes = 20 KiB.
const MAX_FOUND: usize = 512;

/// Searches that are under way, by number.
#[derive(Default)]
pub(crate) struct Searches {
    open: HashMap<u64, Search>,
    next: u64,
}

struct Search {
    sink: Sink<Found>,
    seen: HashSet<PeerId>,
    /// Questions whose answer is still to come.
    asked: usize,
}

impl Searches {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.open.len() >= MAX_SEARCHES {
            self.open.retain(|_, search| !search.sink.is_closed());
        }
        self.open.len() < MAX_SEARCHES
    }

    /// The number of the next one.
    pub(crate) fn reserve(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Begins one whose reader holds the other end of `sink`, and for which so many sources are asked.
    /// It ends when all have [`Searches::answered`].
    pub(crate) fn begin(&mut self, id: u64, local: PeerId, sink: Sink<Found>, asked: usize) {
        self.open.insert(id, Search { sink, seen: HashSet::from([local]), asked });
    }

    /// Whether somebody reads what it finds.
    pub(crate) fn is_read(&self, id: u64) -> bool {
        self.open.get(&id).is_some_and(|search| !search.sink.is_closed())
    }

    /// Somebody more is asked for it, who ends with [`Searches::answered`].
    pub(crate) fn asked(&mut self, id: u64) {
        if let Some(search) = self.open.get_mut(&id) {
            search.asked += 1;
        }
    }

    /// Somebody who was asked has told everything.
    pub(crate) fn answered(&mut self, id: u64) {
        let Some(search) = self.open.get_mut(&id) else { return };
        search.asked -= 1;
        if search.asked == 0 {
            self.open.remove(&id);
        }
    }

    /// Whether a peer is to be reported: its first mention, while somebody reads.
    pub(crate) fn is_new(&mut self, id: u64, peer: PeerId) -> bool {
        self.open.get_mut(&id).is_some_and(|search| {
            !search.sink.is_closed() && search.seen.len() <= MAX_FOUND && search.seen.insert(peer)
        })
    }

    /// Reports a peer that [`Searches::is_new`].
    pub(crate) fn report(&self, id: u64, found: Found) {
        if let Some(search) = self.open.get(&id) {
            search.sink.offer(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use peerage_api::{Feeding, Open, discovery::Find, peers::Source};
    use peerage_types::Namespace;
    use tokio::sync::mpsc::error::TryRecvError;

    use super::*;

    #[test]
    fn each_peer_is_reported_once_and_the_stream_ends_with_the_last_source() {
        let (mut searches, local, peer) = (Searches::default(), PeerId::random(), PeerId::random());
        let find = Find { namespace: Namespace::new("chess").unwrap() };
        let (open, _accepted, mut feed) = Open::new(find, 8);
        let id = searches.reserve();
        searches.begin(id, local, open.accept().1, 1);
        searches.asked(id);
        let found = |source| Found { peer_id: peer, addresses: vec![], source };
        assert!(!searches.is_new(id, local) && searches.is_new(id, peer));
        searches.report(id, found(Source::Pex));
        assert!(!searches.is_new(id, peer), "another source has it, too");
        assert!(matches!(feed.try_recv(), Ok(Feeding::Item(it)) if it == found(Source::Pex)));
        searches.answered(id);
        assert_eq!(feed.try_recv().err(), Some(TryRecvError::Empty), "one source is still asked");
        searches.answered(id);
        assert_eq!(feed.try_recv().err(), Some(TryRecvError::Disconnected));
        assert!(!searches.is_new(id, PeerId::random()));
    }
}
