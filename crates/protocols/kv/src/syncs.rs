//! Who has asked to synchronise now, and waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use peerage_api::{
    Ask,
    kv::{KvError, Sync, SyncReport},
};
use peerage_types::{PeerId, SpaceId};

use crate::sessions::{Pair, Sessions};

/// Questions that wait at once.
const MAX_WAITING: usize = 64;

/// Questions `kv.sync` under way.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ask: Ask<Sync>,
    space: SpaceId,
    /// Only a session that began after this counts: one before may have missed what the caller
    /// has just written.
    since: Instant,
    pending: BTreeSet<PeerId>,
    done: BTreeMap<PeerId, Result<SyncReport, KvError>>,
}

impl Syncs {
    /// Begins a session with each peer that is meant.
    pub(crate) fn on_ask(
        &mut self,
        ask: Ask<Sync>,
        space: Option<SpaceId>,
        sessions: &mut Sessions,
        now: Instant,
    ) {
        self.waiting.retain(|waiting| !waiting.ask.is_cancelled());
        let Some(space) = space else {
            let space = ask.request.space;
            return ask.reply(Err(KvError::NoSuchSpace { space }));
        };
        if self.waiting.len() >= MAX_WAITING {
            return ask.reply(Err(KvError::Busy));
        }
        let pending: BTreeSet<_> = match ask.request.peer {
            Some(peer) if !sessions.knows(&peer) => {
                return ask.reply(Err(KvError::NotConnected { peer }));
            }
            Some(peer) => [peer].into(),
            None => sessions.peers().filter(|peer| !sessions.is_refused(&(*peer, space))).collect(),
        };
        pending.iter().for_each(|peer| sessions.on_asked(&(*peer, space), now));
        let waiting = Waiting { ask, space, since: now, pending, done: BTreeMap::new() };
        self.waiting.push(waiting);
        self.settle();
    }

    /// A session that this node has opened is over.
    pub(crate) fn on_ended(
        &mut self,
        (peer, space): &Pair,
        since: Instant,
        outcome: &Result<SyncReport, KvError>,
    ) {
        let meant = |waiting: &&mut Waiting| waiting.space == *space && waiting.since <= since;
        for waiting in self.waiting.iter_mut().filter(meant) {
            if waiting.pending.remove(peer) {
                waiting.done.insert(*peer, outcome.clone());
            }
        }
        self.settle();
    }

    /// A peer has gone.
    pub(crate) fn on_gone(&mut self, peer: &PeerId) {
        for waiting in &mut self.waiting {
            if waiting.pending.remove(peer) {
                let reason = "it has disconnected".into();
                waiting.done.insert(*peer, Err(KvError::Failed { peer: *peer, reason }));
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        for waiting in self.waiting.extract_if(.., |waiting| waiting.pending.is_empty()) {
            let answer = waiting.answer();
            waiting.ask.reply(answer);
        }
    }
}

impl Waiting {
    fn answer(&self) -> Result<Vec<SyncReport>, KvError> {
        let done = self.done.iter();
        if self.ask.request.peer.is_some() {
            return done.map(|(_, outcome)| outcome.clone()).collect();
        }
        let report = |(peer, outcome): (&PeerId, &Result<SyncReport, KvError>)| match outcome {
            Ok(report) => report.clone(),
            Err(error) => SyncReport::failed(*peer, error.to_string()),
        };
        Ok(done.map(report).collect())
    }
}
