//! The contact book of an open account: what is in it, and what a call would change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use peerage_api::{
    Open, Sink,
    contacts::{Contact, ContactQuery, ContactsError, Event, MAX_CONTACTS, Watch},
    users::{AuthError, Page, Paged},
};
use peerage_store::{AccountChange, AccountId, SealKey};
use peerage_types::{UnixMillis, UserId};

use super::{
    query::{Query, fold, searchable},
    row::{Keys, Row, Seen, bad},
};
use crate::{Outside, turns::Turns};

mod load;
mod succession;
mod warnings;

/// Readers of one book; each has room for 256 events.
const MAX_READERS: usize = 64;

/// The contact book of an open account. What is in memory is on disk: a change is taken when it
/// has become durable, and changes wait for their turn.
///
/// Rows that do not open are kept and passed over: their contacts' names are known as keyed
/// hashes, so that whatever asks for one of these contacts, or would write it, is told of the
/// damage, and nothing is lost. Everything else works, since a book that fails as a whole for one
/// row would lose more than it saves; only a list of which nothing is left fails.
pub(crate) struct Book {
    user: UserId,
    keys: Keys,
    outside: Arc<dyn Outside>,
    entries: BTreeMap<UserId, Entry>,
    /// By folded handle, as last seen.
    handles: HashMap<String, BTreeSet<UserId>>,
    damaged: HashSet<[u8; 16]>,
    /// Contact and other key: readers were told that the handles look the same.
    warned: HashSet<(UserId, UserId)>,
    readers: Vec<Sink<Event>>,
    is_closed: bool,
    turns: Arc<Turns>,
}

struct Entry {
    row: Row,
    /// See [`searchable`].
    text: String,
}

/// What a call changes, once it is durable.
#[derive(Debug, Default)]
pub(crate) struct Edit {
    changes: Vec<(UserId, Option<Row>)>,
    event: Option<Event>,
}

impl Edit {
    fn put(row: Row) -> Self {
        let event = Some(Event::Changed { contact: row.contact });
        Self { changes: vec![(row.contact, Some(row))], event }
    }

    /// The same with an entry, which may be one that it has moved.
    fn and_put(mut self, row: Row) -> Self {
        match self.changes.first_mut() {
            Some((_, moved)) => *moved = Some(row),
            None => return Self::put(row),
        }
        self
    }
}

impl Book {
    /// A new book with nothing in it.
    fn new(account: AccountId, user: UserId, master: &SealKey, outside: Arc<dyn Outside>) -> Self {
        Self {
            user,
            keys: Keys::new(account, master),
            outside,
            entries: BTreeMap::new(),
            handles: HashMap::new(),
            damaged: HashSet::new(),
            warned: HashSet::new(),
            readers: Vec::new(),
            is_closed: false,
            turns: Arc::default(),
        }
    }

    pub(crate) fn user(&self) -> &UserId {
        &self.user
    }

    pub(crate) fn has(&self, contact: &UserId) -> bool {
        self.entries.contains_key(contact)
    }

    /// Whether the user has blocked somebody, by whatever key.
    pub(crate) fn is_blocked(&self, other: &UserId) -> bool {
        self.entries.get(&self.home(other)).is_some_and(|entry| entry.row.blocked)
    }

    /// Whom the user has blocked, by all the keys that it is known to have had.
    pub(crate) fn blocked(&self) -> HashSet<UserId> {
        let blocked = self.entries.values().map(|entry| &entry.row).filter(|row| row.blocked);
        blocked.flat_map(|row| std::iter::once(row.contact).chain(row.past())).collect()
    }

    /// The user's own key has moved. To be called with the `Open` of the new key.
    pub(crate) fn set_user(&mut self, user: UserId) {
        self.user = user;
    }

    /// The last session has ended: readers end, and calls that are still on their way are refused.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.readers.clear();
    }

    /// Who may change the book next.
    pub(crate) fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.turns)
    }

    /// # Errors
    /// [`ContactsError::NoSuchContact`], [`ContactsError::Damaged`].
    pub(crate) fn get(&self, contact: &UserId) -> Result<Contact, ContactsError> {
        self.row(contact).map(|row| self.view(row))
    }

    fn row(&self, contact: &UserId) -> Result<&Row, ContactsError> {
        let home = self.home(contact);
        self.check_damage(contact)?;
        self.check_damage(&home)?;
        let entry = self.entries.get(&home);
        let missing = ContactsError::NoSuchContact { contact: *contact };
        entry.map(|entry| &entry.row).ok_or(missing)
    }

    /// # Errors
    /// [`ContactsError::BadField`]; [`ContactsError::Damaged`] when nothing opens of what there is.
    pub(crate) fn list(
        &self,
        query: ContactQuery,
        page: &Page,
    ) -> Result<Paged<Contact>, ContactsError> {
        if self.entries.is_empty() && !self.damaged.is_empty() {
            return Err(self.damage(format!("all {} entries", self.damaged.len())));
        }
        let query = Query::new(query)?;
        let after = page.after.as_deref().map(str::parse::<UserId>).transpose();
        let after = after.map_err(|_| bad("after", "is not where a page ended"))?;
        let rest = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let found = self.entries.range(rest).map(|(_, entry)| entry);
        let mut found = found
            .filter(|entry| query.matches(&entry.row, &entry.text, self.is_verified(&entry.row)));
        let items: Vec<_> =
            found.by_ref().take(page.limit()).map(|entry| self.view(&entry.row)).collect();
        let next = found.next().and(items.last()).map(|last| last.user.to_string());
        Ok(Paged { items, next })
    }

    fn view(&self, row: &Row) -> Contact {
        let seen = self.seen(&row.contact).unwrap_or_else(|| row.seen.clone());
        let named = seen.handle.as_ref().map(|handle| self.outside.named(handle));
        let mut lookalikes = named.unwrap_or_default();
        lookalikes.retain(|other| self.is_lookalike(row, other));
        let verified = self.is_verified(row);
        let row = row.clone();
        Contact {
            user: row.contact,
            nick: row.nick,
            trust: row.trust,
            met: row.met,
            location: row.location,
            notes: row.notes,
            tags: row.tags,
            verified,
            revoked: !self.is_valid(&row.contact),
            blocked: row.blocked,
            added_ms: row.added,
            updated_ms: row.updated,
            moved_from: row.moved_from,
            handle: seen.handle,
            display_name: seen.display_name,
            online: self.outside.is_online(&row.contact),
            lookalikes,
        }
    }

    /// Whether safety numbers were compared, of a key that still counts.
    fn is_verified(&self, row: &Row) -> bool {
        row.verified && self.is_valid(&row.contact)
    }

    /// What a contact calls itself now, if anybody knows.
    fn seen(&self, contact: &UserId) -> Option<Seen> {
        self.outside.profile(contact).map(|profile| Seen::from(profile.record()))
    }

    /// Adds or changes an entry: that of the key that took the place of this one, if one did.
    ///
    /// # Errors
    /// [`ContactsError::Own`], [`ContactsError::TooMany`], [`ContactsError::Damaged`], and what
    /// `change` says.
    pub(crate) fn plan_put(
        &self,
        contact: &UserId,
        now: UnixMillis,
        change: impl FnOnce(Row) -> Result<Row, ContactsError>,
    ) -> Result<Edit, ContactsError> {
        let home = self.home_to_be(contact);
        self.check_other(&home)?;
        self.check_damage(contact)?;
        self.check_damage(&home)?;
        let moved = self.plan_move(contact, now).unwrap_or_default();
        let row = match moved.changes.first() {
            Some((_, Some(row))) => row.clone(),
            _ => self.row_to_be(contact, home, now)?,
        };
        let seen = self.seen(&row.contact).unwrap_or_else(|| row.seen.clone());
        Ok(moved.and_put(Row { updated: now, seen, ..change(row)? }))
    }

    /// What there is of a contact whose entry is, or will be, at `home`.
    fn row_to_be(
        &self,
        contact: &UserId,
        home: UserId,
        now: UnixMillis,
    ) -> Result<Row, ContactsError> {
        match self.entries.get(&home) {
            Some(entry) => Ok(self.with_former(entry.row.clone(), contact)),
            None if self.entries.len() >= MAX_CONTACTS => {
                let max = MAX_CONTACTS as u64;
                Err(ContactsError::TooMany { what: "contacts".into(), max })
            }
            None => Ok(self.with_former(Row::new(home, now), contact)),
        }
    }

    /// # Errors
    /// [`ContactsError::NoSuchContact`], [`ContactsError::Damaged`].
    pub(crate) fn plan_unblock(
        &self,
        contact: &UserId,
        now: UnixMillis,
    ) -> Result<Edit, ContactsError> {
        let row = self.row(contact)?.clone();
        Ok(Edit::put(Row { blocked: false, updated: now, ..row }))
    }

    /// # Errors
    /// [`ContactsError::NoSuchContact`], [`ContactsError::Damaged`].
    pub(crate) fn plan_removal(&self, contact: &UserId) -> Result<Edit, ContactsError> {
        let contact = self.row(contact)?.contact;
        Ok(Edit { changes: vec![(contact, None)], event: Some(Event::Removed { contact }) })
    }

    /// Queues what an edit changes.
    ///
    /// # Errors
    /// [`AuthError::NotAuthorised`] when the account was closed meanwhile.
    pub(crate) fn seal(&self, edit: &Edit) -> Result<Vec<AccountChange>, ContactsError> {
        if self.is_closed {
            return Err(AuthError::NotAuthorised { user: self.user }.into());
        }
        let sealed =
            edit.changes.iter().map(|(contact, row)| self.keys.seal(contact, row.as_ref()));
        Ok(sealed.collect())
    }

    /// Takes an edit that has become durable, and tells readers.
    pub(crate) fn adopt(&mut self, edit: Edit) {
        for (contact, row) in edit.changes {
            match row {
                Some(row) => self.insert(row),
                None => self.remove(&contact),
            }
        }
        edit.event.iter().for_each(|event| self.tell(event));
    }

    fn insert(&mut self, mut row: Row) {
        match self.entries.get(&row.contact) {
            // A newer profile may have been seen while the row was on its way.
            Some(entry) => row.seen = entry.row.seen.clone(),
            None => self.outside.pin(&row.contact),
        }
        self.place(row);
    }

    fn place(&mut self, row: Row) {
        let contact = row.contact;
        self.unlist(&contact);
        if let Some(handle) = &row.seen.handle {
            self.handles.entry(fold(handle.as_str())).or_default().insert(contact);
        }
        let text = searchable(&row);
        self.entries.insert(contact, Entry { row, text });
    }

    fn remove(&mut self, contact: &UserId) {
        self.unlist(contact);
        if self.entries.remove(contact).is_some() {
            self.outside.unpin(contact);
        }
        self.warned.retain(|(of, _)| of != contact);
    }

    fn unlist(&mut self, contact: &UserId) {
        let Some(entry) = self.entries.get(contact) else { return };
        let Some(handle) = entry.row.seen.handle.as_ref().map(|h| fold(h.as_str())) else { return };
        if let Some(same) = self.handles.get_mut(&handle) {
            same.remove(contact);
            if same.is_empty() {
                self.handles.remove(&handle);
            }
        }
    }

    /// Takes a reader, or refuses it.
    pub(crate) fn watch(&mut self, open: Open<Watch>) {
        self.readers.retain(|sink| !sink.is_closed());
        if self.readers.len() >= MAX_READERS {
            let max = MAX_READERS as u64;
            return open.refuse(ContactsError::TooMany { what: "readers".into(), max });
        }
        self.readers.push(open.accept().1);
    }

    fn tell(&mut self, event: &Event) {
        self.readers.retain(|sink| sink.offer(event.clone()));
    }

    /// # Errors
    /// [`ContactsError::Own`].
    pub(crate) fn check_other(&self, contact: &UserId) -> Result<(), ContactsError> {
        if *contact == self.user { Err(ContactsError::Own {}) } else { Ok(()) }
    }

    fn check_damage(&self, contact: &UserId) -> Result<(), ContactsError> {
        match !self.damaged.is_empty() && self.damaged.contains(&self.keys.at(contact).name) {
            true => Err(self.damage(format!("the entry of {contact}"))),
            false => Ok(()),
        }
    }

    fn damage(&self, what: String) -> ContactsError {
        ContactsError::Damaged { user: self.user, what }
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.entries.keys().for_each(|contact| self.outside.unpin(contact));
    }
}

impl std::fmt::Debug for Book {
    /// Nothing of what is private.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (entries, damaged) = (self.entries.len(), self.damaged.len());
        f.debug_struct("Book").field("entries", &entries).field("damaged", &damaged).finish()
    }
}

#[cfg(test)]
mod tests;
