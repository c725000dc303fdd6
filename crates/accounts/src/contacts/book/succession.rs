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

    /// Whether the key of a contact still counts.
    pub(super) fn is_valid(&self, contact: &UserId) -> bool {
        self.outside.fate(contact).is_none()
    }

    /// # Errors
    /// [`ContactsError::Revoked`].
    pub(crate) fn check_valid(&self, contact: &UserId) -> Result<(), ContactsError> {
        match self.outside.fate(contact) {
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
