//! Our daemons on one local network, each on a host of its own: nobody is given an address.

use std::time::Duration;

use anyhow::{Result, ensure};
use peerage::peers::Event;
use peerage_interop_tests::{Host, Lan, Node, Plan};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

const TOPIC: &str = "lan";
/// How long gossip may take to resume after a crash: a dead QUIC connection times out after 10 s,
/// an idle one is looked after every 30 s.
const GOSSIP_TIMEOUT: Duration = Duration::from_secs(60);
const REPEAT_INTERVAL: Duration = Duration::from_secs(1);

#[tokio::test]
async fn two_nodes_meet_and_talk_where_there_is_only_ipv4() -> Result<()> {
    meet_and_talk(Plan::PrivateV4, "/ip4/10.77.0.").await
}

#[tokio::test]
async fn two_nodes_meet_and_talk_where_there_is_only_ipv6() -> Result<()> {
    meet_and_talk(Plan::PrivateV6, "/ip6/").await
}

async fn meet_and_talk(plan: Plan, prefix: &str) -> Result<()> {
    let Some(mut lan) = Lan::new(plan)? else { return Ok(()) };
    let (ada, ben) = (up(&lan.host()?).await?, up(&lan.host()?).await?);
    for (node, other) in [(&ada, &ben), (&ben, &ada)] {
        let peer = met(node, other).await?;
        let connections = peer["connections"].as_array().into_iter().flatten();
        for connection in connections {
            let address = connection["address"].as_str().unwrap_or_default();
            ensure!(address.starts_with(prefix), "{peer}");
        }
        ensure!(peer["agent"].as_str().is_some_and(|agent| agent.starts_with("peerage")), "{peer}");
    }
    talk(&ada, &ben).await?;
    talk(&ben, &ada).await?;
    find(&ada, &ben, "chess").await
}

#[tokio::test]
async fn three_nodes_meet_each_other_and_find_what_one_announces() -> Result<()> {
    let Some(mut lan) = Lan::new(Plan::PrivateV4)? else { return Ok(()) };
    let (ada, ben, cleo) =
        (up(&lan.host()?).await?, up(&lan.host()?).await?, up(&lan.host()?).await?);
    for (node, others) in [(&ada, [&ben, &cleo]), (&ben, [&ada, &cleo]), (&cleo, [&ada, &ben])] {
        for other in others {
            met(node, other).await?;
        }
    }
    find(&ada, &ben, "go").await?;
    find(&ada, &cleo, "go").await
}

#[tokio::test]
async fn a_killed_node_comes_back_as_itself_and_is_met_again() -> Result<()> {
    let Some(mut lan) = Lan::new(Plan::PrivateV4)? else { return Ok(()) };
    let (ada, ben) = (up(&lan.host()?).await?, up(&lan.host()?).await?);
    met(&ada, &ben).await?;
    talk(&ada, &ben).await?;
    let before = ben.peer_id().to_owned();
    let ben = ben.kill().await?.up().await?;
    ensure!(ben.peer_id() == before, "{before} came back as {}", ben.peer_id());
    met(&ben, &ada).await?;
    // What is left of the connection to the dead process must not be what Ada uses.
    let once = |peer: &Value| peer["connections"].as_array().is_some_and(|all| all.len() == 1);
    for (node, other) in [(&ada, &ben), (&ben, &ada)] {
        node.until_peer(other.peer_id(), once).await?;
    }
    gossip_resumes(&ben, &ada).await?;
    gossip_resumes(&ada, &ben).await?;
    talk(&ben, &ada).await?;
    talk(&ada, &ben).await
}

#[tokio::test]
async fn a_node_of_another_network_is_neither_dialled_nor_dials() -> Result<()> {
    let Some(mut lan) = Lan::new(Plan::PrivateV4)? else { return Ok(()) };
    let other = ["--network", "other"];
    let (ada, ben) = (up(&lan.host()?).await?, up(&lan.host()?).await?);
    let stranger = Node::up_on(&lan.host()?, &other).await?;
    let mut watched = Vec::new();
    for node in [&ada, &ben, &stranger] {
        watched.push(node.remote().await?.peers().events().await?);
    }
    met(&ada, &ben).await?;
    // A third member is asked who it is by everybody, and everybody hears the answers.
    let cleo = up(&lan.host()?).await?;
    for node in [&ada, &ben] {
        met(node, &cleo).await?;
    }
    ensure!(stranger.run(&["peers"]).await? == json!([]), "the stranger has peers");
    let metrics = stranger.remote().await?.metrics().await?;
    for counter in ["dial_attempt_total", "connections_incoming_total"] {
        let name = format!("libp2p_swarm_{counter}");
        ensure!(count(&metrics, &name) == 0.0, "the stranger's {name} is not 0:\n{metrics}");
    }

    // All of that had a chance to fail: whoever is of its network does meet the stranger.
    let fellow = Node::up_on(&lan.host()?, &other).await?;
    met(&stranger, &fellow).await?;
    met(&fellow, &stranger).await?;

    let expected = [[&ben, &cleo], [&ada, &cleo], [&fellow, &fellow]]
        .map(|peers| peers.map(|peer| peer.peer_id().to_owned()));
    for node in [ada, ben, stranger] {
        node.stop().await?;
    }
    for (events, expected) in watched.iter_mut().zip(expected) {
        let mut seen = 0;
        while let Some(event) = events.item().await {
            ensure!(expected.iter().any(|peer| *peer == of(&event)), "{event:?} is of a stranger");
            seen += 1;
        }
        ensure!(seen > 0, "the events say nothing");
    }
    Ok(())
}

/// A daemon as users start it.
async fn up(host: &Host) -> Result<Node> {
    Node::up_on(host, &[]).await
}

/// What `node` knows of `other`, once it has found it by mDNS and they are connected.
async fn met(node: &Node, other: &Node) -> Result<Value> {
    let wanted = |peer: &Value| {
        let by_mdns = peer["sources"].as_array().is_some_and(|all| all.contains(&json!("mdns")));
        by_mdns && peer["agent"].is_string()
    };
    node.until_peer(other.peer_id(), wanted).await
}

/// Ping, pub/sub and exchange from `one` to `other`.
async fn talk(one: &Node, other: &Node) -> Result<()> {
    let pongs = one.run_lines(&["ping", other.peer_id(), "-c", "2", "--interval", "0.01"]).await?;
    let received = |line: &Value| line["event"] == "summary" && line["received"] == 2;
    ensure!(pongs.last().is_some_and(received), "not every ping was answered: {pongs:?}");

    let mut reader = other.stream(&["sub", TOPIC])?;
    one.insist(&["pub", TOPIC, "hello"], "no_peers").await?;
    let read = reader.wait_for("the message", |line| line["data"] == "hello").await?;
    ensure!(read["from"] == one.peer_id(), "{read}");

    let mut listener = other.stream(&["exchange", "listen", "chat"])?;
    let send = ["exchange", "send", other.peer_id(), "chat", "hello", "--ack"];
    one.insist(&send, "no_listener").await?;
    let heard = listener.wait_for("the message", |line| line["data"] == "hello").await?;
    ensure!(heard["peer"] == one.peer_id() || heard["peer_id"] == one.peer_id(), "{heard}");

    let _responder = other.stream(&["exchange", "respond", "echo", "-"])?;
    let ask = ["exchange", "request", other.peer_id(), "echo", "who"];
    let answers = one.insist(&ask, "no_responder").await?;
    ensure!(answers[0]["data"] == "who", "{answers:?}");
    Ok(())
}

/// Publishes until it is heard. Gossipsub promises no more when connections come and go: its
/// connections to a peer share a queue, and one that is dying may have taken the message.
async fn gossip_resumes(one: &Node, other: &Node) -> Result<()> {
    let mut reader = other.stream(&["sub", TOPIC])?;
    let deadline = Instant::now() + GOSSIP_TIMEOUT;
    loop {
        one.insist(&["pub", TOPIC, "again"], "no_peers").await?;
        let heard = reader.wait_for("the message", |line| line["data"] == "again");
        match timeout(REPEAT_INTERVAL, heard).await {
            Ok(heard) => return heard.map(drop),
            Err(_) => ensure!(Instant::now() < deadline, "gossip does not resume"),
        }
    }
}

/// `one` announces, `other` finds it.
async fn find(one: &Node, other: &Node, namespace: &str) -> Result<()> {
    one.run(&["announce", namespace]).await?;
    let found = other.insist(&["find", namespace], "timed_out").await?;
    ensure!(found.iter().all(|line| line["peer_id"] == one.peer_id()), "{found:?}");
    Ok(())
}

fn of(event: &Event) -> String {
    match event {
        Event::Connected { peer, .. }
        | Event::Identified { peer, .. }
        | Event::Disconnected { peer, .. }
        | Event::Discovered { peer, .. } => peer.to_string(),
    }
}

/// A counter of OpenMetrics text; 0 if it has not been counted yet.
fn count(metrics: &str, name: &str) -> f64 {
    let value = metrics.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
    });
    value.sum()
}
