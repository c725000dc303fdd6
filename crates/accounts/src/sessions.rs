//! Which tokens are alive: a pure core, with the time as an argument.
//!
//! Only hashes of tokens are here, so that a copy of the memory or a log of it opens nothing.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use peerage_api::users::{MAX_SESSIONS, Session, SessionSummary};
use peerage_types::{ServiceName, Token, UnixMillis, UserId};

/// Expired sessions that are told from unknown tokens: 1024 × 64 bytes = 64 KiB.
const MAX_EXPIRED: usize = 1024;

/// BLAKE3 of a token.
type Hash = [u8; 32];

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Never seen, revoked, of another user, or limited to something else.
    Unknown,
    /// It was good once.
    Expired,
}

/// A user has [`MAX_SESSIONS`] already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

#[derive(Debug)]
struct Alive {
    number: u64,
    user: UserId,
    service: Option<ServiceName>,
    created: UnixMillis,
    used: UnixMillis,
}

/// The sessions of all users of this node.
#[derive(Debug)]
pub(crate) struct Sessions {
    idle_timeout: Duration,
    timeout: Duration,
    alive: HashMap<Hash, Alive>,
    users: HashMap<UserId, HashSet<Hash>>,
    expired: HashMap<Hash, UserId>,
    expired_order: VecDeque<Hash>,
    last_number: u64,
}

fn hash(token: &Token) -> Hash {
    *blake3::hash(token.expose()).as_bytes()
}

impl Sessions {
    /// No sessions. They end when unused for `idle_timeout`, and `timeout` after they began.
    pub(crate) fn new(idle_timeout: Duration, timeout: Duration) -> Self {
        Self {
            idle_timeout,
            timeout,
            alive: HashMap::new(),
            users: HashMap::new(),
            expired: HashMap::new(),
            expired_order: VecDeque::new(),
            last_number: 0,
        }
    }

    /// Opens a session for a fresh random token.
    pub(crate) fn open(
        &mut self,
        user: UserId,
        service: Option<ServiceName>,
        now: UnixMillis,
    ) -> Result<Session, TooMany> {
        if self.count(&user) >= MAX_SESSIONS {
            return Err(TooMany);
        }
        let token = Token::new(rand::random());
        self.last_number += 1;
        let alive = Alive { number: self.last_number, user, service, created: now, used: now };
        let (idle_expires_ms, expires_ms) = (self.idle_end(&alive), self.end(&alive));
        self.users.entry(user).or_default().insert(hash(&token));
        self.alive.insert(hash(&token), alive);
        Ok(Session { user, token, session: self.last_number, idle_expires_ms, expires_ms })
    }

    /// Checks that a token is alive, is of `user`, and is good for `service`: a session that is
    /// limited to a service is good for nothing else. Counts as use.
    pub(crate) fn check(
        &mut self,
        user: &UserId,
        token: &Token,
        service: Option<&ServiceName>,
        now: UnixMillis,
    ) -> Result<(), Refused> {
        let hash = self.find(user, token, now)?;
        let alive = self.alive.get_mut(&hash).ok_or(Refused::Unknown)?;
        if alive.service.is_some() && alive.service.as_ref() != service {
            return Err(Refused::Unknown);
        }
        alive.used = alive.used.max(now);
        Ok(())
    }

    /// Ends the session of a token, whatever it is limited to.
    pub(crate) fn end_token(
        &mut self,
        user: &UserId,
        token: &Token,
        now: UnixMillis,
    ) -> Result<(), Refused> {
        let hash = self.find(user, token, now)?;
        self.remove(&hash);
        Ok(())
    }

    /// Ends a session by its number; false if the user has none of that.
    pub(crate) fn end_number(&mut self, user: &UserId, number: u64) -> bool {
        let found = self.of(user).find(|(_, alive)| alive.number == number);
        let found = found.map(|(hash, _)| *hash);
        found.is_some_and(|hash| self.remove(&hash).is_some())
    }

    /// Ends all sessions of a user but that of `keep`, and says how many.
    pub(crate) fn end_all(&mut self, user: &UserId, keep: Option<&Token>) -> u64 {
        let keep = keep.map(hash);
        let ending = self.of(user).map(|(hash, _)| *hash).filter(|hash| Some(*hash) != keep);
        let ending: Vec<_> = ending.collect();
        ending.iter().filter(|hash| self.remove(hash).is_some()).count() as u64
    }

    /// Ends what has expired; returns the users that have no session left.
    pub(crate) fn expire(&mut self, now: UnixMillis) -> Vec<UserId> {
        let over = self.alive.iter().filter(|(_, alive)| self.is_over(alive, now));
        let over: Vec<_> = over.map(|(hash, _)| *hash).collect();
        let mut users: Vec<_> = over.iter().filter_map(|hash| self.expire_one(hash)).collect();
        users.sort_unstable();
        users.dedup();
        users.retain(|user| self.count(user) == 0);
        users
    }

    /// Ends what has expired of one user.
    pub(crate) fn expire_of(&mut self, user: &UserId, now: UnixMillis) {
        let over = self.of(user).filter(|(_, alive)| self.is_over(alive, now));
        let over: Vec<_> = over.map(|(hash, _)| *hash).collect();
        over.iter().for_each(|hash| _ = self.expire_one(hash));
    }

    /// The sessions of a user by number.
    pub(crate) fn list(&self, user: &UserId, current: Option<&Token>) -> Vec<SessionSummary> {
        let current = current.map(hash);
        let shown = |(hash, alive): (&Hash, &Alive)| SessionSummary {
            session: alive.number,
            created_ms: alive.created,
            used_ms: alive.used,
            idle_expires_ms: self.idle_end(alive),
            expires_ms: self.end(alive),
            service: alive.service.clone(),
            current: Some(*hash) == current,
        };
        let mut all: Vec<_> = self.of(user).map(shown).collect();
        all.sort_unstable_by_key(|session| session.session);
        all
    }

    /// How many sessions of a user are alive.
    pub(crate) fn count(&self, user: &UserId) -> usize {
        self.users.get(user).map_or(0, HashSet::len)
    }

    /// The sessions go on under another id.
    pub(crate) fn relabel(&mut self, from: &UserId, to: UserId) {
        for hash in self.users.remove(from).unwrap_or_default() {
            if let Some(alive) = self.alive.get_mut(&hash) {
                alive.user = to;
            }
            self.users.entry(to).or_default().insert(hash);
        }
        self.expired.values_mut().filter(|user| *user == from).for_each(|user| *user = to);
    }

    /// The hash of a token that is alive and of this user.
    fn find(&mut self, user: &UserId, token: &Token, now: UnixMillis) -> Result<Hash, Refused> {
        let hash = hash(token);
        let Some(alive) = self.alive.get(&hash) else {
            let was_good = self.expired.get(&hash) == Some(user);
            return Err(if was_good { Refused::Expired } else { Refused::Unknown });
        };
        if alive.user != *user {
            return Err(Refused::Unknown);
        }
        if self.is_over(alive, now) {
            self.expire_one(&hash);
            return Err(Refused::Expired);
        }
        Ok(hash)
    }

    fn of(&self, user: &UserId) -> impl Iterator<Item = (&Hash, &Alive)> {
        self.users.get(user).into_iter().flatten().filter_map(|hash| self.alive.get_key_value(hash))
    }

    fn end(&self, alive: &Alive) -> UnixMillis {
        alive.created.plus(self.timeout)
    }

    fn idle_end(&self, alive: &Alive) -> UnixMillis {
        alive.used.plus(self.idle_timeout).min(self.end(alive))
    }

    fn is_over(&self, alive: &Alive, now: UnixMillis) -> bool {
        self.idle_end(alive) <= now
    }

    fn expire_one(&mut self, hash: &Hash) -> Option<UserId> {
        let user = self.remove(hash)?;
        if self.expired_order.len() >= MAX_EXPIRED
            && let Some(oldest) = self.expired_order.pop_front()
        {
            self.expired.remove(&oldest);
        }
        self.expired.insert(*hash, user);
        self.expired_order.push_back(*hash);
        Some(user)
    }

    fn remove(&mut self, hash: &Hash) -> Option<UserId> {
        let user = self.alive.remove(hash)?.user;
        if let Some(hashes) = self.users.get_mut(&user) {
            hashes.remove(hash);
            if hashes.is_empty() {
                self.users.remove(&user);
            }
        }
        Some(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: UserId = UserId([1; 32]);
    const BOB: UserId = UserId([2; 32]);

    fn sessions() -> Sessions {
        Sessions::new(Duration::from_secs(10), Duration::from_secs(25))
    }

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis(1_000_000 + seconds * 1000)
    }

    #[test]
    fn a_token_is_good_for_its_user_alone() {
        let mut all = sessions();
        let alice = all.open(ALICE, None, at(0)).unwrap();
        all.open(BOB, None, at(0)).unwrap();
        assert_eq!(all.check(&ALICE, &alice.token, None, at(1)), Ok(()));
        assert_eq!(all.check(&BOB, &alice.token, None, at(1)), Err(Refused::Unknown));
        assert_eq!(all.check(&ALICE, &Token::new([0; 32]), None, at(1)), Err(Refused::Unknown));
    }

    #[test]
    fn use_delays_the_idle_end_but_not_the_absolute_one() {
        let mut all = sessions();
        let token = all.open(ALICE, None, at(0)).unwrap().token;
        for second in [9, 18, 24] {
            assert_eq!(all.check(&ALICE, &token, None, at(second)), Ok(()), "at {second}");
        }
        assert_eq!(all.check(&ALICE, &token, None, at(25)), Err(Refused::Expired));
        assert_eq!(all.count(&ALICE), 0);
    }

    #[test]
    fn an_unused_session_expires_and_stays_told_from_an_unknown_one() {
        let mut all = sessions();
        let token = all.open(ALICE, None, at(0)).unwrap().token;
        assert_eq!(all.expire(at(9)), []);
        assert_eq!(all.expire(at(10)), [ALICE]);
        assert_eq!(all.check(&ALICE, &token, None, at(11)), Err(Refused::Expired));
        assert_eq!(all.check(&BOB, &token, None, at(11)), Err(Refused::Unknown));
    }

    #[test]
    fn an_attempt_with_another_users_name_does_not_keep_a_session_alive() {
        let mut all = sessions();
        let token = all.open(ALICE, None, at(0)).unwrap().token;
        let notes = ServiceName::new("notes").unwrap();
        all.open(BOB, None, at(5)).unwrap();
        let limited = all.open(ALICE, Some(notes), at(0)).unwrap().token;
        assert_eq!(all.check(&BOB, &token, None, at(9)), Err(Refused::Unknown));
        assert_eq!(all.check(&ALICE, &limited, None, at(9)), Err(Refused::Unknown));
        all.expire_of(&ALICE, at(10));
        assert_eq!((all.count(&ALICE), all.count(&BOB)), (0, 1));
    }

    #[test]
    fn a_session_that_is_limited_to_a_service_is_good_for_nothing_else_but_its_end() {
        let mut all = sessions();
        let (notes, mail) = (ServiceName::new("notes").unwrap(), ServiceName::new("mail").unwrap());
        let token = all.open(ALICE, Some(notes.clone()), at(0)).unwrap().token;
        assert_eq!(all.check(&ALICE, &token, Some(&notes), at(1)), Ok(()));
        assert_eq!(all.check(&ALICE, &token, Some(&mail), at(1)), Err(Refused::Unknown));
        assert_eq!(all.check(&ALICE, &token, None, at(1)), Err(Refused::Unknown));
        assert_eq!(all.end_token(&ALICE, &token, at(1)), Ok(()));
        assert_eq!(all.count(&ALICE), 0);
    }

    #[test]
    fn sessions_are_listed_and_ended_one_by_one_or_all() {
        let mut all = sessions();
        let mine = all.open(ALICE, None, at(0)).unwrap();
        let other = all.open(ALICE, None, at(1)).unwrap();
        let bob = all.open(BOB, None, at(1)).unwrap();
        let listed = all.list(&ALICE, Some(&mine.token));
        let numbers: Vec<_> = listed.iter().map(|s| (s.session, s.current)).collect();
        assert_eq!(numbers, [(mine.session, true), (other.session, false)]);
        assert!(!all.end_number(&ALICE, bob.session), "another user's");
        assert!(all.end_number(&ALICE, other.session) && !all.end_number(&ALICE, other.session));
        assert_eq!(all.check(&ALICE, &other.token, None, at(2)), Err(Refused::Unknown));
        all.open(ALICE, None, at(2)).unwrap();
        assert_eq!(all.end_all(&ALICE, Some(&mine.token)), 1);
        assert_eq!(all.check(&ALICE, &mine.token, None, at(2)), Ok(()));
        assert_eq!(all.end_all(&ALICE, None), 1);
        assert_eq!((all.count(&ALICE), all.count(&BOB)), (0, 1));
    }

    #[test]
    fn sessions_go_on_under_a_new_key_and_the_old_name_is_refused() {
        let mut all = sessions();
        let token = all.open(ALICE, None, at(0)).unwrap().token;
        all.relabel(&ALICE, BOB);
        assert_eq!(all.check(&BOB, &token, None, at(1)), Ok(()));
        assert_eq!(all.check(&ALICE, &token, None, at(1)), Err(Refused::Unknown));
    }

    #[test]
    fn sessions_and_the_memory_of_expired_ones_are_bounded() {
        let mut all = sessions();
        let mut first = None;
        for round in 0..=MAX_EXPIRED as u64 {
            let session = all.open(ALICE, None, at(round * 10)).unwrap();
            first.get_or_insert(session.token);
            assert_eq!(all.expire(at(round * 10 + 10)), [ALICE]);
        }
        assert_eq!((all.expired.len(), all.expired_order.len()), (MAX_EXPIRED, MAX_EXPIRED));
        let late = at(1_000_000);
        assert_eq!(all.check(&ALICE, &first.unwrap(), None, late), Err(Refused::Unknown));
        for _ in 0..MAX_SESSIONS {
            all.open(BOB, None, late).unwrap();
        }
        assert_eq!(all.open(BOB, None, late), Err(TooMany));
    }
}
