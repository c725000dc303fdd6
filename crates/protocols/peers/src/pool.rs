//! The connections there are and those on their way, and the limits they keep. Pure.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use libp2p_core::{ConnectedPoint, Endpoint, Multiaddr};
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use peerage_api::peers::Direction;

use crate::{Config, Denied, Keep, address};

/// An established connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// Of the remote side.
    pub(crate) address: Multiaddr,
    pub(crate) direction: Direction,
    pub(crate) relayed: bool,
    pub(crate) since: Instant,
    pub(crate) rtt: Option<Duration>,
    pub(crate) state: State,
    ip: Option<IpAddr>,
}

/// | from    | on                                    | to      |
/// |---------|---------------------------------------|---------|
/// | Live    | a better connection to the same peer  | Retired |
/// | Live    | block, trim, the user, shutdown       | Closing |
/// | Retired | `drain_timeout`, or as Live           | Closing |
/// | Retired | the better connection is gone         | Live    |
/// | any     | the swarm reports it closed           | gone    |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Live,
    /// Superseded: may finish its streams until then.
    Retired {
        until: Instant,
    },
    /// The swarm has been told to close it, for this reason.
    Closing {
        reason: &'static str,
    },
}

/// A connected peer.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Never empty; at most `max_connections_per_peer`.
    pub(crate) connections: Vec<Connection>,
    /// When its first connection was made.
    pub(crate) since: Instant,
    pub(crate) told: Option<Told>,
    /// The user asked for this connection.
    pub(crate) wanted: bool,
    pub(crate) keep: Keep,
}

/// What identify said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) agent: String,
    pub(crate) protocols: Vec<String>,
    pub(crate) member: bool,
}

/// A connection that is gone.
#[derive(Debug)]
pub(crate) struct Closed {
    /// Why, if this side closed it.
    pub(crate) reason: Option<&'static str>,
    /// What was known of the peer, if it was its last connection.
    pub(crate) last: Option<Live>,
}

impl Connection {
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing { .. })
    }

    /// Least is best: usable, direct, quick, old.
    pub(crate) fn rank(&self) -> impl Ord + use<> {
        (self.state != State::Live, self.relayed, self.rtt.is_none(), self.rtt, self.since)
    }
}

impl Live {
    pub(crate) fn is_member(&self) -> Option<bool> {
        self.told.as_ref().map(|told| told.member)
    }

    /// Its best connection, unless all are being closed.
    pub(crate) fn best(&self) -> Option<&Connection> {
        self.connections.iter().filter(|c| !c.is_closing()).min_by_key(|c| c.rank())
    }
}

/// Every connection of the node.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) config: Config,
    /// In the order of their ids, so that the same events always lead to the same orders.
    pub(crate) peers: BTreeMap<PeerId, Live>,
    owners: HashMap<ConnectionId, PeerId>,
    pending_in: HashMap<ConnectionId, Option<IpAddr>>,
    pending_out: HashSet<ConnectionId>,
    /// Incoming connections by address, pending and established; no zeros.
    per_ip: HashMap<IpAddr, usize>,
}

impl Pool {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            peers: BTreeMap::new(),
            owners: HashMap::new(),
            pending_in: HashMap::new(),
            pending_out: HashSet::new(),
            per_ip: HashMap::new(),
        }
    }

    /// Counts an incoming connection, unless a limit forbids it. It is uncounted by
    /// [`Pool::failed`], which the swarm reports whichever behaviour refused it.
    pub(crate) fn admit_inbound(
        &mut self,
        id: ConnectionId,
        remote: &Multiaddr,
    ) -> Result<(), Denied> {
        let limits = &self.config;
        let ip = address::counted_ip(remote, limits.exempt_private);
        if self.owners.len() + self.pending_in.len() >= limits.max_connections {
            return Err(Denied::Full { max: limits.max_connections });
        }
        if self.pending_in.len() >= limits.max_pending_inbound {
            return Err(Denied::Pending { max: limits.max_pending_inbound });
        }
        if let Some(ip) = ip {
            if self.per_ip.get(&ip).copied().unwrap_or(0) >= limits.max_connections_per_ip {
                return Err(Denied::IpFull { ip, max: limits.max_connections_per_ip });
            }
            *self.per_ip.entry(ip).or_default() += 1;
        }
        self.pending_in.insert(id, ip);
        Ok(())
    }

    /// Counts a dial. `free` ones are not measured against the limit of dials.
    pub(crate) fn admit_dial(&mut self, id: ConnectionId, free: bool) -> Result<(), Denied> {
        let max = self.config.max_pending_dials;
        if !free && self.pending_out.len() >= max {
            return Err(Denied::Pending { max });
        }
        self.pending_out.insert(id);
        Ok(())
    }

    /// Dials under way, those of other behaviours included.
    pub(crate) fn dials(&self) -> usize {
        self.pending_out.len()
    }

    /// Whether one more established connection to the peer keeps the limits. Changes nothing.
    pub(crate) fn admit_established(&self, id: ConnectionId, peer: PeerId) -> Result<(), Denied> {
        let limits = &self.config;
        let of_peer = self.peers.get(&peer).map_or(0, |live| live.connections.len());
        if of_peer >= limits.max_connections_per_peer {
            return Err(Denied::PeerFull { peer, max: limits.max_connections_per_peer });
        }
        // An incoming one was counted when it came in.
        let others = self.pending_in.len() - usize::from(self.pending_in.contains_key(&id));
        if self.owners.len() + others >= limits.max_connections {
            return Err(Denied::Full { max: limits.max_connections });
        }
        Ok(())
    }

    /// A connection on its way has failed.
    pub(crate) fn failed(&mut self, id: ConnectionId) {
        self.pending_out.remove(&id);
        if let Some(ip) = self.pending_in.remove(&id) {
            self.uncount(ip);
        }
    }

    /// A connection stands; true if it is the peer's first.
    pub(crate) fn established(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        point: &ConnectedPoint,
        now: Instant,
    ) -> bool {
        self.pending_out.remove(&id);
        let connection = Connection {
            id,
            address: point.get_remote_address().clone(),
            direction: direction(point),
            relayed: point.is_relayed(),
            since: now,
            rtt: None,
            state: State::Live,
            ip: self.pending_in.remove(&id).flatten(),
        };
        self.owners.insert(id, peer);
        let first = !self.peers.contains_key(&peer);
        let live = self.peers.entry(peer).or_insert_with(|| Live {
            connections: Vec::with_capacity(1),
            since: now,
            told: None,
            wanted: false,
            keep: Keep::Open,
        });
        live.connections.push(connection);
        first
    }

    /// A connection is gone.
    pub(crate) fn closed(&mut self, id: ConnectionId) -> Option<Closed> {
        let peer = self.owners.remove(&id)?;
        let live = self.peers.get_mut(&peer)?;
        let at = live.connections.iter().position(|c| c.id == id)?;
        let gone = live.connections.remove(at);
        let last = if live.connections.is_empty() { self.peers.remove(&peer) } else { None };
        self.uncount(gone.ip);
        let reason = match gone.state {
            State::Closing { reason } => Some(reason),
            State::Retired { .. } => Some("superseded by a better connection"),
            State::Live => None,
        };
        Some(Closed { reason, last })
    }

    fn uncount(&mut self, ip: Option<IpAddr>) {
        let Some(ip) = ip else { return };
        if let Some(count) = self.per_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&ip);
            }
        }
    }

    pub(crate) fn readdressed(&mut self, id: ConnectionId, point: &ConnectedPoint) {
        if let Some(connection) = self.connection_mut(id) {
            connection.address = point.get_remote_address().clone();
        }
    }

    pub(crate) fn on_rtt(&mut self, id: ConnectionId, rtt: Duration) {
        if let Some(connection) = self.connection_mut(id) {
            connection.rtt = Some(rtt);
        }
    }

    fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let peer = self.owners.get(&id)?;
        self.peers.get_mut(peer)?.connections.iter_mut().find(|c| c.id == id)
    }

    /// The peer's best connection, unless all are being closed.
    pub(crate) fn best(&self, peer: &PeerId) -> Option<&Connection> {
        self.peers.get(peer)?.best()
    }

    /// The best retired connection of a peer that has no other left becomes the one in use again.
    pub(crate) fn revive(&mut self, peer: &PeerId) -> Option<ConnectionId> {
        let live = self.peers.get_mut(peer)?;
        if live.connections.iter().any(|c| c.state == State::Live) {
            return None;
        }
        let best = live.connections.iter_mut().filter(|c| !c.is_closing()).min_by_key(|c| c.rank());
        let best = best?;
        best.state = State::Live;
        Some(best.id)
    }

    /// Marks all connections of the peer as being closed; true if there were any.
    pub(crate) fn close(&mut self, peer: &PeerId, reason: &'static str) -> bool {
        let Some(live) = self.peers.get_mut(peer) else { return false };
        for connection in live.connections.iter_mut().filter(|c| !c.is_closing()) {
            connection.state = State::Closing { reason };
        }
        true
    }

    /// Number of established connections.
    pub(crate) fn len(&self) -> usize {
        self.owners.len()
    }

    #[cfg(test)]
    pub(crate) fn counted(&self, ip: &IpAddr) -> usize {
        self.per_ip.get(ip).copied().unwrap_or(0)
    }

    #[cfg(test)]
    pub(crate) fn pending_inbound(&self) -> usize {
        self.pending_in.len()
    }
}

/// Who opened it. In a hole punch both sides dial; the one that takes the listener's role counts as
/// the one that was dialled, so that both tell the same story.
pub(crate) fn direction(point: &ConnectedPoint) -> Direction {
    match point {
        ConnectedPoint::Dialer { role_override: Endpoint::Dialer, .. } => Direction::Out,
        ConnectedPoint::Dialer { .. } | ConnectedPoint::Listener { .. } => Direction::In,
    }
}
