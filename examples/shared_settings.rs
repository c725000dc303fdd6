//! Settings that three services share, each with a node of its own in this process.
//!
//! ```text
//! cargo run -p peerage-examples --example shared_settings
//! ```
//!
//! Each service creates its defaults unless somebody has set them already, follows its part of the
//! default space from the beginning, and reacts when a setting changes, on whichever node that
//! happened. Then an operator, on the node of the backup, changes settings of the others: from the
//! revision it has read, so that it never overwrites what it has not seen. The program prints what
//! happens and ends.

use anyhow::{Context as _, bail};
use peerage::{
    Feeding, Node, Running, Settings,
    types::{KvKey, Network, Space},
};
use peerage_api::kv::{Event, Kv, KvError, Op, Value};
use tokio::{sync::mpsc, task::JoinSet};

/// A service with the setting it cannot do without.
const SERVICES: [(&str, &str, i64); 3] =
    [("mail", "port", 25), ("web", "workers", 2), ("backup", "hour", 3)];

/// A setting that a service has taken over.
#[derive(Debug, PartialEq)]
struct Taken {
    service: &'static str,
    name: String,
    value: Value,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let nodes = [start().await?, start().await?, start().await?];
    let (tell, mut taken) = mpsc::channel(16);
    let mut services = JoinSet::new();
    for (running, (service, name, default)) in nodes.iter().zip(SERVICES) {
        let kv = running.node.kv(Space::Default);
        create(&kv, service, name, default).await?;
        services.spawn(serve(kv, service, tell.clone()));
    }
    meet(&nodes).await?;
    let outcome = tokio::select! {
        operated = operate(nodes[2].node.kv(Space::Default), &mut taken) => operated,
        Some(ended) = services.join_next() => ended?,
    };
    services.shutdown().await;
    for running in nodes {
        running.stop().await;
    }
    outcome
}

/// A node on loopback that keeps nothing; with a data directory its replica outlives a restart.
async fn start() -> anyhow::Result<Running> {
    let network = Network::new("shared-settings")?;
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    Ok(peerage::start(Settings {
        network,
        listen,
        mdns: false,
        mainline: false,
        ..Settings::default()
    })
    .await?)
}

/// Everybody meets the first; what one writes reaches the others whether or not they are connected.
async fn meet([first, others @ ..]: &[Running; 3]) -> anyhow::Result<()> {
    for other in others {
        connect(&other.node, first).await?;
    }
    Ok(())
}

async fn connect(node: &Node, to: &Running) -> anyhow::Result<()> {
    let address = to.listen.first().context("the node listens nowhere")?;
    node.peers().connect(address.clone()).await?;
    Ok(())
}

fn key(service: &str, name: &str) -> anyhow::Result<KvKey> {
    Ok(KvKey::new(&format!("settings/{service}/{name}"))?)
}

/// Sets a default unless there is a value.
async fn create(kv: &Kv, service: &str, name: &str, default: i64) -> anyhow::Result<()> {
    match kv.create(key(service, name)?, default).await {
        Ok(_) => println!("{service}: created {name} = {default}"),
        Err(KvError::Conflict { .. }) => println!("{service}: {name} is set already"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A service: what there is and what changes come by one feed, so that nothing falls in between.
async fn serve(kv: Kv, service: &'static str, tell: mpsc::Sender<Taken>) -> anyhow::Result<()> {
    let prefix = format!("settings/{service}/");
    let mut changes = kv.watch(prefix.as_str(), Some(0)).await?;
    while let Some(change) = changes.next().await {
        match change {
            Feeding::Item(event) => take(service, &prefix, event, &tell).await?,
            // A service that may not miss anything watches again, from the last number it has seen.
            Feeding::Lagged(missed) => bail!("{service}: {missed} changes were missed"),
        }
    }
    bail!("{service}: the node has stopped")
}

async fn take(
    service: &'static str,
    prefix: &str,
    event: Event,
    tell: &mpsc::Sender<Taken>,
) -> anyhow::Result<()> {
    let name = event.key.as_str().strip_prefix(prefix).unwrap_or_default().to_owned();
    let from = if event.remote { "another node" } else { "this node" };
    match (event.op, event.value) {
        (Op::Put, Some(value)) => {
            let old = event.old.map(|old| format!(", was {}", shown(&old))).unwrap_or_default();
            println!("{service}: {name} is {} by {from}{old}", shown(&value));
            // Here a real service would listen on the new port, or start more workers.
            tell.send(Taken { service, name, value }).await?;
        }
        // A version that was overwritten before anybody looked.
        (Op::Put, None) => {}
        (Op::Delete, _) => println!("{service}: {name} is gone by {from}; back to the default"),
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::String(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// Changes settings of the other services, on a node that runs neither.
async fn operate(kv: Kv, taken: &mut mpsc::Receiver<Taken>) -> anyhow::Result<()> {
    let port = key("mail", "port")?;
    arrived(&kv, &port).await?;
    change(&kv, &port, |_| 587).await?;
    until(taken, "mail", "port", 587).await?;

    let workers = key("web", "workers")?;
    arrived(&kv, &workers).await?;
    let seen = kv.get(workers.clone()).await?;
    change(&kv, &workers, |count| count * 2).await?;
    // Somebody who still has the first revision in front of them.
    match kv.update(workers.clone(), 1_i64, seen.revision).await {
        Err(KvError::Conflict { .. }) => println!("operator: {workers} has changed since; again"),
        other => bail!("an old revision was taken: {other:?}"),
    }
    change(&kv, &workers, |count| count + 1).await?;
    until(taken, "web", "workers", 5).await?;

    // Several at once, all or none on this node.
    let backup = [("hour", 4), ("keep", 7)];
    let writes = backup.map(|(name, value)| {
        Ok::<_, anyhow::Error>(peerage_api::kv::Write::put(key("backup", name)?, i64::from(value)))
    });
    kv.batch(writes.into_iter().collect::<Result<_, _>>()?).await?;
    until(taken, "backup", "keep", 7).await?;
    println!("operator: everything has arrived");
    Ok(())
}

/// Waits until this node has the entry.
async fn arrived(kv: &Kv, key: &KvKey) -> anyhow::Result<()> {
    let mut changes = kv.watch(key.as_str(), Some(0)).await?;
    while let Some(event) = changes.item().await {
        if event.key == *key && event.op == Op::Put {
            return Ok(());
        }
    }
    bail!("the node has stopped")
}

/// Makes a new number of the one that is there, whoever else changes it on this node meanwhile.
async fn change(kv: &Kv, key: &KvKey, new: impl Fn(i64) -> i64) -> anyhow::Result<()> {
    loop {
        let entry = kv.get(key.clone()).await?;
        let Value::Int(old) = entry.value else { bail!("{key} is no number") };
        match kv.update(key.clone(), new(old), entry.revision).await {
            Ok(_) => {
                println!("operator: {key} {old} -> {}", new(old));
                return Ok(());
            }
            Err(KvError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until a service has taken over a setting.
async fn until(
    taken: &mut mpsc::Receiver<Taken>,
    service: &'static str,
    name: &str,
    value: i64,
) -> anyhow::Result<()> {
    let wanted = Taken { service, name: name.to_owned(), value: Value::Int(value) };
    while taken.recv().await.context("no service is left")? != wanted {}
    Ok(())
}
