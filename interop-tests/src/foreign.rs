//! A peer of another libp2p implementation.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{Process, Transport, require_all, toolchain};

mod kad;

pub use kad::Held;

/// An implementation of libp2p other than ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// js-libp2p on node.
    Js,
    /// py-libp2p on trio.
    Py,
    /// go-libp2p.
    Go,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Js, Self::Py, Self::Go];

    /// The name of its folder and of its `setup` argument.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Js => "js",
            Self::Py => "py",
            Self::Go => "go",
        }
    }

    /// The name of the library.
    #[must_use]
    pub fn library(self) -> &'static str {
        match self {
            Self::Js => "js-libp2p",
            Self::Py => "py-libp2p",
            Self::Go => "go-libp2p",
        }
    }

    /// Whether its toolchain is there, or the test is to be skipped.
    ///
    /// # Errors
    /// When it is absent while all are required, or cannot be set up.
    pub fn is_here(self) -> Result<bool> {
        require_all(toolchain::missing(self)?)
    }

    fn command(self) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.as_str());
        let (program, script) = match self {
            Self::Js => (PathBuf::from("node"), Some("peer.mjs")),
            Self::Py => (folder.join(".venv/bin/python"), Some("peer.py")),
            Self::Go => (folder.join("bin/peer"), None),
        };
        let mut command = Command::new(program);
        command.args(script.map(|script| folder.join(script)));
        command
    }
}

/// What a peer tells of itself in identify.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Program and version.
    pub agent: String,
    /// Protocol ids it answers to.
    pub protocols: Vec<String>,
}

/// A gossip message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The peer that signed it.
    pub from: String,
    /// The payload.
    pub data: String,
}

impl Message {
    /// Reads the fields that the foreign peers and `peerage sub` have in common.
    ///
    /// # Errors
    /// When one of them is not there.
    pub fn parse(line: &Value) -> Result<Self> {
        Ok(Self { from: text(line, "from")?, data: text(line, "data")? })
    }
}

/// A running foreign peer, subscribed to nothing unless told so; killed when this is dropped.
#[derive(Debug)]
pub struct Foreign {
    process: Process,
    peer_id: String,
    listen: Vec<String>,
    transport: Transport,
}

impl Foreign {
    /// Starts a peer that speaks one transport; `flags` are those of the line protocol, such as
    /// `--topic`. `None` means that its toolchain is absent and the test is to be skipped.
    ///
    /// # Errors
    /// When the peer does not come up, or is absent while all are required.
    pub async fn spawn(kind: Kind, transport: Transport, flags: &[&str]) -> Result<Option<Self>> {
        if !kind.is_here()? {
            return Ok(None);
        }
        let mut command = kind.command();
        command.args(transport.flags()).args(flags);
        let mut process = Process::spawn(kind.as_str(), &mut command)?;
        let ready = process.wait_for("ready", |line| line["event"] == "ready").await?;
        let (peer_id, listen) = (text(&ready, "peer_id")?, texts(&ready, "listen")?);
        Ok(Some(Self { process, peer_id, listen, transport }))
    }

    /// Its peer id in base 58.
    #[must_use]
    pub fn peer_id(&self) -> &str {
        &self.peer_id
    }

    /// Where it listens, ending in `/p2p/ID`.
    ///
    /// # Errors
    /// When it does not listen on its transport.
    pub fn address(&self) -> Result<&str> {
        self.transport.pick(&self.listen)
    }

    /// Connects to an address that ends in `/p2p/ID`.
    ///
    /// # Errors
    /// What the peer says, or silence.
    pub async fn dial(&mut self, address: &str) -> Result<()> {
        self.ask(json!({"cmd": "dial", "addr": address}), "dialed").await.map(drop)
    }

    /// Measures a round trip to a connected peer, in milliseconds.
    ///
    /// # Errors
    /// What the peer says, or silence.
    pub async fn ping(&mut self, peer: &str) -> Result<f64> {
        let pong = self.ask(json!({"cmd": "ping", "peer": peer}), "pong").await?;
        pong["rtt_ms"].as_f64().with_context(|| format!("no rtt_ms in {pong}"))
    }

    /// What identify told of a connected peer.
    ///
    /// # Errors
    /// What the peer says, or silence.
    pub async fn identity_of(&mut self, peer: &str) -> Result<Identity> {
        let told = self.ask(json!({"cmd": "protocols", "peer": peer}), "protocols").await?;
        Ok(Identity { agent: text(&told, "agent")?, protocols: texts(&told, "protocols")? })
    }

    /// Publishes on a topic; returns how many peers it was sent to.
    ///
    /// # Errors
    /// What the peer says, or silence.
    pub async fn publish(&mut self, topic: &str, data: &str) -> Result<usize> {
        let command = json!({"cmd": "publish", "topic": topic, "data": data});
        Ok(texts(&self.ask(command, "published").await?, "recipients")?.len())
    }

    /// Publishes on a topic to which it has heard `peer` subscribe. Stacks forget subscribers whose stream
    /// breaks and hear of them anew: then it is published again.
    ///
    /// # Errors
    /// As [`Foreign::publish`], or when it does not hear of the subscription any more.
    pub async fn publish_to(&mut self, peer: &str, topic: &str, data: &str) -> Result<()> {
        while self.publish(topic, data).await? == 0 {
            self.subscribed(peer, topic).await?;
        }
        Ok(())
    }

    /// The connected peers that subscribed to a topic.
    ///
    /// # Errors
    /// What the peer says, or silence.
    pub async fn subscribers(&mut self, topic: &str) -> Result<Vec<String>> {
        let command = json!({"cmd": "subscribers", "topic": topic});
        texts(&self.ask(command, "subscribers").await?, "peers")
    }

    /// Returns once a connection to or from a peer is established.
    ///
    /// # Errors
    /// When it does not come about.
    pub async fn connected(&mut self, peer: &str) -> Result<()> {
        let wanted = |line: &Value| line["event"] == "connected" && line["peer_id"] == peer;
        self.process.wait_for("a connection", wanted).await.map(drop)
    }

    /// Returns once it has heard that a peer subscribed to a topic.
    ///
    /// # Errors
    /// When it does not hear of it.
    pub async fn subscribed(&mut self, peer: &str, topic: &str) -> Result<()> {
        let wanted = |line: &Value| {
            line["event"] == "subscribed" && line["peer_id"] == peer && line["topic"] == topic
        };
        self.process.wait_for("a subscription", wanted).await.map(drop)
    }

    /// Takes the next message that arrived on a topic.
    ///
    /// # Errors
    /// When none does.
    pub async fn message(&mut self, topic: &str) -> Result<Message> {
        let wanted = |line: &Value| line["event"] == "message" && line["topic"] == topic;
        Message::parse(&self.process.wait_for("a message", wanted).await?)
    }

    /// Closes its connections and waits for its end.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub async fn stop(mut self) -> Result<()> {
        self.ask(json!({"cmd": "stop"}), "stopped").await?;
        self.process.end().await
    }

    async fn ask(&mut self, command: Value, answer: &str) -> Result<Value> {
        self.process.send(&command).await?;
        let refused = |line: &Value| line["event"] == "error" && line["cmd"] == command["cmd"];
        let wanted = |line: &Value| line["event"] == answer || refused(line);
        let line = self.process.wait_for(answer, wanted).await?;
        ensure!(!refused(&line), "{command}: {}", line["message"]);
        Ok(line)
    }
}

pub(crate) fn text(line: &Value, field: &str) -> Result<String> {
    let found = line[field].as_str();
    found.map(str::to_owned).with_context(|| format!("no text {field:?} in {line}"))
}

pub(crate) fn texts(line: &Value, field: &str) -> Result<Vec<String>> {
    let found = line[field].as_array();
    let all = found.and_then(|all| all.iter().map(|v| v.as_str().map(str::to_owned)).collect());
    all.with_context(|| format!("no texts {field:?} in {line}"))
}
