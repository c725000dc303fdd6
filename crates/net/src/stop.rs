//! Stopping in order: no new connections, streams end, the book is saved, connections close, the
//! store reaches the disk, the directory is free.

use std::time::Duration;

use peerage_api::node;
use tokio::time;

use crate::driver::Driver;

/// Connections that have not closed by then are dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl Driver {
    pub(crate) async fn shut_down(mut self) {
        tracing::debug!("stopping");
        self.tell(&node::Event::Stopping);
        self.stop_listening();
        let stack = self.swarm.behaviour_mut();
        stack.exchange.shutdown();
        stack.peers.shutdown();
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // Gone already is as good.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.network_info().num_peers() > 0 {
                let event = self.next_event().await;
                self.on_swarm_event(event);
            }
        };
        if time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
        let (store, lock) = self.into_storage();
        if let Err(error) = store.close().await {
            tracing::error!(%error, "the store did not take its last writes");
        }
        drop(lock);
    }
}
