//! A chat for the terminal: a room is a topic, a direct message goes over exchange.
//!
//! On one network the chats of a room find each other (mDNS):
//!
//! ```text
//! cargo run -p peerage-examples --example chat -- --name ada
//! cargo run -p peerage-examples --example chat -- --name ben
//! ```
//!
//! Elsewhere, or with `--listen` to stay on this machine, give one the address the other prints:
//!
//! ```text
//! cargo run -p peerage-examples --example chat -- --name ada --listen /ip4/127.0.0.1/tcp/0
//! cargo run -p peerage-examples --example chat -- --name ben --listen /ip4/127.0.0.1/tcp/0 --connect ADDRESS
//! ```
//!
//! A line goes to the room; `/msg PEER TEXT` to one peer, named by the last letters of its id as
//! they are shown after the `@`; `/peers`, `/connect ADDRESS` and `/quit` do what they say.

use std::{io::BufRead as _, thread, time::Duration};

use anyhow::{Context as _, bail};
use clap::Parser;
use peerage::{
    Node, Settings,
    exchange::Body,
    pubsub::{Event, PubsubError},
    types::{MessageType, Multiaddr, Network, PeerId, Topic},
};
use serde::{Deserialize, Serialize};
use tokio::{signal, sync::mpsc, time::timeout};

/// Typed lines that wait while one is being sent.
const MAX_TYPED: usize = 16;
/// How long the other chat may take to take a direct message.
const TAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A chat for the terminal.
#[derive(Debug, Parser)]
struct Args {
    /// Where to talk.
    #[arg(long, default_value = "lobby")]
    room: Topic,
    /// What others see beside your lines.
    #[arg(long, env = "USER", default_value = "somebody")]
    name: String,
    /// Somebody to connect to.
    #[arg(long)]
    connect: Option<Multiaddr>,
    /// Listen only there, and meet only those you connect to.
    #[arg(long)]
    listen: Option<Multiaddr>,
}

/// What travels, in the room and directly. The name is only a claim; the id beside it is proven.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    text: String,
}

/// What a user of the chat works with.
struct Chat {
    node: Node,
    room: Topic,
    name: String,
    direct: MessageType,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let running = peerage::start(Settings {
        network: Network::new("peerage-chat")?,
        mdns: args.listen.is_none(),
        listen: args.listen.into_iter().collect(),
        local_only: true,
        ..Settings::default()
    })
    .await?;
    println!("you are {}@{}", args.name, short(running.peer_id));
    for address in &running.listen {
        println!("others reach you with --connect {address}");
    }
    let direct = MessageType::new("chat.direct")?;
    let chat = Chat { node: running.node.clone(), room: args.room, name: args.name, direct };
    let outcome = chat.run(args.connect).await;
    // Without handles the node says goodbye and stops.
    drop(chat);
    running.stopped().await;
    outcome
}

impl Chat {
    async fn run(&self, friend: Option<Multiaddr>) -> anyhow::Result<()> {
        // Listen first, connect then: nothing said in between is missed.
        let mut said = self.node.pubsub().subscribe(self.room.clone()).await?;
        let mut told = self.node.exchange().subscribe([self.direct.clone()]).await?;
        let mut moves = self.node.pubsub().events().await?;
        let mut typed = typed_lines();
        if let Some(address) = friend {
            self.node.peers().connect(address).await?;
        }
        let interrupt = signal::ctrl_c();
        tokio::pin!(interrupt);
        loop {
            tokio::select! {
                stop = &mut interrupt => return Ok(stop?),
                line = typed.recv() => match line.as_deref().map(str::trim) {
                    None | Some("/quit") => return Ok(()),
                    Some(line) => if let Err(error) = self.on_typed(line).await {
                        println!("! {error:#}");
                    },
                },
                message = said.item() => {
                    let message = message.context("the node has stopped")?;
                    show("", message.from, serde_json::from_slice(&message.data.0).ok());
                }
                Some(message) = told.item() => {
                    show("(to you) ", message.peer, message.body.read().ok());
                }
                Some(event) = moves.item() => self.on_move(&event),
            }
        }
    }

    async fn on_typed(&self, line: &str) -> anyhow::Result<()> {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        match words[..] {
            [""] => {}
            ["/peers"] => {
                for peer in self.node.peers().list().await? {
                    let at = peer.connections.first().map(|known| known.address.to_string());
                    println!("* {} at {}", short(peer.peer_id), at.unwrap_or_default());
                }
            }
            ["/connect", address] => {
                let connected = self.node.peers().connect(address.parse()?).await?;
                println!("* connected to {}", short(connected.peer_id));
            }
            ["/msg", to, text] => {
                let (peer, body) = (self.peer(to).await?, Body::json(&self.line(text))?);
                // With `ack` it returns when the other chat has taken the message.
                let exchange = self.node.exchange();
                let taken = exchange.send(peer, self.direct.clone(), body, true);
                timeout(TAKE_TIMEOUT, taken).await.context("no word that it arrived")??;
            }
            [word, ..] if word.starts_with('/') => {
                bail!("there are /msg PEER TEXT, /peers, /connect ADDRESS and /quit");
            }
            _ => match self.node.pubsub().publish_json(self.room.clone(), &self.line(line)).await {
                Err(PubsubError::NoPeers { .. }) => println!("* nobody else is here yet"),
                outcome => drop(outcome?),
            },
        }
        Ok(())
    }

    fn line(&self, text: &str) -> Line {
        Line { name: self.name.clone(), text: text.to_owned() }
    }

    /// The connected peer whose id ends like that.
    async fn peer(&self, end: &str) -> anyhow::Result<PeerId> {
        let mut peers = self.node.peers().list().await?;
        peers.retain(|peer| peer.peer_id.to_string().ends_with(end));
        match &peers[..] {
            [peer] => Ok(peer.peer_id),
            [] => bail!("no connected peer ends in {end:?}; see /peers"),
            _ => bail!("several peers end in {end:?}; give more letters"),
        }
    }

    fn on_move(&self, event: &Event) {
        match event {
            Event::Joined { peer, topic } if topic == self.room.as_str() => {
                println!("* {} joined", short(*peer));
            }
            Event::Left { peer, topic } if topic == self.room.as_str() => {
                println!("* {} left", short(*peer));
            }
            Event::Joined { .. } | Event::Left { .. } => {}
        }
    }
}

/// A thread of its own: a read from the terminal cannot be interrupted, and ends with the process.
fn typed_lines() -> mpsc::Receiver<String> {
    let (to, lines) = mpsc::channel(MAX_TYPED);
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if to.blocking_send(line).is_err() {
                break;
            }
        }
    });
    lines
}

fn short(peer: PeerId) -> String {
    let id = peer.to_string();
    id[id.len().saturating_sub(6)..].to_owned()
}

/// Shows what somebody said, without the control characters that would steer the terminal.
fn show(mark: &str, from: PeerId, line: Option<Line>) {
    let Some(Line { name, text }) = line else { return };
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    println!("{mark}{}@{}: {}", clean(&name), short(from), clean(&text));
}
