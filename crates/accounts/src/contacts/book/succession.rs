//! Contacts whose keys are no longer valid.

use peerage_api::contacts::{ContactsError, Event};
use peerage_types::{UnixMillis, UserId};

use super::{Book, Edit, Entry};
use crate::contacts::row::Row;

/// Keys that are followed one after the other. Whoever moves more often between two looks at it is
/// followed the rest of the way at the next.
const MAX_MOVES: usize = 16;

impl Book {
    /// The move of a contact to the key that took the place of its own; nothing if none did.
    pub(crate) fn plan_move(&self, contact: &UserId, now: UnixMillis) -> Option<Edit> {
        let old = &self.entries.get(contact)?.row;
        let chain = self.chain(contact);
        let (to, between) = chain.split_last().filter(|(to, _)| *to != contact)?;
        if self.check_damage(to).is_err() {
            tracing::warn!(%contact, "a contact moved to a key whose entry is damaged; it stays");
            return None;
        }
        let past = |row: &Row| {
            std::iter::once(*contact)
                .chain(between.iter().rev().copied())
                .chain(old.past())
                .chain(row.past())
                .collect()
        };
        let row = match self.entries.get(to) {
            // What was noted of the new key stays, but nobody escapes a block by a new key.
            Some(Entry { row, .. }) => {
                let blocked = row.blocked || old.blocked;
                Row { blocked, updated: now, ..row.clone() }.with_past(past(row))
            }
            None => {
                let seen = self.seen(to).unwrap_or_else(|| old.seen.clone());
                let row = Row { seen, ..old.clone().moved(*to, now) };
                let past = past(&row);
                row.with_past(past)
            }
        };
        let event = Some(Event::Moved { from: *contact, to: *to });
        Some(Edit { changes: vec![(*to, Some(row)), (*contact, None)], event })
    }

    /// The keys that took the place of one, one after the other. The user's own ends it: nobody is
    /// its own contact.
    fn chain(&self, contact: &UserId) -> Vec<UserId> {
        let next = |at: &UserId| self.outside.fate(at).flatten().filter(|to| *to != self.user);
        std::iter::successors(next(contact), next).take(MAX_MOVES).collect()
    }

    /// The key under which there is an entry of somebody, whatever key of it is asked for; that
    /// key itself if there is none.
    pub(super) fn home(&self, contact: &UserId) -> UserId {
        if self.entries.contains_key(contact) {
            return *contact;
        }
        let live = self.chain(contact).last().copied();
        let known = live.filter(|live| self.entries.contains_key(live));
        known.or_else(|| self.successor_noted(contact)).unwrap_or(*contact)
    }

    /// The key under which an entry of somebody belongs. The user's own where that took the place.
    pub(super) fn home_to_be(&self, contact: &UserId) -> UserId {
        let last = self.chain(contact).last().copied();
        let last = last.or_else(|| self.successor_noted(contact)).unwrap_or(*contact);
        match self.outside.fate(&last) {
            Some(Some(own)) if own == self.user => own,
            _ => last,
        }
    }

    /// Who had that key before, as the book remembers when nobody else does.
    fn successor_noted(&self, contact: &UserId) -> Option<UserId> {
        if self.entries.contains_key(contact) {
            return None;
        }
        let mut rows = self.entries.values().map(|entry| &entry.row);
        rows.find(|row| row.past().any(|key| key == *contact)).map(|row| row.contact)
    }

    /// A row that remembers the key by which its contact was named, and those between.
    pub(super) fn with_former(&self, row: Row, contact: &UserId) -> Row {
        if *contact == row.contact || row.past().any(|key| key == *contact) {
            return row;
        }
        let mut past = vec![*contact];
        past.extend(self.chain(contact).into_iter().rev().filter(|key| *key != row.contact));
        past.extend(row.past());
        row.with_past(past)
    }

    /// Whether a key is one that took the place of a contact's.
    pub(super) fn is_successor(&self, contact: &UserId, other: &UserId) -> bool {
        self.chain(contact).contains(other)
    }

    /// Whether the key of a contact still counts.
    pub(super) fn is_valid(&self, contact: &UserId) -> bool {
        self.outside.fate(contact).is_none()
    }

    /// # Errors
    /// [`ContactsError::Revoked`].
    pub(crate) fn check_valid(&self, contact: &UserId) -> Result<(), ContactsError> {
        let fate = self.outside.fate(contact).or_else(|| self.successor_noted(contact).map(Some));
        match fate {
            None => Ok(()),
            Some(successor) => Err(ContactsError::Revoked { contact: *contact, successor }),
        }
    }

    /// A contact's key was revoked and nothing took its place.
    pub(crate) fn on_revoked(&mut self, contact: &UserId) {
        if self.entries.contains_key(contact) {
            self.tell(&Event::Revoked { contact: *contact });
        }
    }
}
