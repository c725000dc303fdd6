//! Child processes of a measurement, and what the system says of their memory and CPU time.

use std::{fs, process::Stdio};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A child that speaks JSON lines; it ends when this is dropped.
pub(super) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Closing it tells a side that it is no longer needed.
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts this program with `args`.
    pub(super) fn start(args: &[String]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where this program is")?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("starting this program again")?;
        let stdout = child.stdout.take().context("its output")?;
        let stdin = child.stdin.take();
        Ok(Self { child, lines: BufReader::new(stdout).lines(), stdin })
    }

    /// The next line, read as JSON.
    pub(super) async fn line<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        match self.lines.next_line().await? {
            Some(line) => serde_json::from_str(&line).with_context(|| line.clone()),
            None => bail!("one side of the measurement ended early"),
        }
    }

    /// Tells a side to end, or a daemon by a signal, and waits until it has.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        drop(self.stdin.take());
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }

    /// Ends it without giving it a chance.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// What the system says of it now.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        let pid = self.child.id().context("the process has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(')').context("the name in /proc/PID/stat")?.1;
        let ticks: Vec<u64> =
            after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse().ok()).collect();
        #[expect(clippy::cast_precision_loss, reason = "ticks of a short run are exact as f64")]
        let cpu_s =
            ticks.iter().sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(Usage {
            resident: field("VmRSS:").unwrap_or_default() * 1024,
            private: field("RssAnon:").unwrap_or_default() * 1024,
            peak: field("VmHWM:").unwrap_or_default() * 1024,
            cpu_s,
        })
    }
}

/// Memory and CPU time of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// Resident memory in bytes, code included.
    pub(super) resident: u64,
    /// The part of it that is its own, in bytes.
    pub(super) private: u64,
    /// The most it ever was, in bytes.
    pub(super) peak: u64,
    /// User and system time in seconds.
    pub(super) cpu_s: f64,
}
