//! The same program against a daemon and against a node of its own: the handle has the same methods.
//!
//! Prints the status of the node and what is said on a topic, until Ctrl-C. With the folder of a
//! running daemon (`peerage up --data DIR`) it asks that one:
//!
//! ```text
//! cargo run -p peerage-examples --example remote -- news DIR
//! ```
//!
//! Without a folder it starts a node in this process; nothing else changes:
//!
//! ```text
//! cargo run -p peerage-examples --example remote -- news
//! ```
//!
//! To see a message, publish one from another node: `peerage pub news hello --data OTHER_DIR`.
//!
//! A program that only ever asks daemons depends on `peerage` with the feature `remote` alone and
//! then compiles neither a swarm nor a database.

use std::env;

use anyhow::bail;
use peerage::{Feeding, Node, Remote, Settings, types::Topic};
use tokio::signal;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (topic, node) = match &args[..] {
        [topic, dir] => (topic, Remote::connect(dir).await?),
        // The node runs as long as there is a handle on it.
        [topic] => {
            // Only the local network is asked.
            let settings = Settings { mainline: false, ..Settings::default() };
            (topic, peerage::start(settings).await?.node)
        }
        _ => bail!("usage: remote TOPIC [DIR]"),
    };
    show_status(&node).await?;
    tokio::select! {
        heard = listen(&node, topic.parse()?) => heard,
        stop = signal::ctrl_c() => Ok(stop?),
    }
}

/// Does not know which kind of node it asks.
async fn show_status(node: &Node) -> anyhow::Result<()> {
    let status = node.status().await?;
    println!("{} of network {}", status.peer_id, status.network);
    println!("up {} s, {} peers, version {}", status.uptime_s, status.peers, status.version);
    for address in &status.listen {
        println!("listening on {address}");
    }
    for peer in node.peers().list().await? {
        let agent = peer.agent.as_deref().unwrap_or("an unknown program");
        println!("connected to {} ({agent})", peer.peer_id);
    }
    Ok(())
}

/// Nor does this.
async fn listen(node: &Node, topic: Topic) -> anyhow::Result<()> {
    let mut messages = node.pubsub().subscribe(topic.clone()).await?;
    println!("subscribed to {topic}");
    while let Some(message) = messages.next().await {
        match message {
            Feeding::Item(message) => match message.data.as_text() {
                Some(text) => println!("{}: {}", message.from, text.escape_debug()),
                None => println!("{}: {} bytes", message.from, message.data.len()),
            },
            // A reader that is too slow is told what it missed, from a daemon as from a node here.
            Feeding::Lagged(missed) => println!("{missed} messages were missed"),
        }
    }
    bail!("the node has stopped, or the connection to it broke")
}
