//! A node in a process of its own, so that its memory is nobody else's.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use peerage_api::{
    Link, Node,
    types::{MessageType, Multiaddr, PeerId},
};
use peerage_net::{Running, start};
use peerage_rpc::{Client, Config, SOCKET_FILE, Server};
use peerage_testkit::{loopback, within};
use tempfile::TempDir;

/// The directory of a victim, in its process.
const DIR: &str = "PEERAGE_TESTKIT_VICTIM";

pub(crate) struct Victim {
    pub(crate) node: Node,
    pub(crate) peer_id: PeerId,
    /// TCP on loopback.
    pub(crate) address: Multiaddr,
    /// Its memory before anything happened.
    resident: u64,
    process: Child,
    _dir: TempDir,
}

impl Victim {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "floods::victim::a_node_in_another_process_answers", "--nocapture"])
            .env(DIR, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The test harness leaves standard error alone.
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let client = Client::unix(dir.path().join(SOCKET_FILE)).await.unwrap();
        let node = Node::new(Link::Remote(Arc::new(client)));
        let status = node.status().await.unwrap();
        let tcp = status.listen.into_iter().find(|address| address.to_string().contains("/tcp/"));
        let mut victim = Self {
            node,
            peer_id: status.peer_id,
            address: tcp.unwrap(),
            resident: 0,
            process,
            _dir: dir,
        };
        // What everything needs once is not growth.
        victim.serves_an_honest_peer().await;
        victim.resident = victim.node.status().await.unwrap().rss_bytes;
        victim
    }

    /// An honest node that is connected to it.
    pub(crate) async fn honest_peer(&self) -> Running {
        let honest = start(loopback()).await.unwrap();
        self.connected_by(&honest).await;
        honest
    }

    pub(crate) async fn connected_by(&self, honest: &Running) {
        let peers = honest.node.peers();
        let connected = peers.connect(self.address.clone());
        within("the connection of an honest peer", connected).await.unwrap();
    }

    /// A new peer connects, pings and exchanges a message.
    pub(crate) async fn serves_an_honest_peer(&self) {
        let honest = self.honest_peer().await;
        within("a ping", honest.node.peers().ping(self.peer_id)).await.unwrap();
        let kind = MessageType::new("greeting").unwrap();
        let mut greetings = self.node.exchange().subscribe([kind.clone()]).await.unwrap();
        let exchange = honest.node.exchange();
        within("an exchange", exchange.send(self.peer_id, kind, "hello", true)).await.unwrap();
        let greeting = within("a greeting", greetings.item()).await.unwrap();
        assert_eq!((greeting.peer, greeting.body), (honest.peer_id, "hello".into()));
    }

    /// Answers, serves an honest peer, and has grown by less than `max` bytes since its start.
    pub(crate) async fn has_survived(&self, max: u64) {
        within("its status", self.node.status()).await.unwrap();
        self.serves_an_honest_peer().await;
        let now = within("its status", self.node.status()).await.unwrap().rss_bytes;
        let grown = now.saturating_sub(self.resident);
        println!("grew by {} KiB of at most {} KiB", grown >> 10, max >> 10);
        assert!(grown < max, "grew by {grown} bytes");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process of a victim: ends when the test does, however that happens.
async fn be_the_victim(dir: &Path) {
    let running = start(loopback()).await.unwrap();
    let server = Server::start(running.node.clone(), Config::in_data_dir(dir)).await.unwrap();
    eprintln!("ready");
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let _ = end.await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_in_another_process_answers() {
    if let Some(dir) = env::var_os(DIR) {
        return be_the_victim(Path::new(&dir)).await;
    }
    let victim = Victim::start().await;
    assert_eq!(victim.node.id().await.unwrap().peer_id, victim.peer_id);
}
