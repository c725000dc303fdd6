//! The facet `exchange`: typed messages between connected nodes.

use std::time::Duration;

use peerage_types::{MessageType, Payload, PeerId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Link, Stream, contract::facet};

mod error;
mod outbox;

pub use error::ExchangeError;
pub use outbox::{Expect, OpenOutbox, Outbox, Outboxes, Outgoing};

/// Typed messages between connected nodes: tell, ask, and be told and asked.
///
/// Messages of one node to another arrive in the order they were sent. A listener that is slow
/// slows the sender down; nothing is dropped on the way between two connected nodes.
#[derive(Debug, Clone)]
pub struct Exchange {
    link: Link,
}

impl Exchange {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Sends a message. Returns when it is queued on the connection, or with `ack` when a
    /// listener of the other node has taken it. Waits while the connection is congested or, with
    /// `ack`, the listener does not read; put a deadline around it where that matters.
    ///
    /// # Errors
    /// [`ExchangeError::NotConnected`], [`ExchangeError::TooLarge`]; with `ack` also
    /// [`ExchangeError::NoListener`] and [`ExchangeError::Broken`].
    ///
    /// # Cancel safety
    /// A message that is queued already is sent even if the future is dropped.
    pub async fn send(
        &self,
        peer: PeerId,
        kind: MessageType,
        body: impl Into<Body>,
        ack: bool,
    ) -> Result<(), ExchangeError> {
        self.link.call(Send { peer, kind, body: body.into(), ack }).await
    }

    /// Sends a message to every connected node of the network, without waiting for slow ones.
    ///
    /// # Errors
    /// [`ExchangeError::TooLarge`].
    pub async fn broadcast(
        &self,
        kind: MessageType,
        body: impl Into<Body>,
    ) -> Result<Broadcasted, ExchangeError> {
        self.link.call(Broadcast { kind, body: body.into() }).await
    }

    /// Asks a node and waits for the answer of its responder.
    ///
    /// # Errors
    /// [`ExchangeError::NotConnected`], [`ExchangeError::NoResponder`],
    /// [`ExchangeError::Refused`] with the responder's reason, [`ExchangeError::TimedOut`],
    /// [`ExchangeError::Busy`] with too many requests in flight, [`ExchangeError::TooLarge`].
    ///
    /// # Cancel safety
    /// Dropping the future gives up the answer; the responder may still do its work.
    pub async fn request(
        &self,
        peer: PeerId,
        kind: MessageType,
        body: impl Into<Body>,
        deadline: Duration,
    ) -> Result<Body, ExchangeError> {
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.link.call(Request { peer, kind, body: body.into(), deadline_ms }).await
    }

    /// Listens for messages of some types. Every listener of a type gets every message. Dropping
    /// the stream ends it; reading one item and dropping it listens once.
    ///
    /// # Errors
    /// [`ExchangeError::TooManyTypes`].
    pub async fn subscribe(
        &self,
        kinds: impl IntoIterator<Item = MessageType>,
    ) -> Result<Stream<Message>, ExchangeError> {
        self.link.open(Subscribe { kinds: kinds.into_iter().collect() }).await
    }

    /// Becomes the responder for requests of a type. Answer each with [`Exchange::reply`] or
    /// [`Exchange::refuse`]; dropping the stream ends it.
    ///
    /// # Errors
    /// [`ExchangeError::ResponderTaken`].
    pub async fn respond(&self, kind: MessageType) -> Result<Stream<Incoming>, ExchangeError> {
        self.link.open(Respond { kind }).await
    }

    /// Answers a request.
    ///
    /// # Errors
    /// [`ExchangeError::TooLate`] when its deadline passed or the asking node went away,
    /// [`ExchangeError::TooLarge`].
    pub async fn reply(&self, request: u64, body: impl Into<Body>) -> Result<(), ExchangeError> {
        self.link.call(Reply { request, body: body.into() }).await
    }

    /// Refuses a request, with a reason for the one who asked: what is longer than
    /// [`MAX_REASON_BYTES`] is cut off.
    ///
    /// # Errors
    /// [`ExchangeError::TooLate`].
    pub async fn refuse(
        &self,
        request: u64,
        reason: impl Into<String>,
    ) -> Result<(), ExchangeError> {
        self.link.call(Refuse { request, reason: reason.into() }).await
    }

    /// Counts since the start.
    ///
    /// # Errors
    /// [`ExchangeError::Link`] when the node cannot be asked.
    pub async fn stats(&self) -> Result<Stats, ExchangeError> {
        self.link.call(GetStats {}).await
    }
}

/// Largest body in bytes: 1 MiB.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Longest reason of a refusal in bytes.
pub const MAX_REASON_BYTES: usize = 256;
/// Most message types one subscription names.
pub const MAX_KINDS: usize = 64;
/// Longest deadline of a request: one hour, in milliseconds.
pub const MAX_DEADLINE_MS: u64 = 3_600_000;

/// How the bytes of a body are to be read. The node passes them on without looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As the application likes.
    #[default]
    Bytes,
    /// JSON text.
    Json,
    /// CBOR, RFC 8949.
    Cbor,
}

/// What a message carries: up to [`MAX_BODY_BYTES`] and how to read them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Body {
    /// How to read the bytes.
    #[serde(default)]
    pub encoding: Encoding,
    /// The bytes.
    pub data: Payload,
}

impl Body {
    /// A value as JSON.
    ///
    /// # Errors
    /// [`ExchangeError::Encoding`] when the value cannot be written as JSON.
    pub fn json<T: Serialize>(value: &T) -> Result<Self, ExchangeError> {
        let bytes = serde_json::to_vec(value).map_err(encoding)?;
        Ok(Self { encoding: Encoding::Json, data: bytes.into() })
    }

    /// A value as CBOR.
    ///
    /// # Errors
    /// [`ExchangeError::Encoding`] when the value cannot be written as CBOR.
    pub fn cbor<T: Serialize>(value: &T) -> Result<Self, ExchangeError> {
        let bytes = cbor4ii::serde::to_vec(Vec::new(), value).map_err(encoding)?;
        Ok(Self { encoding: Encoding::Cbor, data: bytes.into() })
    }

    /// Reads the body as a value, from JSON or CBOR as it says.
    ///
    /// # Errors
    /// [`ExchangeError::Encoding`] when it is of another shape, or plain bytes.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ExchangeError> {
        match self.encoding {
            Encoding::Json => serde_json::from_slice(&self.data.0).map_err(encoding),
            Encoding::Cbor => cbor4ii::serde::from_slice(&self.data.0).map_err(encoding),
            Encoding::Bytes => Err(encoding("the body is plain bytes")),
        }
    }
}

fn encoding(reason: impl ToString) -> ExchangeError {
    ExchangeError::Encoding { reason: reason.to_string() }
}

impl<T: Into<bytes::Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self { encoding: Encoding::Bytes, data: Payload(bytes.into()) }
    }
}

/// Sends a message.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Send {
    /// To whom.
    #[schemars(with = "String")]
    pub peer: PeerId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// What it carries.
    #[serde(flatten)]
    pub body: Body,
    /// Whether to wait until a listener has taken it.
    #[serde(default)]
    pub ack: bool,
}

/// Sends a message to every connected node of the network.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Broadcast {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// What it carries.
    #[serde(flatten)]
    pub body: Body,
}

/// Asks a node.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Whom.
    #[schemars(with = "String")]
    pub peer: PeerId,
    /// The type of the request.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// What it carries.
    #[serde(flatten)]
    pub body: Body,
    /// Milliseconds until it counts as failed, 1 to [`MAX_DEADLINE_MS`].
    pub deadline_ms: u64,
}

/// Listens for messages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// The types to listen for, 1 to [`MAX_KINDS`].
    #[serde(rename = "types")]
    pub kinds: Vec<MessageType>,
}

/// Becomes the responder for a type.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Respond {
    /// The type of the requests.
    #[serde(rename = "type")]
    pub kind: MessageType,
}

/// Answers a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// [`Incoming::id`].
    pub request: u64,
    /// What the answer carries.
    #[serde(flatten)]
    pub body: Body,
}

/// Refuses a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Refuse {
    /// [`Incoming::id`].
    pub request: u64,
    /// Why, for the one who asked.
    pub reason: String,
}

/// Asks for the counts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetStats {}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Who sent it; proven by the connection.
    #[schemars(with = "String")]
    pub peer: PeerId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// What it carries.
    #[serde(flatten)]
    pub body: Body,
}

/// A request that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Incoming {
    /// Names it in [`Exchange::reply`].
    pub id: u64,
    /// Who asks; proven by the connection.
    #[schemars(with = "String")]
    pub peer: PeerId,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: MessageType,
    /// What it carries.
    #[serde(flatten)]
    pub body: Body,
    /// Milliseconds the asking node waits, counted from the arrival.
    pub deadline_ms: u64,
}

/// The outcome of a broadcast.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Broadcasted {
    /// Peers whose connection has the message queued.
    pub sent: usize,
    /// Peers that missed it because their connection is congested or does not take messages.
    pub missed: usize,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Messages and requests written to a connection.
    pub sent: u64,
    /// Messages and requests that arrived.
    pub received: u64,
    /// Bytes of bodies written.
    pub sent_bytes: u64,
    /// Bytes of bodies that arrived.
    pub received_bytes: u64,
    /// Messages and requests that arrived and that nobody listened for.
    pub unheard: u64,
    /// Peers with an open message stream to or from them.
    pub peers: usize,
}

facet! {
    Exchange, ExchangeError;
    methods {
        Broadcast => "exchange.broadcast" -> Broadcasted;
        Reply => "exchange.reply" -> ();
        Refuse => "exchange.refuse" -> ();
        GetStats => "exchange.stats" -> Stats;
    }
    local {
        Send;
        Request;
    }
    feeds {
        Subscribe[64] => "exchange.subscribe" -> Message;
        Respond[256] => "exchange.respond" -> Incoming;
    }
    extra {
        Outbox(OpenOutbox);
    }
}
