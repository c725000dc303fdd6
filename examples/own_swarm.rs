//! One of our protocols in a swarm of your own: no `peerage`, no node, your loop.
//!
//! [`peerage_exchange::Behaviour`] sits in a derived struct beside libp2p's ping and identify. The
//! same handle that a node gives out sends its commands to the loop that owns the swarm. Here two
//! such swarms in one process connect over loopback and one asks the other for a sum.
//!
//! ```text
//! cargo run -p peerage-examples --example own_swarm
//! ```
//!
//! In a program of yours put [`Mine`] and [`drive`] around the swarm you have.

use std::{
    future::poll_fn,
    task::Poll,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise, ping,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};
use peerage_api::{
    Command, Link, Local, Node,
    exchange::{Body, Exchange},
    types::{MessageType, Network},
};
use peerage_exchange as exchange;
use tokio::sync::mpsc;

/// Commands that may wait for the loop.
const MAX_COMMANDS: usize = 64;
const DEADLINE: Duration = Duration::from_secs(10);

/// Yours, with one of ours in it.
#[derive(NetworkBehaviour)]
struct Mine {
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    exchange: exchange::Behaviour,
}

fn swarm() -> anyhow::Result<Swarm<Mine>> {
    let network = Network::new("own-swarm")?;
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|keys| Mine {
            ping: ping::Behaviour::default(),
            identify: identify::Behaviour::new(identify::Config::new(
                "/own-swarm/1".to_owned(),
                keys.public(),
            )),
            exchange: exchange::Behaviour::new(exchange::Config::new(network)),
        })?
        .build();
    Ok(swarm)
}

/// The loop that owns the swarm: does what the handles ask and tells the behaviour what the others
/// report. Ends when the last handle is dropped.
async fn drive(
    mut swarm: Swarm<Mine>,
    mut commands: mpsc::Receiver<Command>,
    members: mpsc::Sender<PeerId>,
) {
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Exchange(command)) => {
                    swarm.behaviour_mut().exchange.on_command(command, Instant::now());
                }
                // A facet whose behaviour is not in this swarm: dropped, it answers "stopped".
                Some(_) => {}
                None => break,
            },
            event = swarm.select_next_some() => on_event(&mut swarm, event, &members),
        }
    }
    // What is queued still goes out.
    swarm.behaviour_mut().exchange.shutdown();
    poll_fn(|cx| {
        while swarm.poll_next_unpin(cx).is_ready() {}
        if swarm.behaviour().exchange.is_idle() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn on_event(swarm: &mut Swarm<Mine>, event: SwarmEvent<MineEvent>, members: &mpsc::Sender<PeerId>) {
    let exchange = &mut swarm.behaviour_mut().exchange;
    match event {
        // Broadcasts go to those who speak the protocol.
        SwarmEvent::Behaviour(MineEvent::Identify(identify::Event::Received {
            peer_id,
            info,
            ..
        })) => {
            let member = info.protocols.contains(&exchange.protocol());
            exchange.on_identified(peer_id, member);
            if member {
                // Nobody waits for a second one.
                let _ = members.try_send(peer_id);
            }
        }
        // With several connections to a peer the quickest is used.
        SwarmEvent::Behaviour(MineEvent::Ping(ping::Event {
            connection, result: Ok(rtt), ..
        })) => exchange.on_rtt(connection, rtt),
        SwarmEvent::Behaviour(MineEvent::Exchange(exchange::Event::Misbehaved {
            peer,
            reason,
        })) => eprintln!("{peer} misbehaved: {reason}"),
        SwarmEvent::OutgoingConnectionError { error, .. } => eprintln!("no connection: {error}"),
        _ => {}
    }
}

/// Runs a swarm in a task of its own; the handle works as it does with a whole node.
fn spawn(swarm: Swarm<Mine>) -> (Exchange, mpsc::Receiver<PeerId>) {
    let (asks, commands) = mpsc::channel(MAX_COMMANDS);
    let (met, members) = mpsc::channel(1);
    tokio::spawn(drive(swarm, commands, met));
    (Node::new(Link::Local(Local::new(asks))).exchange(), members)
}

async fn listening(swarm: &mut Swarm<Mine>) -> anyhow::Result<Multiaddr> {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok(address);
        }
    }
}

/// Adds up the numbers of every request.
async fn add(adder: Exchange, kind: MessageType) -> anyhow::Result<()> {
    let mut requests = adder.respond(kind).await?;
    while let Some(request) = requests.item().await {
        let outcome = match request.body.read::<Vec<i32>>() {
            Ok(numbers) => {
                let sum: i64 = numbers.into_iter().map(i64::from).sum();
                adder.reply(request.id, Body::json(&sum)?).await
            }
            Err(_) => adder.refuse(request.id, "send a list of 32-bit numbers").await,
        };
        // One who does not wait for the answer must not end the service for the others.
        if let Err(error) = outcome {
            eprintln!("{} was not answered: {error}", request.peer);
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let sum = MessageType::new("sum")?;
    let (mut theirs, mut ours) = (swarm()?, swarm()?);
    let address = listening(&mut theirs).await?;
    ours.dial(address)?;
    let (adder, _) = spawn(theirs);
    let (asker, mut members) = spawn(ours);
    let adding = tokio::spawn(add(adder, sum.clone()));

    let peer = members.recv().await.context("nobody there speaks exchange")?;
    println!("connected to {peer}");
    let answer = asker.request(peer, sum, Body::json(&[19, 23])?, DEADLINE).await?;
    println!("19 + 23 = {}", answer.read::<i64>()?);
    println!("the asker wrote {} message", asker.stats().await?.sent);
    adding.abort();
    Ok(())
}
