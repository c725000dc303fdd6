//! GossipSub as this network runs it: signed, validated, scored, bounded.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use libp2p::{
    gossipsub::{
        self, CallbackSubscriptionFilter, ConfigBuilder, IdentityTransform,
        MaxCountSubscriptionFilter, Message, MessageAuthenticity, MessageId, PeerScoreParams,
        PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode,
    },
    identity::Keypair,
};
use peerage_api::pubsub::MAX_MESSAGE_BYTES;
use peerage_types::Topic;
use prometheus_client::registry::Registry;

mod greeting;
mod trimmed;

pub(crate) use greeting::Behaviour;

/// Largest frame: the largest message with its envelope, and the 8 KiB of the next frame that
/// gossipsub may have read already when it compares its whole read buffer with this limit.
const MAX_FRAME_BYTES: usize = MAX_MESSAGE_BYTES + 1_024 + 8 * 1_024;
/// Messages that may wait for one slow peer: 128 × 64 KiB = 8 MiB at worst.
const MAX_QUEUED: usize = 128;
/// Topics one peer may be subscribed to: 256 × 128 bytes of names = 32 KiB a peer.
const MAX_TOPICS_PER_PEER: usize = 256;
/// Peers behind one address before they count as one crowd, loopback excepted.
const MAX_PEERS_PER_IP: f64 = 32.0;

/// The behaviour with its type parameters.
type Gossipsub = gossipsub::Behaviour<
    IdentityTransform,
    MaxCountSubscriptionFilter<CallbackSubscriptionFilter<fn(&TopicHash) -> bool>>,
>;

/// Whether a peer's topic is remembered: names longer than ours cannot be subscribed to here.
fn is_short(topic: &TopicHash) -> bool {
    topic.as_str().len() <= Topic::MAX_LEN
}

/// The same on all peers, and different for two messages of the same text: a hash over everything
/// that is signed.
fn message_id(message: &Message) -> MessageId {
    let mut hash = blake3::Hasher::new();
    let source = message.source.map(|peer| peer.to_bytes()).unwrap_or_default();
    hash.update(&source);
    hash.update(&message.sequence_number.unwrap_or_default().to_be_bytes());
    hash.update(message.topic.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(&message.data);
    MessageId::new(&hash.finalize().as_bytes()[..20])
}

/// Makes the behaviour and registers its metrics.
pub(crate) fn behaviour(keys: &Keypair, metrics: &mut Registry) -> Result<Behaviour, String> {
    let config = ConfigBuilder::default()
        .max_transmit_size(MAX_FRAME_BYTES)
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(message_id)
        .connection_handler_queue_len(MAX_QUEUED)
        .build()
        .map_err(|e| e.to_string())?;
    let filter = MaxCountSubscriptionFilter {
        filter: CallbackSubscriptionFilter(is_short as fn(&TopicHash) -> bool),
        max_subscribed_topics: MAX_TOPICS_PER_PEER,
        max_subscriptions_per_request: MAX_TOPICS_PER_PEER,
    };
    let signed = MessageAuthenticity::Signed(keys.clone());
    let behaviour = Gossipsub::new_with_subscription_filter(signed, config, filter)?;
    let mut behaviour =
        behaviour.with_metrics(metrics.sub_registry_with_prefix("gossipsub"), Default::default());
    behaviour.with_peer_score(scoring(), PeerScoreThresholds::default())?;
    Ok(Behaviour(behaviour))
}

fn scoring() -> PeerScoreParams {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    PeerScoreParams {
        ip_colocation_factor_threshold: MAX_PEERS_PER_IP,
        ip_colocation_factor_whitelist: HashSet::from(loopback),
        // Whoever cannot take what a flood brings misses some of it, and is not to blame: with the
        // default it would soon be heard no more.
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    }
}

/// How peers are judged by what they send on a topic.
///
/// The defaults expect a steady flow and punish a mesh for being quiet; topics here may be silent
/// for days, so only invalid messages count against a peer.
pub(crate) fn topic_scoring() -> TopicScoreParams {
    TopicScoreParams {
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.9,
        time_in_mesh_quantum: Duration::from_secs(10),
        ..TopicScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{PeerId, gossipsub::IdentTopic};

    use super::*;

    #[tokio::test]
    async fn the_parameters_are_accepted() {
        let keys = Keypair::generate_ed25519();
        let mut behaviour = behaviour(&keys, &mut Registry::default()).unwrap();
        let topic = IdentTopic::new("t");
        assert!(behaviour.subscribe(&topic).unwrap());
        behaviour.set_topic_params(topic, topic_scoring()).unwrap();
    }

    #[test]
    fn two_messages_of_the_same_text_are_two_messages() {
        let message = |sequence_number| Message {
            source: Some(PeerId::random()),
            data: b"hello".to_vec(),
            sequence_number: Some(sequence_number),
            topic: IdentTopic::new("t").hash(),
        };
        let first = message(1);
        assert_eq!(message_id(&first), message_id(&first.clone()));
        assert_ne!(message_id(&first), message_id(&Message { sequence_number: Some(2), ..first }));
    }
}
