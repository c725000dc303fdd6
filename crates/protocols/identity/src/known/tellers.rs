//! Who told of whom, and who of them makes room.

use std::collections::{BTreeSet, HashMap};

use peerage_types::{PeerId, UserId};

/// A peer that has told of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Teller(u32);

/// Counts of each peer that has told of users which may be evicted.
///
/// Each is given as much room as any other wants: who told most makes room, and so nobody can take
/// the room of those who told less.
#[derive(Debug, Default)]
pub(crate) struct Tellers {
    by_peer: HashMap<PeerId, Teller>,
    told: Vec<Told>,
    free: Vec<Teller>,
    by_bytes: BTreeSet<(usize, Teller)>,
}

#[derive(Debug)]
struct Told {
    peer: PeerId,
    /// Of all its users, pinned ones included.
    users: usize,
    /// Of those that may be evicted.
    bytes: usize,
    /// Those that may be evicted, least recently changed first.
    evictable: BTreeSet<(u64, UserId)>,
}

/// What a user counts at least, so that many small ones count as well.
const USER_BYTES: usize = 256;

impl Tellers {
    /// The teller of that peer; counted as having told one user more.
    pub(crate) fn hire(&mut self, peer: PeerId) -> Teller {
        let teller = match self.by_peer.get(&peer) {
            Some(teller) => *teller,
            None => self.enter(peer),
        };
        self.told[teller.0 as usize].users += 1;
        teller
    }

    fn enter(&mut self, peer: PeerId) -> Teller {
        let told = Told { peer, users: 0, bytes: 0, evictable: BTreeSet::new() };
        let teller = match self.free.pop() {
            Some(teller) => {
                self.told[teller.0 as usize] = told;
                teller
            }
            None => {
                self.told.push(told);
                Teller(u32::try_from(self.told.len() - 1).expect("no more than known users"))
            }
        };
        self.by_peer.insert(peer, teller);
        self.by_bytes.insert((0, teller));
        teller
    }

    /// One of its users is gone, and was not evictable any more.
    pub(crate) fn dismiss(&mut self, teller: Teller) {
        let told = &mut self.told[teller.0 as usize];
        told.users -= 1;
        if told.users == 0 {
            self.by_bytes.remove(&(told.bytes, teller));
            self.by_peer.remove(&told.peer);
            self.free.push(teller);
        }
    }

    pub(crate) fn peer(&self, teller: Teller) -> PeerId {
        self.told[teller.0 as usize].peer
    }

    /// Bytes of what a peer has told and may be evicted.
    pub(crate) fn bytes_of(&self, peer: &PeerId) -> usize {
        self.by_peer.get(peer).map_or(0, |teller| self.told[teller.0 as usize].bytes)
    }

    /// A user may be evicted from now on.
    pub(crate) fn offer(&mut self, teller: Teller, user: UserId, touched: u64, bytes: usize) {
        let told = &mut self.told[teller.0 as usize];
        if told.evictable.insert((touched, user)) {
            self.by_bytes.remove(&(told.bytes, teller));
            told.bytes += USER_BYTES + bytes;
            self.by_bytes.insert((told.bytes, teller));
        }
    }

    /// It may not, or is gone.
    pub(crate) fn withdraw(&mut self, teller: Teller, user: UserId, touched: u64, bytes: usize) {
        let told = &mut self.told[teller.0 as usize];
        if told.evictable.remove(&(touched, user)) {
            self.by_bytes.remove(&(told.bytes, teller));
            told.bytes -= USER_BYTES + bytes;
            self.by_bytes.insert((told.bytes, teller));
        }
    }

    /// Who makes room for a user of so many bytes that `by` tells of: a user of whoever has told
    /// most, with the newcomer counted; `None` when nobody can.
    pub(crate) fn victim(&self, by: Option<PeerId>, bytes: usize) -> Option<UserId> {
        let (most, teller) = self.by_bytes.last()?;
        let own = by.and_then(|peer| self.by_peer.get(&peer));
        let with_newcomer = by.map_or(0, |peer| self.bytes_of(&peer) + USER_BYTES + bytes);
        let chosen = match own {
            Some(own) if with_newcomer >= *most => own,
            // One that has told nothing yet, and wants more than anybody has: its own is all it
            // could displace.
            None if by.is_some() && with_newcomer > *most => return None,
            _ => teller,
        };
        self.told[chosen.0 as usize].evictable.first().map(|(_, user)| *user)
    }
}
