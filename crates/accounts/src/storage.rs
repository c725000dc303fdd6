//! The facet `storage`.

use std::sync::Arc;

use peerage_api::storage::Command;
use peerage_store::{AccountId, SealKey};
use peerage_types::UnixMillis;

use crate::inner::Inner;

/// The storage of services in an open account.
#[derive(Debug)]
pub(crate) struct Spaces;

impl Spaces {
    pub(crate) fn new(_account: AccountId, _master: &SealKey) -> Self {
        Self
    }

    /// The last session has ended: readers end, and calls that are still on their way are refused.
    pub(crate) fn close(&self) {}
}

pub(crate) fn on_command(_inner: &Arc<Inner>, _command: Command) {}

pub(crate) fn on_time(_inner: &Arc<Inner>, _now: UnixMillis) {}
