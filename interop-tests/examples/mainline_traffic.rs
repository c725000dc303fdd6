//! What a settled bridge costs: UDP payload in bytes a second, counted by the nodes it talks to.
//!
//! ```sh
//! cargo run -p peerage-interop-tests --example mainline_traffic [SECONDS] [NODES]
//! ```
//!
//! 600 seconds and 30 nodes of bittorrent-dht on 127.0.0.1 unless given. One member is connected, one
//! namespace joined and announced, one address published. Lines of JSON: one each tenth of the time,
//! the last one for all of it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use libp2p_identity::PeerId;
use libp2p_swarm::{Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt as _;
use peerage_interop_tests::{Dht, Kind};
use peerage_mainline::{Behaviour, Config, Event, Rendezvous};
use tokio::time::{Instant, interval_at};

/// How long the start may take, which is not counted.
const SETTLING: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let seconds: u32 = args.next().map_or(Ok(600), |arg| arg.parse())?;
    let nodes: usize = args.next().map_or(Ok(30), |arg| arg.parse())?;
    let Some(mut dht) = Dht::spawn(Kind::Js, nodes, &[]).await? else { return Ok(()) };

    let config = Config { quic: false, ..Config::local(dht.nodes()[..2].to_vec()) };
    let mut swarm = Swarm::new_ephemeral_tokio(|keypair| Behaviour::new(&config, keypair, None));
    let (_, address) = swarm.listen().with_tcp_addr_external().await;
    swarm.behaviour_mut().on_port(Some(4001));
    swarm.behaviour_mut().join(Rendezvous::namespace("traffic".parse()?))?;
    swarm.behaviour_mut().on_identified(PeerId::random(), true, &[]);
    eprintln!("{address}, {nodes} nodes, {seconds} s");

    let port = port_once_up(&mut swarm).await;
    let start = Instant::now() + SETTLING;
    let step = Duration::from_secs(u64::from(seconds)) / 10;
    let mut ticks = interval_at(start, step);
    let (mut first, mut last) = (None, 0);
    for number in 0..=10_u32 {
        run_until(&mut swarm, &mut ticks).await;
        let total = dht.traffic(port).await.context("the nodes count")?;
        let begin = *first.get_or_insert(total);
        if number > 0 {
            show(number * seconds / 10, total - last, step, total - begin);
        }
        last = total;
    }
    Ok(())
}

fn show(at: u32, bytes: u64, step: Duration, all: u64) {
    let now = bytes / step.as_secs().max(1);
    let average = all / u64::from(at.max(1));
    println!(r#"{{"at_s":{at},"bytes_per_s":{now},"average_bytes_per_s":{average}}}"#);
}

async fn port_once_up(swarm: &mut Swarm<Behaviour>) -> u16 {
    loop {
        if let SwarmEvent::Behaviour(Event::Health(health)) = swarm.select_next_some().await
            && let Some(local) = health.local
        {
            return local.port();
        }
    }
}

async fn run_until(swarm: &mut Swarm<Behaviour>, ticks: &mut tokio::time::Interval) {
    loop {
        tokio::select! {
            _ = ticks.tick() => return,
            _ = swarm.select_next_some() => {}
        }
    }
}
