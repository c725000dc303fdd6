//! Keeps the DHT's thread running: starts it, watches it, replaces it, remembers its nodes.

use std::{
    collections::HashMap,
    net::{SocketAddr, SocketAddrV4},
    time::Duration,
};

use mainline::async_dht::AsyncDht;
use peerage_store::Marks;
use tokio::{
    net::lookup_host,
    sync::mpsc,
    task::{Id as TaskId, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::{
    Health, Report, Request, Start,
    round::{self, Ended},
};
use crate::{Config, cadence::Done, config::MAX_BOOTSTRAP, dials::RoundId, nodes};

/// Between two looks at the thread.
const WATCH_INTERVAL: Duration = Duration::from_secs(60);
/// A new thread must know nodes after this time.
const FIRST_WATCH: Duration = Duration::from_secs(10);
/// Until it does, it is looked at so often: others ask only a DHT that is up.
const FIRST_LOOKS: Duration = Duration::from_millis(250);
/// How long the thread may take to answer a look; it sleeps 50 ms at most.
const WATCH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a name server may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new thread may take.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Before a thread that failed is replaced; doubles each time, up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// Between two savings of its nodes.
const SAVE_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How long saving may take when the node stops.
const SAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls in a row that did not end: the thread hangs, or an attacker leads it on.
const MAX_HUNG: u32 = 3;
/// The crate refreshes its table so often, and then becomes a server if nothing keeps others from
/// reaching it. As a server it is deaf to most: see the crate's page.
const REFRESH_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How long before that it is replaced: two looks.
const REPLACE_BEFORE: Duration = Duration::from_secs(130);

pub(super) struct Supervisor {
    config: Config,
    start: Start,
    marks: Option<Marks>,
    out: mpsc::Sender<Report>,
    life: Life,
    failures: u32,
    hung: u32,
    health: Health,
    calls: JoinSet<Ended>,
    tickets: HashMap<TaskId, Ticket>,
    nodes: Vec<SocketAddrV4>,
    save_at: Instant,
}

enum Life {
    Up { dht: AsyncDht, since: Instant, watch_at: Instant },
    Down { until: Instant },
}

/// What is answered when a call ends without an answer.
#[derive(Debug, Clone, Copy)]
enum Ticket {
    Round(RoundId),
    Publish,
    Resolve(u64),
}

impl Ticket {
    fn of(request: &Request) -> Self {
        match request {
            Request::Round(round) => Self::Round(round.id),
            Request::Publish(_) => Self::Publish,
            Request::Resolve { id, .. } => Self::Resolve(*id),
        }
    }

    fn failed(self) -> Report {
        match self {
            Self::Round(round) => Report::RoundEnded { round, done: Done::default(), asked: None },
            Self::Publish => Report::Published { stored: false },
            Self::Resolve(id) => Report::Resolved { id, item: None },
        }
    }
}

impl Supervisor {
    pub(super) fn new(
        config: Config,
        start: Start,
        marks: Option<Marks>,
        out: mpsc::Sender<Report>,
    ) -> Self {
        let now = Instant::now();
        Self {
            config,
            start,
            marks,
            out,
            life: Life::Down { until: now },
            failures: 0,
            hung: 0,
            health: Health::default(),
            calls: JoinSet::new(),
            tickets: HashMap::new(),
            nodes: Vec::new(),
            save_at: now + SAVE_INTERVAL,
        }
    }

    /// Until the handle is dropped or stopped.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        self.load().await;
        self.on_time().await;
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.accept(request).await,
                    None => break,
                },
                Some(ended) = self.calls.join_next_with_id() => self.on_ended(ended).await,
                () = sleep_until(wake_at) => self.on_time().await,
            }
        }
        self.finish().await;
    }

    async fn accept(&mut self, request: Request) {
        let ticket = Ticket::of(&request);
        let Life::Up { dht, .. } = &self.life else {
            return self.report(ticket.failed()).await;
        };
        let (dht, out) = (dht.clone(), self.out.clone());
        let task = match request {
            Request::Round(round) => self.calls.spawn(round::round(dht, *round, out)),
            Request::Publish(item) => self.calls.spawn(round::publish(dht, *item)),
            Request::Resolve { id, key } => self.calls.spawn(round::resolve(dht, id, key)),
        };
        self.tickets.insert(task.id(), ticket);
    }

    async fn on_ended(&mut self, ended: Result<(TaskId, Ended), JoinError>) {
        match ended {
            Ok((task, Ended { report, hung, answered })) => {
                self.tickets.remove(&task);
                self.report(report).await;
                self.hung = if hung { self.hung + 1 } else { 0 };
                if self.hung >= MAX_HUNG {
                    self.fail("it does not end lookups").await;
                } else if answered == Some(false) && self.health.is_up {
                    // Dozens were asked: its table does not notice for a quarter of an hour.
                    self.fail("none of its nodes answers").await;
                }
            }
            Err(error) => {
                if let Some(ticket) = self.tickets.remove(&error.id()) {
                    self.report(ticket.failed()).await;
                }
                if error.is_panic() {
                    self.fail("its thread ended").await;
                }
            }
        }
    }

    async fn on_time(&mut self) {
        let now = Instant::now();
        match &self.life {
            Life::Down { until } if *until <= now => self.rise().await,
            Life::Up { watch_at, .. } if *watch_at <= now => self.watch().await,
            Life::Down { .. } | Life::Up { .. } => {}
        }
        if self.save_at <= now {
            self.save().await;
        }
    }

    fn wake_at(&self) -> Instant {
        match &self.life {
            Life::Down { until } => *until,
            Life::Up { watch_at, .. } => *watch_at,
        }
    }

    async fn rise(&mut self) {
        let entrances = self.entrances().await;
        if entrances.is_empty() {
            return self.fail("no name of its bootstrap list can be looked up").await;
        }
        let start = self.start.clone();
        let starting = tokio::task::spawn_blocking(move || start(&entrances));
        match timeout(START_TIMEOUT, starting).await {
            Ok(Ok(Ok(dht))) => {
                let since = Instant::now();
                let watch_at = since + FIRST_LOOKS;
                self.life = Life::Up { dht: dht.as_async(), since, watch_at };
            }
            Ok(Ok(Err(error))) => self.fail(&format!("its socket: {error}")).await,
            Ok(Err(_)) => self.fail("it panicked at its start").await,
            Err(_) => self.fail("it does not start").await,
        }
    }

    /// Nodes we knew, and the bootstrap list. Names are looked up here: the crate blocks on them, and
    /// takes a list of which none is found for the order to be alone.
    async fn entrances(&self) -> Vec<SocketAddrV4> {
        let mut found = self.nodes.clone();
        for entry in self.config.bootstrap.iter().take(MAX_BOOTSTRAP) {
            let Ok(Ok(addresses)) = timeout(RESOLVE_TIMEOUT, lookup_host(entry)).await else {
                debug!(%entry, "a bootstrap node of the BitTorrent DHT is not found");
                continue;
            };
            let v4 = addresses.filter_map(|address| match address {
                SocketAddr::V4(address) => Some(address),
                SocketAddr::V6(_) => None,
            });
            found.extend(v4.take(2));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    async fn watch(&mut self) {
        let Life::Up { dht, since, watch_at } = &mut self.life else { return };
        *watch_at = Instant::now() + WATCH_INTERVAL;
        let (dht, age) = (dht.clone(), since.elapsed());
        // A task, because the handle panics when the thread has ended.
        let look = tokio::spawn(async move { (dht.info().await, dht.to_bootstrap().await) });
        let Ok(Ok((info, nodes))) = timeout(WATCH_TIMEOUT, look).await else {
            return self.fail("its thread does not answer").await;
        };
        if nodes.is_empty() && age < FIRST_WATCH {
            return self.look_again_soon();
        }
        if nodes.is_empty() {
            return self.fail("none of its nodes answers").await;
        }
        self.failures = 0;
        self.nodes = nodes::decode(&nodes::encode(&nodes), self.config.local_only);
        let seen_as = info.public_address();
        let local = Some(info.local_addr());
        let health = Health { is_up: true, nodes: nodes.len(), seen_as, local, ..self.health };
        self.tell(health).await;
        if info.server_mode() || (!info.firewalled() && is_before_refresh(age)) {
            debug!("the DHT's thread is replaced before it becomes a server");
            self.drop_thread(Instant::now());
        }
    }

    fn look_again_soon(&mut self) {
        if let Life::Up { watch_at, .. } = &mut self.life {
            *watch_at = Instant::now() + FIRST_LOOKS;
        }
    }

    async fn fail(&mut self, reason: &str) {
        let backoff = (MIN_BACKOFF * 2_u32.saturating_pow(self.failures.min(16))).min(MAX_BACKOFF);
        self.failures += 1;
        if self.failures == 3 {
            warn!(
                reason,
                "the BitTorrent DHT is out of reach; it is tried again from time to time"
            );
        } else {
            debug!(reason, ?backoff, "the BitTorrent DHT failed");
        }
        self.drop_thread(Instant::now() + backoff);
        let restarts = self.health.restarts.saturating_add(1);
        self.tell(Health { is_up: false, nodes: 0, restarts, ..self.health }).await;
    }

    /// The thread ends once its handles are gone, those of calls as well.
    fn drop_thread(&mut self, until: Instant) {
        self.calls.abort_all();
        self.hung = 0;
        self.life = Life::Down { until };
    }

    async fn tell(&mut self, health: Health) {
        if self.health != health {
            self.health = health;
            self.report(Report::Health(health)).await;
        }
    }

    async fn report(&self, report: Report) {
        // Nobody is left to hear it when the node stops.
        _ = self.out.send(report).await;
    }

    async fn load(&mut self) {
        let Some(marks) = &self.marks else { return };
        match marks.get(nodes::MARK).await {
            Ok(Some(value)) => self.nodes = nodes::decode(&value, self.config.local_only),
            Ok(None) => {}
            Err(error) => debug!(%error, "the DHT's nodes are not read"),
        }
    }

    async fn save(&mut self) {
        self.save_at = Instant::now() + SAVE_INTERVAL;
        let Some(marks) = self.marks.as_ref().filter(|_| !self.nodes.is_empty()) else { return };
        let nodes: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        if let Err(error) = marks.put(nodes::MARK, nodes::encode(&nodes)).await {
            debug!(%error, "the DHT's nodes are not saved");
        }
    }

    async fn finish(mut self) {
        if let Life::Up { .. } = self.life {
            self.watch().await;
        }
        _ = timeout(SAVE_TIMEOUT, self.save()).await;
        self.calls.shutdown().await;
    }
}

/// Whether the crate's next refresh of its table is near.
fn is_before_refresh(age: Duration) -> bool {
    let into = Duration::from_secs(age.as_secs() % REFRESH_INTERVAL.as_secs());
    into + REPLACE_BEFORE >= REFRESH_INTERVAL
}
