//! The one struct of behaviours, in the order in which they are polled and may refuse.

use std::{io, time::Duration};

use libp2p::{
    PeerId,
    connection_limits::{self, ConnectionLimits},
    identify,
    identity::Keypair,
    memory_connection_limits, ping, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};
use peerage_exchange as exchange;
use peerage_files as files;
use peerage_identity as users;
use peerage_introductions as introductions;
use peerage_kv as kv;
use peerage_link as link;
use peerage_mainline as mainline;
use peerage_peers as peers;
use peerage_types::Network;
use prometheus_client::registry::Registry;

use crate::{
    gossip,
    handlers::Lean,
    kad, mdns,
    settings::{Profile, Settings},
};

/// Connections that have not proven who they are: 128 handshakes × about 100 KiB = 13 MiB at worst.
const MAX_PENDING: u32 = 128;
/// How often a quiet connection is asked whether it still lives.
const PING_INTERVAL: Duration = Duration::from_secs(30);

#[derive(NetworkBehaviour)]
pub(crate) struct Stack {
    // Gates may refuse a connection, so they come first.
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) memory: memory_connection_limits::Behaviour,
    pub(crate) peers: peers::Behaviour,
    // Reach: finding peers and getting to them.
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) relay_client: relay::client::Behaviour,
    pub(crate) relay: Toggle<relay::Behaviour>,
    pub(crate) mdns4: Toggle<mdns::Behaviour>,
    pub(crate) mdns6: Toggle<mdns::Behaviour>,
    pub(crate) kad: Toggle<kad::Behaviour>,
    pub(crate) mainline: Toggle<mainline::Behaviour>,
    pub(crate) introductions: introductions::Behaviour,
    // Product.
    pub(crate) gossip: gossip::Behaviour,
    pub(crate) exchange: exchange::Behaviour,
    pub(crate) link: link::Behaviour,
    pub(crate) files: files::Behaviour,
    pub(crate) identity: users::Behaviour,
    pub(crate) kv: kv::Behaviour,
}

/// The stack as the swarm has it.
pub(crate) type LeanStack = Lean<Stack>;

/// The version that members of a network tell each other in identify.
pub(crate) fn protocol_version(network: &Network) -> String {
    format!("/peerage/{network}/1")
}

impl Stack {
    #[expect(clippy::too_many_arguments, reason = "called once, with what `start` has made")]
    pub(crate) fn new(
        keys: &Keypair,
        settings: &Settings,
        relay_client: relay::client::Behaviour,
        peers: peers::Behaviour,
        files: files::Behaviour,
        identity: users::Behaviour,
        kv: kv::Behaviour,
        mainline: Option<mainline::Behaviour>,
        metrics: &mut Registry,
    ) -> Result<Self, String> {
        let local = keys.public().to_peer_id();
        let network = &settings.network;
        Ok(Self {
            limits: connection_limits::Behaviour::new(
                ConnectionLimits::default()
                    .with_max_pending_incoming(Some(MAX_PENDING))
                    .with_max_pending_outgoing(Some(MAX_PENDING)),
            ),
            memory: memory_connection_limits::Behaviour::with_max_bytes(settings.max_memory_bytes),
            peers,
            identify: identify::Behaviour::new(identify_config(keys, settings)),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
            relay_client,
            relay: (settings.profile == Profile::Relay).then(|| relay_server(local)).into(),
            mdns4: multicast(settings, local, false),
            mdns6: multicast(settings, local, true),
            kad: settings.kad.then(|| kad::behaviour(local, network)).into(),
            mainline: mainline.into(),
            introductions: introductions::Behaviour::new(introductions_config(settings), keys),
            gossip: gossip::behaviour(keys, metrics)?,
            exchange: exchange::Behaviour::new(exchange::Config::new(network.clone())),
            link: link::Behaviour::new(network),
            files,
            identity,
            kv,
        })
    }
}

fn identify_config(keys: &Keypair, settings: &Settings) -> identify::Config {
    let version = protocol_version(&settings.network);
    // No signed record: libp2p-identify signs the legacy format, on which js-libp2p rejects the
    // whole message.
    identify::Config::new(version, keys.public())
        .with_agent_version(settings.agent.clone())
        .with_push_listen_addr_updates(true)
        // The address book remembers them, filtered.
        .with_cache_size(0)
}

fn introductions_config(settings: &Settings) -> introductions::Config {
    introductions::Config { network: settings.network.clone(), allow_private: settings.local_only }
}

fn relay_server(local: PeerId) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: 512,
        max_circuits: 128,
        max_circuit_duration: Duration::from_secs(60 * 60),
        max_circuit_bytes: 1 << 30,
        ..relay::Config::default()
    };
    relay::Behaviour::new(local, config)
}

fn multicast(settings: &Settings, local: PeerId, ipv6: bool) -> Toggle<mdns::Behaviour> {
    if !settings.mdns {
        return None.into();
    }
    let made: io::Result<_> = mdns::Behaviour::new(&settings.network, local, ipv6);
    made.inspect_err(|error| tracing::warn!(%error, ipv6, "mDNS is off")).ok().into()
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, select};
    use libp2p::{
        Swarm,
        core::PeerRecord,
        swarm::{self, SwarmEvent},
    };

    use super::*;
    use crate::transport;

    fn identifying() -> Swarm<identify::Behaviour> {
        let keys = Keypair::generate_ed25519();
        let (connections, _) = transport::all(&keys, None, Default::default()).unwrap();
        let behaviour = identify::Behaviour::new(identify_config(&keys, &Settings::default()));
        let config = swarm::Config::with_tokio_executor();
        Swarm::new(connections, behaviour, keys.public().to_peer_id(), config)
    }

    #[tokio::test]
    async fn what_we_tell_in_identify_carries_no_record_that_others_cannot_verify() {
        let (mut us, mut other) = (identifying(), identifying());
        us.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let told = loop {
            select! {
                event = us.select_next_some().fuse() => {
                    if let SwarmEvent::NewListenAddr { address, .. } = event {
                        other.dial(address).unwrap();
                    }
                }
                event = other.select_next_some().fuse() => {
                    if let SwarmEvent::Behaviour(identify::Event::Received { info, .. }) = event {
                        break info;
                    }
                }
            }
        };
        let readable = |envelope| PeerRecord::from_signed_envelope_interop(envelope).is_ok();
        assert!(told.signed_peer_record.is_none_or(readable));
    }
}
