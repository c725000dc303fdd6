//! A peer without manners: real transports and identify, and raw streams of any protocol.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, Ready, ready},
    task::{Context, Poll},
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder,
    core::{
        Endpoint, UpgradeInfo,
        transport::PortUse,
        upgrade::{InboundUpgrade, ReadyUpgrade},
    },
    identify,
    identity::Keypair,
    noise,
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
        NetworkBehaviour, NotifyHandler, SubstreamProtocol, SwarmEvent, THandlerInEvent, ToSwarm,
        dial_opts::{DialOpts, PeerCondition},
        handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
    tcp, yamux,
};
use peerage_testkit::within;
use tokio::sync::oneshot;

/// What it accepts, so that the node takes it for a member that speaks everything.
const SPOKEN: [&str; 4] = [
    "/meshsub/1.1.0",
    "/peerage/peerage/kad/1",
    "/peerage/peerage/exchange/1",
    "/peerage/peerage/link/1",
];

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    identify: identify::Behaviour,
    streams: Streams,
}

pub(crate) struct Hostile {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) keys: Keypair,
    target: PeerId,
}

impl Hostile {
    /// One that is connected to `target` at `address`.
    pub(crate) async fn connected(target: PeerId, address: &Multiaddr) -> Self {
        let keys = Keypair::generate_ed25519();
        let identify = identify::Config::new("/peerage/peerage/1".into(), keys.public());
        let behaviour =
            Behaviour { identify: identify::Behaviour::new(identify), streams: Streams::default() };
        let swarm = SwarmBuilder::with_existing_identity(keys.clone())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| behaviour)
            .unwrap()
            .build();
        let mut hostile = Self { swarm, keys, target };
        hostile.dial(address);
        let swarm = &mut hostile.swarm;
        let known = async {
            while !matches!(
                swarm.select_next_some().await,
                SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received { .. }))
            ) {}
        };
        within("identify with the hostile peer", known).await;
        hostile
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Dials the node, connected or not.
    pub(crate) fn dial(&mut self, address: &Multiaddr) {
        let opts = DialOpts::peer_id(self.target).addresses(vec![address.clone()]);
        self.swarm.dial(opts.condition(PeerCondition::Always).build()).unwrap();
    }

    /// Keeps the connections going while `work` is done.
    pub(crate) async fn during<T>(&mut self, what: &str, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let both = async {
            loop {
                tokio::select! {
                    done = &mut work => return done,
                    _ = self.swarm.select_next_some() => {}
                }
            }
        };
        within(what, both).await
    }

    /// Asks for a stream of `protocol`; nobody sends it if it is refused.
    pub(crate) fn open(&mut self, protocol: &str) -> oneshot::Receiver<Stream> {
        let protocol = StreamProtocol::try_from_owned(protocol.to_owned()).unwrap();
        let (give, stream) = oneshot::channel();
        let streams = &mut self.swarm.behaviour_mut().streams;
        streams.wanted.push_back((self.target, Want { protocol, give }));
        stream
    }

    /// Writes all bytes on a new stream, then waits until the node has taken or refused them.
    pub(crate) async fn pour(&mut self, protocol: &str, bytes: &[u8]) {
        let stream = self.open(protocol);
        let poured = async {
            // A node that has had enough resets the stream.
            let Ok(mut stream) = stream.await else { return };
            let _ = stream.write_all(bytes).await;
            let _ = stream.close().await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        self.during("the end of a stream", poured).await;
    }
}

/// A stream of `protocol` that is to be opened.
#[derive(Debug)]
pub(crate) struct Want {
    protocol: StreamProtocol,
    give: oneshot::Sender<Stream>,
}

/// Opens raw streams; takes those of the node and never reads them.
#[derive(Default)]
pub(crate) struct Streams {
    wanted: VecDeque<(PeerId, Want)>,
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        // Its owner polls the swarm after every `open`, so that nobody need be woken.
        self.wanted.pop_front().map_or(Poll::Pending, |(peer_id, event)| {
            Poll::Ready(ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event })
        })
    }
}

#[derive(Default)]
pub(crate) struct Handler {
    wanted: VecDeque<Want>,
    /// Streams of the node, which are never answered.
    held: Vec<Stream>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Want;
    type ToBehaviour = Infallible;
    type InboundProtocol = Spoken;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<Stream>;

    fn listen_protocol(&self) -> SubstreamProtocol<Spoken> {
        SubstreamProtocol::new(Spoken, ())
    }

    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<
        ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, oneshot::Sender<Stream>, Infallible>,
    > {
        self.wanted.pop_front().map_or(Poll::Pending, |Want { protocol, give }| {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(protocol), give);
            Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
        })
    }

    fn on_behaviour_event(&mut self, want: Want) {
        self.wanted.push_back(want);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<Spoken, ReadyUpgrade<StreamProtocol>, (), oneshot::Sender<Stream>>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol,
                info,
            }) => drop(info.send(protocol)),
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => self.held.push(protocol),
            _ => {}
        }
    }
}

/// Any of [`SPOKEN`].
pub(crate) struct Spoken;

impl UpgradeInfo for Spoken {
    type Info = &'static str;
    type InfoIter = std::array::IntoIter<&'static str, 4>;

    fn protocol_info(&self) -> Self::InfoIter {
        SPOKEN.into_iter()
    }
}

impl InboundUpgrade<Stream> for Spoken {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: &'static str) -> Self::Future {
        ready(Ok(stream))
    }
}
