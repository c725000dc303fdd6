//! `interop`: this node as a participant of libp2p's test harness, transport tests.
//!
//! The harness starts two containers, tells each by environment variables what to be, and lets them
//! meet through Redis: the listener posts its address there, the dialler connects to it, pings it and
//! prints how long that took. Follows `docs/write-a-transport-test-app.md` of
//! <https://github.com/libp2p/unified-testing>, and for the older variables
//! `transport-interop/README.md` of <https://github.com/libp2p/test-plans>. Invariant: stdout has the
//! result and nothing else.

use std::time::{Duration, Instant};

use peerage_api::{
    Stream,
    peers::Event,
    types::{Multiaddr, PeerId},
};

use crate::{
    commands::Context,
    daemon::{self, Running, Settings},
    failed::{Exit, Failed},
    logs,
};

mod board;
mod task;

use self::{
    board::Board,
    task::{Dialect, Role, Task},
};

/// What a dialler finds out.
#[derive(Debug, Clone, Copy)]
struct Latency {
    /// From the beginning of the dial to the first pong.
    handshake_plus_ping: Duration,
    /// One more round trip, by itself.
    ping: Duration,
}

/// Does what the environment says.
pub(crate) async fn run(context: Context<'_>) -> Result<(), Failed> {
    let task = Task::read(|name| std::env::var(name).ok()).map_err(unfit)?;
    if task.debug && context.global.verbose == 0 {
        logs::client(1);
    }
    let work = async {
        match task.role {
            Role::Listener => listen(context, &task).await,
            Role::Dialler => dial(context, &task).await,
        }
    };
    match tokio::time::timeout(task.timeout, work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let problem = format!("the test was not over within {} s", task.timeout.as_secs());
            Err(Failed::new(Exit::TimedOut, "timed_out", problem))
        }
    }
}

fn unfit(problem: String) -> Failed {
    Failed::new(Exit::Usage, "bad_environment", problem)
}

/// Posts the address and answers until the harness ends it.
async fn listen(context: Context<'_>, task: &Task) -> Result<(), Failed> {
    let running = start(task).await?;
    let address = reachable(&running.listen).cloned().ok_or_else(|| {
        Failed::new(Exit::Failed, "no_address", format!("nothing listens on {}", task.listen))
    })?;
    Board::new(task)?.post(&address).await?;
    context.out.note(format_args!("listening on {address}"));
    // The node runs for as long as somebody holds a handle.
    let _node = running.node.clone();
    running.stopped().await;
    Err(stopped())
}

/// Connects to the posted address and prints how long it took.
async fn dial(context: Context<'_>, task: &Task) -> Result<(), Failed> {
    let running = start(task).await?;
    let address = Board::new(task)?.read().await?;
    context.out.note(format_args!("dialling {address}"));
    let latency = measure(&running, address).await?;
    running.stop().await;
    context.out.text(&task.dialect.report(latency))
}

async fn measure(running: &Running, address: Multiaddr) -> Result<Latency, Failed> {
    let peers = running.node.peers();
    let mut events = peers.events().await?;
    let start = Instant::now();
    // `connect` answers when the peer has also said who it is, for which some take a second.
    let peer = tokio::select! {
        connected = connected(&mut events) => connected?,
        answered = peers.connect(address) => answered?.peer_id,
    };
    peers.ping(peer).await?;
    let handshake_plus_ping = start.elapsed();
    let ping = peers.ping(peer).await?.rtt();
    Ok(Latency { handshake_plus_ping, ping })
}

/// The peer of the first connection.
async fn connected(events: &mut Stream<Event>) -> Result<PeerId, Failed> {
    loop {
        match events.item().await {
            Some(Event::Connected { peer, .. }) => return Ok(peer),
            Some(_) => {}
            None => return Err(stopped()),
        }
    }
}

fn stopped() -> Failed {
    Failed::new(Exit::Failed, "stopped", "the node stopped in the middle of the test")
}

/// The node as it is, without whatever would look for others. A dialler listens, too: it may then
/// dial from the port that it listens on, as nodes do.
async fn start(task: &Task) -> Result<Running, Failed> {
    let settings = Settings {
        listen: vec![task.listen.clone()],
        security: task.security,
        local_only: true,
        mdns: false,
        kad: false,
        ..Settings::default()
    };
    daemon::start(settings).await
}

/// The address to post: one that another container can reach, if there is any.
fn reachable(listen: &[Multiaddr]) -> Option<&Multiaddr> {
    let rank = |address: &&Multiaddr| {
        let text = address.to_string();
        let local = ["/ip4/127.", "/ip6/::1/"].iter().any(|loopback| text.starts_with(loopback));
        // Link-local addresses need a zone, which multiaddresses here do not carry.
        (local, text.starts_with("/ip6/fe80"), text.starts_with("/ip6/"))
    };
    listen.iter().min_by_key(rank)
}

impl Dialect {
    /// The result as the harness reads it, times in milliseconds.
    fn report(self, latency: Latency) -> String {
        let ms = |time: Duration| time.as_micros() as f64 / 1000.0;
        let (handshake, ping) = (ms(latency.handshake_plus_ping), ms(latency.ping));
        match self {
            // Three l, as everybody has it.
            Self::Older => serde_json::json!({
                "handshakePlusOneRTTMillis": handshake,
                "pingRTTMilllis": ping,
            })
            .to_string(),
            Self::Newer => format!(
                "latency:\n  handshake_plus_one_rtt: {handshake}\n  ping_rtt: {ping}\n  unit: ms\n"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_what_each_harness_reads() {
        let latency = Latency {
            handshake_plus_ping: Duration::from_micros(5011),
            ping: Duration::from_micros(599),
        };
        assert_eq!(
            Dialect::Older.report(latency),
            r#"{"handshakePlusOneRTTMillis":5.011,"pingRTTMilllis":0.599}"#
        );
        assert_eq!(
            Dialect::Newer.report(latency),
            "latency:\n  handshake_plus_one_rtt: 5.011\n  ping_rtt: 0.599\n  unit: ms\n"
        );
    }

    #[test]
    fn an_address_that_others_can_reach_is_posted_if_there_is_one() {
        let addresses = |texts: &[&str]| -> Vec<Multiaddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let all = addresses(&[
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip4/172.18.0.3/tcp/1",
        ]);
        assert_eq!(reachable(&all), Some(&all[4]));
        assert_eq!(reachable(&all[..4]), Some(&all[3]));
        assert_eq!(reachable(&all[..1]), Some(&all[0]));
        assert_eq!(reachable(&[]), None);
    }
}
