//! Pings between swarms, to a peer that breaks some of them off.

use std::task::{Context, Poll};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, Swarm, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p_swarm_test::SwarmExt;
use peerage_api::{
    Ask,
    peers::{Command, PeersError, Ping, Pong},
};
use peerage_dialog::{Config, Dialogs, Event, Handler, Inbound};
use peerage_link::Behaviour;
use peerage_types::Network;

const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");

/// Resets the first streams, as rust-libp2p does with one that another has followed; then answers.
struct Moody {
    dialogs: Dialogs<()>,
    resets: usize,
}

impl Moody {
    fn new(resets: usize) -> Self {
        let mut config = Config::new([PING]);
        config.plain = vec![PING];
        Self { dialogs: Dialogs::new(config), resets }
    }

    fn on_inbound(&mut self, inbound: Inbound) {
        if self.resets > 0 {
            self.resets -= 1;
            return self.dialogs.refuse(inbound);
        }
        self.dialogs.serve(inbound, async |mut stream| {
            let mut block = [0; 32];
            if stream.read_exact(&mut block).await.is_ok() {
                let _ = stream.write_all(&block).await;
                let _ = stream.flush().await;
            }
        });
    }
}

impl NetworkBehaviour for Moody {
    type ConnectionHandler = Handler;
    type ToSwarm = ();

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

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<(), THandlerInEvent<Self>>> {
        while let Poll::Ready(step) = self.dialogs.poll(cx) {
            match step {
                ToSwarm::GenerateEvent(Event::Inbound(inbound)) => self.on_inbound(inbound),
                ToSwarm::GenerateEvent(_) => {}
                other => return Poll::Ready(other.map_out(drop)),
            }
        }
        Poll::Pending
    }
}

/// One ping to a peer that resets so many streams first.
async fn ping(resets: usize) -> Result<Pong, PeersError> {
    let mut ours = Swarm::new_ephemeral_tokio(|_| Behaviour::new(&Network::default()));
    let mut theirs = Swarm::new_ephemeral_tokio(|_| Moody::new(resets));
    theirs.listen().with_memory_addr_external().await;
    ours.connect(&mut theirs).await;
    let (ask, answer) = Ask::new(Ping { peer: *theirs.local_peer_id() });
    ours.behaviour_mut().on_command(Command::Ping(ask));
    tokio::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return answer.expect("it is not dropped"),
            _ = ours.next() => {}
            _ = theirs.next() => {}
        }
    }
}

#[tokio::test]
async fn a_ping_that_the_peer_breaks_off_is_tried_again() {
    ping(0).await.unwrap();
    ping(1).await.unwrap();
    ping(2).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_breaks_off_every_ping_is_told_apart_from_one_that_answers() {
    let error = ping(usize::MAX).await.unwrap_err();
    assert!(matches!(error, PeersError::Broken { .. }), "{error}");
}
