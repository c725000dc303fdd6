//! Nodes to test with: a swarm in a task of its own, driven through the handles of the contract; and
//! raw peers that speak bytes.

use std::{
    collections::HashMap,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::core::{Transport, transport::Boxed, upgrade::Version};
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    core::{
        Endpoint,
        muxing::StreamMuxerBox,
        transport::{MemoryTransport, PortUse},
    },
    identity::Keypair,
    multiaddr::Protocol,
    noise, relay,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, SwarmEvent,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        dial_opts::{DialOpts, PeerCondition},
    },
    yamux,
};
use peerage_api::{Command, Link, Local, Node as Handle, exchange::Exchange};
use peerage_dialog::{self as dialog, Dialogs, Handler, Inbound, Open};
use peerage_exchange::{Behaviour, Config, Event, Misbehaviour};
use peerage_types::{MessageType, Network};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn kind(name: &str) -> MessageType {
    MessageType::new(name).unwrap()
}

#[derive(NetworkBehaviour)]
pub(crate) struct Stack {
    relay: relay::client::Behaviour,
    pub(crate) exchange: Behaviour,
}

type Act = Box<dyn FnOnce(&mut Swarm<Stack>) + Send>;

/// A node that runs until it is dropped.
pub(crate) struct Node {
    pub(crate) exchange: Exchange,
    pub(crate) local: Local,
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) misbehaved: mpsc::Receiver<(PeerId, Misbehaviour)>,
    connections: watch::Receiver<HashMap<PeerId, Vec<ConnectionId>>>,
    acts: mpsc::Sender<Act>,
}

impl Node {
    pub(crate) async fn new() -> Self {
        Self::of(Network::default()).await
    }

    pub(crate) async fn of(network: Network) -> Self {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_other_transport(secured)
            .unwrap()
            .with_relay_client(noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_, relay| Stack {
                relay,
                exchange: Behaviour::new(Config::new(network)),
            })
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(HOUR))
            .build();
        let peer = *swarm.local_peer_id();
        swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
        let address = listening(&mut swarm).await;
        let (commands, asked) = mpsc::channel(64);
        let (acts, acting) = mpsc::channel(64);
        let (misbehaving, misbehaved) = mpsc::channel(64);
        let (connected, connections) = watch::channel(HashMap::new());
        tokio::spawn(drive(swarm, asked, acting, misbehaving, connected));
        let local = Local::new(commands);
        let exchange = Handle::new(Link::Local(local.clone())).exchange();
        Self { exchange, local, peer, address, misbehaved, connections, acts }
    }

    /// Does something with the swarm and returns what came of it.
    pub(crate) async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Swarm<Stack>) -> T + Send + 'static,
    ) -> T {
        let (done, outcome) = oneshot::channel();
        let act: Act = Box::new(move |swarm| {
            let _ = done.send(act(swarm));
        });
        assert!(self.acts.send(act).await.is_ok());
        outcome.await.unwrap()
    }

    /// Adds a connection and waits until both ends know of it.
    pub(crate) async fn connect(&self, other: &Self) -> ConnectionId {
        let id = self.dial(other.peer, other.address.clone()).await;
        other.wait(self.peer, |connections| !connections.is_empty()).await;
        id
    }

    pub(crate) async fn dial(&self, peer: PeerId, address: Multiaddr) -> ConnectionId {
        let dial = DialOpts::peer_id(peer)
            .addresses(vec![address])
            .condition(PeerCondition::Always)
            .build();
        let id = dial.connection_id();
        self.act(move |swarm| swarm.dial(dial).unwrap()).await;
        self.wait(peer, move |connections| connections.contains(&id)).await;
        id
    }

    pub(crate) async fn disconnect(&self, peer: PeerId) {
        self.act(move |swarm| swarm.disconnect_peer_id(peer).unwrap()).await;
        self.wait(peer, <[_]>::is_empty).await;
    }

    pub(crate) async fn wait(&self, peer: PeerId, until: impl Fn(&[ConnectionId]) -> bool) {
        let known = |all: &HashMap<_, Vec<_>>| until(all.get(&peer).map_or(&[], Vec::as_slice));
        self.connections.clone().wait_for(known).await.unwrap();
    }
}

async fn drive(
    mut swarm: Swarm<Stack>,
    mut asked: mpsc::Receiver<Command>,
    mut acting: mpsc::Receiver<Act>,
    misbehaving: mpsc::Sender<(PeerId, Misbehaviour)>,
    connected: watch::Sender<HashMap<PeerId, Vec<ConnectionId>>>,
) {
    loop {
        tokio::select! {
            biased;
            command = asked.recv() => match command {
                Some(Command::Exchange(command)) => {
                    swarm.behaviour_mut().exchange.on_command(command, Instant::now());
                }
                _ => return,
            },
            Some(act) = acting.recv() => act(&mut swarm),
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                    swarm.behaviour_mut().exchange.on_identified(peer_id, true);
                    connected.send_modify(|all| all.entry(peer_id).or_default().push(connection_id));
                }
                SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                    connected.send_modify(|all| {
                        all.entry(peer_id).or_default().retain(|id| *id != connection_id);
                    });
                }
                SwarmEvent::Behaviour(StackEvent::Exchange(Event::Misbehaved { peer, reason })) => {
                    let _ = misbehaving.try_send((peer, reason));
                }
                _ => {}
            },
        }
    }
}

fn secured(key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed()
}

pub(crate) async fn listening<B: NetworkBehaviour>(swarm: &mut Swarm<B>) -> Multiaddr {
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

fn swarm_of<B: NetworkBehaviour>(behaviour: B) -> Swarm<B> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(secured)
        .unwrap()
        .with_behaviour(|_| behaviour)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(HOUR))
        .build()
}

/// Starts a relay.
pub(crate) async fn relay() -> Multiaddr {
    let key = Keypair::generate_ed25519();
    let behaviour = relay::Behaviour::new(key.public().to_peer_id(), relay::Config::default());
    let mut swarm = swarm_of(behaviour);
    let peer = *swarm.local_peer_id();
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    let address = listening(&mut swarm).await;
    swarm.add_external_address(address.clone());
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    address.with(Protocol::P2p(peer))
}

/// What a raw peer does with a stream that is opened to it.
pub(crate) type Serve = fn(&mut Dialogs<()>, Inbound, &mpsc::Sender<Vec<u8>>);

/// A behaviour that speaks bytes.
pub(crate) struct Raw {
    pub(crate) dialogs: Dialogs<()>,
    serve: Serve,
    heard: mpsc::Sender<Vec<u8>>,
}

pub(crate) fn protocol() -> StreamProtocol {
    Behaviour::new(Config::new(Network::default())).protocol()
}

impl Raw {
    pub(crate) fn swarm(
        protocols: &[StreamProtocol],
        serve: Serve,
    ) -> (Swarm<Self>, mpsc::Receiver<Vec<u8>>) {
        let (heard, hearing) = mpsc::channel(1024);
        let mut config = dialog::Config::new(protocols.iter().cloned());
        config.progress_timeout = None;
        (swarm_of(Self { dialogs: Dialogs::new(config), serve, heard }), hearing)
    }

    /// A raw peer that runs by itself and has been dialled by `node`.
    pub(crate) async fn dialled_by(
        node: &Node,
        protocols: &[StreamProtocol],
        serve: Serve,
    ) -> (PeerId, mpsc::Receiver<Vec<u8>>) {
        let (mut swarm, heard) = Self::swarm(protocols, serve);
        swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
        let address = listening(&mut swarm).await;
        let peer = *swarm.local_peer_id();
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        node.dial(peer, address).await;
        (peer, heard)
    }

    /// A raw peer that has dialled `node`.
    pub(crate) async fn dialling(node: &Node) -> Swarm<Self> {
        let (mut swarm, _) = Self::swarm(&[protocol()], drop_it);
        let address = node.address.clone().with(Protocol::P2p(node.peer));
        swarm.dial(address).unwrap();
        while !swarm.is_connected(&node.peer) {
            swarm.select_next_some().await;
        }
        swarm
    }

    pub(crate) fn open<F>(
        &mut self,
        peer: PeerId,
        dialog: impl FnOnce(dialog::Stream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.dialogs.open(Open::new(peer, protocol()), dialog);
    }
}

pub(crate) fn drop_it(_: &mut Dialogs<()>, _: Inbound, _: &mpsc::Sender<Vec<u8>>) {}

impl NetworkBehaviour for Raw {
    type ConnectionHandler = Handler;
    type ToSwarm = Result<(), dialog::DialogError>;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.dialogs.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.dialogs.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.dialogs.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.dialogs.on_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            let Poll::Ready(polled) = self.dialogs.poll(cx) else { return Poll::Pending };
            match polled {
                ToSwarm::GenerateEvent(dialog::Event::Inbound(inbound)) => {
                    (self.serve)(&mut self.dialogs, inbound, &self.heard);
                }
                ToSwarm::GenerateEvent(dialog::Event::Finished { outcome, .. }) => {
                    return Poll::Ready(ToSwarm::GenerateEvent(outcome));
                }
                ToSwarm::GenerateEvent(_) => {}
                other => return Poll::Ready(other.map_out(|_| unreachable!())),
            }
        }
    }
}
