//! Daemons that synchronise.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use peerage_api::{
    Node,
    kv::{Kv, MAX_BATCH, SyncReport},
    types::{Multiaddr, PeerId, Space},
};
use serde::{Deserialize, Serialize};

use super::{Plan, batch};
use crate::{
    bench::process::{Process, Usage},
    commands::Context,
};

/// How long anything may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often a replica is asked how far it is.
const POLL: Duration = Duration::from_millis(5);
/// Time for start-up work to end before memory is read.
const SETTLE: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) first_entries: usize,
    pub(super) first_s: f64,
    pub(super) first_memory_bytes: u64,
    pub(super) first_source_memory_bytes: u64,
    pub(super) large_entries: usize,
    pub(super) differences: SyncReport,
    pub(super) reconnect: SyncReport,
    pub(super) equal: SyncReport,
}

/// A daemon with a data directory of its own.
struct Daemon {
    process: Process,
    node: Node,
    kv: Kv,
    peer: PeerId,
    address: Multiaddr,
}

#[derive(Deserialize)]
struct Ready {
    peer_id: PeerId,
    listen: Vec<Multiaddr>,
}

impl Daemon {
    async fn start(home: &Path, name: &str) -> anyhow::Result<Self> {
        let dir: PathBuf = home.join(name);
        // Without Kademlia nobody meets whom it was not told of, or introduced to.
        let words = "up --json --local-only --no-mdns --no-kad --listen /ip4/127.0.0.1/tcp/0";
        let mut arguments: Vec<_> = words.split(' ').map(str::to_owned).collect();
        arguments.extend(["--data".to_owned(), dir.display().to_string()]);
        let mut process = Process::start(&arguments)?;
        let Ready { peer_id: peer, listen } = process.line().await?;
        let node = peerage::Remote::connect(&dir).await?;
        let address = listen.first().context("it listens")?.clone();
        let kv = node.kv(Space::Default);
        Ok(Self { process, node, kv, peer, address })
    }

    async fn fill(&self, prefix: &str, count: usize) -> anyhow::Result<()> {
        for at in (0..count).step_by(MAX_BATCH) {
            self.kv.batch(batch(prefix, at..count.min(at + MAX_BATCH))).await?;
        }
        Ok(())
    }

    /// Returns once there are so many entries.
    async fn has(&self, count: usize) -> anyhow::Result<()> {
        let has = async {
            while self.kv.stats().await?.entries < count as u64 {
                tokio::time::sleep(POLL).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, has).await.context("they do not come")?
    }

    /// The last session with a peer once it has brought both to the same.
    async fn synced(&self, other: &Self) -> anyhow::Result<SyncReport> {
        let synced = async {
            loop {
                let (ours, theirs) = (self.kv.stats().await?, other.kv.stats().await?);
                let report = ours.last_sync.filter(|report| report.peer == other.peer);
                if let Some(report) = report.filter(|_| ours.entries == theirs.entries) {
                    return anyhow::Ok(report);
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(PATIENCE, synced).await.context("they do not agree")?
    }

    fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }
}

pub(super) async fn run(
    context: &Context<'_>,
    home: &Path,
    plan: Plan,
) -> anyhow::Result<Measured> {
    let source = Daemon::start(home, "source").await?;
    source.fill("first", plan.first).await?;
    tokio::time::sleep(SETTLE).await;
    let sink = Daemon::start(home, "sink").await?;
    tokio::time::sleep(SETTLE).await;
    let (before, source_before) = (sink.usage()?, source.usage()?);
    let begun = Instant::now();
    sink.node.peers().connect(source.address.clone()).await?;
    sink.has(plan.first).await?;
    let first_s = begun.elapsed().as_secs_f64();
    let (after, source_after) = (sink.usage()?, source.usage()?);
    context.out.note(format_args!("first sync of {} entries: {first_s:.2} s", plan.first));
    sink.process.end().await?;

    let rest = plan.large.saturating_sub(plan.first);
    source.fill("rest", rest).await?;
    let large = plan.first + rest;
    context.out.note(format_args!("{large} entries at the source"));
    let (one, two) = (Daemon::start(home, "one").await?, Daemon::start(home, "two").await?);
    // The source would introduce them to each other.
    one.node.peers().block(two.peer).await?;
    for replica in [&one, &two] {
        replica.node.peers().connect(source.address.clone()).await?;
        replica.has(large).await?;
        replica.synced(&source).await?;
    }
    source.process.end().await?;
    one.node.peers().unblock(two.peer).await?;
    context.out.note("two replicas have them and have never met");
    one.fill("one", 5).await?;
    two.fill("two", 5).await?;
    one.node.peers().connect(two.address.clone()).await?;
    let differences = both(&one, &two).await?;
    one.node.peers().disconnect(two.peer).await?;
    one.fill("new", 10).await?;
    one.node.peers().connect(two.address.clone()).await?;
    let reconnect = both(&one, &two).await?;
    let equal = one.kv.sync(Some(two.peer)).await?.pop().context("one session")?;
    one.process.end().await?;
    two.process.end().await?;
    Ok(Measured {
        first_entries: plan.first,
        first_s,
        first_memory_bytes: after.peak.saturating_sub(before.resident),
        first_source_memory_bytes: source_after.peak.saturating_sub(source_before.peak),
        large_entries: large,
        differences,
        reconnect,
        equal,
    })
}

/// The session that has made two replicas equal, as the side saw it that began it.
async fn both(one: &Daemon, two: &Daemon) -> anyhow::Result<SyncReport> {
    one.synced(two).await?;
    two.synced(one).await
}
