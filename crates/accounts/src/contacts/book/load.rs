//! Reads a book when its user logs in.

use std::sync::Arc;

use bytes::Bytes;
use peerage_store::{AccountId, SealKey, SealedKey, SealedKind, Store};
use peerage_types::{UnixMillis, UserId};

use super::Book;
use crate::{Outside, contacts::row::PLACE};

impl Book {
    /// Reads the book of an account, follows moves of contacts that happened meanwhile, and pins
    /// contacts while it lives. For blocking workers; waits for writes that were handed in before.
    ///
    /// # Errors
    /// What the disk said. Rows that do not open are none: see [`Book`].
    pub(crate) fn load(
        account: AccountId,
        user: UserId,
        master: &SealKey,
        store: &Store,
        outside: Arc<dyn Outside>,
    ) -> Result<Self, String> {
        // A call of the session before may still be on its way; what became of it, it was told.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let _ = runtime.block_on(store.flush());
        }
        let rows = store.accounts().sealed_blocking(account, SealedKind::Contact, PLACE);
        let mut book = Self::new(account, user, master, outside);
        book.restore(rows.map_err(|error| error.to_string())?);
        book.follow_all(store, UnixMillis::now());
        Ok(book)
    }

    fn restore(&mut self, rows: Vec<(SealedKey, Bytes)>) {
        for (at, sealed) in rows {
            match self.keys.open(&at, &sealed) {
                Some(mut row) => {
                    row.seen = self.seen(&row.contact).unwrap_or(row.seen);
                    self.insert(row);
                }
                None => _ = self.damaged.insert(at.name),
            }
        }
        if !self.damaged.is_empty() {
            tracing::warn!(
                user = %self.user, damaged = self.damaged.len(), of = self.damaged.len() + self.entries.len(),
                "entries of the contact book do not open; they are kept as they are"
            );
        }
    }

    /// Follows the moves that happened while nobody was logged in. What fails to be written is
    /// found again at the next login.
    fn follow_all(&mut self, store: &Store, now: UnixMillis) {
        let contacts: Vec<_> = self.entries.keys().copied().collect();
        for contact in contacts {
            let Some(edit) = self.plan_move(&contact, now) else { continue };
            let changes = self.seal(&edit).unwrap_or_default();
            if let Some(error) = store.accounts().apply(changes).refused() {
                tracing::warn!(user = %self.user, %error, "the move of a contact was not saved");
            }
            self.adopt(edit);
        }
    }
}
