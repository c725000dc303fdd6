//! Questions about users that nobody here knows. Pure.

use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use peerage_api::{
    Ask,
    users::{Get, User, UsersError},
};
use peerage_types::UserId;

use crate::bounds::{LOOKUP_TIMEOUT, MAX_LOOKUPS};

/// Questions that wait for a record.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    waiting: HashMap<UserId, (Instant, Vec<Ask<Get>>)>,
    /// Those that the network has not been asked for.
    unasked: VecDeque<UserId>,
    asks: usize,
}

impl Lookups {
    /// Takes a question, or answers that there are too many.
    pub(crate) fn add(&mut self, ask: Ask<Get>, now: Instant) {
        if self.asks >= MAX_LOOKUPS {
            self.forget_cancelled();
        }
        if self.asks >= MAX_LOOKUPS {
            return ask.reply(Err(UsersError::Busy {}));
        }
        let user = ask.request.user;
        self.asks += 1;
        let (_, asks) = self.waiting.entry(user).or_insert_with(|| {
            self.unasked.push_back(user);
            (now, Vec::new())
        });
        asks.push(ask);
    }

    /// A user that the network is to be asked for.
    pub(crate) fn next(&mut self) -> Option<UserId> {
        self.unasked.pop_front()
    }

    pub(crate) fn waits_for(&self, user: &UserId) -> bool {
        self.waiting.contains_key(user)
    }

    /// Answers all who wait for a user.
    pub(crate) fn answer(&mut self, user: UserId, found: Option<&User>) {
        let Some((_, asks)) = self.waiting.remove(&user) else { return };
        self.asks -= asks.len();
        self.unasked.retain(|unasked| *unasked != user);
        for ask in asks {
            ask.reply(found.cloned().ok_or(UsersError::Unknown { user }));
        }
    }

    /// Answers those that have waited for too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        let over = |since: &Instant| now.duration_since(*since) >= LOOKUP_TIMEOUT;
        let over = self.waiting.iter().filter(|(_, (since, _))| over(since));
        let over: Vec<_> = over.map(|(user, _)| *user).collect();
        over.into_iter().for_each(|user| self.answer(user, None));
    }

    /// When the next has waited for too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|(since, _)| *since + LOOKUP_TIMEOUT).min()
    }

    fn forget_cancelled(&mut self) {
        self.waiting.retain(|_, (_, asks)| {
            asks.retain(|ask| !ask.is_cancelled());
            !asks.is_empty()
        });
        self.asks = self.waiting.values().map(|(_, asks)| asks.len()).sum();
        self.unasked.retain(|user| self.waiting.contains_key(user));
    }
}
