//! A foreign peer and our node, connected, and what they must be able to do with each other.

mod kad;

use anyhow::{Result, ensure};
use peerage_interop_tests::{Foreign, Kind, Message, Node, Transport};
use serde_json::Value;

use crate::people::Person;

const TOPIC: &str = "interop";
const NETWORK: &str = "interop";
/// The handle of the user of our node.
const HANDLE: &str = "ada";

/// Who opens the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dialler {
    We,
    It,
}

impl Dialler {
    pub(crate) fn direction(self) -> &'static str {
        match self {
            Self::We => "out",
            Self::It => "in",
        }
    }
}

/// What is tried. `Out`: our node begins, `In`: the foreign peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Identify,
    Ping,
    GossipOut,
    GossipIn,
    PutOut,
    PutIn,
    GetOut,
    GetIn,
    ProvideOut,
    ProvideIn,
    FindOut,
    FindIn,
}

impl Protocol {
    /// Every one, in the order in which they are tried.
    pub(crate) const ALL: [Self; 12] = [
        Self::Identify,
        Self::Ping,
        Self::GossipOut,
        Self::GossipIn,
        Self::GetIn,
        Self::GetOut,
        Self::PutIn,
        Self::PutOut,
        Self::FindIn,
        Self::FindOut,
        Self::ProvideIn,
        Self::ProvideOut,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Ping => "ping",
            Self::GossipOut => "gossip out",
            Self::GossipIn => "gossip in",
            Self::PutOut => "put out",
            Self::PutIn => "put in",
            Self::GetOut => "get out",
            Self::GetIn => "get in",
            Self::ProvideOut => "provide out",
            Self::ProvideIn => "provide in",
            Self::FindOut => "find out",
            Self::FindIn => "find in",
        }
    }
}

/// Both running and connected.
pub(crate) struct Meeting {
    node: Node,
    it: Foreign,
    kind: Kind,
    transport: Transport,
    dialler: Dialler,
    /// The id of the user of our node.
    user: String,
    /// Whose record the foreign peer had before they met.
    stranger: Person,
}

impl Meeting {
    /// Starts both, gives them what the other is to find, and connects them.
    pub(crate) async fn begin(kind: Kind, transport: Transport, dialler: Dialler) -> Result<Self> {
        let protocol = format!("/peerage/{NETWORK}/kad/1");
        let flags = ["--topic", TOPIC, "--kad", &protocol];
        let it = Foreign::spawn(kind, transport, &flags).await?;
        let mut it = it.ok_or_else(|| anyhow::anyhow!("the toolchain has gone"))?;
        let stranger = kad::prepare(&mut it).await?;
        let node = Node::up_reachable(&["--network", NETWORK]).await?;
        let user = node.create_user(HANDLE).await?;
        match dialler {
            Dialler::We => drop(node.run(&["connect", it.address()?]).await?),
            Dialler::It => it.dial(node.address(transport)?).await?,
        }
        it.connected(node.peer_id()).await?;
        Ok(Self { node, it, kind, transport, dialler, user, stranger })
    }

    /// Tries one protocol.
    pub(crate) async fn speak(&mut self, protocol: Protocol) -> Result<()> {
        match protocol {
            Protocol::Identify => self.identify().await,
            Protocol::Ping => self.ping().await,
            Protocol::GossipOut => self.gossip_out().await,
            Protocol::GossipIn => self.gossip_in().await,
            Protocol::PutOut => self.put_out().await,
            Protocol::PutIn => self.put_in().await,
            Protocol::GetOut => self.get_out().await,
            Protocol::GetIn => self.get_in().await,
            Protocol::ProvideOut => self.provide_out().await,
            Protocol::ProvideIn => self.provide_in().await,
            Protocol::FindOut => self.find_out().await,
            Protocol::FindIn => self.find_in().await,
        }
    }

    async fn identify(&mut self) -> Result<()> {
        let we = self.it.identity_of(self.node.peer_id()).await?;
        ensure!(we.agent.starts_with("peerage"), "our agent is {:?}", we.agent);
        for protocol in ["/ipfs/id/1.0.0", "/ipfs/ping/1.0.0", "/meshsub/1.1.0"] {
            ensure!(we.protocols.iter().any(|p| p == protocol), "{protocol} not in {we:?}");
        }

        let agent_known = |peer: &Value| peer["agent"].is_string();
        let peer = self.node.until_peer(self.it.peer_id(), agent_known).await?;
        let library = format!("{}/", self.kind.library());
        ensure!(peer["agent"].as_str().is_some_and(|a| a.starts_with(&library)), "{peer}");
        let connection = &peer["connections"][0];
        ensure!(connection["transport"] == self.transport.carrier(), "{peer}");
        ensure!(connection["direction"] == self.dialler.direction(), "{peer}");
        ensure!(connection["relayed"] == false, "{peer}");
        Ok(())
    }

    async fn ping(&mut self) -> Result<()> {
        let rtt_ms = self.it.ping(self.node.peer_id()).await?;
        ensure!((0.0..10_000.0).contains(&rtt_ms), "its ping took {rtt_ms} ms");
        let count = ["ping", self.it.peer_id(), "-c", "2", "--interval", "0.05"];
        let pongs = self.node.run_lines(&count).await?;
        let received = |line: &Value| line["event"] == "summary" && line["received"] == 2;
        ensure!(pongs.last().is_some_and(received), "not every ping was answered: {pongs:?}");
        // Once more, after both have had a stream open: neither may have spoilt it for the other.
        self.it.ping(self.node.peer_id()).await?;
        Ok(())
    }

    async fn gossip_out(&mut self) -> Result<()> {
        self.node.insist(&["pub", TOPIC, "from home"], "no_peers").await?;
        let arrived = self.it.message(TOPIC).await?;
        let expected = Message { from: self.node.peer_id().to_owned(), data: "from home".into() };
        ensure!(arrived == expected, "{arrived:?} instead of {expected:?}");
        Ok(())
    }

    async fn gossip_in(&mut self) -> Result<()> {
        let mut ours = self.node.stream(&["sub", TOPIC])?;
        self.it.subscribed(self.node.peer_id(), TOPIC).await?;
        self.it.publish_to(self.node.peer_id(), TOPIC, "from afar").await?;
        let arrived = ours.wait_for("its message", |line| line["topic"] == TOPIC).await?;
        let expected = Message { from: self.it.peer_id().to_owned(), data: "from afar".into() };
        ensure!(Message::parse(&arrived)? == expected, "{arrived} instead of {expected:?}");
        Ok(())
    }
}
