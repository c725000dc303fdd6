//! What is gossiped when. Pure.

use std::{
    collections::{HashSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use peerage_types::UserId;
use peerage_wire::identity::frames::push;

use crate::bounds::{GOSSIP_DELAY, GOSSIP_INTERVAL, MAX_GOSSIP_BYTES};

/// Users of whom others are to be told: at most all that are known, each once.
///
/// `idle` → `waiting` with the first user → a message after [`GOSSIP_DELAY`], and as long as there
/// are more another one after [`GOSSIP_INTERVAL`] each. What users of this node change does not wait
/// for that interval: there are few of them, and somebody looks on.
#[derive(Debug, Default)]
pub(crate) struct Gossip {
    queue: VecDeque<UserId>,
    /// How many at the front are users of this node.
    own: usize,
    queued: HashSet<UserId>,
    due: Option<Instant>,
    sent: Option<Instant>,
}

impl Gossip {
    /// Adds a user; those of this node go first, in the order in which they were added: that a key
    /// has moved is told before the profile of the key that took its place.
    pub(crate) fn add(&mut self, user: UserId, own: bool, now: Instant) {
        if self.queued.insert(user) {
            let at = if own { self.own } else { self.queue.len() };
            self.queue.insert(at, user);
            self.own += usize::from(own);
        }
        let interval = if own { GOSSIP_DELAY } else { GOSSIP_INTERVAL };
        self.schedule(now + GOSSIP_DELAY, interval);
    }

    fn schedule(&mut self, at: Instant, interval: Duration) {
        let earliest = self.sent.map_or(at, |sent| at.max(sent + interval));
        self.due = Some(self.due.map_or(earliest, |due| due.min(earliest)));
    }

    /// When the next message is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// The message that is due. `encode` gives what is known of a user, if it still is.
    pub(crate) fn message(
        &mut self,
        now: Instant,
        encode: impl Fn(&UserId) -> Option<Bytes>,
    ) -> Option<Bytes> {
        self.due.take_if(|due| *due <= now)?;
        let mut batch = Vec::new();
        while let Some(user) = self.queue.front() {
            let Some(bundle) = encode(user) else {
                self.drop_first();
                continue;
            };
            if batch.len() + 2 + bundle.len() > MAX_GOSSIP_BYTES {
                break;
            }
            push(&mut batch, &bundle);
            self.drop_first();
        }
        if batch.is_empty() {
            return None;
        }
        self.sent = Some(now);
        if !self.queue.is_empty() {
            self.schedule(now, GOSSIP_INTERVAL);
        }
        Some(batch.into())
    }

    fn drop_first(&mut self) {
        if let Some(user) = self.queue.pop_front() {
            self.queued.remove(&user);
            self.own = self.own.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u16) -> UserId {
        let [a, b] = number.to_be_bytes();
        UserId([a, b].repeat(16).try_into().unwrap())
    }

    #[test]
    fn changes_within_the_delay_travel_together_and_own_ones_first() {
        let (mut gossip, start) = (Gossip::default(), Instant::now());
        gossip.add(user(1), false, start);
        gossip.add(user(2), true, start + GOSSIP_DELAY / 2);
        gossip.add(user(3), true, start + GOSSIP_DELAY / 2);
        gossip.add(user(1), false, start + GOSSIP_DELAY / 2);
        assert_eq!(gossip.deadline(), Some(start + GOSSIP_DELAY));
        let encode = |user: &UserId| Some(Bytes::copy_from_slice(&user.0[1..2]));
        assert_eq!(gossip.message(start, encode), None, "not yet");
        let message = gossip.message(start + GOSSIP_DELAY, encode);
        assert_eq!(message.as_deref(), Some(&[0, 1, 2, 0, 1, 3, 0, 1, 1][..]));
        assert_eq!(gossip.deadline(), None);
    }

    #[test]
    fn a_change_of_our_own_does_not_wait_for_what_others_have_changed() {
        let (mut gossip, start) = (Gossip::default(), Instant::now());
        let encode = |user: &UserId| Some(Bytes::copy_from_slice(&user.0[1..2]));
        gossip.add(user(1), false, start);
        let sent = start + GOSSIP_DELAY;
        gossip.message(sent, encode).unwrap();
        gossip.add(user(2), false, sent);
        assert_eq!(gossip.deadline(), Some(sent + GOSSIP_INTERVAL));
        gossip.add(user(3), true, sent);
        assert_eq!(gossip.deadline(), Some(sent + GOSSIP_DELAY));
        let message = gossip.message(sent + GOSSIP_DELAY, encode);
        assert_eq!(message.as_deref(), Some(&[0, 1, 3, 0, 1, 2][..]));
    }

    #[test]
    fn much_is_told_in_messages_of_bounded_size_and_rate() {
        let (mut gossip, start) = (Gossip::default(), Instant::now());
        (0..100).for_each(|number| gossip.add(user(number), false, start));
        let encode = |_: &UserId| Some(Bytes::from(vec![7; 2000]));
        let (mut now, mut told) = (start, 0);
        while let Some(due) = gossip.deadline() {
            assert!(told == 0 || due >= now + GOSSIP_INTERVAL);
            now = due;
            let message = gossip.message(now, encode).unwrap();
            assert!(message.len() <= MAX_GOSSIP_BYTES);
            told += message.len() / 2002;
        }
        assert_eq!(told, 100);
        gossip.add(user(1), false, now);
        assert_eq!(gossip.deadline(), Some(now + GOSSIP_INTERVAL), "the next one waits, too");
    }

    #[test]
    fn a_user_who_is_gone_is_passed_over() {
        let (mut gossip, start) = (Gossip::default(), Instant::now());
        gossip.add(user(1), false, start);
        assert_eq!(gossip.message(start + GOSSIP_DELAY, |_| None), None);
        assert_eq!(gossip.deadline(), None);
    }
}
