//! What a foreign peer and our node must be able to do with each other.

use anyhow::{Result, ensure};
use peerage_interop_tests::{Foreign, Kind, Message, Node, Transport};
use serde_json::Value;

const TOPIC: &str = "interop";

/// Who opens the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dialler {
    We,
    It,
}

pub(crate) async fn identify(kind: Kind, transport: Transport, dialler: Dialler) -> Result<()> {
    let Some((node, mut it)) = meet(kind, transport, dialler, &[]).await? else { return Ok(()) };

    let we = it.identity_of(node.peer_id()).await?;
    ensure!(we.agent.starts_with("peerage"), "our agent is {:?}", we.agent);
    for protocol in ["/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/meshsub/1.1.0"] {
        ensure!(we.protocols.iter().any(|p| p == protocol), "{protocol} not in {we:?}");
    }

    let agent_known = |peer: &Value| peer["agent"].is_string();
    let peer = node.until_peer(it.peer_id(), agent_known).await?;
    ensure!(peer["agent"].as_str().is_some_and(|a| a.starts_with(kind.agent())), "{peer}");
    let connection = &peer["connections"][0];
    ensure!(connection["transport"] == transport.as_str(), "{peer}");
    ensure!(connection["direction"] == dialler.direction(), "{peer}");
    ensure!(connection["relayed"] == false, "{peer}");
    Ok(())
}

pub(crate) async fn ping(kind: Kind, transport: Transport, dialler: Dialler) -> Result<()> {
    let Some((node, mut it)) = meet(kind, transport, dialler, &[]).await? else { return Ok(()) };

    let rtt_ms = it.ping(node.peer_id()).await?;
    ensure!((0.0..10_000.0).contains(&rtt_ms), "its ping took {rtt_ms} ms");
    let pongs = node.run_lines(&["ping", it.peer_id(), "-c", "2"]).await?;
    let received = |line: &Value| line["event"] == "summary" && line["received"] == 2;
    ensure!(pongs.last().is_some_and(received), "not every ping of ours was answered: {pongs:?}");
    // Once more, after both have had a stream open: neither may have spoilt it for the other.
    it.ping(node.peer_id()).await?;
    Ok(())
}

pub(crate) async fn gossip(kind: Kind, transport: Transport, dialler: Dialler) -> Result<()> {
    let flags = ["--topic", TOPIC];
    let Some((node, mut it)) = meet(kind, transport, dialler, &flags).await? else {
        return Ok(());
    };
    let mut ours = node.stream(&["sub", TOPIC])?;

    it.subscribed(node.peer_id(), TOPIC).await?;
    ensure!(it.publish(TOPIC, "from afar").await? > 0, "it was sent to nobody");
    let arrived = ours.wait_for("its message", |line| line["topic"] == TOPIC).await?;
    let expected = Message { from: it.peer_id().to_owned(), data: "from afar".into() };
    ensure!(Message::parse(&arrived)? == expected, "{arrived} instead of {expected:?}");

    node.insist(&["pub", TOPIC, "from home"], "no_peers").await?;
    let arrived = it.message(TOPIC).await?;
    let expected = Message { from: node.peer_id().to_owned(), data: "from home".into() };
    ensure!(arrived == expected, "{arrived:?} instead of {expected:?}");
    Ok(())
}

pub(crate) async fn unsigned_gossip(kind: Kind, transport: Transport) -> Result<()> {
    let flags = ["--topic", TOPIC, "--unsigned"];
    let Some((node, mut rogue)) = meet(kind, transport, Dialler::It, &flags).await? else {
        return Ok(());
    };
    let mut ours = node.stream(&["sub", TOPIC])?;
    rogue.subscribed(node.peer_id(), TOPIC).await?;
    ensure!(rogue.publish(TOPIC, "unsigned").await? > 0, "it was sent to nobody");
    // A pong and the end of the connection come after the message: it has been judged by then.
    rogue.ping(node.peer_id()).await?;
    let gone = rogue.peer_id().to_owned();
    rogue.stop().await?;
    node.until_gone(&gone).await?;

    let Some(mut honest) = Foreign::spawn(kind, transport, &["--topic", TOPIC]).await? else {
        return Ok(());
    };
    honest.dial(node.address(transport)?).await?;
    honest.subscribed(node.peer_id(), TOPIC).await?;
    ensure!(honest.publish(TOPIC, "signed").await? > 0, "it was sent to nobody");
    ours.wait_for("the signed message", |line| line["data"] == "signed").await?;
    let delivered: Vec<&Value> = ours.untaken().collect();
    ensure!(delivered.is_empty(), "delivered without a signature: {delivered:?}");
    Ok(())
}

impl Dialler {
    fn direction(self) -> &'static str {
        match self {
            Self::We => "out",
            Self::It => "in",
        }
    }
}

/// Both running and connected, or `None` when the foreign toolchain is absent.
async fn meet(
    kind: Kind,
    transport: Transport,
    dialler: Dialler,
    flags: &[&str],
) -> Result<Option<(Node, Foreign)>> {
    let Some(mut it) = Foreign::spawn(kind, transport, flags).await? else { return Ok(None) };
    let node = Node::up(&[]).await?;
    match dialler {
        Dialler::We => drop(node.run(&["connect", it.address()?]).await?),
        Dialler::It => it.dial(node.address(transport)?).await?,
    }
    it.connected(node.peer_id()).await?;
    Ok(Some((node, it)))
}
