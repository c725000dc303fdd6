//! Gossip without a signature.

use anyhow::{Result, ensure};
use peerage_interop_tests::{Foreign, Kind, Node, Transport};
use serde_json::Value;

const TOPIC: &str = "interop";
const TRANSPORT: Transport = Transport::TcpNoise;

#[tokio::test]
async fn unsigned_gossip_of_js_is_not_delivered() -> Result<()> {
    unsigned_gossip(Kind::Js).await
}

#[tokio::test]
async fn unsigned_gossip_of_py_is_not_delivered() -> Result<()> {
    unsigned_gossip(Kind::Py).await
}

#[tokio::test]
async fn unsigned_gossip_of_go_is_not_delivered() -> Result<()> {
    unsigned_gossip(Kind::Go).await
}

async fn unsigned_gossip(kind: Kind) -> Result<()> {
    let flags = ["--topic", TOPIC, "--unsigned"];
    let Some(mut rogue) = Foreign::spawn(kind, TRANSPORT, &flags).await? else { return Ok(()) };
    let node = Node::up(&[]).await?;
    rogue.dial(node.address(TRANSPORT)?).await?;
    let mut ours = node.stream(&["sub", TOPIC])?;
    rogue.subscribed(node.peer_id(), TOPIC).await?;
    rogue.publish_to(node.peer_id(), TOPIC, "unsigned").await?;
    // A pong and the end of the connection come after the message: it has been judged by then.
    rogue.ping(node.peer_id()).await?;
    let gone = rogue.peer_id().to_owned();
    rogue.stop().await?;
    node.until_gone(&gone).await?;

    let Some(mut honest) = Foreign::spawn(kind, TRANSPORT, &["--topic", TOPIC]).await? else {
        return Ok(());
    };
    honest.dial(node.address(TRANSPORT)?).await?;
    honest.subscribed(node.peer_id(), TOPIC).await?;
    honest.publish_to(node.peer_id(), TOPIC, "signed").await?;
    ours.wait_for("the signed message", |line| line["data"] == "signed").await?;
    let delivered: Vec<&Value> = ours.untaken().collect();
    ensure!(delivered.is_empty(), "delivered without a signature: {delivered:?}");
    Ok(())
}
