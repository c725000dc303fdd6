//! Our daemons on a BitTorrent DHT of others: they meet by a namespace alone, and find each other by
//! peer id.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use peerage_interop_tests::{Dht, Kind, Node};
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

const NODES: usize = 6;
/// How long one thing may take, on two cores with others.
const PATIENCE: Duration = Duration::from_secs(60);

async fn dht() -> Result<Option<Dht>> {
    Dht::spawn(Kind::Js, NODES, &[]).await
}

/// A daemon that knows nothing but the DHT; `extra` are further arguments.
async fn knowing(dht: &Dht, extra: &[&str]) -> Result<Node> {
    let enter = dht.nodes()[..2].iter().flat_map(|node| ["--mainline-bootstrap", node]);
    let args: Vec<&str> = enter.chain(extra.iter().copied()).collect();
    Node::up(&args).await
}

/// Asks again and again until what is printed fits: there is no event for what others know.
async fn until(node: &Node, args: &[&str], fits: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
    let begin = Instant::now();
    loop {
        let lines = node.run_lines(args).await?;
        if fits(&lines) {
            return Ok(lines);
        }
        ensure!(begin.elapsed() < PATIENCE, "{args:?} still prints {lines:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

fn has_met(lines: &[Value], peer: &str) -> bool {
    let mut peers = lines.iter().filter_map(Value::as_array).flatten();
    let by_mainline = |it: &Value| {
        it["sources"].as_array().is_some_and(|sources| sources.contains(&"mainline".into()))
    };
    peers.any(|it| it["peer_id"] == peer && by_mainline(it))
}

#[tokio::test]
async fn daemons_that_know_only_the_dht_and_a_namespace_meet_and_are_found() -> Result<()> {
    let Some(dht) = dht().await? else { return Ok(()) };
    let (one, two) = (knowing(&dht, &[]).await?, knowing(&dht, &[]).await?);
    for node in [&one, &two] {
        let announced = node.run(&["announce", "chess players"]).await?;
        let sources = announced["sources"].as_array();
        ensure!(sources.is_some_and(|all| all.contains(&"mainline".into())), "{announced}");
    }
    // Whoever dials knows why; the other one learns of it when it looks again, in a quarter of an hour.
    let begin = Instant::now();
    let met = async |node: &Node, other: &Node| {
        anyhow::Ok(has_met(&node.run_lines(&["peers"]).await?, other.peer_id()))
    };
    while !(met(&one, &two).await? || met(&two, &one).await?) {
        ensure!(begin.elapsed() < PATIENCE, "they do not meet");
        sleep(Duration::from_millis(200)).await;
    }

    let third = knowing(&dht, &["--no-kad"]).await?;
    let both = |lines: &[Value]| {
        let is = |peer: &str| {
            let named = |it: &&Value| it["peer_id"] == peer && it["source"] == "mainline";
            lines.iter().filter(named).count() == 1
        };
        is(one.peer_id()) && is(two.peer_id())
    };
    until(&third, &["find", "chess players"], both).await?;
    Ok(())
}

#[tokio::test]
async fn a_daemon_is_found_by_its_peer_id_alone_and_connected_to() -> Result<()> {
    let Some(dht) = dht().await? else { return Ok(()) };
    // The address must be named before the daemon runs.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let known = knowing(&dht, &["--listen", &address, "--external", &address]).await?;
    let seeker = knowing(&dht, &[]).await?;
    let begin = Instant::now();
    let found = loop {
        match seeker.run(&["resolve", known.peer_id()]).await {
            Ok(found) => break found,
            Err(error) => ensure!(begin.elapsed() < PATIENCE, "{error:#}"),
        }
    };
    ensure!(found["source"] == "mainline", "{found}");
    let stranger = knowing(&dht, &["--no-kad"]).await?;
    stranger.run(&["connect", known.peer_id()]).await?;
    until(&stranger, &["peers"], |lines| has_met(lines, known.peer_id())).await?;
    Ok(())
}

#[tokio::test]
async fn a_daemon_outlives_the_dht() -> Result<()> {
    let Some(dht) = dht().await? else { return Ok(()) };
    let node = knowing(&dht, &[]).await?;
    let remote = node.remote().await?;
    let begin = Instant::now();
    while !remote.discovery().status().await?.mainline_up {
        ensure!(begin.elapsed() < PATIENCE, "the DHT is never reached");
        sleep(Duration::from_millis(100)).await;
    }
    drop(dht);
    let announced = node.run(&["announce", "chess"]).await?;
    ensure!(announced["sources"] == serde_json::json!([]), "{announced}");
    node.run(&["status"]).await?;
    node.stop().await?;
    Ok(())
}
