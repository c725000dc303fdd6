//! What an entry takes on the disk: `cargo run -p peerage-kv --example sizes [folder [entries [ways]]]`; the ways to
//! write them are `singles`, `batches` and `synced`.

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Instant,
};

use ed25519_dalek::SigningKey;
use peerage_api::kv::Write;
use peerage_kv::{Incoming, Limits, Replica, Signer};
use peerage_store::Store;
use peerage_types::{KvKey, Network, Space, UnixMillis};
use peerage_wire::kv::Claimed;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const BATCH: usize = 10_000;
/// As a session does.
const RECEIVED: usize = 2_000;

struct Node {
    store: Store,
    replica: Replica,
    path: PathBuf,
}

#[tokio::main]
async fn main() -> Outcome {
    let mut given = std::env::args().skip(1);
    let folder = given.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join("peerage-kv-sizes");
    let count: usize = given.next().map_or(Ok(100_000), |text| text.parse())?;
    let only: Vec<_> = given.collect();
    let wants = |way: &str| only.is_empty() || only.iter().any(|it| it == way);
    let _ = std::fs::remove_dir_all(&folder);
    if wants("singles") {
        let node = open(&folder, 1).await?;
        for n in 0..count {
            put(&node, n..n + 1).await?;
        }
        show("one by one", node, count).await?;
    }
    if wants("batches") || wants("synced") {
        let node = open(&folder, 2).await?;
        for at in (0..count).step_by(BATCH) {
            put(&node, at..count.min(at + BATCH)).await?;
        }
        if wants("synced") {
            let other = open(&folder, 3).await?;
            receive(&node, &other).await?;
            show("received", other, count).await?;
        }
        show("in batches of 10,000", node, count).await?;
    }
    Ok(std::fs::remove_dir_all(&folder)?)
}

async fn open(folder: &Path, number: u8) -> Outcome<Node> {
    let path = folder.join(number.to_string());
    let store = Store::open(&path)?.store;
    let signer = Signer::node(SigningKey::from_bytes(&[number; 32]));
    let (network, limits) = (Network::default(), Limits::default());
    let replica = Replica::open(signer, &network, limits, store.kv(), UnixMillis::now()).await?;
    Ok(Node { store, replica, path })
}

/// Small values under keys in no order.
async fn put(node: &Node, numbers: std::ops::Range<usize>) -> Outcome {
    let write = |n: usize| {
        let name = format!("settings/{:08x}/{n}", (n as u32).wrapping_mul(0x9e37_79b1));
        Ok(Write::put(KvKey::new(&name)?, format!("value {n}")))
    };
    let writes = numbers.map(write).collect::<Outcome<Vec<_>>>()?;
    let replica = &node.replica;
    replica.apply(Space::Default, replica.local(), writes, UnixMillis::now()).await?;
    Ok(())
}

/// Two batches at a time, in the order of the feed.
async fn receive(from: &Node, to: &Node) -> Outcome {
    let space = from.replica.default_space();
    let reader = from.replica.local().author;
    let view = from.replica.view(&space, &reader, UnixMillis::now()).await?;
    let peer = reader.peer().ok_or("a node")?;
    let (mut seq, mut all) = (0, Vec::new());
    while seq < view.head() {
        let (some, through) = view.since(seq, None, 1 << 20).await?;
        all.extend(some);
        seq = through;
    }
    for both in all.chunks(2 * RECEIVED) {
        let receive = |part: &[peerage_kv::Outgoing]| {
            let incoming = part.iter().map(|it| Incoming {
                claimed: Claimed {
                    entry: it.signed.entry().clone(),
                    proof: it.signed.proof().clone(),
                },
                value: it.value.clone(),
            });
            to.replica.receive(&space, peer, incoming.collect(), None, UnixMillis::now())
        };
        let (first, second) = both.split_at(both.len().min(RECEIVED));
        tokio::try_join!(receive(first), receive(second))?;
    }
    Ok(())
}

async fn show(what: &str, node: Node, count: usize) -> Outcome {
    let Node { store, replica, path } = node;
    let each = |bytes: u64| bytes / count as u64;
    let usage = store.usage().await?;
    println!(
        "{what:<24} file {:>5} B an entry; pages in use {:>5}, rows {:>5}; {} commits",
        each(store.stats().file_bytes),
        each(usage.allocated_bytes),
        each(usage.row_bytes),
        store.stats().commits,
    );
    drop(replica);
    let begun = Instant::now();
    store.close().await?;
    let took = begun.elapsed();
    let closed = std::fs::metadata(path.join("peerage.redb"))?.len();
    let usage = Store::open(&path)?.store.usage().await?;
    println!(
        "{:<24} file {:>5} B an entry; pages in use {:>5}; took {took:.1?}",
        "  closed",
        each(closed),
        each(usage.allocated_bytes),
    );
    Ok(())
}
