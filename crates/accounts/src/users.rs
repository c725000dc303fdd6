//! The facet `users`.

use std::sync::Arc;

use peerage_api::users::Command;
use peerage_types::UnixMillis;

use crate::inner::Inner;

/// Takes a command; never blocks.
pub(crate) fn on_command(_inner: &Arc<Inner>, command: Command) {
    tracing::warn!(?command, "a command that is not answered here");
}

impl Inner {
    pub(crate) fn expire_sessions(&self, now: UnixMillis) {
        let mut state = self.lock();
        for user in state.sessions.expire(now) {
            self.close_unused(&mut state, &user, now);
        }
    }
}
