//! Waiting for a node to come to a state that no command streams.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{CommandError, Node};

/// How often and how long state is asked for.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const POLL_TIMEOUT: Duration = Duration::from_secs(30);

impl Node {
    /// What `peerage peers` tells of a connected peer, once it is `wanted`.
    ///
    /// # Errors
    /// When it does not become so.
    pub async fn until_peer(&self, peer: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let peers = self.until(&["peers"], |peers| of(peers, peer).is_some_and(&wanted)).await?;
        Ok(of(&peers, peer).cloned().unwrap_or_default())
    }

    /// Returns once a peer is connected no longer.
    ///
    /// # Errors
    /// When it stays.
    pub async fn until_gone(&self, peer: &str) -> Result<()> {
        self.until(&["peers"], |peers| of(peers, peer).is_none()).await.map(drop)
    }

    /// Runs a command that prints one value until it prints one that is `wanted`.
    ///
    /// # Errors
    /// When it fails, or does not come to that.
    pub async fn until(&self, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + POLL_TIMEOUT;
        loop {
            let value = self.run(args).await?;
            if wanted(&value) {
                return Ok(value);
            }
            ensure!(
                Instant::now() < deadline,
                "{}",
                self.said(&format!("peerage {args:?} is not as wanted: {value}; the daemon"))
            );
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Runs a command again for as long as it fails with `code` or prints nothing.
    ///
    /// # Errors
    /// When it fails in another way, or always.
    pub async fn insist(&self, args: &[&str], code: &str) -> Result<Vec<Value>> {
        let deadline = Instant::now() + POLL_TIMEOUT;
        loop {
            match self.run_lines(args).await {
                Ok(lines) if !lines.is_empty() => return Ok(lines),
                Ok(_) => ensure!(Instant::now() < deadline, "peerage {args:?} prints nothing"),
                Err(error) => {
                    let failed = error.downcast_ref::<CommandError>();
                    let expected = failed.and_then(|e| e.code.as_deref()) == Some(code);
                    if !expected || Instant::now() > deadline {
                        return Err(error);
                    }
                }
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

fn of<'a>(peers: &'a Value, peer: &str) -> Option<&'a Value> {
    peers.as_array()?.iter().find(|known| known["peer_id"] == peer)
}
