//! The key-value store: puts and gets on one node, and how replicas come to have the same.

mod replicas;

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use peerage_api::{
    Node,
    kv::{Kv, MAX_BATCH, SyncReport, Write},
    types::{KvKey, Space},
};
use serde::Serialize;
use tempfile::TempDir;

use crate::{
    commands::Context,
    daemon::{self, Running, Settings},
    failed::Failed,
    output::{self, Table},
};

const VALUE_BYTES: usize = 100;
/// How long each rate is measured.
const LONG_ENOUGH: Duration = Duration::from_secs(2);
/// Entries that are put in batches, and then read.
const BATCHES: usize = 20;
const IN_FLIGHT: usize = 64;
const SEEN: usize = 100;

#[derive(Debug, Serialize)]
struct Measured {
    put_per_s: f64,
    plain_sync_per_s: f64,
    batched_put_per_s: f64,
    get_per_s: f64,
    get_in_flight_per_s: f64,
    visible_p50_ms: f64,
    visible_max_ms: f64,
    #[serde(flatten)]
    replicas: replicas::Measured,
}

/// Entries that are synchronised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) first: usize,
    pub(super) large: usize,
}

pub(super) async fn run(context: Context<'_>, plan: Plan) -> Result<(), Failed> {
    let home = TempDir::with_prefix("peerage-bench-")?;
    let (near, far) =
        (start(&home.path().join("near")).await?, start(&home.path().join("far")).await?);
    far.node.peers().connect(near.listen[0].clone()).await?;
    let seen = seen(&near.node, &far.node).await?;
    far.stop().await;
    let kv = near.node.kv(Space::Default);
    let put_per_s = puts(&kv).await?;
    let plain_sync_per_s = plain_syncs(home.path())?;
    let batched_put_per_s = batches(&kv).await?;
    let (get_per_s, get_in_flight_per_s) = (gets(&kv, 1).await?, gets(&kv, IN_FLIGHT).await?);
    near.stop().await;
    let replicas = replicas::run(&context, home.path(), plan).await?;
    let measured = Measured {
        put_per_s,
        plain_sync_per_s,
        batched_put_per_s,
        get_per_s,
        get_in_flight_per_s,
        visible_p50_ms: seen.0 * 1e3,
        visible_max_ms: seen.1 * 1e3,
        replicas,
    };
    context.out.result(&measured, |measured| table(measured).to_string())
}

fn table(measured: &Measured) -> Table {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    let rate = |rate: f64| format!("{rate:.0} a second");
    row("durable puts one after the other", rate(measured.put_per_s));
    row("a plain append with fdatasync", rate(measured.plain_sync_per_s));
    row("durable puts in batches of 10,000", rate(measured.batched_put_per_s));
    row("gets one after the other", rate(measured.get_per_s));
    row("gets, 64 in flight", rate(measured.get_in_flight_per_s));
    let (p50, max) = (measured.visible_p50_ms, measured.visible_max_ms);
    row("a put is seen by a connected node", format!("{p50:.1} ms p50, {max:.1} ms at most"));
    let of = &measured.replicas;
    row(
        &format!("first sync of {} entries", of.first_entries),
        format!(
            "{:.2} s, {} and {} more memory",
            of.first_s,
            output::bytes(of.first_memory_bytes),
            output::bytes(of.first_source_memory_bytes)
        ),
    );
    row(&format!("10 differences among {}", of.large_entries), session(&of.differences));
    row("10 new entries, known cursor", session(&of.reconnect));
    row("equal replicas", session(&of.equal));
    table
}

fn session(report: &SyncReport) -> String {
    let bytes = report.sent_bytes + report.received_bytes;
    format!(
        "{bytes} bytes, {} round trips, {} ms, {} in, {} out",
        report.rounds, report.ms, report.entries_in, report.entries_out
    )
}

async fn start(data: &Path) -> Result<Running, Failed> {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a literal address")];
    let data = Some(data.to_owned());
    let settings = Settings { data, listen, mdns: false, local_only: true, ..Settings::default() };
    daemon::start(settings).await
}

fn key(name: &str) -> KvKey {
    KvKey::new(name).expect("a literal key")
}

/// Entries under `prefix`, as one batch.
fn batch(prefix: &str, numbers: std::ops::Range<usize>) -> Vec<Write> {
    let put = |n| Write::put(key(&format!("{prefix}/{n:08}")), "v".repeat(VALUE_BYTES));
    numbers.map(put).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^52")]
fn per_second(count: usize, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}

async fn puts(kv: &Kv) -> Result<f64, Failed> {
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < LONG_ENOUGH {
        kv.put(key(&format!("single/{count}")), "v".repeat(VALUE_BYTES)).await?;
        count += 1;
    }
    Ok(per_second(count, begun))
}

/// What the disk gives without any of ours.
fn plain_syncs(dir: &Path) -> Result<f64, Failed> {
    let path = dir.join("plain");
    let mut file = File::create(&path)?;
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < LONG_ENOUGH {
        file.write_all(&[7; VALUE_BYTES])?;
        file.sync_data()?;
        count += 1;
    }
    fs::remove_file(path)?;
    Ok(per_second(count, begun))
}

async fn batches(kv: &Kv) -> Result<f64, Failed> {
    let all: Vec<_> =
        (0..BATCHES).map(|n| batch("batch", n * MAX_BATCH..(n + 1) * MAX_BATCH)).collect();
    let begun = Instant::now();
    // One is prepared while the one before is written.
    let mut applied = stream::iter(all).map(|writes| kv.batch(writes)).buffered(2);
    while let Some(applied) = applied.next().await {
        applied?;
    }
    Ok(per_second(BATCHES * MAX_BATCH, begun))
}

async fn gets(kv: &Kv, in_flight: usize) -> Result<f64, Failed> {
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < LONG_ENOUGH {
        // All over the place.
        let keys = (count..count + 10_000).map(|n| n * 7919 % (BATCHES * MAX_BATCH));
        let gets = stream::iter(keys).map(|n| kv.get(key(&format!("batch/{n:08}"))));
        let mut gets = gets.buffer_unordered(in_flight);
        while let Some(entry) = gets.next().await {
            entry?;
        }
        count += 10_000;
    }
    Ok(per_second(count, begun))
}

/// Median and longest, in seconds.
async fn seen(near: &Node, far: &Node) -> Result<(f64, f64), Failed> {
    let (here, there) = (near.kv(Space::Default), far.kv(Space::Default));
    let mut events = there.watch("seen/", None).await?;
    let mut times = Vec::new();
    for n in 0..SEEN {
        let begun = Instant::now();
        let revision = here.put(key(&format!("seen/{n}")), "v".repeat(VALUE_BYTES)).await?.revision;
        while events.item().await.is_some_and(|event| event.revision != revision) {}
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let longest = times.last().copied().unwrap_or_default();
    Ok((times[times.len() / 2].as_secs_f64(), longest.as_secs_f64()))
}
