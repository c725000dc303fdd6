//! What the other side has promised by what it said: kept for one turn.

use std::collections::HashMap;

use peerage_wire::kv::Fingerprint;

use super::{Lie, SessionError};
use crate::{Item, KeyHash, LEAF_LEVEL, Node, Summary};

/// Entries that must come, and nodes whose differences must be named.
///
/// A node of which this side has told all items is *balanced*: what the other side claims of it must
/// be what this side has, without what the other wants, and with what it sends.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    wanted: HashMap<KeyHash, Fingerprint>,
    balances: HashMap<Node, Summary>,
    /// What this side has told of, and whether the other one has sent something under the same key.
    listed: HashMap<KeyHash, (Fingerprint, bool)>,
}

impl Ledger {
    /// The other side has said that it has this entry, and shall send it.
    pub(super) fn want(&mut self, hash: KeyHash, fingerprint: Fingerprint) {
        self.wanted.insert(hash, fingerprint);
    }

    /// This side has told of these entries.
    pub(super) fn list(&mut self, items: &[Item]) {
        self.listed.extend(items.iter().map(|item| (item.hash, (item.fingerprint, false))));
    }

    /// This side has told all that it has of a node.
    pub(super) fn balance(&mut self, node: Node, ours: &Summary, theirs: &Summary) {
        let mut balance = *theirs;
        balance.split(ours);
        self.balances.insert(node, balance);
    }

    /// Whether nothing is promised.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.balances.is_empty()
    }

    /// An entry came.
    pub(super) fn on_entry(&mut self, hash: KeyHash, fingerprint: &Fingerprint) {
        if self.wanted.get(&hash) == Some(fingerprint) {
            self.wanted.remove(&hash);
        }
        if let Some((_, has_other)) = self.listed.get_mut(&hash) {
            *has_other = true;
        }
        self.each(&hash, |balance| balance.sub(fingerprint));
    }

    /// The other side wants an entry that it was told of. Tells whether it has another one under the
    /// same key.
    pub(super) fn on_want(&mut self, hash: &KeyHash) -> Result<bool, SessionError> {
        let (fingerprint, has_other) = self.listed.remove(hash).ok_or(SessionError::OutOfTurn)?;
        self.each(hash, |balance| balance.add(&fingerprint));
        Ok(has_other)
    }

    /// An entry will not come.
    pub(super) fn on_gone(&mut self, hash: &KeyHash) -> Result<(), SessionError> {
        let was_wanted = self.wanted.remove(hash).is_some();
        if was_wanted { Ok(()) } else { Err(SessionError::OutOfTurn) }
    }

    /// The turn is over. What was promised is not due if the other side has said that it has sent
    /// enough, and nodes need not be balanced if it may withhold what was deleted meanwhile.
    pub(super) fn settle(&mut self, cut: bool, may_withhold: bool) -> Result<(), SessionError> {
        let Self { wanted, balances, .. } = std::mem::take(self);
        if !cut && !wanted.is_empty() {
            return Err(Lie::Promise.into());
        }
        let is_even = balances.values().all(|balance| *balance == Summary::default());
        if is_even || cut || may_withhold { Ok(()) } else { Err(Lie::Node.into()) }
    }

    fn each(&mut self, hash: &KeyHash, mut change: impl FnMut(&mut Summary)) {
        if self.balances.is_empty() {
            return;
        }
        for level in 0..=LEAF_LEVEL {
            self.balances.get_mut(&Node::of(hash, level)).into_iter().for_each(&mut change);
        }
    }
}
