//! A feed on its own connection.

use jsonrpsee::core::client::{ReceivedMessage, TransportReceiverT, TransportSenderT};
use peerage_api::{RemoteError, RemoteFeed};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    dial::Transport,
    message::{self, Incoming},
};

/// Items that wait between socket and reader: at worst 16 × 24 MiB.
const MAX_QUEUED: usize = 16;
/// Id of the one request on the connection.
const SUBSCRIBE: u64 = 1;

/// Subscribes and passes the items on until either end is done.
pub(super) async fn open(
    (mut sender, mut receiver): Transport,
    method: &str,
    params: Value,
) -> Result<RemoteFeed, RemoteError> {
    let request = message::request(Some(SUBSCRIBE), method, params)?;
    sender.send(request).await.map_err(message::unreachable)?;
    loop {
        let incoming = next(&mut receiver).await.map_err(message::unreachable)?;
        if incoming.id == Some(SUBSCRIBE) {
            incoming.answer(method)?;
            break;
        }
    }
    let (queue, items) = mpsc::channel(MAX_QUEUED);
    // Dropping either end of the socket ends the subscription at the daemon.
    tokio::spawn(pass_on((sender, receiver), queue));
    Ok(items)
}

async fn pass_on((_sender, mut receiver): Transport, queue: mpsc::Sender<Value>) {
    loop {
        let incoming = tokio::select! {
            () = queue.closed() => return,
            incoming = next(&mut receiver) => incoming,
        };
        let item = match incoming {
            Ok(incoming) => incoming.item(),
            Err(reason) => {
                tracing::debug!(reason, "the connection of a feed is gone");
                None
            }
        };
        let Some(item) = item else { return };
        if queue.send(item).await.is_err() {
            return;
        }
    }
}

async fn next(receiver: &mut impl TransportReceiverT) -> Result<Incoming, String> {
    loop {
        let bytes = match receiver.receive().await.map_err(|e| e.to_string())? {
            ReceivedMessage::Text(text) => text.into_bytes(),
            ReceivedMessage::Bytes(bytes) => bytes,
            ReceivedMessage::Pong => continue,
        };
        return serde_json::from_slice(&bytes).map_err(|e| e.to_string());
    }
}
