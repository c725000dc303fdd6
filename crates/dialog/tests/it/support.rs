//! Swarms to test with: peers that run dialogs, and peers that say nothing.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, future::poll_fn};
use libp2p_core::{
    Endpoint, Multiaddr, Transport,
    muxing::{StreamMuxerBox, StreamMuxerExt},
    transport::{Boxed, ListenerId, MemoryTransport, PortUse, TransportEvent},
    upgrade::Version,
};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, Swarm, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dial_opts::DialOpts, dial_opts::PeerCondition,
};
use libp2p_swarm_test::SwarmExt;
use peerage_dialog::{
    Config, DialogError, DialogId, Dialogs, Event, Handler, Inbound, Open, Stream,
};
use tokio::task::JoinHandle;

pub(crate) type Outcome = io::Result<Vec<u8>>;
pub(crate) type Serve = fn(&mut Dialogs<Outcome>, Inbound);

pub(crate) const ECHO: StreamProtocol = StreamProtocol::new("/test/echo/1");
pub(crate) const OTHER: StreamProtocol = StreamProtocol::new("/test/other/1");

/// The least behaviour that embeds dialogs.
pub(crate) struct Behaviour {
    pub(crate) dialogs: Dialogs<Outcome>,
    serve: Option<Serve>,
}

impl Behaviour {
    /// Inbound dialogs come out as events.
    pub(crate) fn new(config: Config) -> Self {
        Self { dialogs: Dialogs::new(config), serve: None }
    }

    pub(crate) fn serving(config: Config, serve: Serve) -> Self {
        Self { dialogs: Dialogs::new(config), serve: Some(serve) }
    }

    pub(crate) fn ask(&mut self, peer: PeerId) -> DialogId {
        self.dialogs.open(Open::new(peer, ECHO), ask)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event<Outcome>;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.dialogs.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
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
            match (self.dialogs.poll(cx), self.serve) {
                (Poll::Ready(ToSwarm::GenerateEvent(Event::Inbound(inbound))), Some(serve)) => {
                    serve(&mut self.dialogs, inbound);
                }
                (polled, _) => return polled,
            }
        }
    }
}

/// Says `hello` and returns the answer.
pub(crate) async fn ask(mut stream: Stream) -> Outcome {
    stream.write_all(b"hello").await?;
    stream.close().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Reads to the end and does nothing else; what it returns is what it read.
pub(crate) async fn listen(mut stream: Stream) -> Outcome {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await?;
    Ok(heard)
}

/// Serves by sending everything back.
pub(crate) fn echo(dialogs: &mut Dialogs<Outcome>, inbound: Inbound) {
    dialogs.serve(inbound, async |mut stream| {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).await?;
        stream.write_all(&question).await?;
        stream.close().await?;
        Ok(question)
    });
}

/// Serves by accepting and never saying anything.
pub(crate) fn stall(dialogs: &mut Dialogs<Outcome>, inbound: Inbound) {
    dialogs.serve(inbound.progress_timeout(None), async |stream| {
        let stream = stream;
        std::future::pending::<()>().await;
        drop(stream);
        Ok(Vec::new())
    });
}

pub(crate) fn refuse(dialogs: &mut Dialogs<Outcome>, inbound: Inbound) {
    dialogs.refuse(inbound);
}

/// A config in which waiting takes no longer than a test should.
pub(crate) fn config() -> Config {
    Config {
        open_timeout: Duration::from_secs(5),
        progress_timeout: Some(Duration::from_secs(5)),
        ..Config::new([ECHO])
    }
}

pub(crate) fn secure<S>(
    transport: impl Transport<Output = S, Error: Send + Sync, Dial: Send, ListenerUpgrade: Send>
    + Send
    + Unpin
    + 'static,
    key: &Keypair,
) -> Boxed<(PeerId, StreamMuxerBox)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    transport
        .upgrade(Version::V1)
        .authenticate(libp2p_plaintext::Config::new(key))
        .multiplex(libp2p_yamux::Config::default())
        .boxed()
}

pub(crate) fn swarm_of<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let transport = secure(MemoryTransport::default(), key);
    let config = libp2p_swarm::Config::with_tokio_executor();
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

/// A swarm that can be dialled at the returned address.
pub(crate) async fn listening<B>(key: &Keypair, behaviour: B) -> (Swarm<B>, Multiaddr)
where
    B: NetworkBehaviour<ToSwarm: std::fmt::Debug> + Send,
{
    let mut swarm = swarm_of(key, behaviour);
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    let address = swarm
        .wait(|event| match event {
            libp2p_swarm::SwarmEvent::NewListenAddr { address, .. } => Some(address),
            _ => None,
        })
        .await;
    (swarm, address)
}

/// Starts a peer that runs by itself.
pub(crate) async fn remote(behaviour: Behaviour) -> (PeerId, Multiaddr) {
    let (swarm, address) = listening(&Keypair::generate_ed25519(), behaviour).await;
    let peer = *swarm.local_peer_id();
    tokio::spawn(swarm.loop_on_next());
    (peer, address)
}

pub(crate) fn local(config: Config) -> Swarm<Behaviour> {
    swarm_of(&Keypair::generate_ed25519(), Behaviour::new(config))
}

/// Adds a connection, also if there is one already.
pub(crate) async fn connect<B>(
    swarm: &mut Swarm<B>,
    peer: PeerId,
    address: &Multiaddr,
) -> ConnectionId
where
    B: NetworkBehaviour<ToSwarm: std::fmt::Debug> + Send,
{
    let dial = DialOpts::peer_id(peer)
        .addresses(vec![address.clone()])
        .condition(PeerCondition::Always)
        .build();
    let wanted = dial.connection_id();
    swarm.dial(dial).unwrap();
    swarm
        .wait(move |event| match event {
            libp2p_swarm::SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                (connection_id == wanted).then_some(wanted)
            }
            libp2p_swarm::SwarmEvent::OutgoingConnectionError { error, .. } => {
                panic!("not connected: {error}")
            }
            _ => None,
        })
        .await
}

/// A peer that runs by itself and a swarm that is connected to it.
pub(crate) async fn pair(behaviour: Behaviour, config: Config) -> (Swarm<Behaviour>, PeerId) {
    let (peer, address) = remote(behaviour).await;
    let mut swarm = local(config);
    connect(&mut swarm, peer, &address).await;
    (swarm, peer)
}

pub(crate) struct Finished {
    pub(crate) id: DialogId,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) outcome: Result<Outcome, DialogError>,
}

impl Finished {
    pub(crate) fn error(self) -> DialogError {
        self.outcome.expect_err("the dialog had an outcome")
    }

    pub(crate) fn value(self) -> Vec<u8> {
        self.outcome.expect("the dialog was not stopped").expect("the dialog succeeded")
    }
}

/// The next dialog to end.
pub(crate) async fn finished(swarm: &mut Swarm<Behaviour>) -> Finished {
    loop {
        if let Event::Finished { id, connection, outcome, .. } = swarm.next_behaviour_event().await
        {
            return Finished { id, connection, outcome };
        }
    }
}

/// A peer that accepts connections and substreams, and never says a word on them. Aborting the task
/// breaks its connections.
pub(crate) async fn mute(key: &Keypair) -> (Multiaddr, JoinHandle<()>) {
    let mut transport = secure(MemoryTransport::default(), key);
    transport.listen_on(ListenerId::next(), "/memory/0".parse().unwrap()).unwrap();
    let address = match transport.select_next_some().await {
        TransportEvent::NewAddress { listen_addr, .. } => listen_addr,
        other => panic!("not listening: {other:?}"),
    };
    let task = tokio::spawn(async move {
        let (mut muxers, mut substreams) = (Vec::<StreamMuxerBox>::new(), Vec::new());
        let mut upgrades = futures::stream::FuturesUnordered::new();
        poll_fn(|cx| {
            while let Poll::Ready(Some(event)) = transport.poll_next_unpin(cx) {
                upgrades.extend(event.into_incoming().map(|(upgrade, _)| upgrade));
            }
            while let Poll::Ready(Some(upgraded)) = upgrades.poll_next_unpin(cx) {
                muxers.push(upgraded.expect("the dialler speaks plaintext").1);
            }
            for muxer in &mut muxers {
                let _ = muxer.poll_unpin(cx);
                while let Poll::Ready(Ok(substream)) = muxer.poll_inbound_unpin(cx) {
                    substreams.push(substream);
                }
            }
            Poll::<()>::Pending
        })
        .await;
    });
    (address, task)
}
