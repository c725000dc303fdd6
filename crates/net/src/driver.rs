//! The loop that owns the swarm.

use std::{
    collections::HashSet,
    future::poll_fn,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Swarm, core::transport::ListenerId, identity::PublicKey, kad::Mode,
    swarm::SwarmEvent,
};
use peerage_accounts::Accounts;
use peerage_api::{Command, Sink, node};
use peerage_store::{DirLock, Store};
use peerage_wire::{identity, kv};
use tempfile::TempDir;
use tokio::{sync::mpsc, time};

use crate::{
    discovery::{Around, Discovery},
    kad::{self, Queries},
    lan::Lan,
    listen::{ListenError, Place},
    metrics::Recorded,
    routes::{self, Routes},
    settings::{Profile, Settings},
    spread::Spread,
    stack::{LeanStack, Stack, StackEvent},
    topics::Topics,
    vetting::{self, Vetting},
};

/// Commands in a row before the swarm gets its turn.
const COMMAND_BUDGET: u32 = 32;
/// How often expired records are dropped.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Listeners must be up within this time.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// The lock of the data directory, or the folder of a node that keeps nothing.
pub(crate) type Held = (Option<DirLock>, Option<TempDir>);

/// Owns the swarm and everything that is one per node.
pub(crate) struct Driver {
    pub(crate) swarm: Swarm<LeanStack>,
    commands: mpsc::Receiver<Command>,
    pub(crate) settings: Settings,
    pub(crate) public_key: PublicKey,
    pub(crate) network_key: bool,
    pub(crate) store: Store,
    pub(crate) accounts: Accounts,
    pub(crate) metrics: Recorded,
    pub(crate) topics: Topics,
    /// Of users.
    pub(crate) spread: Spread,
    /// Of entries of the key-value store.
    pub(crate) entries: Spread,
    pub(crate) vetting: Vetting,
    pub(crate) discovery: Discovery,
    pub(crate) queries: Queries,
    pub(crate) lan: Lan,
    pub(crate) kad_mode: Option<Mode>,
    /// As they were saved last.
    routes: Routes,
    pub(crate) events: Vec<Sink<node::Event>>,
    pub(crate) started: Instant,
    pub(crate) stopping: bool,
    listeners: HashSet<ListenerId>,
    next_upkeep: Instant,
    /// Held until the store is closed: the lock of the data directory, or a folder that goes away.
    held: Held,
}

impl Driver {
    #[expect(clippy::too_many_arguments, reason = "called once, with what `start` has made")]
    pub(crate) fn new(
        mut swarm: Swarm<LeanStack>,
        commands: mpsc::Receiver<Command>,
        settings: Settings,
        public_key: PublicKey,
        network_key: bool,
        store: Store,
        accounts: Accounts,
        metrics: Recorded,
        held: Held,
    ) -> Self {
        let now = Instant::now();
        let forced = settings.profile != Profile::Peer || settings.local_only;
        let protocol = settings.kad.then(|| kad::protocol(&settings.network));
        let gossip = &mut swarm.behaviour_mut().gossip;
        let spread = Spread::new(identity::topic(&settings.network), gossip);
        let entries = Spread::new(kv::topic(&settings.network), gossip);
        Self {
            swarm,
            commands,
            public_key,
            network_key,
            store,
            accounts,
            metrics,
            topics: Topics::new([spread.topic(), entries.topic()]),
            spread,
            entries,
            vetting: Vetting::default(),
            discovery: Discovery::default(),
            queries: Queries::new(protocol, settings.local_only),
            lan: Lan::new(forced),
            kad_mode: None,
            routes: Routes::new(),
            events: Vec::new(),
            started: now,
            stopping: false,
            listeners: HashSet::new(),
            next_upkeep: now + UPKEEP_INTERVAL,
            held,
            settings,
        }
    }

    pub(crate) fn local(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Starts the listeners and waits until each has an address.
    pub(crate) async fn listen(
        &mut self,
        places: Vec<Place>,
    ) -> Result<Vec<Multiaddr>, ListenError> {
        self.restore_routes().await;
        let mut waiting = HashSet::new();
        for Place { address, optional } in places {
            match self.swarm.listen_on(address.clone()) {
                Ok(id) => _ = waiting.insert(id),
                Err(error) if optional => tracing::debug!(%address, %error, "not listening"),
                Err(error) => return Err(ListenError::of(address, error)),
            }
        }
        self.listeners.clone_from(&waiting);
        for address in self.settings.external.clone() {
            self.swarm.add_external_address(address);
        }
        self.tell_port();
        self.follow_lan();
        let up = async {
            while !waiting.is_empty() {
                let event = self.swarm.select_next_some().await;
                match &event {
                    SwarmEvent::NewListenAddr { listener_id, .. }
                    | SwarmEvent::ListenerClosed { listener_id, .. } => {
                        _ = waiting.remove(listener_id)
                    }
                    _ => {}
                }
                self.on_swarm_event(event);
            }
        };
        if time::timeout(LISTEN_TIMEOUT, up).await.is_err() {
            tracing::warn!("not all listeners have an address yet");
        }
        // One address of each is there; those of the other interfaces are known by now, too.
        while let Some(Some(event)) = self.swarm.next().now_or_never() {
            self.on_swarm_event(event);
        }
        Ok(self.listen_addresses())
    }

    /// Where the node listens, each address ending in its id.
    pub(crate) fn listen_addresses(&self) -> Vec<Multiaddr> {
        let local = self.local();
        let with_id = |address: &Multiaddr| address.clone().with_p2p(local).unwrap_or_else(|a| a);
        let mut addresses: Vec<_> = self.swarm.listeners().map(with_id).collect();
        addresses.sort_unstable();
        addresses
    }

    /// Runs until the node is told to stop or nobody holds a handle any more.
    pub(crate) async fn run(mut self) {
        let mut budget = COMMAND_BUDGET;
        while !self.stopping {
            let deadline = self.deadline();
            tokio::select! {
                biased;
                command = self.commands.recv(), if budget > 0 => {
                    budget -= 1;
                    self.on_command(command);
                }
                event = self.swarm.select_next_some() => {
                    budget = COMMAND_BUDGET;
                    self.on_swarm_event(event);
                }
                () = std::future::ready(()), if budget == 0 => budget = COMMAND_BUDGET,
                topic = poll_fn(|cx| self.topics.poll_gone(cx)) => {
                    self.topics.on_gone(&mut self.swarm.behaviour_mut().gossip, &topic);
                }
                record = poll_fn(|cx| self.vetting.poll(cx)) => {
                    if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
                        vetting::keep(kad, record);
                    }
                }
                () = time::sleep_until(deadline.into()) => self.on_time(Instant::now()),
            }
        }
        self.shut_down().await;
    }

    /// When something is due although nothing happens.
    fn deadline(&self) -> Instant {
        let due = [self.topics.deadline(), self.discovery.deadline()];
        due.into_iter().flatten().fold(self.next_upkeep, Instant::min)
    }

    fn on_time(&mut self, now: Instant) {
        self.topics.on_time(&mut self.swarm.behaviour_mut().gossip, now);
        self.discovery.on_time(now);
        if now < self.next_upkeep {
            return;
        }
        self.next_upkeep = now + UPKEEP_INTERVAL;
        self.accounts.on_time();
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            kad.store_mut().expire(now);
        }
        self.save_routes();
    }

    async fn restore_routes(&mut self) {
        let (local, saved) =
            (self.local(), routes::load(&self.store, &self.settings.network).await);
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            routes::restore(kad, local, &saved);
            self.routes = saved;
        }
    }

    /// Saves the routing table, unless it is empty or as it was: who was found before is worth more
    /// than nobody.
    pub(crate) fn save_routes(&mut self) {
        let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() else { return };
        let routes = routes::of(kad);
        if !routes.is_empty() && routes != self.routes {
            routes::save(&self.store, &self.settings.network, &routes);
            self.routes = routes;
        }
    }

    /// The facet and what it needs of the others.
    pub(crate) fn facet(&mut self) -> (&mut Discovery, Around<'_>) {
        let local = self.local();
        let stack: &mut Stack = self.swarm.behaviour_mut();
        let Stack { kad, mainline, peers, introductions, mdns4, mdns6, .. } = stack;
        let mdns = [mdns4.as_ref(), mdns6.as_ref()].into_iter().flatten();
        let around = Around {
            kad: kad.as_mut(),
            queries: &mut self.queries,
            mainline: mainline.as_mut(),
            peers,
            introductions,
            local,
            mdns: mdns.map(|mdns| mdns.members()).reduce(usize::max),
        };
        (&mut self.discovery, around)
    }

    /// Tells subscribers of the node's own events.
    pub(crate) fn tell(&mut self, event: &node::Event) {
        self.events.retain(|sink| sink.offer(event.clone()));
    }

    /// Serves Kademlia to others, or not, as the connections suggest.
    pub(crate) fn follow_lan(&mut self) {
        let mode = self.lan.mode();
        if mode == self.kad_mode {
            return;
        }
        self.kad_mode = mode;
        if let Some(kad) = self.swarm.behaviour_mut().kad.as_mut() {
            kad.set_mode(mode);
        }
    }

    /// Stops accepting; for the shutdown.
    pub(crate) fn stop_listening(&mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            self.swarm.remove_listener(listener);
        }
        self.commands.close();
    }

    /// Gives up the store and the lock, in this order, when all else is done.
    pub(crate) fn into_storage(self) -> (Store, Held) {
        (self.store, self.held)
    }

    pub(crate) async fn next_event(&mut self) -> SwarmEvent<StackEvent> {
        self.swarm.select_next_some().await
    }
}
