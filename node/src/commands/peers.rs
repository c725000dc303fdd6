//! `peers`, `connect`, `disconnect`, `ping`.

use std::time::Duration;

use peerage_api::{
    peers::{Known, Lists, Peer, PeersError, Pong},
    types::{Multiaddr, PeerId},
};
use serde_json::json;

use super::Context;
use crate::{
    failed::Failed,
    output::{self, Table, printable},
};

/// Reads a peer id.
pub(crate) fn peer(text: &str) -> Result<PeerId, String> {
    text.parse().map_err(|_| "expected a full peer id such as 12D3KooW…".to_owned())
}

/// Whom to connect to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Address(Multiaddr),
    Peer(PeerId),
}

impl Target {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return text.parse().map(Self::Address).map_err(|e| {
                format!("{e}: expected a multiaddress such as /ip4/192.0.2.7/tcp/4001")
            });
        }
        let expected = "expected a full peer id, or a multiaddress, which starts with /";
        peer(text).map(Self::Peer).map_err(|_| expected.to_owned())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// The connected peers (the default)
    Ls,
    /// All that is known of a peer, connected or not
    Show(One),
    /// The block, allow and protect lists
    Lists,
    /// Refuse a peer from now on, across restarts
    Block(One),
    /// Lift a block
    Unblock(One),
    /// Put a peer on the allow list; while it is not empty only its peers may connect
    Allow(Listed),
    /// Keep the connection to a peer, restore it for ever, trim it last
    Protect(Listed),
}

#[derive(Debug, Clone, clap::Args)]
struct One {
    /// Peer id
    #[arg(value_parser = peer)]
    peer: PeerId,
}

#[derive(Debug, Clone, clap::Args)]
struct Listed {
    /// Peer id
    #[arg(value_parser = peer)]
    peer: PeerId,
    /// Take it off the list instead
    #[arg(long)]
    off: bool,
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    match args.command.unwrap_or(Command::Ls) {
        Command::Ls => {
            let peers = context.ask(async |node| node.peers().list().await).await?;
            context.out.result(&peers, |peers| connected(peers))
        }
        Command::Show(One { peer }) => {
            let known = context.ask(async |node| node.peers().show(peer).await).await?;
            context.out.result(&known, describe)
        }
        Command::Lists => {
            let lists = context.ask(async |node| node.peers().lists().await).await?;
            context.out.result(&lists, enumerate)
        }
        Command::Block(One { peer }) => {
            context.ask(async |node| node.peers().block(peer).await).await?;
            marked(context, peer, "blocked", true)
        }
        Command::Unblock(One { peer }) => {
            context.ask(async |node| node.peers().unblock(peer).await).await?;
            marked(context, peer, "blocked", false)
        }
        Command::Allow(Listed { peer, off }) => {
            context.ask(async |node| node.peers().allow(peer, !off).await).await?;
            marked(context, peer, "allowed", !off)
        }
        Command::Protect(Listed { peer, off }) => {
            context.ask(async |node| node.peers().protect(peer, !off).await).await?;
            marked(context, peer, "protected", !off)
        }
    }
}

/// `{"peer_id", "blocked": true}` and the like.
fn marked(context: Context<'_>, peer: PeerId, mark: &str, set: bool) -> Result<(), Failed> {
    let not = if set { "" } else { "not " };
    context.out.result(&json!({ "peer_id": peer, mark: set }), |_| format!("{peer}: {not}{mark}"))
}

fn connected(peers: &[Peer]) -> String {
    if peers.is_empty() {
        return "nobody is connected".to_owned();
    }
    let mut table = Table::new(["PEER", "VIA", "RTT", "FOR", "SOURCES", "AGENT"]);
    for peer in peers {
        table.row([
            peer.peer_id.to_string(),
            via(peer),
            peer.rtt_ms.map(output::millis).unwrap_or_default(),
            output::seconds(peer.connected_s),
            sources(&peer.sources),
            peer.agent.as_deref().map(printable).unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// Such as `tcp quic`, best first; `*` marks a protected peer.
fn via(peer: &Peer) -> String {
    let mut via: Vec<_> = peer.connections.iter().map(|c| c.transport.as_str()).collect();
    via.dedup();
    if peer.protected {
        via.push("*");
    }
    via.join(" ")
}

fn sources(sources: &[peerage_api::peers::Source]) -> String {
    sources.iter().map(|source| source.as_str()).collect::<Vec<_>>().join(" ")
}

fn describe(known: &Known) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    let marks =
        [("blocked", known.blocked), ("allowed", known.allowed), ("protected", known.protected)];
    let marks: Vec<_> = marks.into_iter().filter(|(_, set)| *set).map(|(name, _)| name).collect();
    row("peer id", known.peer_id.to_string());
    match &known.connected {
        Some(peer) => {
            row("connected", format!("for {}", output::seconds(peer.connected_s)));
            row("agent", peer.agent.as_deref().map(printable).unwrap_or_default());
            row("round trip", peer.rtt_ms.map(output::millis).unwrap_or_default());
            for connection in &peer.connections {
                let direction = match connection.direction {
                    peerage_api::peers::Direction::In => "in",
                    peerage_api::peers::Direction::Out => "out",
                };
                row("connection", format!("{} ({direction})", connection.address));
            }
        }
        None => row("connected", "no".to_owned()),
    }
    row("seen", known.seen_ms.map(output::since).unwrap_or_else(|| "never".to_owned()));
    row("sources", sources(&known.sources));
    row("score", known.score.to_string());
    if !marks.is_empty() {
        row("lists", marks.join(" "));
    }
    for known in &known.addresses {
        let worked = known
            .worked_ms
            .map_or("never worked".to_owned(), |then| format!("worked {}", output::since(then)));
        let failures = match known.failures {
            0 => String::new(),
            n => format!(", failed {n} times since"),
        };
        row("address", format!("{} ({worked}{failures})", known.address));
    }
    let mut protocols: Vec<_> = known.protocols.iter().collect();
    protocols.sort();
    for protocol in protocols {
        row("protocol", printable(protocol));
    }
    table.to_string()
}

fn enumerate(lists: &Lists) -> String {
    if *lists == Lists::default() {
        return "the lists are empty".to_owned();
    }
    let mut table = Table::new(["LIST", "PEER"]);
    for (name, peers) in
        [("blocked", &lists.blocked), ("allowed", &lists.allowed), ("protected", &lists.protected)]
    {
        for peer in peers {
            table.row([name.to_owned(), peer.to_string()]);
        }
    }
    table.to_string()
}

pub(super) async fn connect(context: Context<'_>, target: Target) -> Result<(), Failed> {
    let connect = async |node: peerage_api::Node| match target {
        Target::Address(address) => node.peers().connect(address).await,
        Target::Peer(peer) => node.peers().connect_to(peer).await,
    };
    let connected = context.ask(connect).await?;
    context.out.result(&connected, |connected| {
        let how = if connected.already { "already connected" } else { "connected" };
        format!("{how} to {} at {}", connected.peer_id, connected.address)
    })
}

pub(super) async fn disconnect(context: Context<'_>, peer: PeerId) -> Result<(), Failed> {
    context.ask(async |node| node.peers().disconnect(peer).await).await?;
    let gone = json!({ "peer_id": peer, "disconnected": true });
    context.out.result(&gone, |_| format!("disconnected from {peer}"))
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ping {
    /// Peer id
    #[arg(value_parser = peer)]
    peer: PeerId,
    /// How many
    #[arg(short, long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Time between two
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = crate::cli::positive)]
    interval: f64,
}

pub(super) async fn ping(context: Context<'_>, args: Ping) -> Result<(), Failed> {
    let node = context.node().await?;
    let mut every = tokio::time::interval(Duration::from_secs_f64(args.interval));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut times = Vec::new();
    for number in 1..=args.count {
        every.tick().await;
        match context.within("no answer", node.peers().ping(args.peer)).await {
            Ok(pong) => {
                times.push(pong.rtt_us);
                let line = json!({ "event": "pong", "n": number, "rtt_us": pong.rtt_us });
                context.out.item(&line, |_| answered(number, pong))?;
            }
            // Another try may fare better, unless it was the last or can never do.
            Err(Failed::Because(reason))
                if reason.is_retryable && (number < args.count || !times.is_empty()) =>
            {
                let error = reason.to_json()["error"].take();
                let line = json!({ "event": "failed", "n": number, "error": error });
                context.out.item(&line, |_| format!("{number}: {}", printable(&reason.message)))?;
            }
            Err(failed) => return Err(failed),
        }
    }
    summary(context, &args, &times)
}

fn answered(number: u32, pong: Pong) -> String {
    format!("{number}: {}", output::micros(pong.rtt_us))
}

fn summary(context: Context<'_>, args: &Ping, times: &[u64]) -> Result<(), Failed> {
    let min = times.iter().min().copied().unwrap_or_default();
    let max = times.iter().max().copied().unwrap_or_default();
    let avg = times.iter().sum::<u64>() / u64::try_from(times.len()).unwrap_or(1).max(1);
    let line = json!({
        "event": "summary", "peer_id": args.peer, "sent": args.count, "received": times.len(),
        "min_us": min, "avg_us": avg, "max_us": max,
    });
    context.out.item(&line, |_| {
        let [min, avg, max] = [min, avg, max].map(output::micros);
        let (received, sent) = (times.len(), args.count);
        format!("{received} of {sent} answered; min {min}, avg {avg}, max {max}")
    })
}

/// Connects to a peer that may be known but not connected.
pub(crate) async fn reach(node: &peerage_api::Node, peer: PeerId) -> Result<(), PeersError> {
    node.peers().connect_to(peer).await.map(|_| ())
}
