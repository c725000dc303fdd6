//! Processes with a home of their own, which end with the test.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a loaded machine; nothing that works ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A home directory with a data directory, and the processes that live there.
pub(crate) struct Sandbox {
    pub(crate) home: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerage"));
        command.args(args).env_clear().env("HOME", self.home.path());
        command.env("PEERAGE_DATA", self.data()).current_dir(self.home.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Finished {
        Finished::of(args, self.command(args).output().unwrap())
    }

    /// Runs a command that must succeed; what it printed as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let finished = self.run(&[args, &["--json"]].concat());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.json()
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Process {
        Process::new(self.command(args).spawn().unwrap())
    }

    /// A daemon on loopback that nobody finds by accident, once it is ready.
    pub(crate) fn up(&self, args: &[&str]) -> Daemon {
        let common =
            ["up", "--json", "--no-mdns", "--local-only", "--listen", "/ip4/127.0.0.1/tcp/0"];
        let process = self.spawn(&[&common, args].concat());
        let ready = process.line();
        Daemon { ready: serde_json::from_str(&ready).unwrap(), process }
    }

    /// Asks again until the answer is as wanted.
    pub(crate) fn until(&self, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let answer = self.json(args);
            if wanted(&answer) {
                return answer;
            }
            assert!(start.elapsed() < PATIENCE, "{args:?} still says {answer}");
        }
    }
}

#[derive(Debug)]
pub(crate) struct Finished {
    #[expect(dead_code, reason = "shown when a test fails")]
    args: Vec<String>,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn of(args: &[&str], output: Output) -> Self {
        Self {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The one value on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// A process that is killed at the end of its test.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    messages: Receiver<String>,
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = sync_channel(10_000);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

impl Process {
    fn new(mut child: Child) -> Self {
        let out = lines(child.stdout.take().unwrap());
        let messages = lines(child.stderr.take().unwrap());
        Self { child, lines: out, messages }
    }

    /// The next line on stdout.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|e| {
            let said: Vec<_> = self.messages.try_iter().collect();
            panic!("no line on stdout ({e}); stderr: {said:#?}")
        })
    }

    /// Waits for a line on stderr that contains `text`.
    pub(crate) fn message(&self, text: &str) {
        let mut said = Vec::new();
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return,
                Ok(line) => said.push(line),
                Err(e) => panic!("no {text:?} on stderr ({e}): {said:#?}"),
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; the exit status and what was left on stdout and stderr.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>, Vec<String>) {
        let status = self.wait();
        (status, self.lines.iter().collect(), self.messages.iter().collect())
    }

    fn wait(&mut self) -> ExitStatus {
        // The pipes close when the process is gone, so that there is no need to poll.
        let start = Instant::now();
        let mut kept = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            match self.messages.recv_timeout(left) {
                Ok(line) => kept.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(e) => panic!("the process does not end ({e}): {kept:#?}"),
            }
        }
        let (to, messages) = sync_channel(kept.len() + 1);
        kept.into_iter().for_each(|line| to.send(line).unwrap());
        self.messages = messages;
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) ready: Value,
    pub(crate) process: Process,
}

impl Daemon {
    pub(crate) fn id(&self) -> &str {
        self.ready["peer_id"].as_str().unwrap()
    }

    /// Its first listen address.
    pub(crate) fn address(&self) -> &str {
        self.ready["listen"][0].as_str().unwrap()
    }

    /// Ends it without any chance to tidy up.
    pub(crate) fn kill(self) {
        self.process.signal(Signal::KILL);
        self.process.end();
    }
}

/// The names of an object's fields, sorted.
pub(crate) fn fields(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}
