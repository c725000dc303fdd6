//! What two idle daemons on one local network say to each other: bytes a second on the wire of one of
//! them, headers included, both directions. Everything is on but the BitTorrent DHT, which cannot be
//! reached there; `mainline_traffic` counts that.
//!
//! ```sh
//! PEERAGE_BIN=target/release/peerage cargo run -p peerage-interop-tests --example idle_traffic [SECONDS]
//! ```
//!
//! 300 seconds unless given. Needs Linux, root and `ip`. One line of JSON.

use std::path::Path;

use anyhow::{Context as _, Result};
use peerage_interop_tests::{Host, Lan, Node, Plan};
use tokio::time::{Duration, sleep};

/// Meeting and the first exchanges are not counted.
const SETTLING: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<()> {
    let seconds: u64 = std::env::args().nth(1).map_or(Ok(300), |arg| arg.parse())?;
    let Some(mut lan) = Lan::new(Plan::PrivateV4)? else { return Ok(()) };
    let (here, there) = (lan.host()?, lan.host()?);
    let (one, two) = (Node::up_on(&here, &[]).await?, Node::up_on(&there, &[]).await?);
    one.run(&["announce", "idle"]).await?;
    sleep(SETTLING).await;
    let peers = one.run(&["peers"]).await?;
    let met =
        peers.as_array().is_some_and(|all| all.iter().any(|it| it["peer_id"] == two.peer_id()));
    anyhow::ensure!(met, "they have not met: {peers}");
    let before = bytes(&here).await?;
    sleep(Duration::from_secs(seconds)).await;
    let used = bytes(&here).await? - before;
    println!(r#"{{"seconds":{seconds},"bytes":{used},"bytes_per_s":{}}}"#, used / seconds);
    Ok(())
}

/// Received and sent by the interface of a host so far.
async fn bytes(host: &Host) -> Result<u64> {
    let output = host.command(Path::new("cat")).arg("/proc/net/dev").output().await?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
    let fields: Vec<u64> = line
        .context("no interface eth0")?
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(fields.first().context("no counts")? + fields.get(8).context("no counts")?)
}
