//! How the two sides stand to each other: who is equal, who was away, who can send its feed.

use peerage_types::UnixMillis;
use peerage_wire::kv::frames::{Facts, State};

use super::{
    convert::{cursor_of, state_of},
    side::Side,
};
use crate::{Cursor, Outgoing};

/// What both sides had the same of before one of them was away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Horizon {
    at: UnixMillis,
    /// By the numbers of this replica.
    seq: u64,
}

impl Horizon {
    /// Whether an entry was among it, or was then known to those from whom it came since: what this
    /// side has written since was not, whatever its date.
    pub(super) fn is_before(&self, entry: &Outgoing) -> bool {
        let dated = entry.signed.entry().hlc.at();
        entry.seq <= self.seq || (entry.remote && dated <= self.at)
    }
}

/// About how many entries the other side will send: those behind our cursor or, where there is none, up to all
/// that it has.
pub(super) fn coming(ours: &Facts, theirs: &Facts) -> u64 {
    let Some(state) = theirs.state else { return 0 };
    let has_some = ours.state.is_some_and(|own| own.count > 0);
    let cursor = ours.cursor.filter(|cursor| cursor.epoch == state.epoch && has_some);
    match cursor {
        _ if ours.state.is_some_and(|own| own.digest == state.digest) => 0,
        Some(cursor) if cursor.seq <= state.head => state.head - cursor.seq,
        Some(_) | None => state.count,
    }
}

impl<S, N> Side<S, N> {
    pub(super) fn is_equal(&self) -> bool {
        let ours = self.view.as_ref().map(|view| view.summary().digest());
        ours.is_some() && ours == self.theirs.state.map(|state| state.digest)
    }

    /// Whether a side was away for longer than deletions are remembered.
    pub(super) fn is_stale(&self, state: Option<State>) -> bool {
        state.is_some_and(|state| state.as_of > 0 && state.as_of < self.floor)
    }

    /// What was deleted meanwhile, if this side has it and the other lacks it.
    pub(super) fn horizon(&self) -> Option<Horizon> {
        let ours = self.told.filter(|_| self.is_stale(self.told))?;
        if self.is_stale(self.theirs.state) {
            let row = self.row.filter(|row| row.synced_ms.0 > 0)?;
            return Some(Horizon { at: row.synced_ms, seq: row.settled });
        }
        let is_current = self.theirs.state.is_some_and(|state| state.as_of > 0);
        let settled = self.view.as_ref().filter(|_| is_current)?.settled();
        Some(Horizon { at: UnixMillis(ours.as_of), seq: settled })
    }

    /// Whether one side can send its feed behind where the other has taken it over.
    fn is_feedable(&self, from: Option<State>, to: Option<State>, at: Option<Cursor>) -> bool {
        let Some((from, to)) = from.zip(to) else { return false };
        let is_known = at.is_some_and(|at| at.epoch == from.epoch && at.seq <= from.head);
        let is_whole = !from.partial && !to.partial;
        let is_fresh = !self.is_stale(Some(from)) && !self.is_stale(Some(to));
        from.count > 0 && is_whole && is_fresh && (is_known || to.count == 0)
    }

    pub(super) fn can_feed(&self) -> bool {
        let at = self.theirs.cursor.map(cursor_of);
        self.is_feedable(self.view.as_ref().map(state_of), self.theirs.state, at)
    }

    pub(super) fn can_be_fed(&self) -> bool {
        self.is_feedable(self.theirs.state, self.told, self.ours.cursor.map(cursor_of))
    }
}
