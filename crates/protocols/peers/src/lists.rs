//! The block, allow and protect lists. Pure; the store keeps what the user changes.

use std::collections::BTreeSet;

use libp2p_identity::PeerId;
use peerage_api::peers;
use peerage_store::{BookSnapshot, List};

use crate::Denied;

/// Peers on one list. 4096 × about 40 bytes = 160 KiB.
pub(crate) const MAX_LISTED: usize = 4096;

/// Who is on which list.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    blocked: BTreeSet<PeerId>,
    allowed: BTreeSet<PeerId>,
    protected: BTreeSet<PeerId>,
}

impl Lists {
    /// The saved lists, and `protected` of the configuration on top.
    pub(crate) fn load(saved: &BookSnapshot, protected: &[PeerId]) -> Self {
        Self {
            blocked: saved.blocked.iter().copied().collect(),
            allowed: saved.allowed.iter().copied().collect(),
            protected: saved.protected.iter().chain(protected).copied().collect(),
        }
    }

    /// Puts a peer on a list or takes it off; false if there is no room.
    pub(crate) fn set(&mut self, list: List, peer: PeerId, listed: bool) -> bool {
        let set = match list {
            List::Blocked => &mut self.blocked,
            List::Allowed => &mut self.allowed,
            List::Protected => &mut self.protected,
        };
        if !listed {
            set.remove(&peer);
        } else if set.len() < MAX_LISTED {
            set.insert(peer);
        }
        set.contains(&peer) == listed
    }

    /// Why connections with the peer are refused, if they are.
    pub(crate) fn check(&self, peer: &PeerId) -> Result<(), Denied> {
        if self.blocked.contains(peer) {
            Err(Denied::Blocked { peer: *peer })
        } else if !self.allowed.is_empty() && !self.allowed.contains(peer) {
            Err(Denied::NotAllowed { peer: *peer })
        } else {
            Ok(())
        }
    }

    pub(crate) fn is_blocked(&self, peer: &PeerId) -> bool {
        self.blocked.contains(peer)
    }

    pub(crate) fn is_allowed(&self, peer: &PeerId) -> bool {
        self.allowed.contains(peer)
    }

    pub(crate) fn is_protected(&self, peer: &PeerId) -> bool {
        self.protected.contains(peer)
    }

    pub(crate) fn protected(&self) -> impl Iterator<Item = &PeerId> {
        self.protected.iter()
    }

    /// As the contract shows them.
    pub(crate) fn snapshot(&self) -> peers::Lists {
        peers::Lists {
            blocked: self.blocked.iter().copied().collect(),
            allowed: self.allowed.iter().copied().collect(),
            protected: self.protected.iter().copied().collect(),
        }
    }
}
