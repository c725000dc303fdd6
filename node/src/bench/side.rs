//! One side of a measurement, in a process of its own.

use std::{io, net::SocketAddr, time::Instant};

use futures::future;
use peerage_api::{
    Node,
    exchange::{Body, Encoding},
    types::{MessageType, Multiaddr, PeerId},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::bare::{self, Took};
use crate::{
    daemon::{self, Running, Settings},
    failed::Failed,
    output::Output,
};

/// What a side does. Prints JSON lines and ends when its input ends.
#[derive(Debug, clap::Args)]
pub(crate) struct Side {
    #[command(subcommand)]
    pub(crate) role: Role,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Role {
    /// Listens and answers
    Serve {
        #[arg(long)]
        listen: Multiaddr,
    },
    /// Measures throughput to an address
    Measure {
        #[arg(long)]
        address: Multiaddr,
        #[arg(long)]
        bytes: u64,
    },
    /// Listens as a plain rust-libp2p program
    ServePlain {
        #[arg(long)]
        listen: Multiaddr,
    },
    /// Measures throughput as a plain rust-libp2p program
    MeasurePlain {
        #[arg(long)]
        address: Multiaddr,
        #[arg(long)]
        bytes: u64,
    },
    /// Measures exchange messages to an address
    Exchange {
        #[arg(long)]
        address: Multiaddr,
        #[arg(long)]
        round_trips: u32,
        #[arg(long)]
        messages: u32,
    },
    /// Sends back what comes over bare TCP
    Answer,
    /// Measures round trips over bare TCP
    Ask {
        #[arg(long)]
        at: SocketAddr,
        #[arg(long)]
        round_trips: u32,
    },
    /// Many nodes that connect to an address
    Crowd {
        #[arg(long)]
        address: Multiaddr,
        #[arg(long)]
        count: u16,
    },
}

impl Role {
    /// Whether it compares with a program as `#[tokio::main]` makes it, on all cores.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::ServePlain { .. } | Self::MeasurePlain { .. })
    }
}

/// First line of a side that listens.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listening {
    pub(super) address: Multiaddr,
}

/// Outcome of [`Role::Exchange`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exchanged {
    pub(super) rtt: Took,
    pub(super) messages_per_s: f64,
}

pub(super) async fn run(out: Output, side: Side) -> Result<(), Failed> {
    match side.role {
        Role::Serve { listen } => serve(out, listen).await,
        Role::Measure { address, bytes } => {
            let (running, peer) = connected(address).await?;
            out.line(&running.node.peers().measure(peer, bytes).await?)
        }
        Role::ServePlain { listen } => {
            let ready = |address| drop(out.line(&Listening { address }));
            let serving = peerage::plain::serve(listen, ready);
            tokio::select! {
                served = serving => Ok(served.map_err(anyhow::Error::from)?),
                () = input_ended() => Ok(()),
            }
        }
        Role::MeasurePlain { address, bytes } => {
            let measured = peerage::plain::measure(address, bytes).await;
            out.line(&measured.map_err(anyhow::Error::from)?)
        }
        Role::Exchange { address, round_trips, messages } => {
            exchange(out, address, round_trips, messages).await
        }
        Role::Answer => bare::answer(out).await,
        Role::Ask { at, round_trips } => bare::ask(out, at, round_trips).await,
        Role::Crowd { address, count } => crowd(out, address, count).await,
    }
}

/// A node as `peerage up` makes it, but on one address and with nothing on disk.
async fn node(listen: Vec<Multiaddr>) -> Result<Running, Failed> {
    let settings = Settings { listen, mdns: false, local_only: true, ..Settings::default() };
    daemon::start(settings).await
}

fn loopback() -> Vec<Multiaddr> {
    vec!["/ip4/127.0.0.1/tcp/0".parse().expect("a literal address")]
}

async fn connected(address: Multiaddr) -> Result<(Running, PeerId), Failed> {
    let running = node(loopback()).await?;
    let peer = running.node.peers().connect(address).await?.peer_id;
    Ok((running, peer))
}

pub(super) async fn input_ended() {
    let drain = || io::copy(&mut io::stdin(), &mut io::sink());
    // Whatever comes, its end is what counts.
    let _ = tokio::task::spawn_blocking(drain).await;
}

fn echo() -> MessageType {
    MessageType::new("bench.echo").expect("a literal name")
}

fn count() -> MessageType {
    MessageType::new("bench.count").expect("a literal name")
}

fn done() -> MessageType {
    MessageType::new("bench.done").expect("a literal name")
}

async fn serve(out: Output, listen: Multiaddr) -> Result<(), Failed> {
    let running = node(vec![listen]).await?;
    let Some(address) = running.listen.first().cloned() else {
        return Err(anyhow::anyhow!("the node does not listen").into());
    };
    let answering = future::try_join(echoes(&running.node), counts(&running.node));
    out.line(&Listening { address })?;
    tokio::select! {
        answered = answering => answered.map(drop),
        () = input_ended() => Ok(()),
    }
}

/// Answers every request with its own body.
async fn echoes(node: &Node) -> Result<(), Failed> {
    let mut asked = node.exchange().respond(echo()).await?;
    while let Some(request) = asked.item().await {
        node.exchange().reply(request.id, request.body.data.0).await?;
    }
    Ok(())
}

/// Counts messages and answers once all that were announced have been read.
async fn counts(node: &Node) -> Result<(), Failed> {
    let mut messages = node.exchange().subscribe([count()]).await?;
    let mut asked = node.exchange().respond(done()).await?;
    let (mut counted, mut waiting) = (0u32, None);
    loop {
        tokio::select! {
            message = messages.item() => counted += u32::from(message.is_some()),
            request = asked.item() => waiting = request,
        }
        if let Some(request) =
            waiting.take_if(|r| r.body.read().is_ok_and(|all: u32| counted >= all))
        {
            node.exchange().reply(request.id, "").await?;
            counted = 0;
        }
    }
}

async fn exchange(
    out: Output,
    address: Multiaddr,
    round_trips: u32,
    messages: u32,
) -> Result<(), Failed> {
    let (running, peer) = connected(address).await?;
    let exchange = running.node.exchange();
    let patience = std::time::Duration::from_secs(120);
    let body = bytes(64);
    let mut took = Vec::new();
    for _ in 0..round_trips {
        let start = Instant::now();
        exchange.request(peer, echo(), body.clone(), patience).await?;
        took.push(start.elapsed().as_secs_f64() * 1e6);
    }
    let start = Instant::now();
    for _ in 0..messages {
        exchange.send(peer, count(), body.clone(), false).await?;
    }
    exchange.request(peer, done(), Body::json(&messages)?, patience).await?;
    let seconds = start.elapsed().as_secs_f64();
    let messages_per_s = f64::from(messages) / seconds;
    out.line(&Exchanged { rtt: Took::of(took), messages_per_s })
}

fn bytes(len: usize) -> Body {
    Body { encoding: Encoding::Bytes, data: vec![0x5a; len].into() }
}

async fn crowd(out: Output, address: Multiaddr, count: u16) -> Result<(), Failed> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(connected(address.clone()).await?);
    }
    out.line(&json!({ "connected": nodes.len() }))?;
    input_ended().await;
    for (running, _) in &nodes {
        running.node.stop().await?;
    }
    future::join_all(nodes.into_iter().map(|(running, _)| running.stopped())).await;
    Ok(())
}
