//! The facet `contacts`.

use std::{collections::HashSet, sync::Arc};

use peerage_api::{contacts::Command, users::Event};
use peerage_store::{AccountId, SealKey, Store};
use peerage_types::UserId;

use crate::{inner::Inner, open::Open};

/// The contact book of an open account.
#[derive(Debug)]
pub(crate) struct Book;

impl Book {
    pub(crate) fn load(
        _account: AccountId,
        _user: UserId,
        _master: &SealKey,
        _store: &Store,
    ) -> Result<Self, String> {
        Ok(Self)
    }

    pub(crate) fn blocked(&self) -> HashSet<UserId> {
        HashSet::new()
    }
}

pub(crate) fn on_command(_inner: &Arc<Inner>, _command: Command) {}

pub(crate) fn on_learned(_inner: &Arc<Inner>, _open: &Arc<Open>, _event: &Event) {}
