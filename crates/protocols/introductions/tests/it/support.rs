//! Nodes with nothing but the behaviour: a swarm in a task of its own.

use std::{future::Future, time::Duration};

use futures::StreamExt as _;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt as _;
use peerage_introductions::{Behaviour, Config, Event};
use peerage_types::Network;
use tokio::sync::mpsc;

/// What should happen; the limit is reached only when it does not.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen"),
    }
}

type Work = Box<dyn FnOnce(&mut Swarm<Behaviour>) + Send>;

/// What a node tells.
#[derive(Debug)]
pub(crate) enum Told {
    Connected(PeerId),
    Event(Event),
}

/// A node that runs until it is dropped.
pub(crate) struct Node {
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    told: mpsc::Receiver<Told>,
    work: mpsc::Sender<Work>,
}

impl Node {
    pub(crate) async fn new() -> Self {
        Self::of(Network::default()).await
    }

    pub(crate) async fn of(network: Network) -> Self {
        let mut swarm = Swarm::new_ephemeral_tokio(|keys| {
            Behaviour::new(Config { network, allow_private: true }, &keys)
        });
        let (address, _) = swarm.listen().await;
        let peer = *swarm.local_peer_id();
        let (work, works) = mpsc::channel(64);
        let (tell, told) = mpsc::channel(1024);
        tokio::spawn(drive(swarm, works, tell));
        Self { peer, address, told, work }
    }

    /// Does something with the swarm.
    pub(crate) async fn run(&self, work: impl FnOnce(&mut Swarm<Behaviour>) + Send + 'static) {
        assert!(self.work.send(Box::new(work)).await.is_ok(), "the node has stopped");
    }

    pub(crate) async fn dial(&self, address: &Multiaddr) {
        let address = address.clone();
        self.run(|swarm| swarm.dial(address).unwrap()).await;
    }

    /// Connects to another and waits until both know.
    pub(crate) async fn connect(&mut self, other: &mut Self) {
        self.dial(&other.address).await;
        let (here, there) = (self.peer, other.peer);
        self.told("a connection", |told| matches!(told, Told::Connected(p) if p == there)).await;
        other.told("a connection", |told| matches!(told, Told::Connected(p) if p == here)).await;
    }

    async fn told(&mut self, what: &str, is_it: impl Fn(Told) -> bool) {
        let found = async { while !is_it(self.told.recv().await.expect("the node runs")) {} };
        within(what, found).await;
    }

    /// The next event that is asked for; others are passed over.
    pub(crate) async fn event<T>(&mut self, what: &str, is_it: impl Fn(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Told::Event(event) = self.told.recv().await.expect("the node runs")
                    && let Some(found) = is_it(event)
                {
                    return found;
                }
            }
        };
        within(what, found).await
    }

    /// Asks the behaviour.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Behaviour) -> T + Send + 'static,
    ) -> T {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.run(|swarm| _ = reply.send(ask(swarm.behaviour())).ok()).await;
        within("an answer", answer).await.unwrap()
    }
}

async fn drive(
    mut swarm: Swarm<Behaviour>,
    mut works: mpsc::Receiver<Work>,
    tell: mpsc::Sender<Told>,
) {
    loop {
        tokio::select! {
            biased;
            work = works.recv() => match work {
                Some(work) => work(&mut swarm),
                None => return,
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(event) => _ = tell.try_send(Told::Event(event)),
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    swarm.behaviour_mut().on_identified(peer_id, true);
                    let _ = tell.try_send(Told::Connected(peer_id));
                }
                _ => {}
            },
        }
    }
}
