//! Commands go to the one who answers them; one line each, and none waits.

use std::time::Instant;

use peerage_api::{
    Command, Open,
    node::{self, Events, Identity, NodeError, Reachability, Status},
};

use crate::{
    doctor,
    driver::Driver,
    metrics::{Figures, resident_bytes},
    stack::Stack,
};

/// Readers of the node's own events.
const MAX_READERS: usize = 256;

impl Driver {
    /// Takes a command; `None` when the last handle has gone.
    pub(crate) fn on_command(&mut self, command: Option<Command>) {
        let now = Instant::now();
        let stack: &mut Stack = self.swarm.behaviour_mut();
        match command {
            None => self.stopping = true,
            Some(Command::Node(command)) => self.on_node_command(command),
            Some(Command::Peers(command)) => {
                if let Some(measure) = stack.peers.on_command(command, now) {
                    stack.link.on_command(measure);
                }
            }
            Some(Command::Pubsub(command)) => self.topics.on_command(&mut stack.gossip, command),
            Some(Command::Discovery(command)) => {
                let (discovery, around) = self.facet();
                discovery.on_command(around, command, now);
            }
            Some(Command::Exchange(command)) => stack.exchange.on_command(command, now),
            Some(Command::Files(command)) => stack.files.on_command(command, now),
            // The desk has them; what comes here all the same is answered with `Stopped`.
            Some(
                Command::Users(_)
                | Command::Contacts(_)
                | Command::Services(_)
                | Command::Storage(_)
                | Command::Kv(_),
            ) => {}
        }
    }

    fn on_node_command(&mut self, command: node::Command) {
        match command {
            node::Command::Id(ask) => ask.reply(Ok(self.identity())),
            node::Command::GetStatus(ask) => ask.reply(Ok(self.status())),
            node::Command::Doctor(ask) => ask.reply(Ok(doctor::examine(self))),
            node::Command::Metrics(ask) => ask.reply(Ok(self.metrics.text(&self.figures()))),
            node::Command::Stop(ask) => {
                self.stopping = true;
                ask.reply(Ok(()));
            }
            node::Command::Events(open) => self.open_events(open),
        }
    }

    fn open_events(&mut self, open: Open<Events>) {
        self.events.retain(|sink| !sink.is_closed());
        if self.events.len() >= MAX_READERS {
            return open.refuse(NodeError::Link(peerage_api::LinkError::Overloaded));
        }
        self.events.push(open.accept().1);
    }

    fn identity(&self) -> Identity {
        let key = self.public_key.encode_protobuf();
        Identity { peer_id: self.local(), public_key: data_encoding::BASE64.encode(&key) }
    }

    pub(crate) fn status(&self) -> Status {
        let peers = &self.swarm.behaviour().peers;
        let external: Vec<_> = self.swarm.external_addresses().cloned().collect();
        Status {
            peer_id: self.local(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.started.elapsed().as_secs(),
            peers: peers.connected_len(),
            connections: peers.connections_len(),
            listen: self.listen_addresses(),
            reachability: match external.is_empty() {
                true => Reachability::Unknown,
                false => Reachability::Public,
            },
            external,
            rss_bytes: resident_bytes(),
            transfers_active: self.swarm.behaviour().files.active(),
            network: self.settings.network.clone(),
            network_key: self.network_key,
            data: self.settings.data.clone().unwrap_or_default(),
            kept_aside: self.settings.data.as_deref().and_then(peerage_store::kept_aside),
        }
    }

    fn figures(&self) -> Figures {
        let stack = self.swarm.behaviour();
        let (exchange, pubsub, store) =
            (stack.exchange.stats(), self.topics.stats(), self.store.stats());
        let files = stack.files.stats();
        let users = stack.identity.stats();
        let kv = stack.kv.stats();
        let bridge = stack.mainline.as_ref().map(|bridge| bridge.health()).unwrap_or_default();
        Figures {
            peers: stack.peers.connected_len() as u64,
            book_unsaved: u64::from(stack.peers.has_unsaved()),
            connections: stack.peers.connections_len() as u64,
            uptime_seconds: self.started.elapsed().as_secs(),
            resident_bytes: resident_bytes(),
            mainline_nodes: bridge.nodes as u64,
            mainline_restarts: u64::from(bridge.restarts),
            pex_peers: stack.introductions.peers() as u64,
            exchange_sent: exchange.sent,
            exchange_received: exchange.received,
            exchange_sent_bytes: exchange.sent_bytes,
            exchange_received_bytes: exchange.received_bytes,
            exchange_unheard: exchange.unheard,
            pubsub_published: pubsub.published,
            pubsub_accepted: pubsub.accepted,
            pubsub_rejected: pubsub.rejected,
            pubsub_ignored: pubsub.ignored,
            pubsub_missed: pubsub.missed,
            files_active: files.active,
            files_serving: files.serving,
            files_shares: files.shares,
            files_done: files.done,
            files_failed: files.failed,
            files_sent_bytes: files.sent_bytes,
            files_received_bytes: files.received_bytes,
            files_corrupt_bytes: files.corrupt_bytes,
            users_known: users.known,
            users_known_bytes: users.known_bytes,
            users_local: users.local,
            users_accepted: users.accepted,
            users_rejected: users.rejected,
            kv_sessions: kv.sessions,
            kv_completed: kv.completed,
            kv_failed: kv.failed,
            kv_entries_in: kv.entries_in,
            kv_entries_out: kv.entries_out,
            kv_sent_bytes: kv.sent_bytes,
            kv_received_bytes: kv.received_bytes,
            store_commits: store.commits,
            store_operations: store.operations,
            store_failures: store.failures,
            store_bytes: store.file_bytes,
            store_queue: store.queued as u64,
        }
    }
}
