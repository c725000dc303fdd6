//! What is asked of the DHT, as sequences of its calls. Each ends, whatever the DHT does.

use std::{net::SocketAddr, time::Duration};

use futures::{StreamExt as _, stream};
use mainline::{Id, MutableItem, async_dht::AsyncDht, errors::PutMutableError};
use peerage_types::UnixMillis;
use peerage_wire::mainline::slot::{MAX_RECORDS, Record, Slot, join, newest_of_each};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{Item, Report, Round, Write};
use crate::{cadence::Done, dials::RoundId, rendezvous::Infohash, tally::Tally};

/// How long a lookup or a store may take: each node has a second to answer, and a lookup asks some
/// ten in turn.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long newer items are waited for once one was found.
const NEWER_TIMEOUT: Duration = Duration::from_millis(500);
/// Addresses that are reported before the lookup has ended.
const MAX_EARLY: usize = 8;
/// Addresses that are reported of a lookup: what the guards refuse is made up for by the rest.
const MAX_REPORTED: usize = 256;
/// Slots that are read at the same time.
const MAX_READING: usize = 4;
/// Attempts to write when somebody else writes too.
const MAX_WRITES: usize = 3;
/// A sequence number is seconds of Unix time. One from further ahead was set to jam the slot.
const MAX_AHEAD_SECONDS: i64 = 24 * 3600;

/// How a request ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) report: Report,
    /// The DHT did not end a call in time.
    pub(super) hung: bool,
    /// Whether any node answered, if that can be told.
    pub(super) answered: Option<bool>,
}

#[derive(Debug, Default)]
struct Looked {
    ended: bool,
    announced: bool,
}

pub(super) async fn round(dht: AsyncDht, round: Round, out: mpsc::Sender<Report>) -> Ended {
    let Round { id, infohash, lookup, announce, read, write } = round;
    let announcing = async {
        let mut looked = Looked::default();
        if lookup {
            looked.ended = look_up(&dht, id, infohash, &out).await;
        }
        if let Some(port) = announce {
            looked.announced = announce_at(&dht, infohash, port).await;
        }
        looked
    };
    let reading = stream::iter(read)
        .map(|slot| read_slot(&dht, slot, id, &out))
        .buffer_unordered(MAX_READING)
        .fold(Heard::default(), |all, one| async move { all.and(one) });
    let (looked, heard) = tokio::join!(announcing, reading);
    let Heard { asked, answered } = heard;
    let mut written = None;
    if let Some(Write { hour, choices }) = write {
        written = write_first(&dht, choices, id, &out).await.then_some(hour);
    }
    let done = Done { lookup: looked.ended, announce: looked.announced, write: written };
    let report = Report::RoundEnded { round: id, done, asked };
    let answered = match looked.announced || written.is_some() {
        true => Some(true),
        false if announce.is_some() => Some(answered.unwrap_or(false)),
        false => answered,
    };
    Ended { report, hung: lookup && !looked.ended, answered }
}

/// What reading slots tells of the DHT: how many nodes a lookup asked, and whether any answered.
#[derive(Debug, Default)]
struct Heard {
    asked: Option<u32>,
    answered: Option<bool>,
}

impl Heard {
    fn and(self, other: Self) -> Self {
        Self { asked: self.asked.max(other.asked), answered: self.answered.max(other.answered) }
    }
}

/// Whether it ended in time. Reports the first addresses at once, and all in their order at the end.
async fn look_up(
    dht: &AsyncDht,
    round: RoundId,
    infohash: Infohash,
    out: &mpsc::Sender<Report>,
) -> bool {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let mut answers = dht.get_peers(Id::from(infohash.0));
    let (mut tally, mut early) = (Tally::default(), 0);
    let ended = loop {
        let Ok(answer) = timeout_at(deadline, answers.next()).await else { break false };
        let Some(answer) = answer else { break true };
        let answer = answer.into_iter().map(SocketAddr::V4).collect();
        let mut addresses = tally.count(answer, &mut rand::rng());
        addresses.truncate(MAX_EARLY.saturating_sub(early));
        early += addresses.len();
        if !addresses.is_empty() {
            _ = out.send(Report::Addresses { round, addresses }).await;
        }
    };
    let mut addresses = tally.ranked(&mut rand::rng());
    addresses.truncate(MAX_REPORTED);
    if !addresses.is_empty() {
        _ = out.send(Report::Addresses { round, addresses }).await;
    }
    ended
}

async fn announce_at(dht: &AsyncDht, infohash: Infohash, port: u16) -> bool {
    let announced =
        timeout(CALL_TIMEOUT, dht.announce_peer(Id::from(infohash.0), Some(port))).await;
    match announced {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::debug!(%infohash, %error, "not announced");
            false
        }
        Err(_) => false,
    }
}

/// Reports the records of others in a slot.
async fn read_slot(
    dht: &AsyncDht,
    slot: Slot,
    round: RoundId,
    out: &mpsc::Sender<Report>,
) -> Heard {
    let mut lookup = dht.get_mutable_detailed(&slot.key(), None, None);
    let mut records = Vec::new();
    let reading = async {
        // Every version that is out there may hold somebody whom a later writer left out.
        while let Some(item) = lookup.items.next().await {
            records.extend(slot.records(item.value(), UnixMillis::now()));
            newest_of_each(&mut records);
            records.truncate(MAX_RECORDS * 4);
        }
        lookup.outcome.recv().await
    };
    let outcome = timeout(CALL_TIMEOUT, reading).await.ok();
    if !records.is_empty() {
        _ = out.send(Report::Records { round, records }).await;
    }
    Heard {
        asked: outcome.as_ref().map(|outcome| outcome.queried),
        answered: outcome.map(|outcome| outcome.responded() > 0),
    }
}

async fn write_first(
    dht: &AsyncDht,
    choices: Vec<(Slot, Record)>,
    round: RoundId,
    out: &mpsc::Sender<Report>,
) -> bool {
    let last = choices.len().saturating_sub(1);
    for (number, (slot, record)) in choices.into_iter().enumerate() {
        for _ in 0..MAX_WRITES {
            match write_slot(dht, &slot, &record, number == last, round, out).await {
                Written::Stored => return true,
                Written::Elsewhere => break,
                Written::Conflict => sleep(pause()).await,
            }
        }
    }
    false
}

enum Written {
    Stored,
    /// Full, jammed or out of reach: try the next.
    Elsewhere,
    /// Somebody wrote at the same time: read again.
    Conflict,
}

async fn write_slot(
    dht: &AsyncDht,
    slot: &Slot,
    record: &Record,
    insist: bool,
    round: RoundId,
    out: &mpsc::Sender<Report>,
) -> Written {
    let key = slot.key();
    let Ok(current) = timeout(CALL_TIMEOUT, dht.get_mutable_most_recent(&key, None)).await else {
        return Written::Elsewhere;
    };
    let now = UnixMillis::now();
    let mut others = current.as_ref().map_or_else(Vec::new, |item| slot.records(item.value(), now));
    others.retain(|other| other.peer() != record.peer());
    if !others.is_empty() {
        _ = out.send(Report::Records { round, records: others.clone() }).await;
    }
    let cas = current.as_ref().map(MutableItem::seq);
    let Some(seq) = next_seq(cas, now).filter(|_| insist || others.len() < MAX_RECORDS) else {
        return Written::Elsewhere;
    };
    let value = merged(record, &others);
    let signature = slot.sign_item(seq, &value);
    let item = MutableItem::new_signed_unchecked(key, signature, &value, seq, None);
    match timeout(CALL_TIMEOUT, dht.put_mutable(item, cas)).await {
        Ok(Ok(_)) if cas.is_none() => stands(dht, slot, record).await,
        Ok(Ok(_)) => Written::Stored,
        Ok(Err(PutMutableError::Concurrency(_))) => Written::Conflict,
        Ok(Err(PutMutableError::Query(_))) | Err(_) => Written::Elsewhere,
    }
}

/// Whether the first write into a slot was not replaced at once: there is no number before it that others
/// could compare, so that of several first ones only the last stays.
async fn stands(dht: &AsyncDht, slot: &Slot, record: &Record) -> Written {
    sleep(pause()).await;
    let current = timeout(CALL_TIMEOUT, dht.get_mutable_most_recent(&slot.key(), None)).await;
    let Ok(Some(current)) = current else { return Written::Stored };
    let mut records = slot.records(current.value(), UnixMillis::now()).into_iter();
    match records.any(|other| other.peer() == record.peer()) {
        true => Written::Stored,
        false => Written::Conflict,
    }
}

/// Our record and the newest of the others: when the item is full, the oldest goes.
fn merged(record: &Record, others: &[Record]) -> Vec<u8> {
    join(std::iter::once(record.bytes()).chain(others.iter().map(Record::bytes)))
}

/// None if the slot is jammed with a number that cannot be passed.
fn next_seq(current: Option<i64>, now: UnixMillis) -> Option<i64> {
    let now = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
    let next = current.map_or(now, |seq| seq.saturating_add(1).max(now));
    (next <= now.saturating_add(MAX_AHEAD_SECONDS)).then_some(next)
}

/// 100 to 600 ms.
fn pause() -> Duration {
    Duration::from_millis(rand::random_range(100..600))
}

pub(super) async fn publish(dht: AsyncDht, item: Item) -> Ended {
    let Item { key, seq, value, signature } = item;
    let item = MutableItem::new_signed_unchecked(key, signature, &value, seq, None);
    let put = timeout(CALL_TIMEOUT, dht.put_mutable(item, None)).await;
    let stored = matches!(put, Ok(Ok(_)));
    Ended { report: Report::Published { stored }, hung: put.is_err(), answered: Some(stored) }
}

pub(super) async fn resolve(dht: AsyncDht, id: u64, key: [u8; 32]) -> Ended {
    let mut items = dht.get_mutable(&key, None, None);
    let mut deadline = Instant::now() + CALL_TIMEOUT;
    let mut newest: Option<MutableItem> = None;
    let ended = loop {
        let Ok(item) = timeout_at(deadline, items.next()).await else { break false };
        let Some(item) = item else { break true };
        if newest.is_none() {
            deadline = Instant::now() + NEWER_TIMEOUT;
        }
        if newest.as_ref().is_none_or(|newest| newest.seq() < item.seq()) {
            newest = Some(item);
        }
    };
    let hung = !ended && newest.is_none();
    let item = newest.map(|item| (item.seq(), item.value().to_vec()));
    let answered = item.is_some().then_some(true);
    Ended { report: Report::Resolved { id, item }, hung, answered }
}
