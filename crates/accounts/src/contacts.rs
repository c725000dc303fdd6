//! The facet `contacts`.

use std::{collections::HashSet, sync::Arc};

use peerage_api::{contacts::Command, users::Event};
use peerage_store::{AccountId, SealKey, Store};
use peerage_types::UserId;

use crate::{Outside, inner::Inner, open::Open};

/// The contact book of an open account.
#[derive(Debug)]
pub(crate) struct Book;

impl Book {
    /// Reads the book of an account, follows moves of contacts that happened meanwhile, and pins
    /// contacts while it lives. For blocking workers; waits for writes that were handed in before.
    pub(crate) fn load(
        _account: AccountId,
        _user: UserId,
        _master: &SealKey,
        _store: &Store,
        _outside: Arc<dyn Outside>,
    ) -> Result<Self, String> {
        Ok(Self)
    }

    /// The user's own key has moved. To be called with the `Open` of the new key.
    pub(crate) fn set_user(&mut self, _user: UserId) {}

    /// The last session has ended: readers end, and calls that are still on their way are refused.
    pub(crate) fn close(&mut self) {}

    pub(crate) fn blocked(&self) -> HashSet<UserId> {
        HashSet::new()
    }
}

pub(crate) fn on_command(_inner: &Arc<Inner>, _command: Command) {}

pub(crate) fn on_learned(_inner: &Arc<Inner>, _open: &Arc<Open>, _event: &Event) {}
