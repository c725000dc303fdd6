//! Nodes with nothing but the behaviour: a swarm in a task of its own.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

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
    swarm::{SwarmEvent, dial_opts::DialOpts},
    yamux,
};
use peerage_api::{
    Command, Link, Local, Node as Handle,
    files::{Files, FilesError, Get, MakeShare, Send, Shared, State, Transfer, Wanted},
};
use peerage_files::{Behaviour, Config, Event};
use peerage_store::{Store, TransfersSnapshot};
use peerage_types::{Network, TransferId};
use tempfile::TempDir;
use tokio::sync::mpsc;

pub(crate) const MIB: usize = 1 << 20;

/// What should happen; the limit is reached only when it does not.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen"),
    }
}

/// A node that runs until it is dropped.
pub(crate) struct Node {
    pub(crate) files: Files,
    pub(crate) peer: PeerId,
    pub(crate) dir: TempDir,
}

impl Node {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = Keypair::generate_ed25519();
        let config = Config {
            network: Network::default(),
            local: key.public().to_peer_id(),
            home: dir.path().join("home"),
            downloads: dir.path().join("downloads"),
            accept_from: [].into(),
            accept_max_bytes: 0,
            send_limit_bps: None,
            receive_limit_bps: None,
            allow_relay: false,
        };
        let files = Behaviour::new(config, Store::in_memory(), TransfersSnapshot::default());
        let mut swarm = SwarmBuilder::with_existing_identity(key)
            .with_tokio()
            .with_other_transport(secured)
            .unwrap()
            .with_behaviour(|_| files.unwrap())
            .unwrap()
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(Duration::from_secs(3600))
            })
            .build();
        let peer = *swarm.local_peer_id();
        swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
        while !matches!(swarm.select_next_some().await, SwarmEvent::NewListenAddr { .. }) {}
        let (commands, asked) = mpsc::channel(64);
        tokio::spawn(drive(swarm, asked));
        let files = Handle::new(Link::Local(Local::new(commands))).files();
        Self { files, peer, dir }
    }

    /// Writes a file.
    pub(crate) fn put(&self, name: &str, len: usize) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, noise(len)).unwrap();
        path
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    pub(crate) async fn share(&self, path: &Path) -> (TransferId, String) {
        let request = MakeShare { paths: vec![path.into()], share: None, keep_links: false };
        let share = within("a share", self.files.share(request)).await.unwrap();
        let Shared::Content { ticket, .. } = share.what else { panic!("no content") };
        (share.share, ticket)
    }

    /// Gets something, at so many bytes a second at most.
    pub(crate) async fn get(&self, wanted: Wanted, limit_bps: Option<u64>) -> TransferId {
        let get = Get { limit_bps, ..Get::new(wanted, Some(self.out())) };
        self.files.get(get).await.unwrap().transfer
    }

    pub(crate) async fn send(&self, path: &Path, to: &Self, limit_bps: Option<u64>) -> TransferId {
        let send = Send { limit_bps, ..Send::new(vec![path.into()], to.peer) };
        self.files.send(send).await.unwrap().transfer
    }

    pub(crate) async fn end(&self, transfer: TransferId) -> Result<Transfer, FilesError> {
        within("the end of a transfer", self.files.wait(transfer)).await
    }

    pub(crate) async fn until(
        &self,
        id: TransferId,
        is_it: impl Fn(&Transfer) -> bool,
    ) -> Transfer {
        let mut events = self.files.events(Some(id)).await.unwrap();
        let found = async {
            loop {
                match self.files.transfer(id).await {
                    Ok(now) if is_it(&now) => return now,
                    _ => assert!(events.next().await.is_some(), "the events ended"),
                }
            }
        };
        within("how a transfer should stand", found).await
    }

    pub(crate) async fn in_state(&self, id: TransferId, state: State) -> Transfer {
        self.until(id, |now| now.state == state).await
    }

    /// Gets in touch with another, which then can be offered to.
    pub(crate) async fn meet(&self, other: &Self) {
        let path = other.put("hello", 0);
        let (share, ticket) = other.share(&path).await;
        let id = self.get(Wanted::Ticket(ticket), None).await;
        self.end(id).await.unwrap();
        other.files.unshare(share).await.unwrap();
    }
}

/// Bytes that look random and are the same for the same length.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = len as u64 + 1;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(step).take(len).collect()
}

async fn drive(mut swarm: Swarm<Behaviour>, mut asked: mpsc::Receiver<Command>) {
    loop {
        tokio::select! {
            biased;
            command = asked.recv() => match command {
                Some(Command::Files(command)) => {
                    swarm.behaviour_mut().on_command(command, Instant::now());
                }
                Some(_) => {}
                None => return,
            },
            event = swarm.select_next_some() => {
                if let SwarmEvent::Behaviour(Event::Connect(ask)) = event
                    && let Some(peer) = ask.request.peer
                {
                    // Unanswered, it waits for the connection.
                    let dial = DialOpts::peer_id(peer).addresses(ask.request.addresses.clone());
                    let _ = swarm.dial(dial.build());
                }
            }
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

/// Where a ticket says that somebody is.
pub(crate) fn addresses(ticket: &str) -> Vec<Multiaddr> {
    peerage_wire::files::Ticket::decode(ticket).unwrap().peers.remove(0).1
}
