//! Hosts on one bridge, each in a network namespace of its own.
//!
//! The bridge is in a namespace too: nothing of this machine's own network is touched, and its
//! firewall sees nothing of it.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::require_all;

/// Begins the name of every namespace made here; the id of the process that made it follows.
const PREFIX: &str = "peerage-it-";

/// How often a new host is asked whether its link is in use, and for how long.
const READY_INTERVAL: Duration = Duration::from_millis(20);
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// What addresses the hosts of a [`Lan`] have. Each has a default route, to nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// 10.77.0.0/24, and no IPv6 at all.
    PrivateV4,
    /// fd77::/64 and link-local addresses, and no IPv4.
    PrivateV6,
    /// 11.0.0.0/24, which software takes for the internet, and no IPv6.
    PublicV4,
}

/// A bridge and its hosts; gone, with every process in them, when this is dropped.
#[derive(Debug)]
pub struct Lan {
    plan: Plan,
    /// The bridge first, then the hosts.
    namespaces: Vec<String>,
}

/// A host on a [`Lan`].
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
}

impl Lan {
    /// Makes a bridge without hosts. `None` means that this machine does not allow it and the test
    /// is to be skipped.
    ///
    /// # Errors
    /// When the bridge cannot be made, or not be allowed while everything is required.
    pub fn new(plan: Plan) -> Result<Option<Self>> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        if !require_all(missing())? {
            return Ok(None);
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let bridge = format!("{PREFIX}{}-{number}", std::process::id());
        let mut lan = Self { plan, namespaces: Vec::new() };
        lan.add(bridge.clone())?;
        // Without a querier a snooping bridge may keep multicast from those who joined.
        ip(&["-n", &bridge, "link", "add", "lan", "type", "bridge", "mcast_snooping", "0"])?;
        ip(&["-n", &bridge, "link", "set", "lan", "up"])?;
        Ok(Some(lan))
    }

    /// Adds a host, which has its addresses when this returns.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn host(&mut self) -> Result<Host> {
        let bridge = self.namespaces.first().context("the bridge is made first")?.clone();
        let number = self.namespaces.len();
        let namespace = format!("{bridge}-{number}");
        self.add(namespace.clone())?;
        let host = Host { namespace };
        let port = format!("port{number}");
        let peer = ["peer", "name", "eth0", "netns", &host.namespace];
        ip(&[&["-n", &bridge, "link", "add", &port, "type", "veth"], &peer[..]].concat())?;
        ip(&["-n", &bridge, "link", "set", &port, "master", "lan", "up"])?;
        host.configure(self.plan, number)?;
        Ok(host)
    }

    /// Makes a namespace that the drop removes, whatever becomes of its contents.
    fn add(&mut self, namespace: String) -> Result<()> {
        ip(&["netns", "add", &namespace])?;
        self.namespaces.push(namespace);
        Ok(())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for namespace in self.namespaces.iter().rev() {
            if let Err(error) = remove(namespace) {
                eprintln!("{namespace} stays: {error:#}");
            }
        }
    }
}

impl Host {
    /// `program`, to be run on this host. The process is the program itself, not a parent of it.
    #[must_use]
    pub fn command(&self, program: &Path) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    fn configure(&self, plan: Plan, number: usize) -> Result<()> {
        let (version, address) = match plan {
            Plan::PrivateV4 => ("-4", format!("10.77.0.{number}/24")),
            Plan::PrivateV6 => ("-6", format!("fd77::{number}/64")),
            Plan::PublicV4 => ("-4", format!("11.0.0.{number}/24")),
        };
        // Loopback keeps its IPv6: programs expect it. Duplicate address detection takes a second.
        self.set("net/ipv6/conf/eth0/accept_dad", "0")?;
        if version == "-4" {
            self.set("net/ipv6/conf/eth0/disable_ipv6", "1")?;
        }
        let within = |args: &[&str]| ip(&[&["-n", &self.namespace], args].concat());
        within(&["link", "set", "lo", "up"])?;
        within(&["address", "add", &address, "dev", "eth0"])?;
        within(&["link", "set", "eth0", "up"])?;
        within(&[version, "route", "add", "default", "dev", "eth0"])?;
        // The kernel brings a link into use up to a second after it was told to, and addresses of
        // version 6 stay tentative until then.
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            let usable = within(&["link", "show", "eth0", "up"])?.contains("state UP")
                && within(&["-6", "address", "show", "dev", "eth0", "tentative"])?.is_empty();
            if usable {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "eth0 of {} does not come up", self.namespace);
            #[expect(clippy::disallowed_methods, reason = "`ip` has no command that waits")]
            sleep(READY_INTERVAL);
        }
    }

    fn set(&self, key: &str, value: &str) -> Result<()> {
        let script = format!("echo {value} >/proc/sys/{key}");
        ip(&["netns", "exec", &self.namespace, "sh", "-c", &script]).map(drop)
    }
}

/// Why there can be no namespaces here, if so. Asked once; the first time also removes what test
/// processes left behind that were killed.
fn missing() -> Option<&'static str> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let probe = || {
        let probe = format!("{PREFIX}{}-probe", std::process::id());
        let outcome = sweep().and_then(|()| ip(&["netns", "add", &probe]));
        let outcome = outcome.and_then(|_| ip(&["netns", "delete", &probe]));
        outcome.err().map(|e| format!("network namespaces need root and iproute2: {e:#}"))
    };
    MISSING.get_or_init(probe).as_deref()
}

fn sweep() -> Result<()> {
    let listed = ip(&["netns", "list"])?;
    let names: BTreeSet<_> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    for name in names {
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if maker.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another run may be at it too.
            drop(remove(name));
        }
    }
    Ok(())
}

/// Ends what runs in a namespace and removes it.
fn remove(namespace: &str) -> Result<()> {
    let pids = ip(&["netns", "pids", namespace])?;
    if !pids.trim().is_empty() {
        // Some may have ended since.
        Command::new("kill").arg("-9").args(pids.split_whitespace()).output()?;
    }
    ip(&["netns", "delete", namespace]).map(drop)
}

/// Runs `ip` and returns what it prints.
fn ip(args: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = output.context("`ip` does not start")?;
    if !output.status.success() {
        bail!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout);
    ensure!(text.is_ok(), "ip {}: its answer is not text", args.join(" "));
    Ok(text.unwrap_or_default())
}
