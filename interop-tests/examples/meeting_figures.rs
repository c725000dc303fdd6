//! How fast fresh daemons meet that know only the BitTorrent DHT and a namespace, how fast a peer id
//! becomes addresses, and what a daemon costs that then has nothing to do.
//!
//! ```sh
//! cargo build --release
//! PEERAGE_BIN=target/release/peerage cargo run -p peerage-interop-tests --example meeting_figures [RUNS] [NODES] [IDLE_SECONDS]
//! ```
//!
//! 10 runs, 30 nodes of bittorrent-dht on 127.0.0.1 and 60 s unless given. Lines of JSON; times are of
//! the start of the processes to the connection.

use std::{fs, net::TcpListener, time::Duration};

use anyhow::{Context as _, Result};
use peerage::Node as Remote;
use peerage_interop_tests::{Dht, Kind, Node};
use tokio::time::{Instant, sleep};

/// How often is looked whether something happened.
const LOOK: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let runs: usize = args.next().map_or(Ok(10), |arg| arg.parse())?;
    let nodes: usize = args.next().map_or(Ok(30), |arg| arg.parse())?;
    let idle: u64 = args.next().map_or(Ok(60), |arg| arg.parse())?;
    let Some(dht) = Dht::spawn(Kind::Js, nodes, &[]).await? else { return Ok(()) };
    let (mut met, mut resolved) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let (pair, took) = meet(&dht, &format!("figures {run}")).await?;
        println!(r#"{{"run":{run},"met_ms":{}}}"#, took.as_millis());
        met.push(took);
        if run == 0 {
            idling(&pair, idle).await?;
        }
        resolved.push(resolve(&dht).await?);
    }
    for (what, mut all) in [("met", met), ("resolved", resolved)] {
        all.sort_unstable();
        let (p50, worst) = (all[all.len() / 2], all[all.len() - 1]);
        println!(
            r#"{{"figure":"{what}","runs":{runs},"p50_ms":{},"worst_ms":{}}}"#,
            p50.as_millis(),
            worst.as_millis()
        );
    }
    Ok(())
}

async fn fresh(dht: &Dht, extra: &[&str]) -> Result<(Node, Remote)> {
    let enter = dht.nodes()[..2].iter().flat_map(|node| ["--mainline-bootstrap", node]);
    let args: Vec<&str> = enter.chain(extra.iter().copied()).collect();
    let node = Node::up(&args).await?;
    let remote = node.remote().await?;
    Ok((node, remote))
}

/// Starts two, announces on both, and waits until they are connected.
async fn meet(dht: &Dht, namespace: &str) -> Result<([(Node, Remote); 2], Duration)> {
    let begin = Instant::now();
    let (one, two) = tokio::try_join!(fresh(dht, &[]), fresh(dht, &[]))?;
    let announce = async |remote: &Remote| {
        remote.discovery().announce(namespace.parse()?).await.map_err(anyhow::Error::from)
    };
    let connected = async {
        while one.1.status().await?.peers == 0 {
            sleep(LOOK).await;
        }
        Ok(begin.elapsed())
    };
    let (_, _, took) = tokio::try_join!(announce(&one.1), announce(&two.1), connected)?;
    Ok(([one, two], took))
}

/// How long a daemon takes to find the addresses of another that it never met.
async fn resolve(dht: &Dht) -> Result<Duration> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let (known, _) = fresh(dht, &["--listen", &address, "--external", &address]).await?;
    let (_seeker, remote) = fresh(dht, &["--no-kad"]).await?;
    while !remote.discovery().status().await?.mainline_up {
        sleep(LOOK).await;
    }
    loop {
        // Until the other has published; only the question that is answered counts.
        let begin = Instant::now();
        if remote.discovery().resolve(known.peer_id().parse()?).await.is_ok() {
            return Ok(begin.elapsed());
        }
    }
}

/// CPU time that a daemon takes with one peer, both DHTs and nothing to do.
async fn idling(pair: &[(Node, Remote); 2], seconds: u64) -> Result<()> {
    let before = cpu(&pair[0].0)?;
    sleep(Duration::from_secs(seconds)).await;
    let used = cpu(&pair[0].0)? - before;
    println!(
        r#"{{"figure":"idle","seconds":{seconds},"cpu_ms":{used},"percent":{:.3}}}"#,
        f64::from(used) / (seconds as f64 * 10.0)
    );
    Ok(())
}

/// CPU time of a daemon so far in ms.
fn cpu(node: &Node) -> Result<u32> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", node.process_id()?))?;
    let (_, fields) = stat.rsplit_once(')').context("a name in brackets")?;
    // User and system time, in ticks of 10 ms.
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|field| Ok(field.parse::<u32>()? * 10)).sum()
}
