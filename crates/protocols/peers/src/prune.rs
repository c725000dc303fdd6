//! Which connections have to go, and when: duplicates, strangers, the worst of too many. Pure.
//!
//! # Duplicates
//!
//! | among the connections to a peer that have stood for `prune_grace` | the survivor is |
//! |---|---|
//! | direct and relayed ones | a direct one |
//! | of that kind, some made more than [`SIMULTANEOUS`] before the newest | a newer one: the other side would not have dialled had the old one still worked for it |
//! | of those, some dialled by the peer with the smaller id | one dialled by it |
//! | still several | the oldest |
//!
//! Both sides know these facts, but the order of two connections that the same side made at once
//! may look different to them. Therefore only the peer with the smaller id acts: two nodes never
//! close each other's survivor. The others are *retired*: they are no longer kept alive, so that
//! they close once their streams have ended, and are closed with whatever still runs on them
//! after `drain_timeout`. A direct connection is never retired for a relayed one.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use peerage_api::peers::Direction;

use crate::{
    Keep,
    pool::{Connection, Live, Pool, State},
};

/// Connections made within this time count as made at once. 10 s.
pub(crate) const SIMULTANEOUS: Duration = Duration::from_secs(10);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// No longer keep this connection alive.
    Retire { peer: PeerId, connection: ConnectionId },
    /// Close this connection.
    Close { peer: PeerId, connection: ConnectionId },
    /// No longer keep any connection of this peer alive.
    LetGo { peer: PeerId },
    /// Close all connections of this peer to make room.
    Trim { peer: PeerId },
}

/// What decides about a peer beyond its connections.
pub(crate) trait Standing {
    /// Whether its connections are kept whatever happens.
    fn is_protected(&self, peer: &PeerId) -> bool;
    /// The higher the later it is trimmed.
    fn score(&self, peer: &PeerId) -> i32;
}

impl Pool {
    /// Everything that is due, already marked as done, and when to ask again.
    pub(crate) fn tick(
        &mut self,
        standing: &impl Standing,
        now: Instant,
    ) -> (Vec<Action>, Option<Instant>) {
        let mut due = Due { now, actions: Vec::new(), next: None };
        let config = &self.config;
        for (peer, live) in &mut self.peers {
            let peer = *peer;
            drain(peer, live, &mut due);
            if config.local < peer && live.connections.len() > 1 {
                retire(peer, live, config.prune_grace, config.drain_timeout, &mut due);
            }
            if live.keep == Keep::Open
                && live.is_member() == Some(false)
                && !live.wanted
                && !standing.is_protected(&peer)
                && due.is_due(live.since + config.idle_grace)
            {
                live.keep = Keep::WhileUsed;
                due.actions.push(Action::LetGo { peer });
            }
        }
        self.trim(standing, &mut due);
        (due.actions, due.next)
    }

    /// Closes the worst peers down to `low_peers` when there are more than `max_peers`: first those
    /// that are no members, then those that did not tell, then members; each by score, the
    /// youngest first. Peers younger than `trim_grace`, those that the user asked for and
    /// protected ones stay.
    fn trim(&mut self, standing: &impl Standing, due: &mut Due) {
        let config = &self.config;
        let staying = self.peers.values().filter(|live| live.best().is_some()).count();
        if staying <= config.max_peers {
            return;
        }
        let mut candidates: Vec<_> = self
            .peers
            .iter()
            .filter(|(peer, live)| {
                live.best().is_some() && !live.wanted && !standing.is_protected(peer)
            })
            .filter(|(_, live)| due.is_due(live.since + config.trim_grace))
            .map(|(peer, live)| {
                let class = match live.is_member() {
                    Some(false) => 0,
                    None => 1,
                    Some(true) => 2,
                };
                ((class, standing.score(peer), Reverse(live.since), *peer), *peer)
            })
            .collect();
        candidates.sort_unstable();
        for (_, peer) in candidates.into_iter().take(staying.saturating_sub(config.low_peers)) {
            self.close(&peer, "closed to make room");
            due.actions.push(Action::Trim { peer });
        }
    }
}

struct Due {
    now: Instant,
    actions: Vec<Action>,
    next: Option<Instant>,
}

impl Due {
    /// Whether the moment has come; if not, it is remembered.
    fn is_due(&mut self, at: Instant) -> bool {
        if at <= self.now {
            return true;
        }
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        false
    }
}

fn drain(peer: PeerId, live: &mut Live, due: &mut Due) {
    for connection in &mut live.connections {
        if let State::Retired { until } = connection.state
            && due.is_due(until)
        {
            connection.state = State::Closing { reason: "superseded by a better connection" };
            due.actions.push(Action::Close { peer, connection: connection.id });
        }
    }
}

fn retire(peer: PeerId, live: &mut Live, grace: Duration, drain: Duration, due: &mut Due) {
    let is_live = |c: &Connection| c.state == State::Live;
    if live.connections.iter().filter(|c| is_live(c)).count() < 2 {
        return;
    }
    let ripe: Vec<_> = live
        .connections
        .iter()
        .filter(|c| is_live(c))
        .filter(|c| due.is_due(c.since + grace))
        .collect();
    let Some(survivor) = survivor(&ripe) else { return };
    for connection in live.connections.iter_mut().filter(|c| is_live(c)) {
        if connection.id != survivor && connection.since + grace <= due.now {
            connection.state = State::Retired { until: due.now + drain };
            due.is_due(due.now + drain);
            due.actions.push(Action::Retire { peer, connection: connection.id });
        }
    }
}

/// The one that stays, as the table above says. Called by the peer with the smaller id.
pub(crate) fn survivor(connections: &[&Connection]) -> Option<ConnectionId> {
    let relayed = connections.iter().all(|c| c.relayed);
    let class = || connections.iter().filter(|c| c.relayed == relayed);
    let newest = class().map(|c| c.since).max()?;
    class()
        .filter(|c| newest.duration_since(c.since) <= SIMULTANEOUS)
        .min_by_key(|c| (c.direction != Direction::Out, c.since, c.id))
        .map(|c| c.id)
}
