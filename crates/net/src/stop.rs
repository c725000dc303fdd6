//! Stopping in order: no new connections, streams end, the book is saved, connections close, the
//! store reaches the disk, the directory is free.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures::StreamExt as _;
use peerage_api::node;
use tokio::time;

use crate::{driver::Driver, stack::Stack};

/// Messages that have not been written by then are lost.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// GossipSub does not tell when a message is written: that users are no longer here has this long to
/// leave the node.
const GOODBYE_TIME: Duration = Duration::from_millis(100);
/// Connections that have not closed by then are dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl Driver {
    pub(crate) async fn shut_down(mut self) {
        tracing::debug!("stopping");
        self.tell(&node::Event::Stopping);
        self.stop_listening();
        self.accounts.close();
        self.save_routes();
        let stack: &mut Stack = self.swarm.behaviour_mut();
        let says_goodbye = !stack.identity.is_idle();
        stack.exchange.shutdown();
        stack.files.shutdown();
        stack.peers.shutdown();
        if time::timeout(DRAIN_TIMEOUT, poll_fn(|cx| self.poll_drained(cx))).await.is_err() {
            tracing::debug!("some messages were not written in time");
        }
        if says_goodbye {
            let written = async {
                loop {
                    let event = self.next_event().await;
                    self.on_swarm_event(event);
                }
            };
            // It always ends like this.
            let _: Result<(), _> = time::timeout(GOODBYE_TIME, written).await;
        }
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
        if let Some(bridge) = self.swarm.behaviour_mut().mainline.as_mut()
            && time::timeout(CLOSE_TIMEOUT, bridge.stop()).await.is_err()
        {
            tracing::debug!("the nodes of the BitTorrent DHT were not saved in time");
        }
        let directory = self.swarm.behaviour().identity.directory();
        if let Err(error) = directory.flush().await {
            tracing::warn!(%error, "not all that is known of users was saved");
        }
        let (store, held) = self.into_storage();
        if let Err(error) = store.close().await {
            tracing::error!(%error, "the store did not take its last writes");
        }
        drop(held);
    }

    /// Ready when every queued exchange message is written and what was received is durable.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Some(event)) = self.swarm.poll_next_unpin(cx) {
            self.on_swarm_event(event);
        }
        let stack = self.swarm.behaviour();
        let idle = stack.exchange.is_idle() && stack.files.is_idle() && stack.identity.is_idle();
        if idle { Poll::Ready(()) } else { Poll::Pending }
    }
}
