//! `up`: a node from its start to its stop.

use std::{path::Path, time::Duration};

use peerage_api::{
    Feeding, Stream,
    node::Event,
    types::{Multiaddr, PeerId},
};
use peerage_rpc::Server;
use serde::Serialize;

use crate::{
    commands::Context,
    config::{Config, keys},
    connect,
    daemon::{self, Running},
    failed::{Exit, Failed},
    http::Http,
    memory,
    output::{Output, Table},
    signals::StopSignals,
};

/// Time for connections to close and the store to be flushed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The ready line of the contract.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    event: &'static str,
    peer_id: PeerId,
    listen: &'a [Multiaddr],
    data: &'a Path,
    rpc: String,
    metrics: Option<String>,
}

/// Runs a node until a signal, `peerage stop` or its own end.
pub(crate) async fn run(context: Context<'_>, config: &Config) -> Result<(), Failed> {
    let mut signals = StopSignals::new()?;
    let data = connect::data_dir(context.global)?;
    let running = daemon::start(daemon::settings(config, &data)?).await?;
    if let Some(aside) = &running.kept_aside {
        tell_damage(context, aside);
    }
    let events = running.node.events().await?;
    let served = serve(context, config, &data, &running).await;
    let (server, outcome) = match served {
        Ok((server, _http)) => (Some(server), wait(&mut signals, events).await),
        Err(failed) => (None, Err(failed)),
    };
    let stopped = stop(&mut signals, running, server).await;
    outcome.and(stopped)
}

/// A damaged store must not pass unnoticed, whatever the level of the logs.
fn tell_damage(context: Context<'_>, aside: &impl std::fmt::Display) {
    tracing::error!("{aside}");
    Output { quiet: false, ..context.out }.note(format_args!("WARNING: {aside}"));
}

/// Waits until there is a reason to stop.
async fn wait(signals: &mut StopSignals, mut events: Stream<Event>) -> Result<(), Failed> {
    loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "stopping");
                return Ok(());
            }
            event = events.next() => match event {
                Some(Feeding::Item(Event::Stopping)) => return Ok(()),
                Some(Feeding::Item(event)) => tracing::info!(?event),
                Some(Feeding::Lagged(_)) => {}
                None => {
                    let message = "the node ended unexpectedly; its logs say why";
                    return Err(Failed::new(Exit::Failed, "ended", message));
                }
            }
        }
    }
}

/// Starts what others ask the node through, and tells that it is ready.
async fn serve(
    context: Context<'_>,
    config: &Config,
    data: &Path,
    running: &Running,
) -> Result<(Server, Option<Http>), Failed> {
    let node = &running.node;
    let server = daemon::serve(node.clone(), config, data).await?;
    let http = match config.optional(&keys::METRICS) {
        Some(listen) => Some(Http::start(node.clone(), listen).await.map_err(|e| {
            let problem = format!(
                "cannot listen on {listen} for metrics ({e}); choose another port with --metrics, \
                 or 0 for any"
            );
            Failed::new(Exit::Failed, "metrics", problem)
        })?),
        None => None,
    };
    tokio::spawn(memory::follow(node.clone()));
    if config.optional(&keys::NETWORK_KEY).is_some() {
        context.out.note("network key in use: TCP only, as QUIC has no place for it");
    }
    let ready = Ready {
        event: "ready",
        peer_id: running.peer_id,
        // Interfaces that came up since are known here and not in `running.listen`.
        listen: &node.status().await?.listen,
        data,
        rpc: server.endpoints().to_string(),
        metrics: http.as_ref().map(|http| format!("http://{}", http.address)),
    };
    match context.out.result(&ready, banner) {
        // Whoever wanted to read it has gone; the node was asked for all the same.
        Err(Failed::BrokenPipe) => {}
        outcome => outcome?,
    }
    Ok((server, http))
}

fn banner(ready: &Ready<'_>) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("peer id", ready.peer_id.to_string());
    let mut name = "listening";
    for address in ready.listen {
        row(name, address.to_string());
        name = "";
    }
    row("data", ready.data.display().to_string());
    row("control", ready.rpc.clone());
    if let Some(metrics) = &ready.metrics {
        row("metrics", format!("{metrics}/metrics"));
    }
    let how = match to_hand_out(ready.listen) {
        Some(address) => format!("Others connect with: peerage connect {address}\n"),
        None => String::new(),
    };
    format!("The node is up.\n\n{table}\n{how}Stop it with ctrl-C or `peerage stop`.")
}

/// The address that most likely works elsewhere.
fn to_hand_out(listen: &[Multiaddr]) -> Option<&Multiaddr> {
    let here_only = ["/ip4/127.", "/ip6/::1/", "/ip6/fe80:"];
    let elsewhere = |address: &&Multiaddr| {
        let text = address.to_string();
        !here_only.iter().any(|prefix| text.starts_with(prefix))
    };
    listen.iter().find(elsewhere).or(listen.first())
}

/// Stops everything within a bounded time; a second signal ends the process at once.
async fn stop(
    signals: &mut StopSignals,
    running: Running,
    server: Option<Server>,
) -> Result<(), Failed> {
    // It may have begun to stop by itself.
    let _ = running.node.stop().await;
    let stopped = async {
        let server = async {
            if let Some(server) = server {
                server.stop().await;
            }
        };
        tokio::join!(running.stopped(), server);
    };
    tokio::select! {
        signal = signals.next() => {
            tracing::warn!(signal, "ended before it had stopped");
            Err(Failed::Reported(Exit::Interrupted))
        }
        outcome = tokio::time::timeout(STOP_TIMEOUT, stopped) => outcome.map_err(|_| {
            let problem = format!("the node did not stop within {} s", STOP_TIMEOUT.as_secs());
            Failed::new(Exit::Failed, "stop", problem)
        }),
    }
}
