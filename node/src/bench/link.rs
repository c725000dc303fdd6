//! Throughput and latency of a path: to a peer, or of this program against plain rust-libp2p.

use peerage_api::{
    Node,
    peers::{Flow, Measured},
    types::{Multiaddr, PeerId},
};
use serde::Serialize;

use super::{process::Process, side::Listening};
use crate::{
    commands::{Context, peers},
    failed::Failed,
    output::{self, Table},
};

/// Measures the path to a peer of the daemon.
pub(super) async fn to_peer(
    context: Context<'_>,
    peer: PeerId,
    megabytes: u64,
) -> Result<(), Failed> {
    let measure = async |node: Node| {
        peers::reach(&node, peer).await?;
        node.peers().measure(peer, megabytes * 1_000_000).await
    };
    let measured = context.ask(measure).await?;
    context.out.result(&measured, |measured| describe(measured))
}

/// The rows of a measurement.
fn describe(measured: &[Measured]) -> String {
    let mut table = Table::new(["TRANSPORT", "DIRECTION", "AMOUNT", "TIME", "MB/S", "RTT P50"]);
    for row in measured {
        table.row([
            row.transport.as_str().to_owned(),
            flow(row.direction).to_owned(),
            output::bytes(row.bytes),
            output::millis(row.seconds * 1e3),
            format!("{:.1}", row.mb_per_s),
            output::micros(row.rtt_p50_us),
        ]);
    }
    table.to_string()
}

fn flow(flow: Flow) -> &'static str {
    match flow {
        Flow::Send => "send",
        Flow::Receive => "receive",
    }
}

/// A row with the swarm it was measured on.
#[derive(Debug, Serialize)]
struct Row {
    /// `peerage`, or `plain` for rust-libp2p's own defaults.
    swarm: &'static str,
    #[serde(flatten)]
    measured: Measured,
    /// Median of the same row's rounds over that of the plain swarm; 1 for the plain one.
    ratio: f64,
}

/// Both swarms in turn over both transports, `rounds` times; the median of each is shown.
pub(super) async fn on_loopback(
    context: Context<'_>,
    megabytes: u64,
    rounds: u16,
) -> Result<(), Failed> {
    let mut rows = Vec::new();
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let mut of: [Vec<Vec<Measured>>; 2] = [Vec::new(), Vec::new()];
        for round in 1..=rounds {
            for (swarm, measured) in ["plain", "peerage"].into_iter().zip(&mut of) {
                context.out.note(format_args!("{swarm} on {listen}, round {round} of {rounds}"));
                measured.push(one(swarm, listen, megabytes * 1_000_000).await?);
            }
        }
        rows.extend(compare(&of));
    }
    context.out.result(&rows, |rows| table(rows))
}

/// One round: a process that listens and one that measures.
async fn one(swarm: &str, listen: &str, bytes: u64) -> Result<Vec<Measured>, Failed> {
    let plain = if swarm == "plain" { "-plain" } else { "" };
    let arguments = |role: String, rest: [&str; 2]| -> Vec<String> {
        let head = ["bench", "side", role.as_str()].map(str::to_owned);
        head.into_iter().chain(rest.map(str::to_owned)).collect()
    };
    let mut server = Process::start(&arguments(format!("serve{plain}"), ["--listen", listen]))?;
    let Listening { address } = server.line().await?;
    let address: &Multiaddr = &address;
    let mut measure = arguments(format!("measure{plain}"), ["--address", &address.to_string()]);
    measure.extend(["--bytes".to_owned(), bytes.to_string()]);
    let measured = Process::start(&measure)?.line().await?;
    server.end().await?;
    Ok(measured)
}

/// The medians of both swarms, direction by direction.
fn compare([plain, peerage]: &[Vec<Vec<Measured>>; 2]) -> Vec<Row> {
    let mut rows = Vec::new();
    for direction in [Flow::Send, Flow::Receive] {
        let median = |rounds: &[Vec<Measured>]| {
            let mut all: Vec<_> =
                rounds.iter().flatten().filter(|m| m.direction == direction).cloned().collect();
            all.sort_by(|a, b| a.mb_per_s.total_cmp(&b.mb_per_s));
            let middle = all.len() / 2;
            (!all.is_empty()).then(|| all.swap_remove(middle))
        };
        let (Some(plain), Some(ours)) = (median(plain), median(peerage)) else { continue };
        let ratio = ours.mb_per_s / plain.mb_per_s;
        rows.push(Row { swarm: "peerage", measured: ours, ratio });
        rows.push(Row { swarm: "plain", measured: plain, ratio: 1.0 });
    }
    rows
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new(["SWARM", "TRANSPORT", "DIRECTION", "MB/S", "RATIO", "RTT P50"]);
    for Row { swarm, measured, ratio } in rows {
        table.row([
            (*swarm).to_owned(),
            measured.transport.as_str().to_owned(),
            flow(measured.direction).to_owned(),
            format!("{:.0}", measured.mb_per_s),
            format!("{ratio:.2}"),
            output::micros(measured.rtt_p50_us),
        ]);
    }
    table.to_string()
}
