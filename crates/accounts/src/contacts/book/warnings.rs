//! News of contacts, and of keys that look like one of them.

use peerage_api::contacts::Event;
use peerage_types::{Handle, UserId};

use super::{Book, Edit};
use crate::contacts::{query::fold, row::Row};

/// Pairs that readers were warned of. Beyond that nobody is warned again in this session: it is a
/// flood, and the list of contacts shows them all the same. 4,096 × 64 bytes = 256 KiB.
const MAX_WARNINGS: usize = 4096;

impl Book {
    /// A newer profile is known of somebody. Returns whether the copy of what a contact calls
    /// itself has changed, so that it is to be written.
    pub(crate) fn on_changed(&mut self, user: &UserId) -> bool {
        let Some(seen) = self.seen(user) else { return false };
        let handle = seen.handle.clone();
        let known = self.entries.get(user).map(|entry| entry.row.clone());
        let renamed = known.filter(|row| row.seen != seen).map(|row| Row { seen, ..row });
        let is_renamed = renamed.is_some();
        renamed.into_iter().for_each(|row| self.place(row));
        if self.entries.contains_key(user) && !self.is_blocked(user) {
            self.tell(&Event::Changed { contact: *user });
        }
        handle.iter().for_each(|handle| self.warn(user, handle));
        is_renamed
    }

    /// Writes a contact as it is known; nothing if it is none any more.
    pub(crate) fn plan_rewrite(&self, contact: &UserId) -> Option<Edit> {
        let row = self.entries.get(contact)?.row.clone();
        Some(Edit { changes: vec![(*contact, Some(row))], event: None })
    }

    /// Somebody uses a handle: contacts that use the same are told of, and if it is a contact, who
    /// else uses it.
    fn warn(&mut self, user: &UserId, handle: &Handle) {
        let same = self.handles.get(&fold(handle.as_str())).into_iter().flatten();
        let mut pairs: Vec<_> = same.map(|contact| (*contact, *user)).collect();
        if self.entries.contains_key(user) {
            pairs.extend(self.outside.named(handle).into_iter().map(|other| (*user, other)));
        }
        for (contact, other) in pairs {
            let row = self.entries.get(&contact).map(|entry| &entry.row);
            let is_news = row.is_some_and(|row| !row.blocked && self.is_lookalike(row, &other))
                && !self.is_blocked(&other)
                && self.warned.len() < MAX_WARNINGS;
            if is_news && self.warned.insert((contact, other)) {
                self.tell(&Event::Lookalike { contact, other, handle: handle.clone() });
            }
        }
    }

    /// Whether a key with the same handle may be somebody who pretends to be the contact: neither
    /// it nor the user, nor the key to which it is about to move here, nor one that is no longer
    /// valid, such as the one it had before.
    pub(super) fn is_lookalike(&self, row: &Row, other: &UserId) -> bool {
        *other != row.contact
            && *other != self.user
            && Some(*other) != row.moved_from
            && self.outside.fate(other).is_none()
            && !self.is_successor(&row.contact, other)
    }
}
