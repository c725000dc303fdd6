//! What the DHT told becomes candidates, members and answers.

use std::{net::SocketAddr, time::Instant};

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;
use peerage_types::UnixMillis;
use peerage_wire::mainline::{key_of, packet, slot::Record};

use super::{Bridge, Event, How, MAX_NEWEST, Output, ResolveId, own::without_peer};
use crate::{
    cadence::{Done, Now},
    client::Report,
    dials::{Candidate, RoundId},
    guards::Who,
};

impl Bridge {
    pub(super) fn handle(&mut self, report: Report, now: Now) {
        match report {
            Report::Addresses { round, addresses } => self.on_addresses(round, addresses, now),
            Report::Records { round, records } => self.on_records(round, &records, now),
            Report::RoundEnded { round, done, asked } => {
                self.on_ended(round, done, asked, now.instant)
            }
            Report::Published { stored } => self.own.on_published(stored, now.instant),
            Report::Resolved { id, item } => self.on_resolved(ResolveId(id), item, now.unix),
            Report::Health(health) => self.on_health(health, now),
        }
    }

    fn on_addresses(&mut self, id: RoundId, addresses: Vec<SocketAddr>, now: Now) {
        for address in addresses {
            if let Some(peer) = self.member_at(address) {
                self.found(id, peer, &Who::Address(address));
                continue;
            }
            let Some(round) = self.rounds.get_mut(&id) else { return };
            if self.guards.admit(&mut round.screen, address, now.instant).is_ok() {
                let who = Who::Address(address);
                self.dials.add(Candidate { round: id, who, addresses: Vec::new() });
            }
        }
    }

    fn on_records(&mut self, id: RoundId, records: &[Record], now: Now) {
        for record in records {
            if record.peer() != self.own.peer() && self.is_newest(record) {
                self.on_record(id, record, now);
            }
        }
    }

    fn on_record(&mut self, id: RoundId, record: &Record, now: Now) {
        let peer = record.peer();
        let is_member = self.known.get(&peer).is_some_and(|known| known.is_member);
        let mut addresses = record.addresses().to_vec();
        let Some(round) = self.rounds.get_mut(&id) else { return };
        if round.find.is_some() || is_member {
            addresses.retain(|address| self.guards.is_fit(address));
            if is_member || !addresses.is_empty() {
                self.tell_found(id, peer, addresses, How::Record);
            }
            return;
        }
        let admitted = self.guards.admit_peer(&mut round.screen, peer, &mut addresses, now.instant);
        if admitted.is_ok() {
            self.dials.add(Candidate { round: id, who: Who::Peer(peer), addresses });
        }
    }

    /// Whether it is not older than one that was seen already: old ones are replayed.
    fn is_newest(&mut self, record: &Record) -> bool {
        let seen = self.newest.get(&record.peer()).copied().unwrap_or_default();
        if record.signed_at() < seen {
            return false;
        }
        if self.newest.len() >= MAX_NEWEST && seen == UnixMillis::default() {
            let oldest = self.newest.iter().min_by_key(|(_, at)| **at).map(|(peer, _)| *peer);
            self.newest.remove(&oldest.unwrap_or_else(|| record.peer()));
        }
        self.newest.insert(record.peer(), record.signed_at());
        true
    }

    pub(super) fn on_ended(&mut self, id: RoundId, done: Done, asked: Option<u32>, now: Instant) {
        asked.into_iter().for_each(|nodes| self.budget.on_asked(nodes));
        let lonely = self.is_lonely();
        let Some(round) = self.rounds.get_mut(&id) else { return };
        round.ended = Some(done.lookup);
        if round.find.is_some() {
            return;
        }
        let (infohash, due) = (round.infohash, round.due);
        if let Some(held) = self.held.get_mut(&infohash) {
            held.is_running = false;
            held.rhythm.on_round(due, done, lonely, rand::random(), now);
        }
        if done.announce {
            self.outputs.push_back(Output::Tell(Event::Announced { infohash }));
        }
    }

    fn on_resolved(&mut self, resolve: ResolveId, item: Option<(i64, Vec<u8>)>, now: UnixMillis) {
        let Some(peer) = self.resolves.remove(&resolve) else { return };
        let read = || {
            let (key, (seq, value)) = (key_of(&peer)?, item?);
            packet::is_current(seq, now).then(|| packet::decode(&key, &value))
        };
        let mut addresses = read().unwrap_or_default();
        addresses.retain(|address| self.guards.is_fit(address));
        self.outputs.push_back(Output::Tell(Event::Resolved { resolve, peer, addresses }));
    }

    fn on_health(&mut self, health: crate::Health, now: Now) {
        let rose = health.is_up && !self.health.is_up;
        self.health = health;
        self.tell_own();
        if rose {
            self.afford_at = now.instant;
        }
        self.outputs.push_back(Output::Tell(Event::Health(health)));
    }

    /// A connected member that listens there.
    fn member_at(&self, address: SocketAddr) -> Option<PeerId> {
        let at = |known: &super::Known| known.is_member && known.sockets.contains(&address);
        self.known.iter().find(|(_, known)| at(known)).map(|(peer, _)| *peer)
    }

    /// A member answered there.
    pub(super) fn found(&mut self, round: RoundId, peer: PeerId, who: &Who) {
        match who {
            Who::Address(address) => {
                let mut addresses = multiaddrs(*address).to_vec();
                addresses.retain(|address| self.may_listen(&peer, address));
                self.tell_found(round, peer, addresses, How::Announced);
            }
            Who::Peer(_) => self.tell_found(round, peer, Vec::new(), How::Record),
        }
    }

    /// Only a port was announced: whether the peer has the transport of the address. One that tells of neither
    /// may have both.
    fn may_listen(&self, peer: &PeerId, address: &Multiaddr) -> bool {
        let told = self.known.get(peer).map(|known| known.transports);
        told.is_none_or(|has| has == [false; 2] || has[usize::from(is_quic(address))])
    }

    fn tell_found(&mut self, id: RoundId, peer: PeerId, addresses: Vec<Multiaddr>, how: How) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        if peer == self.own.peer() || !round.told.insert(peer) {
            return;
        }
        let addresses = addresses.iter().map(|address| without_peer(address, peer)).collect();
        let (infohash, find) = (round.infohash, round.find);
        let event = Event::Found { infohash, find, peer, addresses, how };
        self.outputs.push_back(Output::Tell(event));
    }
}

/// Where a node that announces a port listens: QUIC and TCP have the same.
pub(crate) fn multiaddrs(address: SocketAddr) -> [Multiaddr; 2] {
    let ip = Multiaddr::from(address.ip());
    let quic = ip.clone().with(Protocol::Udp(address.port())).with(Protocol::QuicV1);
    [quic, ip.with(Protocol::Tcp(address.port()))]
}

/// Whether it is an address of QUIC, rather than of TCP.
pub(super) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::QuicV1)
}
