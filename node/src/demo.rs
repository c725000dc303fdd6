//! `demo`: three nodes in this process find each other, talk and send a file; two users meet.

use std::{future::Future, time::Duration};

use peerage_api::{
    Node,
    discovery::DiscoveryError,
    exchange::Incoming,
    peers::{Event, Source},
    pubsub,
    types::{MessageType, Multiaddr, Namespace, PeerId, Topic},
};
use serde_json::{Value, json};

use crate::{
    daemon::{self, Running, Settings},
    failed::{Exit, Failed},
    output::{self, Output},
};

mod file;
mod users;

/// Every step takes well under a second.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// A node with the name it has in the story.
struct Actor {
    name: &'static str,
    running: Running,
    id: PeerId,
}

impl Actor {
    async fn start(name: &'static str, bootstrap: Vec<Multiaddr>) -> Result<Self, Failed> {
        let listen = "/ip4/127.0.0.1/tcp/0".parse();
        let settings = Settings {
            listen: vec![listen.map_err(anyhow::Error::from)?],
            bootstrap,
            mdns: false,
            local_only: true,
            ..Settings::default()
        };
        let running = daemon::start(settings).await?;
        let id = running.node.id().await?.peer_id;
        Ok(Self { name, running, id })
    }

    fn node(&self) -> &Node {
        &self.running.node
    }
}

/// Tells each step as it happens.
struct Story {
    out: Output,
    number: u32,
}

impl Story {
    fn tell(&mut self, step: &str, text: &str, details: &Value) -> Result<(), Failed> {
        self.number += 1;
        let line = json!({ "n": self.number, "step": step, "text": text, "details": details });
        self.out.item(&line, |_| format!("{:>2}. {text}", self.number))
    }
}

/// Runs the demo; an error says which step did not happen.
pub(crate) async fn run(out: Output) -> Result<(), Failed> {
    let mut story = Story { out, number: 0 };
    let ada = step("Ada starts", Actor::start("Ada", vec![])).await?;
    let known = ada.running.listen.clone();
    let ben = step("Ben starts", Actor::start("Ben", known.clone())).await?;
    let cleo = step("Cleo starts", Actor::start("Cleo", known)).await?;
    let actors = [ada, ben, cleo];
    for actor in &actors {
        let text = format!("{} runs as {}", actor.name, actor.id);
        story.tell("start", &text, &json!({ "listen": actor.running.listen }))?;
    }
    let [ada, ben, cleo] = &actors;
    step("they meet", meet(&mut story, ada, ben, cleo)).await?;
    step("Cleo finds Ben", find(&mut story, ben, cleo)).await?;
    step("Cleo pings Ben", ping(&mut story, ben, cleo)).await?;
    step("a message is published", publish(&mut story, &actors)).await?;
    step("a message is sent", send(&mut story, ben, cleo)).await?;
    step("a question is answered", ask(&mut story, ben, cleo)).await?;
    step("a file is sent", file::send(&mut story, ben, cleo)).await?;
    step("two users meet", users::meet(&mut story, ben, cleo)).await?;
    for actor in actors {
        let stop = async {
            actor.running.node.stop().await?;
            actor.running.stopped().await;
            Ok(())
        };
        step("the nodes stop", stop).await?;
    }
    story.tell("stop", "All three have stopped; nothing is left on disk", &Value::Null)
}

async fn step<T>(what: &str, work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    match tokio::time::timeout(STEP_TIMEOUT, work).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let problem = format!("{what}: did not happen within {} s", STEP_TIMEOUT.as_secs());
            Err(Failed::new(Exit::TimedOut, "timed_out", problem))
        }
    }
}

fn ended() -> Failed {
    Failed::new(Exit::Failed, "stopped", "a node stopped in the middle of the demo")
}

/// Waits until `node` knows `peer` as a member of its network.
async fn identified(node: &Node, peer: PeerId) -> Result<(), Failed> {
    let mut events = node.peers().events().await?;
    let agent = |peers: &[peerage_api::peers::Peer]| {
        peers.iter().any(|known| known.peer_id == peer && known.agent.is_some())
    };
    while !agent(&node.peers().list().await?) {
        while !matches!(
            events.item().await.ok_or_else(ended)?,
            Event::Identified { peer: who, .. } if who == peer
        ) {}
    }
    Ok(())
}

async fn meet(story: &mut Story, ada: &Actor, ben: &Actor, cleo: &Actor) -> Result<(), Failed> {
    for guest in [ben, cleo] {
        identified(guest.node(), ada.id).await?;
        identified(ada.node(), guest.id).await?;
        let text =
            format!("{} knew Ada's address (--bootstrap) and is connected to her", guest.name);
        story.tell("bootstrap", &text, &json!({ "peer": guest.id }))?;
    }
    Ok(())
}

async fn find(story: &mut Story, ben: &Actor, cleo: &Actor) -> Result<(), Failed> {
    let namespace: Namespace = "chess".parse().map_err(anyhow::Error::from)?;
    let announced = announce(ben.node(), &namespace).await?;
    let text = "Ben announced himself under \"chess\" in the distributed hash table";
    story.tell("announce", text, &json!(announced))?;
    let mut found = cleo.node().discovery().find(namespace).await?;
    let ben_found = loop {
        let found = found.item().await.ok_or_else(|| {
            Failed::new(Exit::Failed, "not_found", "Cleo did not find Ben under \"chess\"")
        })?;
        if found.peer_id == ben.id {
            break found;
        }
    };
    let how = if ben_found.source == Source::Kad { "there" } else { "by another way" };
    story.tell(
        "find",
        &format!("Cleo looked for \"chess\" and found Ben {how}"),
        &json!(ben_found),
    )?;
    let connected = cleo.node().peers().connect_to(ben.id).await?;
    identified(cleo.node(), ben.id).await?;
    identified(ben.node(), cleo.id).await?;
    story.tell("connect", "Cleo connected to Ben directly", &json!(connected))
}

/// The hash table takes an announcement once it knows somebody.
async fn announce(
    node: &Node,
    namespace: &Namespace,
) -> Result<peerage_api::discovery::Announced, Failed> {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    loop {
        every.tick().await;
        match node.discovery().announce(namespace.clone()).await {
            Err(DiscoveryError::NoNetwork) => {}
            outcome => return Ok(outcome?),
        }
    }
}

async fn ping(story: &mut Story, ben: &Actor, cleo: &Actor) -> Result<(), Failed> {
    let pong = cleo.node().peers().ping(ben.id).await?;
    let text = format!("Cleo pinged Ben; the answer took {}", output::micros(pong.rtt_us));
    story.tell("ping", &text, &json!(pong))
}

async fn publish(story: &mut Story, [ada, ben, cleo]: &[Actor; 3]) -> Result<(), Failed> {
    let topic: Topic = "news".parse().map_err(anyhow::Error::from)?;
    let mut joins = cleo.node().pubsub().events().await?;
    let mut inboxes = Vec::new();
    for reader in [ada, ben] {
        inboxes.push((reader, reader.node().pubsub().subscribe(topic.clone()).await?));
    }
    let mut waiting = vec![ada.id, ben.id];
    while !waiting.is_empty() {
        if let pubsub::Event::Joined { peer, topic: joined } =
            joins.item().await.ok_or_else(ended)?
        {
            waiting.retain(|who| *who != peer || joined != topic.as_str());
        }
    }
    story.tell("subscribe", "Ada and Ben subscribed to the topic \"news\"", &Value::Null)?;
    let published = cleo.node().pubsub().publish(topic, &b"the tea is ready"[..]).await?;
    story.tell("publish", "Cleo published \"the tea is ready\"", &json!(published))?;
    for (reader, mut inbox) in inboxes {
        let message = inbox.item().await.ok_or_else(ended)?;
        let text = format!(
            "{} read {:?} on {}",
            reader.name,
            message.data.as_text().unwrap_or(""),
            message.topic
        );
        story.tell("read", &text, &json!(message))?;
    }
    Ok(())
}

async fn send(story: &mut Story, ben: &Actor, cleo: &Actor) -> Result<(), Failed> {
    let kind: MessageType = "greeting".parse().map_err(anyhow::Error::from)?;
    let mut inbox = ben.node().exchange().subscribe([kind.clone()]).await?;
    cleo.node().exchange().send(ben.id, kind, &b"hello Ben"[..], true).await?;
    let message = inbox.item().await.ok_or_else(ended)?;
    let text = "Cleo sent Ben a message of type \"greeting\"; Ben's listener took it";
    story.tell("send", text, &json!(message))
}

async fn ask(story: &mut Story, ben: &Actor, cleo: &Actor) -> Result<(), Failed> {
    let kind: MessageType = "sum".parse().map_err(anyhow::Error::from)?;
    let mut questions = ben.node().exchange().respond(kind.clone()).await?;
    let exchange = ben.node().exchange();
    let responder = async {
        let question = questions.item().await.ok_or_else(ended)?;
        exchange.reply(question.id, sum(&question).to_string().into_bytes()).await?;
        Ok::<_, Failed>(())
    };
    let asking = cleo.node().exchange();
    let request = asking.request(ben.id, kind, &b"19 23"[..], STEP_TIMEOUT);
    let (answered, answer) = tokio::join!(responder, request);
    answered?;
    let answer = answer?;
    let text = answer.data.as_text().unwrap_or("");
    story.tell(
        "request",
        &format!("Cleo asked Ben for 19 + 23; he answered {text}"),
        &json!(answer),
    )
}

fn sum(question: &Incoming) -> i64 {
    let text = question.body.data.as_text().unwrap_or("");
    text.split_whitespace().filter_map(|number| number.parse::<i64>().ok()).sum()
}
