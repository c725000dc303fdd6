//! That users are here: signed when the first session opens, renewed, and taken back.

use std::time::Duration;

use peerage_types::UnixMillis;
use peerage_wire::identity::{Bundle, MAX_PRESENCE, Presence, Signed};

use crate::{
    inner::{Account, Inner, Presented},
    open::Open,
};

impl Inner {
    /// Signs that the user is here.
    pub(crate) fn present(&self, account: &mut Account, open: &Open, now: UnixMillis) {
        self.publish_presence(account, open, self.presence_timeout(), now);
    }

    /// Takes the last presence back.
    pub(crate) fn retract(&self, account: &mut Account, open: &Open, now: UnixMillis) {
        self.publish_presence(account, open, Duration::ZERO, now);
    }

    /// Renews presences that have lived for half of their time.
    pub(crate) fn renew_presences(&self, now: UnixMillis) {
        let half = self.presence_timeout() / 2;
        let users: Vec<_> = self.all_open().iter().map(|open| open.user).collect();
        for user in users {
            // One at a time: a signature is tens of microseconds.
            let mut state = self.lock();
            let Some(account) = state.accounts.get_mut(&user) else { continue };
            if let Some(open) = account.open.clone()
                && now.since(account.presence.issued) >= half
            {
                self.present(account, &open, now);
            }
        }
    }

    fn presence_timeout(&self) -> Duration {
        self.config.presence_timeout.min(MAX_PRESENCE)
    }

    fn publish_presence(
        &self,
        account: &mut Account,
        open: &Open,
        holds: Duration,
        now: UnixMillis,
    ) {
        // Nothing that a key signs counts once it was revoked.
        if self.fate(&account.row).is_some() {
            return;
        }
        let seq = now.0.max(account.presence.seq + 1);
        account.presence = Presented { seq, issued: now };
        let (user, node) = (open.user, self.outside.node());
        let presence = Presence { user, node, seq, expires: now.plus(holds), issued: now };
        match Signed::sign(presence, &open.signing) {
            Ok(signed) => {
                self.outside.publish(Bundle { presences: vec![signed], ..<_>::default() })
            }
            Err(error) => tracing::warn!(%user, %error, "a presence cannot be signed"),
        }
    }
}
