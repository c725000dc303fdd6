//! A service with a node inside: an inventory that others ask over the network.
//!
//! Shows how to start a node in your own process, answer typed requests, follow who comes and
//! goes, publish a status, tell errors apart by what to do about them, and stop in order.
//!
//! Start the service; it prints the addresses it listens on. Ctrl-C stops it.
//!
//! ```text
//! cargo run -p peerage-examples --example embed_service
//! ```
//!
//! Ask it from another terminal or machine, with one of these addresses. Of `apples` it has some,
//! of `unicorns` it has none and says so.
//!
//! ```text
//! cargo run -p peerage-examples --example embed_service -- --ask ADDRESS apples
//! cargo run -p peerage-examples --example embed_service -- --ask ADDRESS unicorns
//! ```
//!
//! `--listen ADDRESS` in place of `--ask` chooses where it listens, such as `/ip4/127.0.0.1/tcp/4001`.

use std::{collections::HashMap, env, time::Duration};

use anyhow::{Context as _, bail};
use peerage::{
    Failure as _, Feeding, Node, Running, Settings,
    exchange::{Body, Exchange, ExchangeError, Incoming},
    peers::Event,
    pubsub::PubsubError,
    types::{MessageType, Multiaddr, Network, PeerId, Topic},
};
use serde::{Deserialize, Serialize};
use tokio::{
    signal,
    time::{self, MissedTickBehavior},
};

const STATUS_INTERVAL: Duration = Duration::from_secs(2);
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
const RETRY_DELAY: Duration = Duration::from_millis(500);
const MAX_ATTEMPTS: u32 = 3;

/// What is asked; travels as JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    item: String,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
struct Stock {
    item: String,
    count: u32,
}

/// What is published: a few numbers, however large the inventory is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Status {
    items: usize,
    answered: u64,
    refused: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve(vec![]).await,
        ["--listen", address] => serve(vec![address.parse()?]).await,
        ["--ask", address, item] => ask(address.parse()?, item).await,
        _ => bail!("usage: embed_service [--listen ADDRESS | --ask ADDRESS ITEM]"),
    }
}

/// Only nodes with the same network name understand each other.
fn settings(listen: Vec<Multiaddr>) -> anyhow::Result<Settings> {
    let network = Network::new("inventory")?;
    Ok(Settings {
        network,
        listen,
        mdns: false,
        kad: false,
        mainline: false,
        ..Settings::default()
    })
}

fn question_kind() -> anyhow::Result<MessageType> {
    Ok(MessageType::new("inventory.stock")?)
}

async fn serve(listen: Vec<Multiaddr>) -> anyhow::Result<()> {
    let running = peerage::start(settings(listen)?).await?;
    let service = Service {
        node: running.node.clone(),
        stock: HashMap::from([("apples".to_owned(), 12), ("pears".to_owned(), 3)]),
        status: Status::default(),
    };
    for address in &running.listen {
        println!("listening on {address}");
    }
    let outcome = service.run().await;
    stop(running).await;
    println!("stopped");
    outcome
}

/// Lets the node finish its dialogs and close its connections.
async fn stop(running: Running) {
    // An error says that it has stopped already.
    running.node.stop().await.ok();
    running.stopped().await;
}

/// The service: one task owns the inventory, so it needs no lock.
struct Service {
    node: Node,
    stock: HashMap<String, u32>,
    status: Status,
}

impl Service {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut questions = self.node.exchange().respond(question_kind()?).await?;
        let mut comings = self.node.peers().events().await?;
        let mut ticks = time::interval(STATUS_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let interrupt = signal::ctrl_c();
        tokio::pin!(interrupt);
        loop {
            tokio::select! {
                stop = &mut interrupt => return Ok(stop?),
                question = questions.item() => {
                    self.answer(question.context("the node has stopped")?).await?;
                }
                Some(change) = comings.next() => show(change),
                _ = ticks.tick() => self.publish_status().await?,
            }
        }
    }

    async fn answer(&mut self, question: Incoming) -> anyhow::Result<()> {
        let exchange = self.node.exchange();
        let outcome = match question.body.read::<Question>() {
            Ok(Question { item }) => match self.stock.get(&item) {
                Some(&count) => {
                    self.status.answered += 1;
                    exchange.reply(question.id, Body::json(&Stock { item, count })?).await
                }
                None => {
                    self.status.refused += 1;
                    exchange.refuse(question.id, "there is no such item here").await
                }
            },
            Err(_) => exchange.refuse(question.id, "ask with {\"item\": …}").await,
        };
        match outcome {
            // The one who asked went away or waits no longer: their loss, not ours.
            Err(ExchangeError::TooLate { .. }) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    async fn publish_status(&mut self) -> anyhow::Result<()> {
        self.status.items = self.stock.len();
        let topic = Topic::new("inventory/status")?;
        match self.node.pubsub().publish_json(topic, &self.status).await {
            Ok(_) | Err(PubsubError::NoPeers { .. }) => Ok(()),
            Err(error) if error.is_retryable() => {
                eprintln!("the status waits for its next turn: {error}");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn show(change: Feeding<Event>) {
    match change {
        Feeding::Item(Event::Identified { peer, agent, .. }) => println!("+ {peer} ({agent})"),
        Feeding::Item(Event::Disconnected { peer, reason }) => println!("- {peer} ({reason})"),
        Feeding::Item(_) => {}
        Feeding::Lagged(missed) => println!("… {missed} more came or went"),
    }
}

/// The other side: asks one question and leaves.
async fn ask(address: Multiaddr, item: &str) -> anyhow::Result<()> {
    // Nobody calls a client. Without any address it would listen on all interfaces.
    let running = peerage::start(settings(vec!["/ip4/127.0.0.1/tcp/0".parse()?])?).await?;
    let service = running.node.peers().connect(address).await?.peer_id;
    let answer = request(&running.node.exchange(), service, question_kind()?, item).await;
    stop(running).await;
    match answer {
        Ok(Stock { item, count }) => println!("{item}: {count}"),
        Err(ExchangeError::Refused { reason, .. }) => bail!("refused: {reason}"),
        Err(error) if error.is_refusal() => bail!("no inventory there: {error}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Asks, and asks again where the error says that it may help.
async fn request(
    exchange: &Exchange,
    service: PeerId,
    kind: MessageType,
    item: &str,
) -> Result<Stock, ExchangeError> {
    let question = Body::json(&Question { item: item.to_owned() })?;
    let mut attempt = 1;
    loop {
        match exchange.request(service, kind.clone(), question.clone(), ANSWER_DEADLINE).await {
            Ok(body) => return body.read(),
            Err(error) if error.is_retryable() && attempt < MAX_ATTEMPTS => {
                eprintln!("attempt {attempt}: {error}");
                time::sleep(RETRY_DELAY).await;
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}
