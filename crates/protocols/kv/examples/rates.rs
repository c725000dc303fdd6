//! What a replica does in a second, beside what the machine can do:
//! `cargo run --release -p peerage-kv --example rates [folder on the disk to be measured [parts]]`; the parts
//! are `singles`, `gets` and `batches`.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ed25519_dalek::{Signer as _, SigningKey};
use peerage_api::kv::Write;
use peerage_kv::{Incoming, LEAF_LEVEL, Limits, Node, Replica, Signer};
use peerage_store::{KvTable, KvTxn, Store, StoreError};
use peerage_types::{KvKey, Network, PeerId, Space, UnixMillis};
use peerage_wire::kv::{Claimed, SignedEntry};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const BATCH: usize = 10_000;
const SYNCED: usize = 100_000;
/// Entries that are verified and stored at a time.
const RECEIVED: usize = 8_000;

#[tokio::main]
async fn main() -> Outcome {
    let given = std::env::args().nth(1).map(PathBuf::from);
    let folder = given.unwrap_or_else(std::env::temp_dir).join("peerage-kv-rates");
    let _ = std::fs::remove_dir_all(&folder);
    let full = std::env::var_os("ENTRIES").and_then(|text| text.into_string().ok());
    let full = full.map_or(Ok(1_000_000), |text| text.parse::<usize>())?;
    let only: Vec<_> = std::env::args().skip(2).collect();
    let wants = |part: &str| only.is_empty() || only.iter().any(|it| it == part);
    if wants("singles") {
        singles(&folder, 1, 1_000).await?;
        singles(&folder, 7, 100_000).await?;
        crowd(&folder).await?;
    }
    if wants("gets") {
        gets(&folder).await?;
    }
    if wants("batches") {
        signing();
        let replica = batches(&folder).await?;
        receives(&folder, &replica).await?;
        summaries(replica, full).await?;
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn show(what: &str, count: usize, took: Duration) {
    let each = took.as_secs_f64() / count as f64;
    println!("{what:<44} {:>10.0}/s {:>10.1} µs each", 1.0 / each, each * 1e6);
}

fn key_of(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

async fn open(folder: &Path, number: u8) -> Outcome<Replica> {
    let store = Store::open(&folder.join(number.to_string()))?;
    let signer = Signer::node(key_of(number));
    let network = Network::default();
    let limits = Limits::default();
    Ok(Replica::open(signer, &network, limits, store.store.kv(), UnixMillis::now()).await?)
}

fn puts(first: usize, count: usize) -> Vec<Write> {
    let put = |n: usize| Write::put(name(n), format!("value {n:>94}"));
    (first..first + count).map(put).collect()
}

fn name(n: usize) -> KvKey {
    KvKey::new(&format!("settings/service-{}/{n}", n % 97)).expect("a key")
}

/// Bare signatures on all cores.
fn signing() {
    const EACH: usize = 20_000;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let key = key_of(1);
                for n in 0..EACH {
                    std::hint::black_box(key.sign(&n.to_be_bytes()));
                }
            });
        }
    });
    show(&format!("bare signatures, {cores} cores"), cores * EACH, begun.elapsed());
}

/// One put after the other, in turns with commits of the same bytes by the same kind of store; into a space
/// that has some entries, and into one that has many.
async fn singles(folder: &Path, number: u8, filled: usize) -> Outcome {
    const ROUNDS: usize = 15;
    const EACH: usize = 100;
    const BEFORE: usize = 10_000_000;
    let replica = open(folder, number).await?;
    fill(&replica, BEFORE, filled).await?;
    let store = Store::open(&folder.join(format!("bare-{number}")))?.store;
    let before = (BEFORE..BEFORE + filled).map(bare_put).collect::<Vec<_>>();
    let all = move |txn: &mut KvTxn<'_>| before.iter().try_for_each(|put| put(txn));
    store.kv().write(400 * filled, all).await?;
    let (mut taken, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let numbers = round * EACH..(round + 1) * EACH;
        let begun = Instant::now();
        for n in numbers.clone() {
            let now = UnixMillis::now();
            replica.apply(Space::Default, replica.local(), puts(n, 1), now).await?;
        }
        taken.push(begun.elapsed());
        let begun = Instant::now();
        for n in numbers {
            store.kv().write(400, bare_put(n)).await?;
        }
        bare.push(begun.elapsed());
    }
    let (taken, bare) = (median(taken), median(bare));
    show(&format!("single puts, one after the other, {filled}"), EACH, taken);
    show("  bare commits of 350 bytes", EACH, bare);
    println!("  {:.2} times as long", taken.as_secs_f64() / bare.as_secs_f64());
    store.close().await?;
    Ok(())
}

fn bare_put(n: usize) -> impl Fn(&mut KvTxn<'_>) -> Result<(), StoreError> {
    let key = name(n);
    move |txn| txn.put(KvTable::Entries, key.as_str().as_bytes(), &[7; 350])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn fill(replica: &Replica, first: usize, count: usize) -> Outcome {
    for at in (first..first + count).step_by(BATCH) {
        let writes = puts(at, BATCH.min(first + count - at));
        replica.apply(Space::Default, replica.local(), writes, UnixMillis::now()).await?;
    }
    Ok(())
}

async fn crowd(folder: &Path) -> Outcome {
    let replica = open(folder, 6).await?;
    let begun = Instant::now();
    let tasks = (0..64).map(|task| {
        let replica = replica.clone();
        tokio::spawn(async move {
            for n in 0..100 {
                let writes = self::puts(1_000_000 + task * 100 + n, 1);
                let now = UnixMillis::now();
                replica.apply(Space::Default, replica.local(), writes, now).await?;
            }
            Ok::<_, peerage_api::kv::KvError>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    show("single puts, 64 at a time", 6_400, begun.elapsed());
    Ok(())
}

/// Batches, two on their way at a time.
async fn batches(folder: &Path) -> Outcome<Replica> {
    let replica = open(folder, 2).await?;
    let mut waiting = tokio::task::JoinSet::new();
    let made: Vec<_> = (0..SYNCED / BATCH).map(|batch| puts(batch * BATCH, BATCH)).collect();
    let begun = Instant::now();
    for writes in made {
        while waiting.len() >= 2 {
            waiting.join_next().await.expect("not empty")??;
        }
        let replica = replica.clone();
        waiting.spawn(async move {
            let now = UnixMillis::now();
            replica.apply(Space::Default, replica.local(), writes, now).await
        });
    }
    while let Some(applied) = waiting.join_next().await {
        applied??;
    }
    show("puts in batches of 10,000, new keys", SYNCED, begun.elapsed());
    let again = puts(0, BATCH);
    let begun = Instant::now();
    replica.apply(Space::Default, replica.local(), again, UnixMillis::now()).await?;
    show("puts in a batch of 10,000, known keys", BATCH, begun.elapsed());
    Ok(replica)
}

/// Of all keys in no order, and of few again and again.
async fn gets(folder: &Path) -> Outcome {
    const KEYS: usize = 200_000;
    const FEW: usize = 1_000;
    const ROUNDS: usize = 7;
    let replica = open(folder, 5).await?;
    fill(&replica, 0, KEYS).await?;
    for (what, among, tasks) in [
        ("gets of 200,000 keys, one after the other", KEYS, 1),
        ("gets of 200,000 keys, 64 at a time", KEYS, 64),
        ("gets of 1,000 keys, one after the other", FEW, 1),
        ("gets of 1,000 keys, 64 at a time", FEW, 64),
    ] {
        let mut taken = Vec::new();
        for round in 0..ROUNDS {
            taken.push(get_some(&replica, among, tasks, round).await?);
        }
        show(what, GETS, median(taken));
    }
    Ok(())
}

const GETS: usize = 128_000;

async fn get_some(
    replica: &Replica,
    among: usize,
    tasks: usize,
    round: usize,
) -> Outcome<Duration> {
    let begun = Instant::now();
    let tasks = (0..tasks).map(|task| {
        let replica = replica.clone();
        tokio::spawn(async move {
            for n in (task..GETS).step_by(tasks) {
                let key = name((n + round * GETS) * 7_919 % among);
                replica.get(Space::Default, key, UnixMillis(1)).await?;
            }
            Ok::<_, peerage_api::kv::KvError>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    Ok(begun.elapsed())
}

/// All entries of a replica into an empty one, in groups as they were signed and each by itself.
async fn receives(folder: &Path, from: &Replica) -> Outcome {
    let space = from.default_space();
    let view = from.view(&space, &from.local().author, UnixMillis::now()).await?;
    let mut sent = Vec::new();
    let mut seq = 0;
    while seq < view.head() {
        let (some, through) = view.since(seq, None, 1 << 20).await?;
        sent.extend(some);
        seq = through;
    }
    let groups: Vec<_> = sent.iter().map(|it| incoming(&it.signed, it.value.clone())).collect();
    receive(folder, 3, "entries received, groups of 16", groups, &space).await?;
    let key = key_of(2);
    let alone = sent.into_iter().flat_map(|it| {
        let signed = SignedEntry::sign(vec![it.signed.entry().clone()], &key);
        signed.into_iter().map(move |signed| incoming(&signed, it.value.clone()))
    });
    receive(folder, 4, "entries received, signed one by one", alone.collect(), &space).await
}

fn incoming(signed: &SignedEntry, value: Option<bytes::Bytes>) -> Incoming {
    let claimed = Claimed { entry: signed.entry().clone(), proof: signed.proof().clone() };
    Incoming { claimed, value }
}

async fn receive(
    folder: &Path,
    number: u8,
    what: &str,
    entries: Vec<Incoming>,
    space: &peerage_types::SpaceId,
) -> Outcome {
    let replica = open(folder, number).await?;
    let from: PeerId = Signer::node(key_of(2)).author.peer().expect("a node");
    let count = entries.len();
    let mut parts = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let next = rest.split_off(rest.len().min(RECEIVED));
        parts.push(std::mem::replace(&mut rest, next));
    }
    let begun = Instant::now();
    let mut new = 0;
    // One is verified while the one before is written.
    let mut waiting = std::collections::VecDeque::new();
    for part in parts {
        let (replica, space) = (replica.clone(), *space);
        waiting.push_back(tokio::spawn(async move {
            replica.receive(&space, from, part, None, UnixMillis::now()).await
        }));
        if waiting.len() > 1 {
            new += waiting.pop_front().expect("two").await??.new;
        }
    }
    for last in waiting {
        new += last.await??.new;
    }
    assert_eq!(new as usize, count);
    show(what, count, begun.elapsed());
    Ok(())
}

/// A large space: what it costs to open a view and to compare ranges.
async fn summaries(replica: Replica, full: usize) -> Outcome {
    let begun = Instant::now();
    let mut made = SYNCED;
    while made < full {
        let writes = puts(made, BATCH);
        replica.apply(Space::Default, replica.local(), writes, UnixMillis::now()).await?;
        made += BATCH;
    }
    if made > SYNCED {
        show(&format!("puts in batches, up to {full}"), full - SYNCED, begun.elapsed());
    }
    let space = replica.default_space();
    let begun = Instant::now();
    let view = replica.view(&space, &replica.local().author, UnixMillis::now()).await?;
    println!("a view of {full} entries: {:?}", begun.elapsed());
    let nodes: Vec<_> = (0..16).map(|n| Node { level: LEAF_LEVEL - 1, prefix: n * 255 }).collect();
    let begun = Instant::now();
    view.children(nodes.clone()).await?;
    println!("children of 16 nodes: {:?}", begun.elapsed());
    let leaves: Vec<_> = nodes.iter().filter_map(|node| node.child(3)).collect();
    let begun = Instant::now();
    let items = view.items(leaves, usize::MAX).await?;
    let count: usize = items.iter().map(Vec::len).sum();
    println!("items of 16 leaf buckets, {count} in all: {:?}", begun.elapsed());
    let begun = Instant::now();
    let hashes = items.into_iter().flatten().map(|item| item.hash).collect();
    view.find(hashes).await?;
    println!("finding these {count}: {:?}", begun.elapsed());
    let arc = Arc::new(replica);
    let begun = Instant::now();
    arc.release(UnixMillis::now()).await?;
    println!("a release with nothing to do: {:?}", begun.elapsed());
    Ok(())
}
