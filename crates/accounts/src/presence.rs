//! That users are here: signed when the first session opens, renewed, and taken back.

use std::time::Duration;

use peerage_types::UnixMillis;
use peerage_wire::identity::{Bundle, MAX_PRESENCE, Presence, Signed};

use crate::{
    inner::{Account, Inner, Presented},
    open::Open,
};

/// Presences are repeated no faster than this, however often peers come back.
const MIN_REPEAT: Duration = Duration::from_secs(5 * 60);

/// Whether what was said at `issued` is to be said again: after half of its time, or when somebody
/// was met again since.
fn is_due(issued: UnixMillis, now: UnixMillis, half: Duration, met: Option<UnixMillis>) -> bool {
    let age = now.since(issued);
    age >= half || age >= MIN_REPEAT && met.is_some_and(|met| met >= issued)
}

impl Inner {
    /// Signs that the user is here.
    pub(crate) fn present(&self, account: &mut Account, open: &Open, now: UnixMillis) {
        self.publish_presence(account, open, self.presence_timeout(), now);
    }

    /// Takes the last presence back.
    pub(crate) fn retract(&self, account: &mut Account, open: &Open, now: UnixMillis) {
        self.publish_presence(account, open, Duration::ZERO, now);
    }

    /// Renews presences that have lived for half of their time, and those that peers who came back
    /// may doubt.
    pub(crate) fn renew_presences(&self, now: UnixMillis) {
        let (half, met) = (self.presence_timeout() / 2, self.outside.met_again());
        let users: Vec<_> = self.all_open().iter().map(|open| open.user).collect();
        for user in users {
            // One at a time: a signature is tens of microseconds.
            let mut state = self.lock();
            let Some(account) = state.accounts.get_mut(&user) else { continue };
            if let Some(open) = account.open.clone()
                && is_due(account.presence.issued, now, half, met)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presence_is_said_again_at_half_of_its_time_or_to_a_peer_that_came_back() {
        let at = |minutes: u64| UnixMillis(1_000_000 + minutes * 60_000);
        let half = Duration::from_secs(30 * 60);
        for (now, met, due) in [
            (29, None, false),
            (30, None, true),
            (4, Some(1), false),
            (5, Some(1), true),
            (5, Some(0), true),
        ] {
            assert_eq!(is_due(at(0), at(now), half, met.map(at)), due, "at {now}, met at {met:?}");
        }
        assert!(!is_due(at(10), at(20), half, Some(at(9))), "that one has heard it");
    }
}
