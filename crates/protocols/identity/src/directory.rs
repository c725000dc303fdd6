//! The handle through which everybody else sees who is known.

mod asks;
mod known;
mod outside;

pub(crate) use known::root;

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Instant,
};

use futures::task::AtomicWaker;
use peerage_api::{Sink, users::Event};
use peerage_store::Store;
use peerage_types::{PeerId, UnixMillis, UserId};
use peerage_wire::identity::{Bundle, RecordError};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};

use crate::{
    Known, Limits, Outcome, Source,
    bounds::{AFFIRM_TIMEOUT, MAX_FLUSH_ROWS},
    gossip::Gossip,
    lookups::Lookups,
};

/// Who is known to this node. Cheap to clone; usable from any thread.
///
/// Nothing here blocks for longer than a microsecond's work of others under a lock, and nothing
/// calls back: it may be used under locks and from async code.
#[derive(Clone)]
pub struct Directory(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) node: PeerId,
    pub(crate) store: Store,
    pub(crate) runtime: Handle,
    known: RwLock<Known>,
    outbox: Mutex<Outbox>,
    feeds: Mutex<Vec<Sink<Event>>>,
    unsaved: Mutex<BTreeSet<UserId>>,
    /// Told when there is something to save: at the first row, and at [`MAX_FLUSH_ROWS`].
    pub(crate) save: Notify,
    /// Saves follow each other.
    pub(crate) saving: tokio::sync::Mutex<()>,
    /// The behaviour.
    pub(crate) waker: AtomicWaker,
    /// Searches at once.
    searches: Semaphore,
    /// What a former run has stored is there: until then nobody counts as unknown.
    loaded: AtomicBool,
    /// When a peer was met again that had been lost, in milliseconds; 0 for never.
    met_again: AtomicU64,
    accepted: AtomicU64,
    rejected: AtomicU64,
}

/// What the behaviour is to do.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) gossip: Gossip,
    /// Users whose records are to be put into Kademlia: of this node, so bounded.
    pub(crate) puts: VecDeque<UserId>,
    pub(crate) lookups: Lookups,
    /// For the embedding node; up to [`MAX_LEARNED`], more are missed.
    pub(crate) learned: VecDeque<Event>,
}

/// Events that wait for the behaviour to be polled: 4,096 × about 100 bytes = 400 KiB.
const MAX_LEARNED: usize = 4096;

impl Outbox {
    pub(crate) fn put(&mut self, user: UserId) {
        if !self.puts.contains(&user) {
            self.puts.push_back(user);
        }
    }
}

/// What is done with what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Others are told, too.
    On,
    /// Others know, or are told by somebody else.
    Here,
}

/// Searches and lists that run at once; more wait.
const MAX_SEARCHES: usize = 4;

impl Directory {
    pub(crate) fn new(node: PeerId, limits: Limits, store: Store, runtime: Handle) -> Self {
        Self(Arc::new(Shared {
            node,
            store,
            runtime,
            known: RwLock::new(Known::new(node, limits)),
            outbox: Mutex::default(),
            feeds: Mutex::default(),
            unsaved: Mutex::default(),
            save: Notify::new(),
            saving: tokio::sync::Mutex::new(()),
            waker: AtomicWaker::new(),
            searches: Semaphore::new(MAX_SEARCHES),
            loaded: AtomicBool::new(false),
            met_again: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        }))
    }

    /// Takes verified records and does with them what is to be done.
    pub(crate) fn merge(&self, bundle: &Bundle, source: Source, spread: Spread) -> Outcome {
        let outcome = self.write().merge(bundle, source, UnixMillis::now());
        let Some(user) = bundle.user() else { return outcome };
        if outcome.changed {
            self.0.accepted.fetch_add(1, Relaxed);
            self.mark_unsaved(std::iter::once(user).chain(outcome.evicted.iter().copied()));
            self.answer_lookups(user);
        }
        self.tell(&outcome.events);
        // Timers may have to be set.
        self.0.waker.wake();
        if outcome.changed && spread == Spread::On {
            self.spread(user, source == Source::Own);
        }
        outcome
    }

    /// Takes what a former run of this node has stored. Its dates were checked then: a clock that
    /// is wrong now loses nothing.
    ///
    /// That somebody was here then is forgotten: it has ended with that run, even if that could not
    /// say so.
    pub(crate) fn restore(&self, mut bundle: Bundle, source: Source, seen: UnixMillis) {
        let Some(user) = bundle.user() else { return };
        let (node, now) = (self.0.node, UnixMillis::now());
        bundle.presences.retain(|presence| presence.node != node || !presence.is_online(now));
        let dated = bundle.profile.as_ref().map_or(UnixMillis(0), |profile| profile.updated);
        let outcome = {
            let mut known = self.write();
            let outcome = known.merge(&bundle, source, dated.max(now));
            known.set_last_seen(&user, seen);
            outcome
        };
        self.mark_unsaved(outcome.evicted.into_iter());
        self.answer_lookups(user);
        if source == Source::Own {
            self.outbox().put(user);
        }
        // Timers may have to be set.
        self.0.waker.wake();
    }

    /// Reads and verifies a bundle, then [`Directory::merge`]s it. Takes some 50 µs for each record:
    /// not for the driver.
    pub(crate) fn verify(
        &self,
        bytes: &[u8],
        source: Source,
    ) -> Result<(UserId, Outcome), RecordError> {
        let bundle = Bundle::decode(bytes).inspect_err(|_| self.count_rejected())?;
        let user = bundle.user().ok_or(RecordError::Malformed)?;
        let outcome = self.merge(&bundle, source, Spread::Here);
        if outcome.error.is_some() {
            self.count_rejected();
        }
        Ok((user, outcome))
    }

    /// A peer cannot be reached that was there at `seen`: nor are users there.
    pub(crate) fn on_unreachable(&self, node: PeerId, seen: UnixMillis) {
        self.doubt(node, seen, seen);
    }

    /// A peer is there again that was lost: users who still are say so again.
    pub(crate) fn on_met_again(&self, node: PeerId, lost: UnixMillis) {
        let now = UnixMillis::now();
        self.0.met_again.store(now.0, Release);
        self.doubt(node, lost, now.plus(AFFIRM_TIMEOUT));
    }

    fn doubt(&self, node: PeerId, seen: UnixMillis, until: UnixMillis) {
        let events = self.write().doubt(node, seen, until);
        self.tell(&events);
        // Timers may have to be set.
        self.0.waker.wake();
    }

    pub(crate) fn on_loaded(&self) {
        self.0.loaded.store(true, Release);
        self.0.waker.wake();
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.0.loaded.load(Acquire)
    }

    pub(crate) fn count_rejected(&self) {
        self.0.rejected.fetch_add(1, Relaxed);
    }

    /// Records that were new, and those that were invalid or refused, since the start.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.0.accepted.load(Relaxed), self.0.rejected.load(Relaxed))
    }

    pub(crate) fn spread(&self, user: UserId, own: bool) {
        self.outbox().gossip.add(user, own, Instant::now());
        self.0.waker.wake();
    }

    pub(crate) fn tell(&self, events: &[Event]) {
        if !events.is_empty() {
            let mut outbox = self.outbox();
            let room = MAX_LEARNED.saturating_sub(outbox.learned.len());
            outbox.learned.extend(events.iter().take(room).cloned());
            drop(outbox);
            let mut feeds = lock(&self.0.feeds);
            feeds.retain(|feed| events.iter().all(|event| feed.offer(event.clone())));
        }
    }

    fn answer_lookups(&self, user: UserId) {
        let waits = self.outbox().lookups.waits_for(&user);
        if waits {
            let found = self.read().shown(&user, UnixMillis::now());
            self.outbox().lookups.answer(user, found.as_ref());
        }
    }

    pub(crate) fn mark_unsaved(&self, users: impl Iterator<Item = UserId>) {
        let mut unsaved = lock(&self.0.unsaved);
        let before = unsaved.len();
        unsaved.extend(users);
        let is_first = before == 0 && !unsaved.is_empty();
        if is_first || unsaved.len() >= MAX_FLUSH_ROWS {
            self.0.save.notify_one();
        }
    }

    /// The same without a word to who saves.
    pub(crate) fn keep_unsaved(&self, users: Vec<UserId>) {
        lock(&self.0.unsaved).extend(users);
    }

    /// Up to [`MAX_FLUSH_ROWS`] users whose rows are to be written.
    pub(crate) fn take_unsaved(&self) -> Vec<UserId> {
        let mut unsaved = lock(&self.0.unsaved);
        std::iter::from_fn(|| unsaved.pop_first()).take(MAX_FLUSH_ROWS).collect()
    }

    pub(crate) fn unsaved_len(&self) -> usize {
        lock(&self.0.unsaved).len()
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.0.outbox)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("known", &self.read().len()).finish_non_exhaustive()
    }
}
