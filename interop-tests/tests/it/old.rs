//! The daemon of the previous release against the one under test: what users of both do with each other.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use peerage_interop_tests::{Node, Transport};
use serde_json::Value;
use tempfile::TempDir;

/// Names the binary of the previous release.
const BINARY: &str = "PEERAGE_OLD_BIN";
const TOPIC: &str = "generations";

#[tokio::test]
async fn an_old_node_that_dials_a_new_one_can_do_everything_with_it() -> Result<()> {
    let Some(old) = old().await? else { return Ok(()) };
    let new = Node::up(&[]).await?;
    table("old dials new", ("old", &old), ("new", &new), Transport::TcpNoise).await
}

#[tokio::test]
async fn a_new_node_that_dials_an_old_one_can_do_everything_with_it() -> Result<()> {
    let Some(old) = old().await? else { return Ok(()) };
    let new = Node::up(&[]).await?;
    table("new dials old", ("new", &new), ("old", &old), Transport::Quic).await
}

/// A node of the previous release; `None` when nobody says where that is. That is no failure even
/// if everything is required: there may be no release before this one.
async fn old() -> Result<Option<Node>> {
    let Some(program) = std::env::var_os(BINARY).map(PathBuf::from) else {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let how = format!("{BINARY} is not set; {BINARY}=$(interop-tests/old REF) builds one");
        // Not `eprintln!`, which the test runner captures.
        std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("SKIPPED {test}: {how}\n").as_bytes(),
        )?;
        return Ok(None);
    };
    Node::up_from(&program, &[]).await.map(Some)
}

type Named<'a> = (&'static str, &'a Node);

/// Connects one to the other, does everything in both directions, and prints a line for each.
async fn table(title: &str, one: Named<'_>, other: Named<'_>, over: Transport) -> Result<()> {
    one.1.run(&["connect", other.1.address(over)?]).await?;
    for (node, peer) in [(one.1, other.1), (other.1, one.1)] {
        node.until_peer(peer.peer_id(), |peer| peer["agent"].is_string()).await?;
    }
    let mut failures = Vec::new();
    let mut lines = format!("{title}, over {}\n", over.carrier());
    for ((from_name, from), (to_name, to)) in [(one, other), (other, one)] {
        let cells = [
            ("ping", ping(from, to).await),
            ("gossip", gossip(from, to).await),
            ("exchange", exchange(from, to).await),
            ("file", file(from, to).await),
            ("kv", kv(from, to).await),
        ];
        for (what, outcome) in cells {
            let word = if outcome.is_ok() { "yes" } else { "NO" };
            lines.push_str(&format!("  {what:<9} {from_name} to {to_name}  {word}\n"));
            if let Err(error) = outcome {
                failures.push(format!("{what} {from_name} to {to_name}: {error:#}"));
            }
        }
    }
    println!("{lines}");
    ensure!(failures.is_empty(), "{lines}{}", failures.join("\n"));
    Ok(())
}

async fn ping(from: &Node, to: &Node) -> Result<()> {
    let pongs = from.run_lines(&["ping", to.peer_id(), "-c", "2", "--interval", "0.01"]).await?;
    let received = |line: &Value| line["event"] == "summary" && line["received"] == 2;
    ensure!(pongs.last().is_some_and(received), "not every ping was answered: {pongs:?}");
    Ok(())
}

async fn gossip(from: &Node, to: &Node) -> Result<()> {
    let mut reader = to.stream(&["sub", TOPIC])?;
    from.insist(&["pub", TOPIC, from.peer_id()], "no_peers").await?;
    let read = reader.wait_for("the message", |line| line["data"] == from.peer_id()).await?;
    ensure!(read["from"] == from.peer_id(), "{read}");
    Ok(())
}

async fn exchange(from: &Node, to: &Node) -> Result<()> {
    let mut listener = to.stream(&["exchange", "listen", "chat"])?;
    let send = ["exchange", "send", to.peer_id(), "chat", "hello", "--ack"];
    from.insist(&send, "no_listener").await?;
    listener.wait_for("the message", |line| line["data"] == "hello").await?;
    let _responder = to.stream(&["exchange", "respond", "echo", "-"])?;
    let ask = ["exchange", "request", to.peer_id(), "echo", "who"];
    let answers = from.insist(&ask, "no_responder").await?;
    ensure!(answers[0]["data"] == "who", "{answers:?}");
    Ok(())
}

/// Several pieces and a part of one: 2.5 MB.
async fn file(from: &Node, to: &Node) -> Result<()> {
    let dir = TempDir::with_prefix("peerage-interop-")?;
    let (source, inbox) = (dir.path().join("film.bin"), dir.path().join("inbox"));
    let bytes: Vec<u8> =
        (0..2_500_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&source, &bytes)?;
    fs::create_dir(&inbox)?;
    let path = source.to_str().context("a path of text")?;
    let mut sending = from.stream(&["send", path, "--to", to.peer_id()])?;
    let asked = |all: &Value| all.as_array()?.iter().find(|t| t["state"] == "asked").cloned();
    let offers = to.until(&["transfers"], |all| asked(all).is_some()).await?;
    let offer = asked(&offers).context("it was just there")?;
    let id = offer["transfer"].as_str().context("no id")?;
    let into = inbox.to_str().context("a path of text")?;
    to.run(&["transfers", "accept", id, "--into", into, "--wait"]).await?;
    let sent = sending.wait_for("the end", |line| line["hash"].is_string()).await?;
    ensure!(sent["bytes"] == bytes.len(), "{sent}");
    if fs::read(inbox.join("film.bin"))? != bytes {
        bail!("what arrived is not what was sent");
    }
    Ok(())
}

async fn kv(from: &Node, to: &Node) -> Result<()> {
    let key = format!("from/{}", from.peer_id());
    from.run(&["kv", "put", &key, "587", "--type", "int"]).await?;
    let seen = to.insist(&["kv", "get", &key], "not_found").await?;
    ensure!(seen[0]["value"] == 587 && seen[0]["type"] == "int", "{seen:?}");
    Ok(())
}
