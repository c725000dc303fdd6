//! Files between daemons on loopback, and between two processes of `sendme` where it is installed.

mod daemon;
mod rival;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rand::RngExt as _;
use serde::Serialize;

use self::daemon::{Daemon, random_file};
use super::{idle::Scratch, process::Usage};
use crate::{
    commands::Context,
    failed::Failed,
    output::{self, Table},
};

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
const SMALL_FILES: u64 = 10_000;
const SMALL_BYTES: u64 = 10_000;
const KILLS: u32 = 20;
/// Slow enough for all of them to happen before the end.
const KILLED_BPS: u64 = 200_000_000;

/// One piece of work.
#[derive(Debug, Serialize)]
struct Row {
    work: String,
    bytes: u64,
    seconds: f64,
    mb_per_s: f64,
    /// CPU seconds and peak memory of the sending and the receiving process.
    send_cpu_s: Option<f64>,
    receive_cpu_s: Option<f64>,
    send_peak_bytes: Option<u64>,
    receive_peak_bytes: Option<u64>,
    note: String,
}

/// What is measured and with how much.
pub(super) struct Plan {
    pub(super) megabytes: u64,
    pub(super) rounds: u16,
    pub(super) kills: bool,
}

pub(super) async fn run(context: Context<'_>, plan: Plan) -> Result<(), Failed> {
    let rows = measure(&context, &plan).await?;
    context.out.result(&rows, |rows| table(rows))
}

async fn measure(context: &Context<'_>, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let scratch = Scratch::new()?;
    let home = &scratch.0;
    let note = |text: &str| context.out.note(format_args!("{text}"));
    note("writing files of random bytes");
    let file = home.join("file.bin");
    random_file(&file, plan.megabytes << 20)?;
    let mut rows = Vec::new();
    let mut of = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for round in 1..=plan.rounds {
        for (listen, rows) in [TCP, QUIC].into_iter().zip(&mut of) {
            note(&format!("one file over {listen}, round {round} of {}", plan.rounds));
            rows.push(one_file(home, listen, &file).await?);
        }
        if rival::is_installed() {
            note(&format!("the same with sendme, round {round} of {}", plan.rounds));
            of[2].push(rival::one_file(home, &file).await?);
        }
        note(&format!("copied on this machine, round {round} of {}", plan.rounds));
        of[3].push(copied(home, &file)?);
    }
    rows.extend(of.into_iter().filter_map(median));
    note("many small files");
    rows.extend(small_files(home).await?);
    note("several sources");
    rows.extend(sources(home, &file).await?);
    if plan.kills {
        note(&format!("{KILLS} kills"));
        rows.push(kills(home, &file).await?);
    }
    Ok(rows)
}

fn median(mut rows: Vec<Row>) -> Option<Row> {
    rows.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let middle = rows.len() / 2;
    (!rows.is_empty()).then(|| rows.swap_remove(middle))
}

/// Both daemons and what they used for some work.
async fn pair(home: &Path, listen: &str) -> anyhow::Result<(Daemon, Daemon)> {
    let (one, two) = (fresh(home, "one")?, fresh(home, "two")?);
    let sender = Daemon::start(&one, "data", listen, None).await?;
    let receiver = Daemon::start(&two, "data", listen, Some(sender.peer)).await?;
    receiver.node.peers().connect(sender.address.clone()).await?;
    Ok((sender, receiver))
}

fn fresh(home: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let dir = home.join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

async fn one_file(home: &Path, listen: &str, file: &Path) -> anyhow::Result<Row> {
    let (sender, receiver) = pair(home, listen).await?;
    warm(home, file)?;
    let before = (sender.usage()?, receiver.usage()?);
    let (received, seconds) = sender.send(file, &receiver).await?;
    let after = (sender.usage()?, receiver.usage()?);
    check(file, received.paths.first().context("it is somewhere")?)?;
    let transport = if listen == TCP { "TCP" } else { "QUIC" };
    let work = format!("{} over {transport}", output::bytes(received.bytes));
    end([sender, receiver]).await?;
    Ok(row(work, received.bytes, seconds, Some((before, after))))
}

/// Has the source in memory, and as many free pages as a copy of it takes. A virtual machine gives
/// free pages back, and taking them again costs more than all that is measured here: whoever comes
/// first would pay for those who follow.
fn warm(home: &Path, file: &Path) -> anyhow::Result<()> {
    let scratch = home.join("warm.bin");
    fs::copy(file, &scratch)?;
    Ok(fs::remove_file(scratch)?)
}

/// What the disk and the page cache alone take: the same file, copied and synced by one thread.
fn copied(home: &Path, file: &Path) -> anyhow::Result<Row> {
    use std::io::{Read as _, Write as _};
    let target = fresh(home, "copy")?.join("file.bin");
    warm(home, file)?;
    let begin = Instant::now();
    let (mut from, mut to) = (fs::File::open(file)?, fs::File::create(&target)?);
    let mut block = vec![0; 1 << 20];
    loop {
        match from.read(&mut block)? {
            0 => break,
            read => to.write_all(&block[..read])?,
        }
    }
    to.sync_all()?;
    let seconds = begin.elapsed().as_secs_f64();
    let bytes = fs::metadata(&target)?.len();
    fs::remove_file(target)?;
    Ok(row("the same copied on this machine".to_owned(), bytes, seconds, None))
}

async fn end(daemons: impl IntoIterator<Item = Daemon>) -> anyhow::Result<()> {
    for daemon in daemons {
        daemon.end().await?;
    }
    Ok(())
}

fn row(
    work: String,
    bytes: u64,
    seconds: f64,
    usage: Option<((Usage, Usage), (Usage, Usage))>,
) -> Row {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let mb_per_s = bytes as f64 / 1e6 / seconds;
    let cpu = |before: Usage, after: Usage| after.cpu_s - before.cpu_s;
    Row {
        work,
        bytes,
        seconds,
        mb_per_s,
        send_cpu_s: usage.map(|(before, after)| cpu(before.0, after.0)),
        receive_cpu_s: usage.map(|(before, after)| cpu(before.1, after.1)),
        send_peak_bytes: usage.map(|(_, after)| after.0.peak),
        receive_peak_bytes: usage.map(|(_, after)| after.1.peak),
        note: String::new(),
    }
}

/// That two files have the same bytes.
fn check(one: &Path, other: &Path) -> anyhow::Result<()> {
    let hash = |path: &Path| -> anyhow::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(fs::File::open(path)?)?;
        Ok(hasher.finalize())
    };
    anyhow::ensure!(hash(one)? == hash(other)?, "{} is not what was sent", other.display());
    Ok(())
}

async fn small_files(home: &Path) -> anyhow::Result<Vec<Row>> {
    let (tree, whole) = (fresh(home, "tree")?, home.join("whole.bin"));
    for number in 0..SMALL_FILES {
        let dir = tree.join(format!("{:02}", number / 100));
        if number % 100 == 0 {
            fs::create_dir(&dir)?;
        }
        let mut bytes = vec![0; usize::try_from(SMALL_BYTES)?];
        rand::fill(&mut bytes[..]);
        fs::write(dir.join(format!("{number:05}")), bytes)?;
    }
    random_file(&whole, SMALL_FILES * SMALL_BYTES)?;
    let mut rows = Vec::new();
    for (path, work) in [(whole, "one file of 100 MB"), (tree, "10,000 files of 10 KB")] {
        let (sender, receiver) = pair(home, TCP).await?;
        let before = (sender.usage()?, receiver.usage()?);
        let (received, seconds) = sender.send(&path, &receiver).await?;
        let after = (sender.usage()?, receiver.usage()?);
        rows.push(row(work.to_owned(), received.bytes, seconds, Some((before, after))));
        end([sender, receiver]).await?;
    }
    let times = rows[1].seconds / rows[0].seconds;
    rows[1].note = format!("{times:.2} × the time of the one file");
    Ok(rows)
}

/// One source, three, and three of which one is killed.
async fn sources(home: &Path, file: &Path) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (count, killed) in [(1, false), (3, false), (3, true)] {
        let mut daemons = Vec::new();
        for number in 0..count {
            let dir = fresh(home, &format!("source{number}"))?;
            daemons.push(Daemon::start(&dir, "data", TCP, None).await?);
        }
        let dir = fresh(home, "two")?;
        let receiver = Daemon::start(&dir, "data", TCP, None).await?;
        for daemon in &daemons {
            receiver.node.peers().connect(daemon.address.clone()).await?;
        }
        let mut ticket = String::new();
        for daemon in &daemons {
            ticket = daemon.share(file).await?;
        }
        let begin = Instant::now();
        let transfer = receiver.get(&ticket, &dir, None).await?;
        if killed {
            until_begun(&receiver, transfer).await?;
            daemons[0].kill().await?;
        }
        let received = receiver.wait(transfer).await?;
        let seconds = begin.elapsed().as_secs_f64();
        check(file, received.paths.first().context("it is somewhere")?)?;
        let mut from = Vec::new();
        for daemon in daemons.iter().filter(|_| !killed) {
            from.push(output::bytes(daemon.node.files().stats().await?.sent_bytes));
        }
        let work = match (count, killed) {
            (1, _) => "one source".to_owned(),
            (_, false) => format!("{count} sources"),
            (_, true) => format!("{count} sources, one killed"),
        };
        let mut row = row(work, received.bytes, seconds, None);
        let extra = received.wire_bytes.saturating_sub(received.bytes);
        row.note =
            format!("{} beyond the file; from each: {}", output::bytes(extra), from.join(", "));
        rows.push(row);
        end(daemons.into_iter().chain([receiver])).await?;
    }
    Ok(rows)
}

async fn until_begun(
    receiver: &Daemon,
    transfer: peerage_api::types::TransferId,
) -> anyhow::Result<()> {
    use peerage_api::files::Event;
    let mut events = receiver.node.files().events(Some(transfer)).await?;
    loop {
        match events.item().await.context("the daemon runs")? {
            Event::Progress { bytes, .. } if bytes > 0 => return Ok(()),
            Event::State { transfer } if transfer.state.is_over() => return Ok(()),
            _ => {}
        }
    }
}

/// Kills either side at random moments until the file is there.
async fn kills(home: &Path, file: &Path) -> anyhow::Result<Row> {
    let (mut sender, mut receiver) = pair(home, TCP).await?;
    let ticket = sender.share(file).await?;
    let (into, began) = (home.join("two"), loopback_bytes()?);
    let begin = Instant::now();
    let transfer = receiver.get(&ticket, &into, Some(KILLED_BPS)).await?;
    let mut done = 0;
    for number in 0..KILLS {
        until_begun(&receiver, transfer).await?;
        let moment = rand::rng().random_range(0..150);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        if receiver.node.files().transfer(transfer).await?.state.is_over() {
            break;
        }
        let victim = if number % 2 == 0 { &mut sender } else { &mut receiver };
        victim.kill().await?;
        victim.restart().await?;
        done += 1;
    }
    let received = receiver.wait(transfer).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let moved = loopback_bytes()? - began;
    check(file, received.paths.first().context("it is somewhere")?)?;
    let mut row = row(format!("{done} kills"), received.bytes, seconds, None);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let ratio = moved as f64 / received.bytes as f64;
    row.note = format!("{ratio:.3} × the file crossed loopback, headers included");
    end([sender, receiver]).await?;
    Ok(row)
}

/// Bytes that the loopback device has received.
fn loopback_bytes() -> anyhow::Result<u64> {
    let devices = fs::read_to_string("/proc/net/dev")?;
    let line = devices.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let bytes =
        line.and_then(|line| line.split_whitespace().next()).context("lo in /proc/net/dev")?;
    Ok(bytes.parse()?)
}

fn table(rows: &[Row]) -> String {
    let mut table =
        Table::new(["WORK", "TIME", "MB/S", "CPU SEND", "RECEIVE", "PEAK SEND", "RECEIVE", ""]);
    let seconds = |cpu: Option<f64>| cpu.map(|s| format!("{s:.2} s")).unwrap_or_default();
    let memory = |bytes: Option<u64>| bytes.map(output::bytes).unwrap_or_default();
    for row in rows {
        table.row([
            row.work.clone(),
            format!("{:.2} s", row.seconds),
            format!("{:.0}", row.mb_per_s),
            seconds(row.send_cpu_s),
            seconds(row.receive_cpu_s),
            memory(row.send_peak_bytes),
            memory(row.receive_peak_bytes),
            row.note.clone(),
        ]);
    }
    table.to_string()
}
