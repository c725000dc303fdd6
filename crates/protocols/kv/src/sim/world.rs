//! The replicas, what is between them, and what happens to both.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use futures::future::join_all;
use peerage_api::kv::{KvError, Write};
use peerage_store::{Power, Store};
use peerage_types::{KvKey, Network, PeerId, Space, UnixMillis};
use peerage_wire::kv::{Claimed, SignedEntry};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    oracle::{Kept, Oracle},
    pipe::pipe,
};
use crate::{
    Incoming, Limits, Outgoing, Replica, Signer, key_hash,
    session::{Bounds, initiate_within, respond_within},
};

const KEYS: usize = 60;
/// Entries that may come while another session fills the space: few, so that sessions are put off here, too.
const BESIDE: u64 = 5;
/// Clocks that are wrong by more than may be.
const SKEWS_MS: [i64; 2] = [300_000, -300_000];
/// Clocks that are wrong by less.
const SKEW_MS: i64 = 25_000;

pub(super) struct Member {
    store: Store,
    pub(super) power: Power,
    pub(super) replica: Replica,
    pub(super) id: PeerId,
    skew_ms: i64,
    group: usize,
}

/// A gossiped entry on its way.
struct Message {
    to: usize,
    from: usize,
    due: UnixMillis,
    entry: Incoming,
}

pub(super) struct World {
    pub(super) random: StdRng,
    pub(super) now: UnixMillis,
    pub(super) members: Vec<Member>,
    pub(super) oracle: Oracle,
    messages: Vec<Message>,
    written: u64,
    /// Sessions that were put off because another one filled the space.
    pub(super) put_off: Cell<u32>,
}

fn signer(number: usize) -> Signer {
    let mut secret = [1; 32];
    secret[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Signer::node(SigningKey::from_bytes(&secret))
}

impl Member {
    async fn new(number: usize, skew_ms: i64, now: UnixMillis) -> Self {
        let (store, power) = Store::simulated();
        let replica = Self::open(number, &store, now).await;
        let id = signer(number).author.peer().unwrap();
        Self { store, power, replica, id, skew_ms, group: 0 }
    }

    async fn open(number: usize, store: &Store, now: UnixMillis) -> Replica {
        let (signer, network) = (signer(number), Network::default());
        Replica::open(signer, &network, Limits::default(), store.kv(), now).await.unwrap()
    }

    fn clock(&self, now: UnixMillis) -> UnixMillis {
        UnixMillis(now.0.saturating_add_signed(self.skew_ms))
    }
}

impl World {
    pub(super) async fn new(seed: u64, count: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        // 2026-01-01 at noon: at midnight clocks that are wrong disagree about the floor, and their
        // sessions wait.
        let now = UnixMillis(1_767_268_800_000);
        let mut members = Vec::new();
        for number in 0..count {
            let usual = random.random_range(-SKEW_MS..SKEW_MS);
            let skew = SKEWS_MS.get(number.wrapping_sub(1)).copied().unwrap_or(usual);
            members.push(Member::new(number, skew, now).await);
        }
        let (oracle, messages) = (Oracle::default(), Vec::new());
        Self { random, now, members, oracle, messages, written: 0, put_off: Cell::new(0) }
    }

    pub(super) fn clock(&self, at: usize) -> UnixMillis {
        self.members[at].clock(self.now)
    }

    fn somebody(&mut self) -> usize {
        self.random.random_range(0..self.members.len())
    }

    pub(super) async fn write_somewhere(&mut self) {
        let at = self.somebody();
        let count = if self.random.random_bool(0.2) { self.random.random_range(2..20) } else { 1 };
        let mut writes = Vec::new();
        for _ in 0..count {
            let key = format!("k{}", self.random.random_range(0..KEYS));
            writes.push(self.write_of(&key));
        }
        self.apply(at, writes).await;
    }

    pub(super) async fn write_at(&mut self, at: usize, key: &str) {
        self.written += 1;
        let write = Write::put(KvKey::new(key).unwrap(), self.written as i64);
        self.apply(at, vec![write]).await;
    }

    fn write_of(&mut self, key: &str) -> Write {
        let key = KvKey::new(key).unwrap();
        self.written += 1;
        let number = self.written as i64;
        match self.random.random_range(0..12) {
            0 | 1 => Write::Delete { key, expect: None },
            2 => Write::Purge { key },
            3 => {
                let ttl = Duration::from_millis(self.random.random_range(1..600_000));
                Write::put(key, number).expiring(ttl)
            }
            4 if number % 5 == 0 => {
                let bytes = vec![number as u8; self.random.random_range(60_000..1_200_000)];
                Write::put(key, Bytes::from(bytes))
            }
            _ => Write::put(key, format!("value {number}")),
        }
    }

    /// Writes; what is acknowledged the oracle learns, and some others by gossip.
    pub(super) async fn apply(&mut self, at: usize, writes: Vec<Write>) {
        let keys: Vec<_> = writes.iter().map(|write| write.key().clone()).collect();
        let (replica, now) = (self.members[at].replica.clone(), self.clock(at));
        match replica.apply(Space::Default, replica.local(), writes, now).await {
            Ok(_) => {}
            Err(KvError::NotFound { .. } | KvError::Clock { .. }) => return,
            Err(error) => return assert!(self.members[at].power.is_off(), "{error}"),
        }
        for (signed, value) in self.current(at, keys).await {
            self.oracle.acknowledged(signed.clone(), value.clone());
            self.gossip(at, &signed, value);
        }
    }

    /// The versions that a replica has of some keys.
    async fn current(&self, at: usize, keys: Vec<KvKey>) -> Vec<(SignedEntry, Option<Bytes>)> {
        let replica = &self.members[at].replica;
        let local = replica.local().author;
        let view = replica.view(&replica.default_space(), &local, self.now).await.unwrap();
        let hashes = keys.iter().map(|key| key_hash(key.as_str())).collect();
        let mut found = Vec::new();
        for it in view.find(hashes).await.unwrap().into_iter().flatten() {
            let value = whole(&view, &it).await;
            found.push((it.signed, value));
        }
        found
    }

    fn gossip(&mut self, from: usize, signed: &SignedEntry, value: Option<Bytes>) {
        if value.as_ref().is_some_and(|value| value.len() > 8 << 10) {
            return;
        }
        let claimed = Claimed { entry: signed.entry().clone(), proof: signed.proof().clone() };
        for to in 0..self.members.len() {
            // Most of it is lost, some comes twice.
            let copies = match self.random.random_range(0..20) {
                0..15 => 0,
                15..19 => 1,
                _ => 2,
            };
            for _ in 0..copies {
                let due = UnixMillis(self.now.0 + self.random.random_range(0..20_000));
                let entry = Incoming { claimed: claimed.clone(), value: value.clone() };
                self.messages.push(Message { to, from, due, entry });
            }
        }
    }

    /// Gives everybody what has arrived, in any order.
    pub(super) async fn deliver(&mut self) {
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.messages).into_iter().partition(|message| message.due <= now);
        self.messages = later;
        let mut by_target = BTreeMap::<_, Vec<_>>::new();
        for Message { to, from, entry, .. } in due.into_iter().rev() {
            if self.members[to].group == self.members[from].group {
                by_target.entry((to, from)).or_default().push(entry);
            }
        }
        for ((to, from), entries) in by_target {
            let (from, now) = (self.members[from].id, self.clock(to));
            let member = &self.members[to];
            let space = member.replica.default_space();
            let received = member.replica.receive(&space, from, entries, None, now).await;
            assert!(received.is_ok() || member.power.is_off(), "{received:?}");
        }
    }

    /// A few sessions at a time between replicas that reach each other.
    pub(super) async fn meet_some(&mut self) {
        let mut pairs = Vec::new();
        // Often several with the same one.
        let popular = self.random.random_bool(0.5).then(|| self.somebody());
        for _ in 0..self.random.random_range(1..8) {
            let (mut one, two) = (self.somebody(), self.somebody());
            one = popular.unwrap_or(one);
            if one != two && self.members[one].group == self.members[two].group {
                let mut after = || match self.random.random_bool(0.3) {
                    true => self.random.random_range(0..9_000),
                    false => usize::MAX,
                };
                pairs.push((one, two, after(), after()));
            }
        }
        let world = &*self;
        join_all(pairs.iter().map(|(one, two, first, second)| async move {
            world.session(*one, *two, (*first, *second)).await;
        }))
        .await;
    }

    /// Whether both found that they are equal.
    pub(super) async fn session(&self, one: usize, two: usize, breaks: (usize, usize)) -> bool {
        let (ours, theirs) = pipe(breaks.0, breaks.1);
        let (first, second) = (&self.members[one], &self.members[two]);
        let space = first.replica.default_space();
        let (at_first, at_second) = (self.clock(one), self.clock(two));
        let (ask, answer) = (first.replica.clone(), second.replica.clone());
        let bounds = Bounds::beside(BESIDE);
        let asked = initiate_within(bounds, ours, second.id, space, ask, move || at_first);
        let answered = respond_within(bounds, theirs, first.id, answer, move || at_second);
        let (asked, answered) = tokio::join!(asked, answered);
        for outcome in [&asked, &answered] {
            if let Err(error) = outcome {
                self.put_off.set(self.put_off.get() + u32::from(error.is_put_off()));
                assert!(!error.is_misbehaviour(), "an honest peer was taken for a liar: {error}");
            }
        }
        matches!((asked, answered), (Ok(one), Ok(two)) if one.equal && two.equal)
    }

    /// Puts everybody into one of some groups that do not reach each other.
    pub(super) fn part(&mut self) {
        let groups = self.random.random_range(1..5);
        for member in &mut self.members {
            member.group = self.random.random_range(0..groups);
        }
    }

    pub(super) fn heal(&mut self) {
        self.members.iter_mut().for_each(|member| member.group = 0);
    }

    /// Some will crash at one of their next writes.
    pub(super) fn endanger(&mut self) {
        for _ in 0..3 {
            let (at, writes) = (self.somebody(), self.random.random_range(0..4));
            self.members[at].power.cut_after(writes);
        }
    }

    pub(super) async fn restart_crashed(&mut self) {
        for at in 0..self.members.len() {
            if self.members[at].power.is_off() {
                self.restart(at).await;
            }
        }
    }

    async fn restart(&mut self, at: usize) {
        let now = self.clock(at);
        let member = &mut self.members[at];
        member.power.restore();
        member.replica = Member::open(at, &member.store, now).await;
    }

    pub(super) async fn sweep_somewhere(&mut self) {
        let at = self.somebody();
        let (now, member) = (self.clock(at), &self.members[at]);
        let swept = member.replica.release(now).await;
        let expired = member.replica.expire(now).await;
        assert!((swept.is_ok() && expired.is_ok()) || member.power.is_off());
    }

    /// Nothing more happens: what was ahead of its time is not any more, and everybody meets.
    pub(super) async fn settle(&mut self) {
        for at in 0..self.members.len() {
            self.restart(at).await;
        }
        self.messages.clear();
        self.heal();
        self.now = self.now.plus(Duration::from_secs(1200));
        for _ in 0..4 {
            let mut equal = true;
            for at in 1..self.members.len() {
                equal &= self.session(0, at, (usize::MAX, usize::MAX)).await;
            }
            if equal && self.summaries().await.windows(2).all(|two| two[0] == two[1]) {
                break;
            }
        }
    }

    async fn summaries(&self) -> Vec<crate::Summary> {
        let mut all = Vec::new();
        for member in &self.members {
            let (replica, local) = (&member.replica, member.replica.local().author);
            let view = replica.view(&replica.default_space(), &local, self.now).await.unwrap();
            all.push(view.summary());
        }
        all
    }

    pub(super) async fn assert_equal(&self) {
        let expected = self.oracle.merged(self.now);
        for at in 0..self.members.len() {
            let found = self.state(at).await;
            let missing: Vec<_> = expected.keys().filter(|key| !found.contains_key(*key)).collect();
            let more: Vec<_> = found.keys().filter(|key| !expected.contains_key(*key)).collect();
            assert_eq!((missing, more), (vec![], vec![]), "replica {at}: missing and too many");
            assert!(found == expected, "replica {at} has another version of a key");
            let replica = &self.members[at].replica;
            assert_eq!(replica.audit(&replica.default_space()).await, Ok(Vec::new()));
        }
    }

    /// Everything that a replica has, once what is over is marked as such.
    pub(super) async fn state(&self, at: usize) -> BTreeMap<KvKey, Kept> {
        let replica = &self.members[at].replica;
        replica.expire(self.now).await.unwrap();
        let local = replica.local().author;
        let view = replica.view(&replica.default_space(), &local, self.now).await.unwrap();
        let (mut seq, mut all) = (0, BTreeMap::new());
        while seq < view.head() {
            let (some, through) = view.since(seq, None, 1 << 20).await.unwrap();
            for it in some {
                let value = whole(&view, &it).await;
                let kept = (*it.signed.fingerprint(), it.signed.proof().signature, value);
                assert_eq!(all.insert(it.signed.entry().key.clone(), kept), None, "told twice");
            }
            seq = through;
        }
        all
    }
}

/// The value of an entry, also if it is large.
async fn whole(view: &crate::View, it: &Outgoing) -> Option<Bytes> {
    if it.value.is_some() || !it.signed.entry().kind.has_value() {
        return it.value.clone();
    }
    let hash = key_hash(it.signed.entry().key.as_str());
    let mut bytes = Vec::new();
    for part in 0.. {
        match view.value(hash, part).await.unwrap() {
            Some(more) => bytes.extend_from_slice(&more),
            None => break,
        }
    }
    (!bytes.is_empty()).then(|| bytes.into())
}
