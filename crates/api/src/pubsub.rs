//! The facet `pubsub`: messages to everyone who subscribed to a topic.

use peerage_types::{Payload, PeerId, Topic};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Failure, Link, LinkError, Stream, contract::facet};

/// Topics: messages to everyone who subscribed.
#[derive(Debug, Clone)]
pub struct Pubsub {
    link: Link,
}

impl Pubsub {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Subscribes to a topic. Dropping the stream unsubscribes; when the last subscription of
    /// this node to the topic is gone, so is its place in the mesh. What this node publishes itself
    /// does not come back to it.
    ///
    /// # Errors
    /// [`PubsubError::TooManyTopics`].
    pub async fn subscribe(&self, topic: Topic) -> Result<Stream<Message>, PubsubError> {
        self.link.open(Subscribe { topic }).await
    }

    /// Publishes up to [`MAX_MESSAGE_BYTES`]. Returns when the message is queued for at least one
    /// peer.
    ///
    /// # Errors
    /// [`PubsubError::NoPeers`] when nobody who subscribed is connected,
    /// [`PubsubError::Busy`] when all queues are full, [`PubsubError::TooLarge`].
    pub async fn publish(
        &self,
        topic: Topic,
        data: impl Into<Payload>,
    ) -> Result<Published, PubsubError> {
        self.link.call(Publish { topic, data: data.into() }).await
    }

    /// Publishes a value as JSON.
    ///
    /// # Errors
    /// As [`Pubsub::publish`], and [`PubsubError::NotJson`].
    pub async fn publish_json<T: Serialize>(
        &self,
        topic: Topic,
        value: &T,
    ) -> Result<Published, PubsubError> {
        let json = serde_json::to_vec(value)
            .map_err(|e| PubsubError::NotJson { reason: e.to_string() })?;
        self.publish(topic, json).await
    }

    /// Judges each message of a topic before it is delivered and passed on. One validator a
    /// topic; it has [`VERDICT_SECONDS`] for each message, after which the message is ignored.
    /// Dropping the stream ends the validation.
    ///
    /// # Errors
    /// [`PubsubError::ValidatorTaken`].
    pub async fn validate(&self, topic: Topic) -> Result<Stream<Candidate>, PubsubError> {
        self.link.open(Validate { topic }).await
    }

    /// Gives the verdict on a candidate.
    ///
    /// # Errors
    /// [`PubsubError::TooLate`].
    pub async fn verdict(&self, candidate: u64, verdict: Verdict) -> Result<(), PubsubError> {
        self.link.call(GiveVerdict { candidate, verdict }).await
    }

    /// Every topic this node or a connected peer has subscribed to.
    ///
    /// # Errors
    /// [`PubsubError::Link`] when the node cannot be asked.
    pub async fn topics(&self) -> Result<Vec<TopicSummary>, PubsubError> {
        self.link.call(Topics {}).await
    }

    /// The connected peers that subscribed to a topic, and those in the mesh.
    ///
    /// # Errors
    /// [`PubsubError::Link`] when the node cannot be asked.
    pub async fn peers(&self, topic: Topic) -> Result<TopicPeers, PubsubError> {
        self.link.call(Members { topic }).await
    }

    /// Counts since the start.
    ///
    /// # Errors
    /// [`PubsubError::Link`] when the node cannot be asked.
    pub async fn stats(&self) -> Result<Stats, PubsubError> {
        self.link.call(GetStats {}).await
    }

    /// Peers that join and leave topics.
    ///
    /// # Errors
    /// [`PubsubError::Link`] when the node cannot be asked.
    pub async fn events(&self) -> Result<Stream<Event>, PubsubError> {
        self.link.open(Events {}).await
    }
}

/// Largest message in bytes: 64 KiB less room for the envelope.
pub const MAX_MESSAGE_BYTES: usize = 65_536 - 1_024;
/// Most topics this node subscribes to at once.
pub const MAX_TOPICS: usize = 100;
/// Seconds a validator has for a message.
pub const VERDICT_SECONDS: u64 = 4;

/// Subscribes to a topic.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Subscribe {
    /// Which.
    pub topic: Topic,
}

/// Publishes a message.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Publish {
    /// Where to.
    pub topic: Topic,
    /// The message.
    pub data: Payload,
}

/// Becomes the validator of a topic.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Validate {
    /// Which.
    pub topic: Topic,
}

/// Judges a candidate.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GiveVerdict {
    /// [`Candidate::id`].
    pub candidate: u64,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// Asks for the known topics.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Topics {}

/// Asks for the peers of a topic.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Members {
    /// Which.
    pub topic: Topic,
}

/// Asks for the counts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GetStats {}

/// Subscribes to peers joining and leaving topics.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Events {}

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The topic.
    pub topic: Topic,
    /// Who signed it.
    #[schemars(with = "String")]
    pub from: PeerId,
    /// The signer's sequence number.
    pub seq: u64,
    /// The bytes.
    pub data: Payload,
}

impl Message {
    /// Reads the bytes as JSON.
    ///
    /// # Errors
    /// [`PubsubError::NotJson`] when they are something else, or of another shape.
    pub fn read_json<T: DeserializeOwned>(&self) -> Result<T, PubsubError> {
        serde_json::from_slice(&self.data.0)
            .map_err(|e| PubsubError::NotJson { reason: e.to_string() })
    }
}

/// A message that waits for a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// Names it in [`Pubsub::verdict`].
    pub id: u64,
    /// The peer that passed it on.
    #[schemars(with = "String")]
    pub via: PeerId,
    /// The message.
    pub message: Message,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Deliver it and pass it on.
    Accept,
    /// Drop it and lower the score of the peer that sent it.
    Reject,
    /// Drop it without blame.
    Ignore,
}

/// A published message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Published {
    /// Hash of the signer, its sequence number, the topic and the bytes, hexadecimal.
    pub id: String,
}

/// A topic in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicSummary {
    /// Its name. Topics of strangers may have names that [`Topic`] does not allow.
    pub topic: String,
    /// Whether this node has subscribed.
    pub subscribed: bool,
    /// Connected peers that have.
    pub peers: usize,
    /// Peers in our mesh.
    pub mesh: usize,
}

/// The peers of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicPeers {
    /// Connected peers that have subscribed.
    #[schemars(with = "Vec<String>")]
    pub peers: Vec<PeerId>,
    /// Those we exchange full messages with.
    #[schemars(with = "Vec<String>")]
    pub mesh: Vec<PeerId>,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Messages this node published.
    pub published: u64,
    /// Messages that arrived and were accepted.
    pub accepted: u64,
    /// Messages a validator or a signature check rejected.
    pub rejected: u64,
    /// Messages dropped without blame.
    pub ignored: u64,
    /// Messages that subscribers missed because they were slow.
    pub missed: u64,
}

/// A change in who has subscribed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A connected peer subscribed.
    Joined {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// To what.
        topic: String,
    },
    /// A connected peer unsubscribed or went away.
    Left {
        /// Who.
        #[schemars(with = "String")]
        peer: PeerId,
        /// From what.
        topic: String,
    },
}

/// How a question to this facet fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum PubsubError {
    /// Nobody who subscribed is connected.
    #[error("no connected peer has subscribed to {topic:?}; see `peerage topics`")]
    NoPeers {
        /// The topic.
        topic: Topic,
    },
    /// More bytes than a message may have.
    #[error(
        "the message has {bytes} bytes; the most is {max}: send a file or an exchange message instead"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The value cannot be written as JSON.
    #[error("not JSON: {reason}")]
    NotJson {
        /// What the encoder said.
        reason: String,
    },
    /// The queues to all peers are full.
    #[error("the queues to all peers of {topic:?} are full; publish slower")]
    Busy {
        /// The topic.
        topic: Topic,
    },
    /// This node has subscribed to as many topics as it may.
    #[error("{max} topics are subscribed already, which is the most")]
    TooManyTopics {
        /// The limit.
        max: usize,
    },
    /// Another validator judges this topic.
    #[error("{topic:?} has a validator already")]
    ValidatorTaken {
        /// The topic.
        topic: Topic,
    },
    /// The candidate was judged already, or its time is over.
    #[error("candidate {candidate} waits no longer for a verdict")]
    TooLate {
        /// The candidate.
        candidate: u64,
    },
    /// The message could not be signed or encoded.
    #[error("the message could not be published: {reason}")]
    Unpublishable {
        /// What gossipsub said.
        reason: String,
    },
    /// The node speaks on this topic itself.
    #[error("{topic} belongs to the node itself; choose another topic")]
    Reserved {
        /// Which.
        topic: Topic,
    },
    /// The node could not be asked.
    #[error(transparent)]
    #[serde(untagged)]
    Link(#[from] LinkError),
}

impl Failure for PubsubError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Link(link) => link.is_retryable(),
            Self::NoPeers { .. } | Self::Busy { .. } => true,
            Self::TooLarge { .. } | Self::NotJson { .. } => false,
            Self::TooManyTopics { .. } | Self::ValidatorTaken { .. } => false,
            Self::TooLate { .. } | Self::Unpublishable { .. } | Self::Reserved { .. } => false,
        }
    }
}

facet! {
    Pubsub, PubsubError;
    methods {
        Publish => "pubsub.publish" -> Published;
        GiveVerdict => "pubsub.verdict" -> ();
        Topics => "pubsub.topics" -> Vec<TopicSummary>;
        Members => "pubsub.peers" -> TopicPeers;
        GetStats => "pubsub.stats" -> Stats;
    }
    local {}
    feeds {
        Subscribe[1024] => "pubsub.subscribe" -> Message;
        Validate[256] => "pubsub.validate" -> Candidate;
        Events[256] => "pubsub.events" -> Event;
    }
    extra {}
}
