//! Topics of the node's own, on which users and entries are gossiped: every member reads them, no
//! application does.

use std::collections::BTreeMap;

use libp2p::{
    PeerId,
    gossipsub::{self, IdentTopic, MessageAcceptance, MessageId, PublishError, TopicHash},
};

use crate::gossip::{Behaviour, topic_scoring};

/// Messages that wait for a verdict: 256 × 64 KiB = 16 MiB at worst; more are ignored.
const MAX_WAITING: usize = 256;

/// The topic, and what arrived on it and is being verified.
pub(crate) struct Spread {
    topic: IdentTopic,
    waiting: BTreeMap<u64, (MessageId, PeerId)>,
    next_ticket: u64,
}

/// A message that wants a verdict.
pub(crate) struct Heard {
    pub(crate) ticket: u64,
    pub(crate) via: PeerId,
    pub(crate) data: Vec<u8>,
}

impl Spread {
    /// Subscribes to the topic.
    pub(crate) fn new(topic: String, gossip: &mut Behaviour) -> Self {
        let topic = IdentTopic::new(topic);
        if let Err(error) = gossip.subscribe(&topic) {
            tracing::error!(%error, %topic, "nothing is gossiped on a topic of the node");
        }
        if let Err(reason) = gossip.set_topic_params(topic.clone(), topic_scoring()) {
            tracing::warn!(reason, %topic, "a topic of the node is not scored");
        }
        Self { topic, waiting: BTreeMap::new(), next_ticket: 0 }
    }

    /// Whether a topic is this one.
    pub(crate) fn is(&self, topic: &TopicHash) -> bool {
        self.topic.hash() == *topic
    }

    /// Its name.
    pub(crate) fn topic(&self) -> TopicHash {
        self.topic.hash()
    }

    /// Tells every member; nobody there to be told is fine, since all is compared on connecting.
    pub(crate) fn publish(&self, gossip: &mut Behaviour, data: Vec<u8>) {
        match gossip.publish(self.topic.hash(), data) {
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => tracing::debug!(%error, "not gossiped this time"),
        }
    }

    /// Takes a message; `None` if too many wait already.
    pub(crate) fn on_message(
        &mut self,
        gossip: &mut Behaviour,
        via: PeerId,
        id: MessageId,
        message: gossipsub::Message,
    ) -> Option<Heard> {
        if self.waiting.len() >= MAX_WAITING {
            gossip.report_message_validation_result(&id, &via, MessageAcceptance::Ignore);
            return None;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.insert(ticket, (id, via));
        Some(Heard { ticket, via, data: message.data })
    }

    /// Passes a message on, or not.
    pub(crate) fn judge(&mut self, gossip: &mut Behaviour, ticket: u64, accept: MessageAcceptance) {
        let Some((id, via)) = self.waiting.remove(&ticket) else { return };
        gossip.report_message_validation_result(&id, &via, accept);
    }
}
