//! The handle: answers the facet, and tells the behaviour what it must do.

use std::{
    future::Future,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use futures::task::AtomicWaker;
use libp2p_core::Multiaddr;
use peerage_api::{
    Ask, Method, Open,
    kv::{Apply, Command, Get, KvError, Sync, Watch},
    users::{Auth, AuthError},
};
use peerage_types::{PeerId, SpaceId, UnixMillis};
use tokio::{
    runtime,
    sync::{Notify, Semaphore},
};

use crate::{
    bounds::{MAX_UNTOLD, MAX_WATCHES},
    replica::{Replica, Signer},
};

mod spaces;

/// The users of this node, as the key-value store sees them.
pub trait Users: std::fmt::Debug + Send + std::marker::Sync {
    /// Signs for a user, whose session is checked.
    ///
    /// # Errors
    /// [`AuthError`].
    fn signer(&self, auth: &Auth) -> Result<Signer, AuthError>;
}

/// A handle on the key-value store of a node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Kv(pub(crate) Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) replica: Replica,
    pub(crate) local: Signer,
    pub(crate) runtime: runtime::Handle,
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) waker: AtomicWaker,
    /// There may be something to expire earlier than was thought.
    pub(crate) upkeep: Notify,
    /// Whether anybody is connected who might want to know.
    pub(crate) has_peers: AtomicBool,
    /// Where this node may be reached, for tickets.
    pub(crate) addresses: Mutex<Vec<Multiaddr>>,
    watches: Arc<Semaphore>,
}

/// A peer and where it may be reached.
pub(crate) type Whereabouts = (PeerId, Vec<Multiaddr>);

/// What the behaviour shall do.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Changes of this node's own, as their sequence numbers; the oldest are dropped when nobody
    /// takes them, since sessions find them all the same.
    pub(crate) written: Vec<(SpaceId, RangeInclusive<u64>)>,
    pub(crate) syncs: Vec<Ask<Sync>>,
    pub(crate) joined: Vec<SpaceId>,
    pub(crate) left: Vec<SpaceId>,
    /// Peers of a ticket.
    pub(crate) connect: Vec<Whereabouts>,
}

impl Kv {
    pub(crate) fn new(replica: Replica, local: Signer) -> Self {
        Self(Arc::new(Shared {
            replica,
            local,
            runtime: runtime::Handle::current(),
            outbox: Mutex::default(),
            waker: AtomicWaker::new(),
            upkeep: Notify::new(),
            has_peers: AtomicBool::new(false),
            addresses: Mutex::default(),
            watches: Arc::new(Semaphore::new(MAX_WATCHES)),
        }))
    }

    /// Takes a command and answers it, now or later. Never blocks.
    pub fn on_command(&self, command: Command, users: &Arc<dyn Users>) {
        let users = Arc::clone(users);
        match command {
            Command::Apply(ask) => {
                self.answer(ask, |kv, it| async move { kv.apply(it, users).await })
            }
            Command::Get(ask) => self.get(ask),
            Command::List(ask) => {
                self.answer(
                    ask,
                    |kv, it| async move { kv.0.replica.list(it, UnixMillis::now()).await },
                )
            }
            Command::History(ask) => self
                .answer(ask, |kv, it| async move { kv.0.replica.history(it.space, it.key).await }),
            Command::GetStats(ask) => {
                self.answer(ask, |kv, it| async move { kv.0.replica.stats(it.space).await });
            }
            Command::Sync(ask) => self.tell(|outbox| outbox.syncs.push(ask)),
            Command::SpaceCreate(ask) => {
                self.answer(ask, |kv, it| async move { kv.create(it, users).await });
            }
            Command::SpaceList(ask) => ask.reply(Ok(self.spaces())),
            Command::SpaceShow(ask) => {
                let shown = self.show(ask.request.space);
                ask.reply(shown);
            }
            Command::SpaceGrant(ask) => {
                self.answer(ask, |kv, it| async move { kv.grant(it, users).await });
            }
            Command::SpaceRevoke(ask) => {
                self.answer(ask, |kv, it| async move { kv.revoke(it, users).await });
            }
            Command::MakeTicket(ask) => {
                self.answer(ask, |kv, it| async move { kv.ticket(it, users).await });
            }
            Command::SpaceJoin(ask) => {
                self.answer(ask, |kv, it| async move { kv.join(it, users).await });
            }
            Command::SpaceLeave(ask) => {
                self.answer(ask, |kv, it| async move { kv.leave(it.space).await });
            }
            Command::Watch(open) => self.watch(open),
        }
    }

    fn get(&self, ask: Ask<Get>) {
        let now = UnixMillis::now();
        match self.0.replica.get_at_once(ask.request.space, &ask.request.key, now) {
            Some(answer) => ask.reply(answer),
            None => self.answer(ask, move |kv, it| async move {
                kv.0.replica.get(it.space, it.key, now).await
            }),
        }
    }

    fn answer<M, F, A>(&self, ask: Ask<M>, work: F)
    where
        M: Method<Error = KvError>,
        F: FnOnce(Self, M) -> A + Send + 'static,
        A: Future<Output = Result<M::Reply, KvError>> + Send + 'static,
    {
        let (request, door) = ask.split();
        let work = work(self.clone(), request);
        // A caller that no longer waits is no error.
        self.0.runtime.spawn(async move { _ = door.send(work.await) });
    }

    async fn apply(
        self,
        request: Apply,
        users: Arc<dyn Users>,
    ) -> Result<peerage_api::kv::Applied, KvError> {
        let signer = self.signer(request.auth.as_ref(), &users)?;
        let expires = request
            .writes
            .iter()
            .any(|write| matches!(write, peerage_api::kv::Write::Put { ttl_ms: Some(_), .. }));
        let (space, most) = (request.space, request.writes.len() as u64);
        let now = UnixMillis::now();
        let applied = self.0.replica.apply(space, &signer, request.writes, now).await?;
        if expires {
            self.0.upkeep.notify_one();
        }
        if self.0.has_peers.load(Relaxed) {
            let id = self.0.replica.resolve(space)?;
            let written = applied.seq.saturating_sub(most) + 1..=applied.seq;
            self.tell(|outbox| outbox.push_written(id, written));
        }
        Ok(applied)
    }

    fn signer(&self, auth: Option<&Auth>, users: &Arc<dyn Users>) -> Result<Signer, KvError> {
        Ok(match auth {
            None => self.0.local.clone(),
            Some(auth) => users.signer(auth)?,
        })
    }

    fn watch(&self, open: Open<Watch>) {
        let Ok(permit) = Arc::clone(&self.0.watches).try_acquire_owned() else {
            return open
                .refuse(KvError::TooMany { what: "readers".into(), max: MAX_WATCHES as u64 });
        };
        let kv = self.clone();
        self.0.runtime.spawn(async move {
            let _permit = permit;
            let Watch { space, prefix, from } = open.request.clone();
            let mut changes = match kv.0.replica.changes(space, prefix, from) {
                Ok(changes) => changes,
                Err(error) => return open.refuse(error),
            };
            let (_, sink) = open.accept();
            loop {
                let events = tokio::select! {
                    () = sink.closed() => return,
                    events = changes.next() => events,
                };
                // The space was left or the store has closed: the feed ends.
                let Ok(events) = events else { return };
                for event in events {
                    if !sink.put(event).await {
                        return;
                    }
                }
            }
        });
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.0.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, what: impl FnOnce(&mut Outbox)) {
        what(&mut self.outbox());
        self.0.waker.wake();
    }
}

impl Outbox {
    /// Joined to the range before, if it follows it.
    fn push_written(&mut self, space: SpaceId, range: RangeInclusive<u64>) {
        let is_full = self.written.len() >= MAX_UNTOLD;
        match self.written.last_mut() {
            Some((last, before)) if *last == space && *before.end() + 1 == *range.start() => {
                *before = *before.start()..=*range.end();
            }
            _ if is_full => {}
            _ => self.written.push((space, range)),
        }
    }
}
