//! Nodes on loopback.

use std::{future::Future, time::Duration};

use peerage_api::{Node, peers, types::Multiaddr};
use peerage_net::{Running, Settings};

/// Longest wait for anything that should happen; reached only when it does not, however busy the
/// machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for `what`, for at most two minutes.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// Settings of a node that keeps nothing and stays on loopback, over TCP and QUIC.
#[must_use]
pub fn loopback() -> Settings {
    let address = |text: &str| text.parse::<Multiaddr>().expect("a literal address");
    Settings {
        listen: vec![address("/ip4/127.0.0.1/tcp/0"), address("/ip4/127.0.0.1/udp/0/quic-v1")],
        mdns: false,
        local_only: true,
        ..Settings::default()
    }
}

/// Some nodes that know nothing of each other yet.
#[derive(Debug)]
pub struct Net {
    /// The nodes, in the order of their start.
    pub nodes: Vec<Running>,
}

impl Net {
    /// Starts `count` nodes on loopback.
    pub async fn start(count: usize) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(peerage_net::start(loopback()).await.expect("a node on loopback starts"));
        }
        Self { nodes }
    }

    /// The handle of node `index`.
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index].node
    }

    /// Connects `from` to `to` and waits until both know each other as members.
    pub async fn connect(&self, from: usize, to: usize) {
        let mut events = self.node(to).peers().events().await.expect("a feed of events");
        let mut own = self.node(from).peers().events().await.expect("a feed of events");
        let address = self.nodes[to].listen[0].clone();
        self.node(from).peers().connect(address).await.expect("a node on loopback answers");
        let (a, b) = (self.nodes[from].peer_id, self.nodes[to].peer_id);
        let known = |event: &peers::Event, peer| matches!(event, peers::Event::Identified { peer: p, member: true, .. } if *p == peer);
        within("identify on the dialled side", async {
            while !known(&events.item().await.expect("events go on"), a) {}
        })
        .await;
        within("identify on the dialling side", async {
            while !known(&own.item().await.expect("events go on"), b) {}
        })
        .await;
    }

    /// Stops every node and waits until they are gone.
    pub async fn stop(self) {
        for running in self.nodes {
            within("the stop of a node", running.stop()).await;
        }
    }
}
