//! What is under way on each connection. Pure.

use std::collections::HashMap;

use libp2p_swarm::ConnectionId;
use tokio_util::sync::CancellationToken;

use crate::config::MAX_UNTAKEN_OPENS;

/// Every established connection, and how much has been asked of its handler.
#[derive(Debug)]
pub(crate) struct Links {
    by_id: HashMap<ConnectionId, Link>,
    max_opening: usize,
}

#[derive(Debug, Default)]
struct Link {
    /// Commands which the handler has not said it took.
    untaken: usize,
    /// Opens for which the handler has not said what became of them. Also counts those whose dialog
    /// is gone since: the swarm goes on negotiating them, so they must not be forgotten.
    opening: usize,
    closed: CancellationToken,
}

impl Links {
    pub(crate) fn new(max_opening: usize) -> Self {
        Self { by_id: HashMap::new(), max_opening }
    }

    pub(crate) fn established(&mut self, connection: ConnectionId) {
        self.by_id.insert(connection, Link::default());
    }

    /// Tells the dialogs that run on it.
    pub(crate) fn closed(&mut self, connection: ConnectionId) {
        if let Some(link) = self.by_id.remove(&connection) {
            link.closed.cancel();
        }
    }

    /// Cancelled when the connection closes; `None` if it has.
    pub(crate) fn token(&self, connection: ConnectionId) -> Option<CancellationToken> {
        self.by_id.get(&connection).map(|link| link.closed.clone())
    }

    pub(crate) fn has_room(&self, connection: ConnectionId) -> bool {
        self.by_id
            .get(&connection)
            .is_some_and(|link| link.untaken < MAX_UNTAKEN_OPENS && link.opening < self.max_opening)
    }

    pub(crate) fn sent(&mut self, connection: ConnectionId) {
        if let Some(link) = self.by_id.get_mut(&connection) {
            link.untaken += 1;
            link.opening += 1;
        }
    }

    pub(crate) fn taken(&mut self, connection: ConnectionId, count: usize) {
        if let Some(link) = self.by_id.get_mut(&connection) {
            link.untaken = link.untaken.saturating_sub(count);
        }
    }

    pub(crate) fn answered(&mut self, connection: ConnectionId) {
        if let Some(link) = self.by_id.get_mut(&connection) {
            link.opening = link.opening.saturating_sub(1);
        }
    }
}
