//! Many nodes at one address, against a daemon that takes four from each.

use anyhow::{Context, Result, ensure};
use peerage_interop_tests::{Host, Lan, Node, Plan, Process, without_daemon};
use serde_json::{Value, json};

const MAX_PER_IP: usize = 4;
/// Processes that try at the same time to get in when the address has what it may have.
const FLOOD: usize = 12;

#[tokio::test]
async fn a_flood_from_one_address_is_refused_and_others_are_served() -> Result<()> {
    let Some(mut lan) = Lan::new(Plan::PublicV4)? else { return Ok(()) };
    let (here, there, elsewhere) = (lan.host()?, lan.host()?, lan.host()?);
    let max = MAX_PER_IP.to_string();
    let node = Node::up_on(&here, &["--no-mdns", "--max-per-ip", &max]).await?;
    let friend = Node::up_on(&elsewhere, &["--no-mdns"]).await?;
    let addresses = [reachable(&node, "/tcp/")?, reachable(&node, "/quic-v1")?];

    let mut first = crowd(&there, addresses[0], MAX_PER_IP)?;
    first.wait_for("the first four", |line| line["connected"] == MAX_PER_IP).await?;
    let mut refused = Vec::new();
    for number in 0..FLOOD {
        refused.push(crowd(&there, addresses[number % 2], 1)?);
    }
    // Meanwhile it answers its user and serves who is not at that address.
    friend.run(&["connect", addresses[0]]).await?;
    let pongs =
        friend.run_lines(&["ping", node.peer_id(), "-c", "3", "--interval", "0.05"]).await?;
    ensure!(pongs.last().is_some_and(|line| line["received"] == 3), "{pongs:?}");
    let status = node.run(&["status"]).await?;
    ensure!(status["peers"] == MAX_PER_IP + 1, "{status}");
    for mut process in refused {
        let said = process.wait_for("the refusal", |_| true).await?;
        ensure!(said["error"].is_object(), "it was let in: {said}");
    }
    let peers = node.run(&["peers"]).await?;
    ensure!(peers.as_array().is_some_and(|all| all.len() == MAX_PER_IP + 1), "{peers}");

    first.end().await?;
    let alone = |peers: &Value| peers.as_array().is_some_and(|all| all.len() == 1);
    let left = node.until(&["peers"], alone).await?;
    ensure!(left[0]["peer_id"] == friend.peer_id(), "{left}");
    for address in addresses {
        let mut again = crowd(&there, address, MAX_PER_IP)?;
        again.wait_for("four at the freed places", |line| *line == json!({"connected": 4})).await?;
        again.end().await?;
        node.until(&["peers"], alone).await?;
    }
    Ok(())
}

/// Nodes of one process that connect to an address and stay until it ends.
fn crowd(host: &Host, address: &str, count: usize) -> Result<Process> {
    let count = count.to_string();
    without_daemon(host, &["bench", "side", "crowd", "--address", address, "--count", &count])
}

/// The address of a transport that other hosts reach.
fn reachable<'a>(node: &'a Node, transport: &str) -> Result<&'a str> {
    let found = |address: &&String| address.starts_with("/ip4/11.") && address.contains(transport);
    let found = node.listen().iter().find(found);
    found.map(String::as_str).with_context(|| format!("no {transport} in {:?}", node.listen()))
}
