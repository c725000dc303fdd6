//! Users: a login, a call with its check of the token, storage, and how fast a profile spreads.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use peerage_api::{
    Node,
    storage::{MAX_BATCH, Write},
    types::{Password, ServiceName},
    users::{Event, ProfileChange, Session, Update},
};
use serde::Serialize;
use tempfile::TempDir;

use crate::{
    commands::Context,
    daemon::{self, Running, Settings},
    failed::Failed,
    output::Table,
};

/// What is stored each time.
const VALUE_BYTES: usize = 100;
/// How long each rate is measured.
const LONG_ENOUGH: Duration = Duration::from_secs(2);
const LOGINS: usize = 9;
const CALLS: usize = 20_000;
const UPDATES: usize = 50;

#[derive(Debug, Serialize)]
struct Measured {
    login_p50_ms: f64,
    checked_call_p50_us: f64,
    driver_call_p50_us: f64,
    put_per_s: f64,
    plain_sync_per_s: f64,
    batched_put_per_s: f64,
    profile_visible_p50_ms: f64,
    profile_visible_max_ms: f64,
}

pub(super) async fn run(context: Context<'_>) -> Result<(), Failed> {
    let home = TempDir::with_prefix("peerage-bench-")?;
    let (near, far) =
        (start(&home.path().join("near")).await?, start(&home.path().join("far")).await?);
    far.node.peers().connect(near.listen[0].clone()).await?;
    let ada = near.node.users().create(password(), None).await?.session;
    let seen = updates(&near.node, &far.node, &ada).await?;
    let measured = Measured {
        login_p50_ms: logins(&near.node, &ada).await? * 1e3,
        checked_call_p50_us: checked_calls(&near.node, &ada).await? * 1e6,
        driver_call_p50_us: driver_calls(&near.node).await? * 1e6,
        put_per_s: puts(&near.node, &ada).await?,
        plain_sync_per_s: plain_syncs(home.path())?,
        batched_put_per_s: batches(&near.node, &ada).await?,
        profile_visible_p50_ms: seen.0 * 1e3,
        profile_visible_max_ms: seen.1 * 1e3,
    };
    near.stop().await;
    far.stop().await;
    context.out.result(&measured, |measured| {
        let mut table = Table::plain();
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        row("login, Argon2id with 64 MiB, p50", format!("{:.0} ms", measured.login_p50_ms));
        row(
            "call with a check of its token, p50",
            format!("{:.1} µs", measured.checked_call_p50_us),
        );
        row("call that asks the driver, p50", format!("{:.1} µs", measured.driver_call_p50_us));
        row("durable puts one after the other", format!("{:.0} a second", measured.put_per_s));
        row("a plain append with fdatasync", format!("{:.0} a second", measured.plain_sync_per_s));
        row(
            "durable puts in batches of 1,000",
            format!("{:.0} a second", measured.batched_put_per_s),
        );
        let (p50, max) = (measured.profile_visible_p50_ms, measured.profile_visible_max_ms);
        row(
            "a profile is seen by a connected node",
            format!("{p50:.1} ms p50, {max:.1} ms at most"),
        );
        table.to_string()
    })
}

async fn start(data: &Path) -> Result<Running, Failed> {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a literal address")];
    let data = Some(data.to_owned());
    let settings = Settings { data, listen, mdns: false, local_only: true, ..Settings::default() };
    daemon::start(settings).await
}

fn password() -> Password {
    "correct horse battery".parse().expect("not empty")
}

fn service() -> ServiceName {
    ServiceName::new("bench").expect("a literal name")
}

fn p50(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

async fn logins(node: &Node, ada: &Session) -> Result<f64, Failed> {
    let mut times = Vec::new();
    for _ in 0..LOGINS {
        let begun = Instant::now();
        let session = node.users().login(ada.user, password(), None).await?;
        times.push(begun.elapsed());
        node.users().logout(session.auth()).await?;
    }
    Ok(p50(times))
}

async fn checked_calls(node: &Node, ada: &Session) -> Result<f64, Failed> {
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let begun = Instant::now();
        node.users().sessions(ada.auth()).await?;
        times.push(begun.elapsed());
    }
    Ok(p50(times))
}

async fn driver_calls(node: &Node) -> Result<f64, Failed> {
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let begun = Instant::now();
        node.id().await?;
        times.push(begun.elapsed());
    }
    Ok(p50(times))
}

async fn puts(node: &Node, ada: &Session) -> Result<f64, Failed> {
    let storage = node.storage(ada.auth(), service());
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < LONG_ENOUGH {
        storage.put(format!("single/{count}"), vec![7; VALUE_BYTES], None, None).await?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// What the disk gives without any of ours.
fn plain_syncs(dir: &Path) -> Result<f64, Failed> {
    let path = dir.join("plain");
    let mut file = File::create(&path)?;
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < LONG_ENOUGH {
        file.write_all(&[7; VALUE_BYTES])?;
        file.sync_data()?;
        count += 1;
    }
    fs::remove_file(path)?;
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

async fn batches(node: &Node, ada: &Session) -> Result<f64, Failed> {
    let storage = node.storage(ada.auth(), service());
    let (begun, mut count) = (Instant::now(), 0_usize);
    // Room for what was put before, and for no more entries than a service may have.
    while begun.elapsed() < LONG_ENOUGH && count < 80 * MAX_BATCH {
        let put = |n| Write::Put {
            key: format!("batch/{n}"),
            value: vec![7; VALUE_BYTES].into(),
            if_revision: None,
            ttl_ms: None,
        };
        storage.batch((count..count + MAX_BATCH).map(put).collect()).await?;
        count += MAX_BATCH;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count below 2^52")]
    let count = count as f64;
    Ok(count / begun.elapsed().as_secs_f64())
}

/// Median and longest, in seconds.
async fn updates(near: &Node, far: &Node, ada: &Session) -> Result<(f64, f64), Failed> {
    let mut events = far.users().events().await?;
    let mut times = Vec::new();
    for n in 0..UPDATES {
        let display_name = Update::Set(format!("Ada {n}"));
        let change = ProfileChange { display_name, ..ProfileChange::default() };
        let begun = Instant::now();
        let seq = near.users().update(ada.auth(), change).await?.seq;
        let seen = Event::Changed { user: ada.user, seq };
        while events.item().await.is_some_and(|event| event != seen) {}
        times.push(begun.elapsed());
    }
    let longest = times.iter().max().copied().unwrap_or_default().as_secs_f64();
    Ok((p50(times), longest))
}
