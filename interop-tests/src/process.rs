//! A child process that prints JSON lines.

use std::{
    collections::VecDeque,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
    time::timeout,
};

/// How long one expected line may take; generous, because two cores may run eight processes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Lines that wait to be read. A process that prints more stalls until somebody reads.
const MAX_UNREAD: usize = 1024;

/// Lines of the standard error that a failure quotes.
const MAX_QUOTED: usize = 60;

/// A child process that prints JSON lines; killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<Result<Value, String>>,
    passed_over: VecDeque<Value>,
    complaints: Complaints,
}

type Complaints = Arc<Mutex<VecDeque<String>>>;

impl Process {
    /// Starts `command`; `name` is what failures call it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(name: impl Into<String>, command: &mut Command) -> Result<Self> {
        let name = name.into();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} does not start: {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("stdout is piped")?;
        let stderr = child.stderr.take().context("stderr is piped")?;

        let (unread, lines) = mpsc::channel(MAX_UNREAD);
        tokio::spawn(parse_lines(stdout, unread));
        let complaints = Complaints::default();
        tokio::spawn(keep_last(stderr, Arc::clone(&complaints)));
        Ok(Self { name, child, stdin, lines, passed_over: VecDeque::new(), complaints })
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Writes one JSON line.
    ///
    /// # Errors
    /// When the process is gone.
    pub async fn send(&mut self, line: &Value) -> Result<()> {
        let stdin = self.stdin.as_mut().context("its input is closed")?;
        let sent = stdin.write_all(format!("{line}\n").as_bytes()).await;
        sent.with_context(|| self.said(&format!("does not take {line}")))
    }

    /// The first line, printed already or within half a minute, that is `wanted`. It is taken;
    /// those before it stay for later calls.
    ///
    /// # Errors
    /// When it does not come, or the process ends or prints something that is not JSON.
    pub async fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        if let Some(at) = self.passed_over.iter().position(&wanted) {
            return self.passed_over.remove(at).context("the position was just found");
        }
        let found = timeout(PATIENCE, async {
            loop {
                match self.lines.recv().await {
                    Some(Ok(line)) if wanted(&line) => return Ok(line),
                    Some(Ok(line)) => self.passed_over.push_back(line),
                    Some(Err(line)) => bail!(self.said(&format!("printed no JSON: {line:?}"))),
                    None => bail!(self.said(&format!("ended before {what}"))),
                }
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => bail!(self.said(&format!("did not come to {what}"))),
        }
    }

    /// Everything printed that no call has taken.
    pub fn untaken(&mut self) -> impl Iterator<Item = &Value> {
        while let Ok(Ok(line)) = self.lines.try_recv() {
            self.passed_over.push_back(line);
        }
        self.passed_over.iter()
    }

    /// Closes its standard input and waits for the process to end by itself.
    ///
    /// # Errors
    /// When it does not, or not with success.
    pub async fn end(mut self) -> Result<()> {
        self.stdin = None;
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => bail!(self.said(&format!("ended with {status}"))),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => bail!(self.said("did not end")),
        }
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        self.child.kill().await.with_context(|| self.said("cannot be killed"))
    }

    pub(crate) fn said(&self, fault: &str) -> String {
        let complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = format!("{} {fault}", self.name);
        if !self.passed_over.is_empty() {
            report.push_str("\n  stdout so far:");
        }
        for line in &self.passed_over {
            report.push_str(&format!("\n    {line}"));
        }
        if !complaints.is_empty() {
            report.push_str("\n  stderr:");
        }
        for line in complaints.iter() {
            report.push_str(&format!("\n    {line}"));
        }
        report
    }
}

async fn parse_lines(stdout: impl AsyncRead + Unpin, unread: mpsc::Sender<Result<Value, String>>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let parsed = serde_json::from_str(&line).map_err(|_| line);
        if unread.send(parsed).await.is_err() {
            return;
        }
    }
}

async fn keep_last(stderr: impl AsyncRead + Unpin, complaints: Complaints) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut complaints = complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.len() == MAX_QUOTED {
            complaints.pop_front();
        }
        complaints.push_back(line);
    }
}
