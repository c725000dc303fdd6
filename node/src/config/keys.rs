//! The table of keys.

use super::{Kind, Value};

/// One thing that can be configured.
#[derive(Debug)]
pub(crate) struct Key {
    /// Table in the file, such as `network`.
    pub(crate) section: &'static str,
    /// Name in the table, such as `name`.
    pub(crate) name: &'static str,
    /// What it accepts.
    pub(crate) kind: Kind,
    default: Default,
    /// Its flag of `peerage up`, without dashes. One that starts with `no-` sets it to false.
    pub(crate) flag: &'static str,
    /// What it does, for help texts and the example file.
    pub(crate) doc: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Default {
    Bool(bool),
    Int(i64),
    Text(&'static str),
    List(&'static [&'static str]),
}

impl Key {
    /// Heading of its section in help texts.
    pub(crate) fn title(&self) -> &'static str {
        let section = SECTIONS.iter().find(|section| section.name == self.section);
        section.map_or("", |section| section.title)
    }

    /// Its full name, such as `network.name`.
    pub(crate) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Its environment variable, such as `PEERAGE_NETWORK_NAME`.
    pub(crate) fn variable(&self) -> String {
        format!("PEERAGE_{}_{}", self.section, self.name).to_uppercase()
    }

    /// Its value when nobody says otherwise.
    pub(crate) fn default(&self) -> Value {
        match self.default {
            Default::Bool(flag) => Value::Bool(flag),
            Default::Int(number) => Value::Int(number),
            Default::Text(text) => Value::Text(text.to_owned()),
            Default::List(items) => {
                Value::List(items.iter().map(|item| (*item).to_owned()).collect())
            }
        }
    }
}

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Section {
    /// Name in the file.
    pub(crate) name: &'static str,
    /// Heading in help texts.
    pub(crate) title: &'static str,
    /// What it is about.
    pub(crate) about: &'static str,
}

const fn section(name: &'static str, title: &'static str, about: &'static str) -> Section {
    Section { name, title, about }
}

/// The sections, in the order of the example file.
pub(crate) static SECTIONS: &[Section] = &[
    section("network", "Network", "The private network this node belongs to."),
    section(
        "identity",
        "Identity",
        "How this node presents itself; its key is in the data directory.",
    ),
    section("listen", "Listen", "Where other nodes reach this one."),
    section("discovery", "Discovery", "How this node finds others."),
    section("nat", "NAT", "What this node tells others about its addresses."),
    section("limits", "Limits", "What this node gives at most."),
    section("peers", "Peers", "Peers that are treated specially; more with `peerage peers`."),
    section("files", "Files", "How files are sent and received."),
    section("kv", "Key-value store", "What the replicated key-value store may hold."),
    section("rpc", "Control", "How programs on this machine control the node."),
    section("log", "Logs", "What is logged, and where to."),
    section("metrics", "Metrics", "Metrics and health over HTTP."),
];

macro_rules! keys {
    ($($id:ident: $section:ident.$name:ident $kind:expr, $default:ident($value:expr), $flag:literal, $doc:literal;)*) => {
        $(pub(crate) static $id: Key = Key {
            section: stringify!($section),
            name: stringify!($name),
            kind: $kind,
            default: Default::$default($value),
            flag: $flag,
            doc: $doc,
        };)*
        /// Every key, in the order of the example file.
        pub(crate) static ALL: &[&Key] = &[$(&$id),*];
    };
}

keys! {
    NETWORK: network.name Kind::Network, Text("peerage"), "network",
        "Name of the network; only nodes of the same name speak with each other.";
    NETWORK_KEY: network.key_file Kind::Path, Text(""), "network-key",
        "File with a pre-shared key of the network (swarm.key format, mode 0600); TCP only.";
    PROFILE: network.profile Kind::Choice(&["peer", "relay", "bootstrap"]), Text("peer"), "profile",
        "What this node does for others: peer, relay (carries connections) or bootstrap (first contact).";
    AGENT: identity.agent Kind::Text,
        Text(concat!("peerage/", env!("CARGO_PKG_VERSION"))), "agent",
        "Program and version as told to peers.";
    LISTEN: listen.addresses Kind::Addresses, List(&[]), "listen",
        "Addresses to listen on; none: TCP and QUIC on one port of all interfaces, the same as last time.";
    BOOTSTRAP: discovery.bootstrap Kind::Addresses, List(&[]), "bootstrap",
        "Nodes to stay connected to from the start; with /p2p/ID at its end nobody else may answer there.";
    MDNS: discovery.mdns Kind::Bool, Bool(true), "no-mdns",
        "Find and be found on the local network by multicast DNS.";
    KAD: discovery.kad Kind::Bool, Bool(true), "no-kad",
        "Find and be found through the distributed hash table of the network.";
    MAINLINE: discovery.mainline Kind::Bool, Bool(true), "no-mainline",
        "Find and be found through the BitTorrent DHT; what is announced there anyone can read.";
    MAINLINE_BOOTSTRAP: discovery.mainline_bootstrap Kind::Hosts, List(&[]), "mainline-bootstrap",
        "Nodes (HOST:PORT) to enter the BitTorrent DHT at; none: the well-known ones.";
    LOCAL_ONLY: discovery.local_only Kind::Bool, Bool(false), "local-only",
        "For one machine or LAN: believe, keep and tell private addresses like public ones.";
    EXTERNAL: nat.external Kind::Addresses, List(&[]), "external",
        "Addresses at which this node is known to be reachable from outside.";
    MAX_PEERS: limits.max_peers Kind::Int(1, 1_000_000), Int(512), "max-peers",
        "Connected peers above which the least useful are let go.";
    MAX_PER_IP: limits.max_connections_per_ip Kind::Int(1, 1_000_000), Int(32), "max-per-ip",
        "Connections from one IP address, loopback excepted.";
    MAX_MEMORY_MB: limits.max_memory_mb Kind::Int(32, 1_000_000), Int(1024), "max-memory-mb",
        "Memory of the process (in 2^20 bytes) above which new connections are refused.";
    THREADS: limits.threads Kind::Int(1, 256), Int(1), "threads",
        "Threads of the runtime; one is fastest on small machines.";
    PROTECTED: peers.protected Kind::Peers, List(&[]), "protect",
        "Peers whose connection is kept, restored for ever and trimmed last.";
    FILES_DIR: files.dir Kind::Dir, Text(""), "files-dir",
        "Where accepted files go; empty: the folder `downloads` of the data directory.";
    FILES_ACCEPT_FROM: files.accept_from Kind::Peers, List(&[]), "accept-from",
        "Peers whose files are accepted without asking.";
    FILES_ACCEPT_MAX_MB: files.accept_max_mb Kind::Int(0, 1_000_000_000), Int(10_240), "accept-max-mb",
        "Offers of those peers above this size (in 2^20 bytes) are asked about all the same.";
    FILES_SEND_LIMIT_KB: files.send_limit_kb Kind::Int(0, 1_000_000_000), Int(0), "send-limit-kb",
        "Most that all transfers together send (in 1000 bytes a second); 0: no limit.";
    FILES_RECEIVE_LIMIT_KB: files.receive_limit_kb Kind::Int(0, 1_000_000_000), Int(0), "receive-limit-kb",
        "Most that all transfers together receive (in 1000 bytes a second); 0: no limit.";
    FILES_ALLOW_RELAY: files.allow_relay Kind::Bool, Bool(false), "allow-relay",
        "Also transfer files through relays, rather than wait for a direct connection.";
    KV_MAX_VALUE_BYTES: kv.max_value_bytes Kind::Int(1024, 1 << 28), Int(16 << 20), "max-value-bytes",
        "Longest value (in bytes); the same on all nodes, or some will refuse what others have.";
    KV_MAX_SPACE_BYTES: kv.max_space_bytes Kind::Int(1 << 20, 1 << 50), Int(1 << 30), "max-space-bytes",
        "Keys and values of one space together (in bytes); one author may have half of them.";
    KV_MAX_SPACE_ENTRIES: kv.max_space_entries Kind::Int(1, 1_000_000_000_000), Int(4_000_000), "max-space-entries",
        "Entries of one space, those deleted in the last 30 days included; one author may have half of them.";
    SESSION_IDLE_S: identity.session_idle_s Kind::Int(1, 31_536_000), Int(1800), "session-idle-s",
        "A user who does nothing for this long (in seconds) is logged out.";
    SESSION_MAX_S: identity.session_max_s Kind::Int(1, 31_536_000), Int(86_400), "session-max-s",
        "A user is logged out after this (in seconds), whatever it does.";
    RPC: rpc.listen Kind::Socket, Text(""), "rpc",
        "Also serve the control API on this TCP address (token in the data directory).";
    LOG_LEVEL: log.level Kind::Level, Text("error,peerage=warn,mainline=off"), "log-level",
        "How much is logged: off, error, warn, info, debug or trace, also by module: warn,peerage=debug.";
    LOG_FORMAT: log.format Kind::Choice(&["text", "json"]), Text("text"), "log-format",
        "text for people, json for machines.";
    LOG_FILE: log.file Kind::Path, Text(""), "log-file",
        "Log to this file instead of the terminal; a new one every day.";
    LOG_MAX_MB: log.max_mb Kind::Int(1, 1_000_000), Int(100), "log-max-mb",
        "Begin a new log file when this one has so many megabytes.";
    LOG_KEEP: log.keep Kind::Int(1, 10_000), Int(7), "log-keep",
        "Old log files to keep.";
    METRICS: metrics.listen Kind::Socket, Text(""), "metrics",
        "Serve /metrics, /healthz and /readyz over HTTP on this address.";
}

/// The key of that full name.
pub(crate) fn by_path(path: &str) -> Option<&'static Key> {
    ALL.iter().copied().find(|key| key.path() == path)
}
