//! A peer that does what no correct node does.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p_core::{Endpoint, Multiaddr, transport::PortUse};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, StreamProtocol, Swarm, SwarmEvent,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p_swarm_test::SwarmExt as _;
use peerage_dialog::{Config, DialogError, Dialogs, Event as Dialog, Handler, Open, Stream};
use peerage_introductions::{
    Event,
    bounds::{MAX_PER_SOURCE, SERVE_BURST},
};
use peerage_types::{Network, UnixMillis};
use peerage_wire::introductions::{
    Frame, LENGTH_BYTES, MAX_LIFETIME, MAX_RECORDS, Record, Signed, SigningKey, length, protocol,
};

use crate::support::{Node, within};

/// Nothing but dialogs.
struct Raw(Dialogs<Option<Frame>>);

impl NetworkBehaviour for Raw {
    type ConnectionHandler = Handler;
    type ToSwarm = Dialog<Option<Frame>>;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.0.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(self.0.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.0.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.0.poll(cx)
    }
}

fn speaks() -> StreamProtocol {
    StreamProtocol::try_from_owned(protocol(&Network::default())).unwrap()
}

fn record(secret: [u8; 32], seq: UnixMillis) -> Bytes {
    let keys = Keypair::ed25519_from_bytes(secret).unwrap();
    let record = Record {
        peer: keys.public().to_peer_id(),
        seq,
        lifetime: MAX_LIFETIME,
        namespaces: vec![[1; 20]],
        addresses: vec!["/memory/1".parse().unwrap()],
    };
    let key = SigningKey::from_bytes(&secret);
    Signed::sign(record, &key, &Network::default()).unwrap().bytes().clone()
}

/// A peer of which nobody knows.
fn stranger(number: u32) -> Bytes {
    let mut secret = [9; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    record(secret, UnixMillis::now())
}

async fn hear(stream: &mut Stream) -> Option<Frame> {
    let mut head = [0; LENGTH_BYTES];
    stream.read_exact(&mut head).await.ok()?;
    let mut body = vec![0; length(head).ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Frame::decode(&body.into()).ok()
}

/// Says this and hears what comes.
async fn say(mut stream: Stream, words: Vec<u8>) -> Option<Frame> {
    stream.write_all(&words).await.ok()?;
    stream.close().await.ok()?;
    hear(&mut stream).await
}

/// Answers with this, whatever is asked.
async fn reply(mut stream: Stream, words: Vec<u8>) -> Option<Frame> {
    let asked = hear(&mut stream).await;
    let _ = stream.write_all(&words).await;
    let _ = stream.close().await;
    asked
}

struct Hostile {
    swarm: Swarm<Raw>,
    victim: PeerId,
}

impl Hostile {
    async fn connected(victim: &Node) -> Self {
        let raw = || Raw(Dialogs::new(Config::new([speaks()])));
        let mut swarm = Swarm::new_ephemeral_tokio(|_| raw());
        swarm.dial(victim.address.clone()).unwrap();
        let mut hostile = Self { swarm, victim: victim.peer };
        while !hostile.swarm.is_connected(&hostile.victim) {
            hostile.swarm.select_next_some().await;
        }
        hostile
    }

    /// Says something; answers with `answer` meanwhile.
    async fn say(&mut self, words: Vec<u8>) -> Result<Option<Frame>, DialogError> {
        let open = Open::new(self.victim, speaks());
        let dialogs = &mut self.swarm.behaviour_mut().0;
        let said = dialogs.open(open, |stream| say(stream, words));
        loop {
            match within("an end", self.swarm.select_next_some()).await {
                SwarmEvent::Behaviour(Dialog::Finished { id, outcome, .. }) if id == said => {
                    return outcome;
                }
                SwarmEvent::Behaviour(Dialog::Inbound(inbound)) => {
                    self.swarm.behaviour_mut().0.refuse(inbound);
                }
                _ => {}
            }
        }
    }

    /// Answers the next question with this; returns the question.
    async fn answer(&mut self, words: Vec<u8>) -> Frame {
        loop {
            match within("a question", self.swarm.select_next_some()).await {
                SwarmEvent::Behaviour(Dialog::Inbound(inbound)) => {
                    let words = words.clone();
                    self.swarm.behaviour_mut().0.serve(inbound, |stream| reply(stream, words));
                }
                SwarmEvent::Behaviour(Dialog::Finished { outcome, .. }) => {
                    return outcome.unwrap().unwrap();
                }
                _ => {}
            }
        }
    }
}

fn misbehaved(event: Event) -> Option<String> {
    match event {
        Event::Misbehaved { reason, .. } => Some(reason),
        _ => None,
    }
}

#[tokio::test]
async fn forged_records_are_misbehaviour_and_are_not_kept() {
    let mut victim = Node::new().await;
    let mut hostile = Hostile::connected(&victim).await;
    let mut forged = stranger(1).to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let answer = Frame::Answer(vec![stranger(2), forged.into()]).encode();
    assert!(matches!(hostile.answer(answer).await, Frame::Ask { limit: 16, .. }));
    let reason = victim.event("a complaint", misbehaved).await;
    assert!(reason.contains("not valid"), "{reason}");

    let own = vec![stranger(3)];
    let ask = Frame::Ask { limit: 16, namespace: None, own };
    assert_eq!(hostile.say(ask.encode()).await.unwrap(), None, "reset");
    let reason = victim.event("a complaint", misbehaved).await;
    assert!(reason.contains("another"), "{reason}");
    assert_eq!(victim.ask(|behaviour| behaviour.known()).await, 0);
}

#[tokio::test]
async fn who_asks_in_masses_is_told_to_wait_and_gets_no_more_than_a_few_answers() {
    let victim = Node::new().await;
    let mut hostile = Hostile::connected(&victim).await;
    let ask = Frame::Ask { limit: 16, namespace: None, own: vec![] }.encode();
    let mut answers = 0;
    for _ in 0..200 {
        match hostile.say(ask.clone()).await {
            Ok(Some(Frame::Answer(records))) => {
                assert_eq!(records.len(), 1, "the victim itself");
                answers += 1;
            }
            Err(DialogError::Busy { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answers, SERVE_BURST);
}

#[tokio::test]
async fn thousands_of_made_up_peers_take_the_share_of_one_source() {
    let mut victim = Node::new().await;
    let mut honest = Node::new().await;
    let mut friend = Node::new().await;
    friend.connect(&mut honest).await;
    victim.connect(&mut honest).await;
    let introduced = |event: Event| match event {
        Event::Introduced { peer, .. } => Some(peer),
        _ => None,
    };
    assert_eq!(victim.event("that the friend is known", introduced).await, friend.peer);
    let mut hostile = Hostile::connected(&victim).await;
    hostile.answer(Frame::Answer(vec![]).encode()).await;
    // Every search is a question more that it may answer.
    let mut number = 0;
    for search in 0..2000 / MAX_RECORDS as u64 {
        let lie = |_| {
            number += 1;
            stranger(number)
        };
        let lies = Frame::Answer((0..MAX_RECORDS).map(lie).collect()).encode();
        victim.run(move |swarm| swarm.behaviour_mut().find(search, [1; 20])).await;
        let ended = |event| matches!(event, Event::Searched { .. }).then_some(());
        futures::join!(hostile.answer(lies), victim.event("the end of a search", ended));
    }
    let known = victim.ask(|behaviour| behaviour.known()).await;
    assert_eq!(known, MAX_PER_SOURCE + 2, "those of the flood, the honest peer and its friend");
}
