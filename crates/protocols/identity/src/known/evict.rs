//! Who makes room, and who never does.

use peerage_types::UserId;

use super::{Known, Row, Source, tellers::Teller};

impl Known {
    /// Keeps a user until it is let go as often. It need not be known yet.
    pub fn pin(&mut self, user: UserId) {
        *self.pins.entry(user).or_default() += 1;
        if let Some((row, teller)) = self.rows.get(&user).and_then(|row| Some((row, row.teller?))) {
            self.tellers.withdraw(teller, user, row.touched, row.bytes());
        }
    }

    /// Takes back one [`Known::pin`].
    pub fn unpin(&mut self, user: UserId) {
        let Some(count) = self.pins.get_mut(&user) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.pins.remove(&user);
        if let Some((row, teller)) = self.rows.get(&user).and_then(|row| Some((row, row.teller?))) {
            self.tellers.offer(teller, user, row.touched, row.bytes());
        }
    }

    /// A user no longer lives here; it may make room like any other.
    pub fn release(&mut self, user: UserId) {
        let Some(row) = self.rows.get_mut(&user).filter(|row| row.teller.is_none()) else { return };
        let teller = self.tellers.hire(self.node);
        row.teller = Some(teller);
        self.own.remove(&user);
        if !self.pins.contains_key(&user) {
            self.tellers.offer(teller, user, row.touched, row.bytes());
        }
    }

    /// Whether there is no room for more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.rows.len() >= self.limits.users || self.bytes >= self.limits.bytes
    }

    pub(super) fn teller(&mut self, source: Source) -> Option<Teller> {
        match source {
            Source::Own => None,
            Source::Peer(peer) => Some(self.tellers.hire(peer)),
        }
    }

    /// Counts a row, which is taken out, for who tells of it: this node for its own users, else
    /// whoever has told less, so that who is first gains nothing by it.
    pub(super) fn attribute(&mut self, user: UserId, row: &mut Row, source: Source, changed: bool) {
        let Some(old) = row.teller else { return };
        let moves = match source {
            Source::Own => true,
            Source::Peer(peer) => {
                let theirs = self.tellers.bytes_of(&self.tellers.peer(old));
                changed && self.tellers.bytes_of(&peer) < theirs
            }
        };
        if moves {
            row.teller = self.teller(source);
            if row.teller.is_none() {
                self.own.insert(user);
            }
            self.tellers.dismiss(old);
        }
    }

    /// Evicts until so many users and bytes more would fit; `spared` stays. Says whether they do.
    /// What a user of this node needs is taken in any case.
    pub(super) fn make_room(
        &mut self,
        source: Source,
        users: usize,
        bytes: usize,
        spared: Option<UserId>,
        evicted: &mut Vec<UserId>,
    ) -> bool {
        let by = match source {
            Source::Own => None,
            Source::Peer(peer) => Some(peer),
        };
        while self.rows.len() + users > self.limits.users || self.bytes + bytes > self.limits.bytes
        {
            let victim = self.tellers.victim(by, bytes).filter(|victim| Some(*victim) != spared);
            let Some(victim) = victim else { return by.is_none() };
            self.remove(victim);
            evicted.push(victim);
        }
        true
    }

    fn remove(&mut self, user: UserId) {
        if let Some(row) = self.take(user) {
            self.shelves.remove(user, row.text.0);
            row.handle.into_iter().for_each(|handle| _ = self.handles.remove(&(handle, user)));
            self.own.remove(&user);
            row.teller.into_iter().for_each(|teller| self.tellers.dismiss(teller));
        }
    }
}
