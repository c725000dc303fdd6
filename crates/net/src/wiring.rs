//! What one behaviour reports and another needs; one arm each.

use std::time::Instant;

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    gossipsub::{self, MessageAcceptance},
    identify, ping,
    swarm::{ConnectionId, SwarmEvent},
};
use peerage_api::{
    node,
    peers::{self as peers_api, Source},
};
use peerage_exchange as exchange;
use peerage_files as files;
use peerage_identity as users;
use peerage_kv as kv;
use peerage_link as link;
use peerage_peers as peers;

use crate::{
    driver::Driver,
    kad::{Learned, MAX_KAD_ADDRESSES},
    mdns,
    spread::Heard,
    stack::{Stack, StackEvent, protocol_version},
};

/// What a malformed frame costs a peer's standing.
pub(crate) const MISBEHAVIOUR_POINTS: u32 = 20;
/// What it costs to have lied twice.
const LIAR_POINTS: u32 = 60;

impl Driver {
    pub(crate) fn on_swarm_event(&mut self, event: SwarmEvent<StackEvent>) {
        self.metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { connection_id, endpoint, .. } => {
                self.lan.on_connected(connection_id, endpoint.get_remote_address());
                self.follow_lan();
            }
            SwarmEvent::ConnectionClosed { connection_id, peer_id, num_established, .. } => {
                self.lan.on_disconnected(connection_id);
                self.follow_lan();
                if num_established == 0 {
                    self.topics.on_disconnected(peer_id);
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => self.on_listening(address),
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_unlistened(address, "expired"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                let reason = reason.map_or_else(|e| e.to_string(), |()| "closed".to_owned());
                addresses.into_iter().for_each(|address| self.on_unlistened(address, &reason));
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            SwarmEvent::ExternalAddrConfirmed { address } => {
                self.tell_port();
                self.tell(&node::Event::ExternalConfirmed { address });
            }
            SwarmEvent::ExternalAddrExpired { address } => {
                self.tell_port();
                self.tell(&node::Event::ExternalExpired { address });
            }
            other => tracing::trace!(?other, "swarm"),
        }
    }

    fn on_behaviour_event(&mut self, event: StackEvent) {
        match event {
            StackEvent::Peers(event) => self.on_peers_event(&event),
            StackEvent::Identify(event) => self.on_identify_event(event),
            StackEvent::Ping(event) => self.on_ping_event(&event),
            StackEvent::Mdns4(found) | StackEvent::Mdns6(found) => self.on_mdns(found),
            StackEvent::Kad(event) => self.on_kad_event(event),
            StackEvent::Mainline(event) => self.on_mainline(event),
            StackEvent::Introductions(event) => self.on_introductions(event),
            StackEvent::Gossip(event) => self.on_gossip_event(event),
            StackEvent::Exchange(event) => self.on_exchange_event(&event),
            StackEvent::Link(link::Event::Rtt { connection, rtt }) => self.on_rtt(connection, rtt),
            StackEvent::Files(event) => self.on_files_event(event),
            StackEvent::Identity(event) => self.on_users_event(event),
            StackEvent::Kv(event) => self.on_kv_event(event),
            StackEvent::Relay(event) => {
                self.metrics.record(&event);
                tracing::debug!(?event, "relay");
            }
            StackEvent::RelayClient(event) => tracing::debug!(?event, "relay client"),
        }
    }

    fn on_listening(&mut self, address: Multiaddr) {
        tracing::debug!(%address, "listening");
        let address = address.with_p2p(self.local()).unwrap_or_else(|address| address);
        self.tell(&node::Event::Listening { address });
        self.swarm.behaviour_mut().peers.on_network_change(Instant::now());
        self.tell_port();
    }

    fn on_unlistened(&mut self, address: Multiaddr, reason: &str) {
        tracing::debug!(%address, reason, "no longer listening");
        self.tell_port();
        self.tell(&node::Event::ListenerClosed { address, reason: reason.to_owned() });
    }

    fn on_peers_event(&mut self, event: &peers::Event) {
        match event {
            peers::Event::NeedAddresses { peer } => self.locate(*peer),
            peers::Event::Retired { connection, .. } => {
                let stack: &mut Stack = self.swarm.behaviour_mut();
                stack.exchange.on_retired(*connection);
                stack.link.on_retired(*connection);
                stack.files.on_retired(*connection);
                stack.identity.on_retired(*connection);
                stack.kv.on_retired(*connection);
                stack.introductions.on_retired(*connection);
            }
            other => tracing::debug!(?other, "peers"),
        }
    }

    fn locate(&mut self, peer: PeerId) {
        let (discovery, around) = self.facet();
        discovery.locate_for_connect(around, peer);
    }

    fn on_identify_event(&mut self, event: identify::Event) {
        self.metrics.record(&event);
        let identify::Event::Received { peer_id: peer, info, .. } = event else { return };
        let version = protocol_version(&self.settings.network);
        let ours = |protocol: &StreamProtocol| {
            protocol.as_ref().starts_with(&version[..version.len() - 1])
        };
        let member = info.protocol_version == version && info.protocols.iter().any(ours);
        let serves_kad = self.queries.protocol().is_some_and(|kad| info.protocols.contains(kad));
        let stack: &mut Stack = self.swarm.behaviour_mut();
        let exchanges = member && info.protocols.contains(&stack.exchange.protocol());
        let knows_users = member && info.protocols.contains(&stack.identity.protocol());
        let replicates = member && info.protocols.contains(&stack.kv.protocol());
        let introduces = member && info.protocols.contains(&stack.introductions.protocol());
        let (agent, listen) = (&info.agent_version, &info.listen_addrs);
        stack.peers.on_identified(peer, agent, &info.protocols, listen, member, Instant::now());
        stack.exchange.on_identified(peer, exchanges);
        stack.identity.on_identified(peer, knows_users);
        stack.kv.on_identified(peer, replicates);
        stack.introductions.on_identified(peer, introduces);
        if let Some(bridge) = stack.mainline.as_mut() {
            bridge.on_identified(peer, member, listen);
        }
        let Some(kad) = stack.kad.as_mut().filter(|_| serves_kad) else { return };
        let is_useful = self.queries.is_useful(&stack.peers, &peer);
        for address in listen.iter().filter(|a| is_useful(a)).take(MAX_KAD_ADDRESSES) {
            kad.add_address(&peer, address.clone());
        }
    }

    fn on_ping_event(&mut self, event: &ping::Event) {
        self.metrics.record(event);
        match event.result {
            Ok(rtt) => self.on_rtt(event.connection, rtt),
            Err(ref error) => tracing::debug!(peer = %event.peer, %error, "ping"),
        }
    }

    fn on_rtt(&mut self, connection: ConnectionId, rtt: std::time::Duration) {
        let stack: &mut Stack = self.swarm.behaviour_mut();
        stack.peers.on_rtt(connection, rtt);
        stack.exchange.on_rtt(connection, rtt);
        stack.link.on_rtt(connection, rtt);
        stack.files.on_rtt(connection, rtt);
        stack.identity.on_rtt(connection, rtt);
        stack.kv.on_rtt(connection, rtt);
        stack.introductions.on_rtt(connection, rtt);
    }

    fn on_mdns(&mut self, found: mdns::Discovered) {
        let mdns::Discovered { peer, addresses } = found;
        let peers = &mut self.swarm.behaviour_mut().peers;
        peers.on_discovered(peer, addresses, Source::Mdns, Instant::now());
    }

    fn on_kad_event(&mut self, event: libp2p::kad::Event) {
        self.metrics.record(&event);
        let stack: &mut Stack = self.swarm.behaviour_mut();
        let learned = self.queries.on_event(stack.kad.as_mut(), &stack.peers, event);
        if let Some(learned) = learned {
            self.on_learned(learned, Instant::now());
        }
        let stack: &mut Stack = self.swarm.behaviour_mut();
        if stack.kad.as_mut().is_some_and(|kad| self.queries.can_announce(kad)) {
            stack.files.announce_all();
            stack.identity.announce_all();
            self.discovery.announce_all(&mut self.queries, stack.kad.as_mut());
        }
    }

    fn on_learned(&mut self, learned: Learned, now: Instant) {
        let (discovery, around) = self.facet();
        match learned {
            Learned::Announced(namespace, stored) => discovery.on_announced(&namespace, stored),
            Learned::Providers { search, peers, last } => {
                discovery.on_providers(around, search, peers, last);
            }
            Learned::Located { search, peer, addresses } => {
                discovery.on_located(search, peer, addresses);
            }
            Learned::Addresses { lookup, addresses } => {
                discovery.on_addresses(around.peers, lookup, addresses, now);
            }
            Learned::Routed(peer, addresses) => {
                around.peers.on_discovered(peer, addresses, Source::Kad, now);
            }
            Learned::Content(hash, peers) => {
                self.swarm.behaviour_mut().files.on_providers(hash, &peers);
            }
            Learned::User(user, record) => {
                self.swarm.behaviour_mut().identity.on_record(user, record);
            }
            Learned::Unverified(record) => self.vetting.begin(record),
        }
    }

    fn on_files_event(&mut self, event: files::Event) {
        let stack: &mut Stack = self.swarm.behaviour_mut();
        match event {
            files::Event::Connect(ask) => {
                stack.peers.on_command(peers_api::Command::Connect(ask), Instant::now());
            }
            files::Event::NeedProviders { hash } => {
                self.queries.find_content(stack.kad.as_mut(), hash);
            }
            files::Event::Provide { hash } => self.queries.provide(stack.kad.as_mut(), hash),
            files::Event::Withdraw { hash } => self.queries.unprovide(stack.kad.as_mut(), hash),
            files::Event::Misbehaved { peer, reason } => {
                tracing::debug!(%peer, %reason, "files stream reset");
                stack.peers.penalise(peer, MISBEHAVIOUR_POINTS);
            }
        }
    }

    fn on_gossip_event(&mut self, event: libp2p::gossipsub::Event) {
        self.metrics.record(&event);
        let stack: &mut Stack = self.swarm.behaviour_mut();
        match event {
            gossipsub::Event::Message { propagation_source: via, message_id, message }
                if self.spread.is(&message.topic) =>
            {
                let heard = self.spread.on_message(&mut stack.gossip, via, message_id, message);
                if let Some(Heard { ticket, via, data }) = heard {
                    stack.identity.on_gossip(ticket, via, data.into());
                }
            }
            gossipsub::Event::Message { propagation_source: via, message_id, message }
                if self.entries.is(&message.topic) =>
            {
                let heard = self.entries.on_message(&mut stack.gossip, via, message_id, message);
                if let Some(Heard { ticket, via, data }) = heard {
                    stack.kv.on_gossip(ticket, via, data.into());
                }
            }
            gossipsub::Event::Subscribed { topic, .. }
            | gossipsub::Event::Unsubscribed { topic, .. }
                if self.entries.is(&topic) => {}
            gossipsub::Event::Subscribed { peer_id, topic, .. } if self.spread.is(&topic) => {
                stack.identity.on_hears(peer_id);
            }
            gossipsub::Event::Unsubscribed { topic, .. } if self.spread.is(&topic) => {}
            event => self.topics.on_event(&mut stack.gossip, event, Instant::now()),
        }
    }

    fn on_users_event(&mut self, event: users::Event) {
        let stack: &mut Stack = self.swarm.behaviour_mut();
        match event {
            users::Event::Gossip(data) => self.spread.publish(&mut stack.gossip, data.to_vec()),
            users::Event::Judged { ticket, verdict } => {
                self.spread.judge(&mut stack.gossip, ticket, acceptance(verdict));
            }
            users::Event::PutRecord { key, value } => {
                self.queries.put_user(stack.kad.as_mut(), &key, &value);
            }
            users::Event::NeedRecord { user, key } => {
                if !self.queries.find_user(stack.kad.as_mut(), user, &key) {
                    stack.identity.on_record(user, None);
                }
            }
            users::Event::Learned(event) => self.accounts.on_learned(&event),
            users::Event::Misbehaved { peer, reason } => {
                tracing::debug!(%peer, %reason, "identity stream reset");
                stack.peers.penalise(peer, MISBEHAVIOUR_POINTS);
            }
        }
    }

    fn on_kv_event(&mut self, event: kv::Event) {
        let stack: &mut Stack = self.swarm.behaviour_mut();
        match event {
            kv::Event::Gossip(data) => self.entries.publish(&mut stack.gossip, data.to_vec()),
            kv::Event::Judged { ticket, verdict } => {
                let acceptance = match verdict {
                    kv::Verdict::Accept => MessageAcceptance::Accept,
                    kv::Verdict::Reject => MessageAcceptance::Reject,
                    kv::Verdict::Ignore => MessageAcceptance::Ignore,
                };
                self.entries.judge(&mut stack.gossip, ticket, acceptance);
            }
            kv::Event::Connect(ask) => {
                stack.peers.on_command(peers_api::Command::Connect(ask), Instant::now());
            }
            kv::Event::Misbehaved { peer, reason, again } => {
                tracing::debug!(%peer, %reason, again, "kv stream reset");
                let points = if again { LIAR_POINTS } else { MISBEHAVIOUR_POINTS };
                stack.peers.penalise(peer, points);
                if again {
                    // Gone already is as good.
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
        }
    }

    fn on_exchange_event(&mut self, event: &exchange::Event) {
        let exchange::Event::Misbehaved { peer, reason } = event;
        tracing::debug!(%peer, %reason, "exchange stream reset");
        self.swarm.behaviour_mut().peers.penalise(*peer, MISBEHAVIOUR_POINTS);
    }
}

fn acceptance(verdict: users::Verdict) -> MessageAcceptance {
    match verdict {
        users::Verdict::Accept => MessageAcceptance::Accept,
        users::Verdict::Reject => MessageAcceptance::Reject,
        users::Verdict::Ignore => MessageAcceptance::Ignore,
    }
}
