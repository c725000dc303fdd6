//! Nodes with nothing but the behaviour: a swarm in a task of its own.

use std::{collections::BTreeMap, future::Future, time::Duration};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    core::{
        Transport as _,
        muxing::StreamMuxerBox,
        transport::{Boxed, MemoryTransport},
        upgrade::Version,
    },
    identity::Keypair,
    noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    yamux,
};
use peerage_api::{Command, Link, Local, Node as Handle, users::Users};
use peerage_identity::{Behaviour, Config, Directory, Event};
use peerage_store::Store;
use peerage_types::{Handle as Name, Network, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, Presence, Profile, Signed, SigningKey, recovery_commitment};
use tokio::sync::{mpsc, oneshot};

/// What should happen; the limit is reached only when it does not.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen"),
    }
}

type Work = Box<dyn FnOnce(&mut Swarm<Behaviour>) + Send>;

/// A node that runs until it is dropped.
pub(crate) struct Node {
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) directory: Directory,
    pub(crate) users: Users,
    pub(crate) events: mpsc::Receiver<Event>,
    work: mpsc::Sender<Work>,
}

impl Node {
    pub(crate) async fn new() -> Self {
        Self::with(Store::in_memory()).await
    }

    pub(crate) async fn with(store: Store) -> Self {
        let behaviour = |peer| Behaviour::new(Config::new(Network::default(), peer), store);
        let (swarm, address) = listening(behaviour).await;
        let (peer, directory) = (*swarm.local_peer_id(), swarm.behaviour().directory());
        let (work, works) = mpsc::channel(64);
        let (tell, events) = mpsc::channel(1024);
        tokio::spawn(drive(swarm, works, tell));
        let (commands, mut asked) = mpsc::channel(64);
        let answers = directory.clone();
        tokio::spawn(async move {
            while let Some(command) = asked.recv().await {
                if let Command::Users(command) = command {
                    answers.on_command(command);
                }
            }
        });
        let users = Handle::new(Link::Local(Local::new(commands))).users();
        Self { peer, address, directory, users, events, work }
    }

    /// Does something with the swarm.
    pub(crate) async fn run(&self, work: impl FnOnce(&mut Swarm<Behaviour>) + Send + 'static) {
        assert!(self.work.send(Box::new(work)).await.is_ok(), "the node has stopped");
    }

    pub(crate) async fn dial(&self, other: &Multiaddr) {
        let other = other.clone();
        self.run(|swarm| swarm.dial(other).unwrap()).await;
    }

    pub(crate) async fn is_connected(&self, peer: PeerId) -> bool {
        let (tell, told) = oneshot::channel();
        self.run(move |swarm| tell.send(swarm.is_connected(&peer)).unwrap()).await;
        told.await.unwrap()
    }

    pub(crate) async fn gossip(&self, ticket: u64, source: PeerId, data: bytes::Bytes) {
        self.run(move |swarm| swarm.behaviour_mut().on_gossip(ticket, source, data)).await;
    }

    /// The next event that is asked for; others are passed over.
    pub(crate) async fn event<T>(&mut self, what: &str, is_it: impl Fn(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the node has stopped");
                if let Some(found) = is_it(event) {
                    return found;
                }
            }
        };
        within(what, found).await
    }

    pub(crate) async fn message(&mut self) -> bytes::Bytes {
        let message = |event| match event {
            Event::Gossip(message) => Some(message),
            _ => None,
        };
        self.event("a message", message).await
    }

    /// Waits until a user is known here with a number.
    pub(crate) async fn knows(&self, person: &Person, seq: u64) {
        let mut events = self.users.events().await.unwrap();
        let is_known = async {
            while self.directory.profile(&person.user()).is_none_or(|p| p.seq != seq) {
                assert!(events.next().await.is_some(), "the events ended");
            }
        };
        within("that a profile is known", is_known).await;
    }
}

/// A swarm that listens in memory.
pub(crate) async fn listening<B: NetworkBehaviour>(
    behaviour: impl FnOnce(PeerId) -> B,
) -> (Swarm<B>, Multiaddr) {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(secured)
        .unwrap()
        .with_behaviour(|key| behaviour(key.public().to_peer_id()))
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build();
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return (swarm, address);
        }
    }
}

async fn drive(
    mut swarm: Swarm<Behaviour>,
    mut works: mpsc::Receiver<Work>,
    tell: mpsc::Sender<Event>,
) {
    loop {
        tokio::select! {
            biased;
            work = works.recv() => match work {
                Some(work) => work(&mut swarm),
                None => return,
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(event) => _ = tell.try_send(event),
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    swarm.behaviour_mut().on_identified(peer_id, true);
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

/// Somebody with a key.
pub(crate) struct Person(SigningKey);

impl Person {
    pub(crate) fn new(number: u32) -> Self {
        Self(SigningKey::from_bytes(&blake3::derive_key("test key", &number.to_be_bytes())))
    }

    pub(crate) fn user(&self) -> UserId {
        UserId(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn profile(&self, seq: u64, handle: &str) -> Bundle {
        let profile = Profile {
            user: self.user(),
            seq,
            handle: Some(Name::new(handle).unwrap()),
            display_name: Some(format!("The {seq}th {handle}")),
            bio: BTreeMap::new(),
            avatar: None,
            services: [].into(),
            mailboxes: [].into(),
            recovery: recovery_commitment(&[7; 32]),
            updated: UnixMillis::now(),
        };
        Bundle { profile: Some(Signed::sign(profile, &self.0).unwrap()), ..Bundle::default() }
    }

    pub(crate) fn at(&self, node: PeerId, valid: Duration) -> Bundle {
        let (user, issued) = (self.user(), UnixMillis::now());
        let presence = Presence { user, node, seq: issued.0, issued, expires: issued.plus(valid) };
        Bundle { presences: vec![Signed::sign(presence, &self.0).unwrap()], ..Bundle::default() }
    }
}
