//! Contacts whose keys are no longer valid.

use peerage_api::contacts::Event;
use peerage_types::{UnixMillis, UserId};

use super::{Book, Edit};
use crate::contacts::row::Row;

/// Keys that are followed one after the other. Whoever moves more often between two looks at it is
/// followed the rest of the way at the next.
const MAX_MOVES: usize = 16;

impl Book {
    /// The move of a contact to the key that took the place of its own; nothing if none did.
    pub(crate) fn plan_move(&self, contact: &UserId, now: UnixMillis) -> Option<Edit> {
        let old = &self.entries.get(contact)?.row;
        let to = self.successor(contact)?;
        if self.check_damage(&to).is_err() {
            tracing::warn!(%contact, "a contact moved to a key whose entry is damaged; it stays");
            return None;
        }
        let row = match self.entries.get(&to) {
            // What was noted of the new key stays, but nobody escapes a block by a new key.
            Some(entry) => {
                let blocked = entry.row.blocked || old.blocked;
                let moved_from = Some(*contact);
                Row { blocked, moved_from, updated: now, ..entry.row.clone() }
            }
            None => {
                let seen = self.seen(&to).unwrap_or_else(|| old.seen.clone());
                Row { seen, ..old.clone().moved(to, now) }
            }
        };
        let event = Some(Event::Moved { from: *contact, to });
        Some(Edit { changes: vec![(to, Some(row)), (*contact, None)], event })
    }

    /// The last key in a chain of moves. The user's own is none: nobody is its own contact.
    fn successor(&self, contact: &UserId) -> Option<UserId> {
        let next = |at: &UserId| self.outside.fate(at).flatten().filter(|to| *to != self.user);
        let chain = std::iter::successors(Some(*contact), next);
        chain.take(MAX_MOVES + 1).last().filter(|last| last != contact)
    }

    /// A contact's key was revoked and nothing took its place.
    pub(crate) fn on_revoked(&mut self, contact: &UserId) {
        if self.entries.contains_key(contact) {
            self.tell(&Event::Revoked { contact: *contact });
        }
    }
}
