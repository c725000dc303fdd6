//! Rounds: when one starts, with what in it, and when it is over.

use std::{collections::HashSet, time::Instant};

use peerage_wire::mainline::slot::{SLOTS, Slot};
use rand::seq::IteratorRandom as _;

use super::{Bridge, Event, FIND_TIMEOUT, Held, MAX_ROUNDS, Output, Running};
use crate::{
    cadence::{Can, Done, Due, Now, SETTLED_INTERVAL},
    client::{Request, Round, Write},
    dials::RoundId,
    guards::Screen,
    rendezvous::{Infohash, Rendezvous},
};

/// Slots that a round reads besides the first, in which small namespaces meet.
const MORE_LONELY: usize = 3;
const MORE_SETTLED: usize = 1;

impl Bridge {
    pub(super) fn start_finds(&mut self, now: Now) {
        while let Some((find, rendezvous)) = self.finds.pop_front() {
            let id = RoundId(self.take_id());
            let due = Due { lookup: true, ..Due::default() };
            let numbers: Vec<u8> = (0..SLOTS).collect();
            let read = slots(&rendezvous, &numbers, now);
            let infohash = rendezvous.infohash();
            self.run(
                Some(find),
                due,
                now.instant,
                Round { id, infohash, lookup: true, announce: None, read, write: None },
            );
        }
    }

    /// Starts what is due: first what somebody waits for, then what is due the longest, as far as the
    /// budget goes.
    pub(super) fn start_rounds(&mut self, now: Now) {
        while self.running() < MAX_ROUNDS {
            let Some((infohash, is_new)) = self.most_urgent(now) else { return };
            if !is_new && self.afford_at > now.instant {
                return;
            }
            let Some(round) = self.next_round(infohash, now) else { return };
            let (due, round) = round;
            let lookups = u32::from(due.lookup || due.announce) + u32::from(round.write.is_some());
            let reads = u32::try_from(round.read.len()).unwrap_or(u32::from(SLOTS));
            let stores = u32::from(due.announce) + u32::from(round.write.is_some());
            let afforded = match is_new {
                true => self.budget.borrow(lookups + reads, stores, now.instant),
                false => self.budget.take(lookups + reads, stores, now.instant),
            };
            if let Err(wait) = afforded {
                self.afford_at = now.instant + wait;
                return;
            }
            if let Some(held) = self.held.get_mut(&infohash) {
                (held.is_running, held.is_new) = (true, false);
            }
            self.run(None, due, now.instant, round);
        }
    }

    /// When there is something to start.
    pub(super) fn work_wake_at(&self, now: Now) -> Instant {
        let mut at = now.instant + SETTLED_INTERVAL;
        if self.running() < MAX_ROUNDS {
            for held in self.held.values().filter(|held| !held.is_running) {
                let due = held.rhythm.wake_at(now, self.can(held));
                at = at.min(if held.is_new { due } else { due.max(self.afford_at) });
            }
        }
        if let Some(publish) = self.own.publish_at() {
            at = at.min(publish);
        }
        at
    }

    /// Publishes our packet when it is due.
    pub(super) fn publish(&mut self, now: Now) {
        if self.own.publish_at().is_none_or(|at| at > now.instant) {
            return;
        }
        if let Err(wait) = self.budget.take(1, 1, now.instant) {
            return self.own.put_off(now.instant, wait);
        }
        match self.own.packet(now.unix) {
            Some(item) => self.outputs.push_back(Output::Ask(Request::Publish(Box::new(item)))),
            None => self.own.put_off(now.instant, SETTLED_INTERVAL),
        }
    }

    /// Forgets the rounds that are over: lookup ended and every candidate decided, or out of time.
    pub(super) fn end_rounds(&mut self, now: Instant) {
        let late = self.rounds.iter().filter(|(_, round)| round.deadline <= now);
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.rounds.get(&id).is_some_and(|round| round.ended.is_none()) {
                self.on_ended(id, Done::default(), None, now);
            }
            self.dials.on_cancelled(id);
            self.end_round(id);
        }
        let decided = |id: &RoundId| self.dials.undecided(*id) == 0;
        let over = self.rounds.iter().filter(|(id, round)| round.ended.is_some() && decided(id));
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end_round(id);
        }
    }

    fn end_round(&mut self, id: RoundId) {
        let Some(round) = self.rounds.remove(&id) else { return };
        if let Some(find) = round.find {
            let reached = round.ended == Some(true);
            self.outputs.push_back(Output::Tell(Event::FindEnded { find, reached }));
        }
    }

    fn running(&self) -> usize {
        self.held.values().filter(|held| held.is_running).count()
    }

    fn can(&self, held: &Held) -> Can {
        self.own.can(self.is_lonely(), held.rendezvous.name().is_some())
    }

    fn most_urgent(&self, now: Now) -> Option<(Infohash, bool)> {
        let idle = self.held.iter().filter(|(_, held)| !held.is_running);
        let due = idle.map(|(infohash, held)| {
            (!held.is_new, held.rhythm.wake_at(now, self.can(held)), *infohash)
        });
        let first = due.filter(|(_, at, _)| *at <= now.instant).min();
        first.map(|(is_old, _, infohash)| (infohash, !is_old))
    }

    fn next_round(&mut self, infohash: Infohash, now: Now) -> Option<(Due, Round)> {
        let id = RoundId(self.take_id());
        let held = self.held.get(&infohash)?;
        let lonely = self.is_lonely();
        let due = held.rhythm.due(now, self.can(held));
        let more = match (lonely, held.is_new) {
            (true, _) => MORE_LONELY,
            // So that many can be announced at once.
            (false, true) => 0,
            (false, false) => MORE_SETTLED,
        };
        let numbers = if due.lookup { some_slots(more) } else { Vec::new() };
        let round = Round {
            id,
            infohash,
            lookup: due.lookup,
            announce: self.own.announced(lonely).filter(|_| due.announce),
            read: slots(&held.rendezvous, &numbers, now),
            write: due.write.and_then(|hour| self.write(&held.rendezvous, hour, now)),
        };
        (!due.is_nothing()).then_some((due, round))
    }

    /// Our record for the first slot, or if that is full for one that our peer id chooses.
    fn write(&self, rendezvous: &Rendezvous, hour: u64, now: Now) -> Option<Write> {
        let namespace = rendezvous.name()?;
        let choice = self
            .own
            .peer()
            .to_bytes()
            .iter()
            .fold(hour, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        let own = 1 + u8::try_from(choice % u64::from(SLOTS - 1)).unwrap_or(0);
        let slots = [0, own].map(|number| Slot::of(namespace, hour, number));
        let choices = slots.into_iter().filter_map(|slot| {
            let record = self.own.record(&slot, now.unix)?;
            Some((slot, record))
        });
        Some(Write { hour, choices: choices.collect() })
    }

    fn run(&mut self, find: Option<super::FindId>, due: Due, now: Instant, round: Round) {
        self.rounds.insert(
            round.id,
            Running {
                infohash: round.infohash,
                find,
                due,
                screen: Screen::default(),
                told: HashSet::new(),
                ended: None,
                deadline: now + FIND_TIMEOUT * if find.is_some() { 1 } else { 5 },
            },
        );
        self.outputs.push_back(Output::Ask(Request::Round(Box::new(round))));
    }
}

/// The first, and `more` others.
fn some_slots(more: usize) -> Vec<u8> {
    let mut numbers = vec![0];
    numbers.extend((1..SLOTS).sample(&mut rand::rng(), more));
    numbers
}

/// Slots of the present hour; none without a name.
fn slots(rendezvous: &Rendezvous, numbers: &[u8], now: Now) -> Vec<Slot> {
    let hour = Slot::hour_at(now.unix);
    let named = rendezvous.name().into_iter();
    named.flat_map(|name| numbers.iter().map(move |number| Slot::of(name, hour, *number))).collect()
}
