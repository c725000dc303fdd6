//! What a daemon costs when nothing happens.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::process::Process;
use crate::{
    commands::Context,
    failed::Failed,
    output::{self, Table},
};

/// Time for start-up work to end before idle CPU is measured.
const SETTLE: Duration = Duration::from_secs(3);

#[derive(Debug, Serialize)]
struct Idle {
    ready_ms: f64,
    rss_bytes: u64,
    private_bytes: u64,
    idle_cpu_percent: f64,
    seconds: u64,
}

pub(super) async fn run(context: Context<'_>, seconds: u64) -> Result<(), Failed> {
    let dir = Scratch::new()?;
    let daemon = |dir: &Scratch| {
        let words =
            "up --json --listen /ip4/0.0.0.0/tcp/0 --listen /ip4/0.0.0.0/udp/0/quic-v1 --data";
        let mut arguments: Vec<_> = words.split(' ').map(str::to_owned).collect();
        arguments.push(dir.0.display().to_string());
        Process::start(&arguments)
    };
    // The first start makes the identity and the store; users wait for the later ones.
    let mut first = daemon(&dir)?;
    let _: Value = first.line().await?;
    first.end().await?;
    let start = Instant::now();
    let mut process = daemon(&dir)?;
    let _: Value = process.line().await?;
    let ready_ms = start.elapsed().as_secs_f64() * 1e3;
    tokio::time::sleep(SETTLE).await;
    let (before, since) = (process.usage()?, Instant::now());
    context.out.note(format_args!("leaving the daemon alone for {seconds} s"));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = process.usage()?;
    let idle_cpu_percent = (after.cpu_s - before.cpu_s) / since.elapsed().as_secs_f64() * 100.0;
    process.end().await?;
    let idle = Idle {
        ready_ms,
        rss_bytes: after.resident,
        private_bytes: after.private,
        idle_cpu_percent,
        seconds,
    };
    context.out.result(&idle, |idle| {
        let mut table = Table::plain();
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        row("start to ready", output::millis(idle.ready_ms));
        row("resident memory", output::bytes(idle.rss_bytes));
        row("of it private", output::bytes(idle.private_bytes));
        row("CPU while idle", format!("{:.3} %", idle.idle_cpu_percent));
        table.to_string()
    })
}

/// A folder that goes with the measurement.
pub(super) struct Scratch(pub(super) std::path::PathBuf);

impl Scratch {
    pub(super) fn new() -> std::io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("peerage-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is a few kilobytes in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
