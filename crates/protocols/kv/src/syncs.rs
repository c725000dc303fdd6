//! Who has asked to synchronise now, and waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use peerage_api::{
    Ask,
    kv::{Denial, KvError, Refused, Sync, SyncReport},
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
            None => asked(space, sessions),
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
        if let Some(refused) = self.refused() {
            return Err(refused);
        }
        let report = |(peer, outcome): (&PeerId, &Result<SyncReport, KvError>)| match outcome {
            Ok(report) => Some(report.clone()),
            // It was not meant.
            Err(KvError::Refused { why: Some(Denial::NoSuchSpace), .. }) => None,
            // Whom it is about is told beside it.
            Err(KvError::Failed { reason, .. }) => Some(SyncReport::failed(*peer, reason.clone())),
            Err(error) => Some(SyncReport::failed(*peer, error.to_string())),
        };
        Ok(done.filter_map(report).collect())
    }

    /// That nobody has served the space and somebody has refused it who may have it.
    fn refused(&self) -> Option<KvError> {
        let refused = |outcome: &Result<_, KvError>| match outcome {
            Err(KvError::Refused { peer, why: Some(why), .. }) if *why != Denial::NoSuchSpace => {
                Some(Refused { peer: *peer, why: *why })
            }
            _ => None,
        };
        let mut refusals: Vec<_> = self.done.values().filter_map(refused).collect();
        if refusals.is_empty() || self.done.values().any(Result::is_ok) {
            return None;
        }
        let (space, count) = (self.ask.request.space, refusals.len() as u64);
        refusals.truncate(KvError::MAX_TOLD);
        Some(KvError::RefusedByAll { space, refusals, count })
    }
}

/// With whom a space is compared when nobody is named: whoever has not refused it. If all have, one of
/// them may have changed its mind.
fn asked(space: SpaceId, sessions: &Sessions) -> BTreeSet<PeerId> {
    let willing = sessions.peers().filter(|peer| !sessions.is_refused(&(*peer, space)));
    let willing: BTreeSet<_> = willing.collect();
    if willing.is_empty() { sessions.peers().collect() } else { willing }
}

#[cfg(test)]
mod tests {
    use peerage_api::Answer;
    use peerage_types::Space;

    use super::*;
    use crate::sessions::Ended;

    const SPACE: SpaceId = SpaceId([1; 32]);

    fn refusal(peer: PeerId, why: Denial) -> Result<SyncReport, KvError> {
        Err(KvError::Refused { peer, reason: why.to_string(), why: Some(why) })
    }

    /// Somebody synchronises with two peers, of which each session ends so.
    fn ended(
        sessions: &mut Sessions,
        syncs: &mut Syncs,
        outcomes: [(PeerId, Result<SyncReport, KvError>); 2],
    ) -> Result<Vec<SyncReport>, KvError> {
        let now = Instant::now();
        let request = Sync { space: Space::Owned(SPACE), peer: None };
        let (ask, mut answer): (_, Answer<Sync>) = Ask::new(request);
        syncs.on_ask(ask, Some(SPACE), sessions, now);
        for (peer, outcome) in outcomes {
            let pair = (peer, SPACE);
            let ended = if outcome.is_ok() { Ended::Equal } else { Ended::Refused };
            sessions.on_ended(&pair, ended, 0.5, now);
            syncs.on_ended(&pair, now, &outcome);
        }
        answer.try_recv().expect("an answer")
    }

    #[test]
    fn a_space_that_nobody_serves_is_refused_by_those_who_have_it_each_time_it_is_asked() {
        let (mut sessions, mut syncs) = (Sessions::default(), Syncs::default());
        let [one, two] = [(); 2].map(|()| PeerId::random());
        sessions.on_joined(SPACE, Instant::now());
        [one, two].iter().for_each(|peer| sessions.on_speaks(*peer, true, Instant::now()));
        for _ in 0..2 {
            let outcomes =
                [(one, refusal(one, Denial::NoGrant)), (two, refusal(two, Denial::NoSuchSpace))];
            let refusals = vec![Refused { peer: one, why: Denial::NoGrant }];
            let space = Space::Owned(SPACE);
            let expected = KvError::RefusedByAll { space, refusals, count: 1 };
            assert_eq!(ended(&mut sessions, &mut syncs, outcomes), Err(expected));
        }
        // Nobody has it: that is no refusal.
        let nobody = [one, two].map(|peer| (peer, refusal(peer, Denial::NoSuchSpace)));
        assert_eq!(ended(&mut sessions, &mut syncs, nobody), Ok(Vec::new()));
        let served = SyncReport { error: None, ..SyncReport::failed(two, String::new()) };
        let outcomes = [(one, refusal(one, Denial::NoGrant)), (two, Ok(served.clone()))];
        let reports = ended(&mut sessions, &mut syncs, outcomes).unwrap();
        assert!(reports.contains(&served) && reports.len() == 2, "{reports:?}");
    }
}
