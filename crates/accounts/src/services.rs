//! The facet `services`.

use std::sync::Arc;

use bytes::Bytes;
use peerage_api::services::Command;
use peerage_types::{ServiceName, Token, UserId};

use crate::inner::Inner;

/// The services of this node.
#[derive(Debug, Default)]
pub(crate) struct Registry;

impl Registry {
    pub(crate) fn restore(_rows: Vec<(String, Bytes)>) -> Self {
        Self
    }

    pub(crate) fn is_token(&self, _service: &ServiceName, _token: &Token) -> bool {
        false
    }

    pub(crate) fn on_opened(&mut self, _user: UserId) {}

    pub(crate) fn on_closed(&mut self, _user: UserId) {}

    pub(crate) fn on_moved(&mut self, _closed: UserId, _opened: UserId) {}
}

pub(crate) fn on_command(_inner: &Arc<Inner>, _command: Command) {}
