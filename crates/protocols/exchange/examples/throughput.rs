//! Measures messages between two processes over TCP on loopback: round trips of a request, and
//! messages a second at a listener.
//!
//! `cargo run --release -p peerage-exchange --example throughput`

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use peerage_api::{
    Command as Asked, Link, Local, Node,
    exchange::{Exchange, MAX_BODY_BYTES},
};
use peerage_exchange::{Behaviour, Config};
use peerage_types::{MessageType, Network};
use tokio::sync::{mpsc, oneshot};

const ROUND_TRIPS: usize = 20_000;
const MESSAGES: usize = 2_000_000;
const LARGE_MESSAGES: usize = 1_000;
const HOUR: Duration = Duration::from_secs(3600);

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if env::args().nth(1).as_deref() == Some("listen") {
        return listen().await;
    }
    let mut listener =
        Command::new(env::current_exe()?).arg("listen").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(listener.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    let mut swarm = swarm()?;
    swarm.dial(line.trim().parse::<Multiaddr>()?)?;
    let (exchange, connected) = drive(swarm);
    let result = measure(&exchange, connected.await?).await;
    listener.kill()?;
    result
}

async fn measure(exchange: &Exchange, peer: PeerId) -> Result<(), Error> {
    let (echo, count, done) = (kind("echo")?, kind("count")?, kind("done")?);
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        exchange.request(peer, echo.clone(), vec![7; 64], HOUR).await?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let at = |percent: usize| times[ROUND_TRIPS * percent / 100];
    println!("request and reply, 64 bytes: p50 {:?}, p99 {:?}", at(50), at(99));

    for (messages, size) in [(MESSAGES, 64), (LARGE_MESSAGES, MAX_BODY_BYTES)] {
        let body = bytes::Bytes::from(vec![7; size]);
        let start = Instant::now();
        for _ in 0..messages {
            exchange.send(peer, count.clone(), body.clone(), false).await?;
        }
        let counted = exchange.request(peer, done.clone(), vec![], HOUR).await?;
        let seconds = start.elapsed().as_secs_f64();
        let counted: usize = counted.read()?;
        let rate = counted as f64 / seconds;
        println!(
            "{counted} messages of {size} bytes: {rate:.0} messages/s, {:.0} MB/s",
            rate * size as f64 / 1e6
        );
    }
    Ok(())
}

async fn listen() -> Result<(), Error> {
    let mut swarm = swarm()?;
    let peer = *swarm.local_peer_id();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let (exchange, _connected) = drive(swarm);
    let mut echoes = exchange.respond(kind("echo")?).await?;
    let mut dones = exchange.respond(kind("done")?).await?;
    let mut messages = exchange.subscribe([kind("count")?]).await?;
    println!("{address}/p2p/{peer}");
    std::io::stdout().flush()?;

    let mut counted = 0;
    loop {
        // Messages first: those that came before a request are then counted before it is answered.
        tokio::select! {
            biased;
            Some(_) = messages.item() => counted += 1,
            Some(request) = echoes.item() => exchange.reply(request.id, request.body.data.0).await?,
            Some(request) = dones.item() => {
                let body = peerage_api::exchange::Body::json(&std::mem::take(&mut counted))?;
                exchange.reply(request.id, body).await?;
            }
        }
    }
}

fn kind(name: &str) -> Result<MessageType, Error> {
    Ok(MessageType::new(name)?)
}

fn swarm() -> Result<Swarm<Behaviour>, Error> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|_| Behaviour::new(Config::new(Network::default())))?
        .with_swarm_config(|c| c.with_idle_connection_timeout(HOUR))
        .build())
}

/// Runs the swarm; the handle works as it does with a whole node.
fn drive(mut swarm: Swarm<Behaviour>) -> (Exchange, oneshot::Receiver<PeerId>) {
    let (commands, mut asked) = mpsc::channel(64);
    let (tell, connected) = oneshot::channel();
    let mut tell = Some(tell);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                command = asked.recv() => match command {
                    Some(Asked::Exchange(command)) => {
                        swarm.behaviour_mut().on_command(command, Instant::now());
                    }
                    Some(_) => {}
                    None => break,
                },
                event = swarm.select_next_some() => {
                    if let SwarmEvent::ConnectionEstablished { peer_id, .. } = event
                        && let Some(tell) = tell.take()
                    {
                        let _ = tell.send(peer_id);
                    }
                }
            }
        }
    });
    (Node::new(Link::Local(Local::new(commands))).exchange(), connected)
}
