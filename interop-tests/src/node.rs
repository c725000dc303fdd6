//! Our daemon and the commands given to it.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

use crate::{
    Host, Process, Transport,
    foreign::{text, texts},
    process::PATIENCE,
};

/// Names a binary to test instead of the one that cargo builds.
const BINARY: &str = "PEERAGE_BIN";

/// Loopback, TCP and QUIC, no discovery.
const LOOPBACK: [&str; 6] = [
    "--local-only",
    "--no-mdns",
    "--listen",
    "/ip4/127.0.0.1/tcp/0",
    "--listen",
    "/ip4/127.0.0.1/udp/0/quic-v1",
];

/// A running daemon with a data directory of its own; killed when this is dropped.
#[derive(Debug)]
pub struct Node {
    /// Dropped before the directory it uses.
    daemon: Process,
    home: Home,
    peer_id: String,
    listen: Vec<String>,
}

/// What is left of a node that does not run: its data directory, its host, its arguments.
#[derive(Debug)]
pub struct Home {
    /// The binary, if it is not the one under test.
    program: Option<PathBuf>,
    data: TempDir,
    host: Option<Host>,
    args: Vec<String>,
}

/// A command that ended with another exit code than 0.
#[derive(Debug)]
pub struct CommandError {
    /// The exit code, none when a signal ended it.
    pub exit: Option<i32>,
    /// `error.code` of the JSON output.
    pub code: Option<String>,
    /// What it was, and all it printed.
    pub report: String,
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.report)
    }
}

impl std::error::Error for CommandError {}

impl Node {
    /// Starts the daemon on loopback, on TCP and on QUIC, without any discovery; `extra` are
    /// further arguments of `peerage up`.
    ///
    /// # Errors
    /// When it cannot be built or does not print its ready line.
    pub async fn up(extra: &[&str]) -> Result<Self> {
        Home::new(None, &[&LOOPBACK, extra].concat())?.up().await
    }

    /// As [`Node::up`], with another binary, which runs its commands, too.
    ///
    /// # Errors
    /// As [`Node::up`].
    pub async fn up_from(program: &Path, extra: &[&str]) -> Result<Self> {
        let home = Home::new(None, &[&LOOPBACK, extra].concat())?;
        Home { program: Some(program.to_owned()), ..home }.up().await
    }

    /// As [`Node::up`], and it is told that it can be reached, as by an operator: a node that cannot
    /// tells others of no address in Kademlia.
    ///
    /// # Errors
    /// As [`Node::up`].
    pub async fn up_reachable(extra: &[&str]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let tcp = format!("/ip4/127.0.0.1/tcp/{port}");
        let listen = ["--listen", &tcp, "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"];
        let args = [&["--local-only", "--no-mdns", "--external", &tcp], &listen[..], extra];
        Home::new(None, &args.concat())?.up().await
    }

    /// Starts the daemon on a host of a [`Lan`](crate::Lan), as users do; `args` are further
    /// arguments of `peerage up`.
    ///
    /// # Errors
    /// As [`Node::up`].
    pub async fn up_on(host: &Host, args: &[&str]) -> Result<Self> {
        Home::new(Some(host.clone()), args)?.up().await
    }

    /// Ends the daemon without giving it a chance (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(self) -> Result<Home> {
        self.daemon.kill().await?;
        Ok(self.home)
    }

    /// Ends the daemon by `peerage stop` and waits for it.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub async fn stop(self) -> Result<Home> {
        self.run(&["stop"]).await?;
        self.daemon.end().await?;
        Ok(self.home)
    }

    /// The daemon as a Rust program controls it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn remote(&self) -> Result<peerage::Node> {
        Ok(peerage::Remote::connect(self.home.data.path()).await?)
    }

    pub(crate) fn data(&self) -> &Path {
        self.home.data.path()
    }

    /// A fault with what the daemon logged of late.
    pub(crate) fn said(&self, fault: &str) -> String {
        self.daemon.said(fault)
    }

    /// The id of its process.
    ///
    /// # Errors
    /// When it has ended.
    pub fn process_id(&self) -> Result<u32> {
        self.daemon.id().context("the daemon has ended")
    }

    /// Its peer id in base 58.
    #[must_use]
    pub fn peer_id(&self) -> &str {
        &self.peer_id
    }

    /// All addresses it listens on, ending in `/p2p/ID`.
    #[must_use]
    pub fn listen(&self) -> &[String] {
        &self.listen
    }

    /// Where it listens, ending in `/p2p/ID`.
    ///
    /// # Errors
    /// When it does not listen on that transport.
    pub fn address(&self, transport: Transport) -> Result<&str> {
        transport.pick(&self.listen)
    }

    /// Runs `peerage --json ARGS` and returns the one JSON value it prints.
    ///
    /// # Errors
    /// [`CommandError`] inside when the command fails; otherwise when it hangs or prints something
    /// else than one value.
    pub async fn run(&self, args: &[&str]) -> Result<Value> {
        let mut lines = self.run_lines(args).await?;
        ensure!(lines.len() == 1, "peerage {args:?} printed not one JSON value: {lines:?}");
        Ok(lines.remove(0))
    }

    /// Runs `peerage --json ARGS` to its end and returns all JSON values it prints.
    ///
    /// # Errors
    /// As [`Node::run`].
    pub async fn run_lines(&self, args: &[&str]) -> Result<Vec<Value>> {
        let mut command = self.home.peerage()?;
        command.arg("--json").args(args).stdin(Stdio::null()).kill_on_drop(true);
        let Ok(output) = timeout(PATIENCE, command.output()).await else {
            bail!("peerage {args:?} did not end");
        };
        let output = output?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let values = serde_json::Deserializer::from_str(&stdout).into_iter::<Value>();
        let values: Result<Vec<Value>, _> = values.collect();
        let report = || {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!("peerage {args:?}: {}\n{stdout}\n{stderr}", output.status)
        };
        if !output.status.success() {
            let code =
                values.ok().and_then(|v| v.first()?["error"]["code"].as_str().map(String::from));
            bail!(CommandError { exit: output.status.code(), code, report: report() });
        }
        values.with_context(report)
    }

    /// Starts a command that prints one JSON object per line until it is dropped, such as `sub`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn stream(&self, args: &[&str]) -> Result<Process> {
        let mut command = self.home.peerage()?;
        command.arg("--json").args(args);
        Process::spawn(format!("peerage {}", args.join(" ")), &mut command)
    }
}

impl Home {
    fn new(host: Option<Host>, args: &[&str]) -> Result<Self> {
        let data = TempDir::with_prefix("peerage-interop-")?;
        Ok(Self {
            program: None,
            data,
            host,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
        })
    }

    /// Starts the daemon, again if it ran before.
    ///
    /// # Errors
    /// As [`Node::up`].
    pub async fn up(self) -> Result<Node> {
        let mut command = self.peerage()?;
        command.args(["up", "--json", "-v"]).args(&self.args);
        let mut daemon = Process::spawn("peerage up", &mut command)?;
        let ready = daemon.wait_for("ready", |line| line["event"] == "ready").await?;
        let (peer_id, listen) = (text(&ready, "peer_id")?, texts(&ready, "listen")?);
        Ok(Node { daemon, home: self, peer_id, listen })
    }

    /// `peerage --data DIR`.
    fn peerage(&self) -> Result<Command> {
        let mut command = match &self.program {
            Some(program) => apart(Command::new(program)),
            None => peerage(self.host.as_ref())?,
        };
        command.env("XDG_CONFIG_HOME", self.data.path()).arg("--data").arg(self.data.path());
        Ok(command)
    }
}

/// Starts `peerage --json ARGS` on a host without a daemon, for commands that need none.
///
/// # Errors
/// When it cannot be started.
pub fn without_daemon(host: &Host, args: &[&str]) -> Result<Process> {
    let mut command = peerage(Some(host))?;
    command.arg("--json").args(args);
    Process::spawn(format!("peerage {}", args.join(" ")), &mut command)
}

/// Builds the program, which otherwise happens when the first node starts, while others wait.
///
/// # Errors
/// When it cannot be built.
pub fn build_daemon() -> Result<()> {
    binary().map(drop)
}

/// The program, on a host or on loopback, cut off from what this machine has configured.
///
/// # Errors
/// When it cannot be built.
pub fn peerage(host: Option<&Host>) -> Result<Command> {
    let binary = binary()?;
    Ok(apart(host.map_or_else(|| Command::new(binary), |host| host.command(binary))))
}

fn apart(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PEERAGE_") {
            command.env_remove(name);
        }
    }
    command
}

/// The binary under test, built once in the life of this process.
fn binary() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| match std::env::var_os(BINARY) {
        Some(path) => Ok(PathBuf::from(path)),
        None => build().map_err(|e| format!("{e:#}")),
    });
    match built {
        Ok(path) => Ok(path),
        Err(fault) => bail!("{fault}"),
    }
}

fn build() -> Result<PathBuf> {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    // Of this package, set by the cargo that runs the tests: build scripts that look at them would
    // run again, here and at the next build outside, and what depends on them would be rebuilt.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name.as_ref());
        }
    }
    let output = cargo
        .args(["build", "--package", "peerage-node", "--bin", "peerage"])
        .args(["--message-format", "json", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "cargo build -p peerage-node: {}", output.status);
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let executables = messages.filter_map(|message| {
        let message = message.ok()?;
        (message["target"]["name"] == "peerage").then_some(())?;
        message["executable"].as_str().map(PathBuf::from)
    });
    executables.last().context("cargo built no executable named peerage")
}
