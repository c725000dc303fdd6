//! Memory of a daemon per connected peer: what it holds for itself. Pages of code that the first peers
//! bring in are the same for one and for a thousand, and are in the resident figures.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{idle::Scratch, process::Process};
use crate::{
    commands::Context,
    failed::Failed,
    output::{self, Table},
};

/// Nodes in one process of the crowd.
const PER_PROCESS: u16 = 50;
/// Time for identify, gossip and routing tables to settle, and for memory to be given back.
const SETTLE: Duration = Duration::from_secs(15);

#[derive(Debug, Serialize)]
struct Hub {
    peers: u16,
    rss_before_bytes: u64,
    rss_with_bytes: u64,
    rss_after_bytes: u64,
    private_before_bytes: u64,
    private_with_bytes: u64,
    private_after_bytes: u64,
    bytes_per_peer: u64,
}

pub(super) async fn run(context: Context<'_>, peers: u16) -> Result<(), Failed> {
    let dir = Scratch::new()?;
    let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut up =
        words("up --json --no-mdns --local-only --listen /ip4/127.0.0.1/tcp/0 --data".into());
    up.push(dir.0.display().to_string());
    let mut hub = Process::start(&up)?;
    let ready: Value = hub.line().await?;
    let address = ready["listen"][0].as_str().unwrap_or_default().to_owned();
    tokio::time::sleep(SETTLE).await;
    let before = hub.usage()?;

    let mut crowd = Vec::new();
    let mut left = peers;
    while left > 0 {
        let count = left.min(PER_PROCESS);
        left -= count;
        let mut process = Process::start(&words(format!(
            "bench side crowd --address {address} --count {count}"
        )))?;
        let _: Value = process.line().await?;
        context.out.note(format_args!("{} of {peers} peers connected", peers - left));
        crowd.push(process);
    }
    tokio::time::sleep(SETTLE).await;
    let with = hub.usage()?;
    for process in crowd {
        process.end().await?;
    }
    context.out.note("all peers have left");
    tokio::time::sleep(SETTLE).await;
    let after = hub.usage()?;
    hub.end().await?;

    let bytes_per_peer = with.private.saturating_sub(before.private) / u64::from(peers);
    let outcome = Hub {
        peers,
        rss_before_bytes: before.resident,
        rss_with_bytes: with.resident,
        rss_after_bytes: after.resident,
        private_before_bytes: before.private,
        private_with_bytes: with.private,
        private_after_bytes: after.private,
        bytes_per_peer,
    };
    context.out.result(&outcome, |hub| {
        let mut table = Table::plain();
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        let both = |resident, private| {
            format!("{} ({} private)", output::bytes(resident), output::bytes(private))
        };
        row("resident memory alone", both(hub.rss_before_bytes, hub.private_before_bytes));
        row(&format!("with {} peers", hub.peers), both(hub.rss_with_bytes, hub.private_with_bytes));
        row("after they have left", both(hub.rss_after_bytes, hub.private_after_bytes));
        row("a connected peer", output::bytes(hub.bytes_per_peer));
        table.to_string()
    })
}
