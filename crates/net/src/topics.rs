//! The facet `pubsub`: who in this process subscribed, validates, and waits for a verdict.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    PeerId,
    gossipsub::{self, IdentTopic, MessageAcceptance, MessageId, PublishError, TopicHash},
};
use peerage_api::{
    Ask, Open, Sink,
    pubsub::{
        Candidate, Command, Event, Events, GetStats, GiveVerdict, MAX_MESSAGE_BYTES, MAX_TOPICS,
        Members, Message, Publish, Published, PubsubError, Stats, Subscribe, TopicPeers,
        TopicSummary, Topics as GetTopics, VERDICT_SECONDS, Validate, Verdict,
    },
};
use peerage_types::{Payload, Topic};

use crate::gossip::{Behaviour, topic_scoring};

/// Messages that wait for a verdict: 1,024 × 64 KiB = 64 MiB at worst; more are ignored.
const MAX_WAITING: usize = 1024;
/// Subscriptions to one topic, and readers of the facet's events.
const MAX_READERS: usize = 1024;

/// A message that waits for a verdict.
#[derive(Debug)]
struct Waiting {
    id: MessageId,
    via: PeerId,
    message: Message,
    until: Instant,
}

/// State of the facet.
pub(crate) struct Topics {
    /// Not for applications.
    reserved: [TopicHash; 2],
    readers: HashMap<TopicHash, Vec<Sink<Message>>>,
    validators: HashMap<TopicHash, Sink<Candidate>>,
    /// By candidate number, which rises with time, so the first is the next to run out.
    waiting: BTreeMap<u64, Waiting>,
    next_candidate: u64,
    events: Vec<Sink<Event>>,
    members: HashMap<PeerId, HashSet<TopicHash>>,
    stats: Stats,
    /// Resolves when a reader or validator of a topic has gone.
    gone: FuturesUnordered<BoxFuture<'static, TopicHash>>,
}

fn hash(topic: &Topic) -> TopicHash {
    IdentTopic::new(topic.as_str()).hash()
}

impl Topics {
    pub(crate) fn new(reserved: [TopicHash; 2]) -> Self {
        Self {
            reserved,
            readers: HashMap::new(),
            validators: HashMap::new(),
            waiting: BTreeMap::new(),
            next_candidate: 0,
            events: Vec::new(),
            members: HashMap::new(),
            stats: Stats::default(),
            gone: FuturesUnordered::new(),
        }
    }

    /// Answers a command of the facet.
    pub(crate) fn on_command(&mut self, gossip: &mut Behaviour, command: Command) {
        match command {
            Command::Publish(ask) => self.publish(gossip, ask),
            Command::GiveVerdict(ask) => self.on_verdict(gossip, ask),
            Command::Topics(ask) => self.list(gossip, ask),
            Command::Members(ask) => members(gossip, ask),
            Command::GetStats(ask) => self.show_stats(ask),
            Command::Subscribe(open) => self.subscribe(gossip, open),
            Command::Validate(open) => self.validate(open),
            Command::Events(open) => self.open_events(open),
        }
    }

    fn is_reserved(&self, topic: &Topic) -> bool {
        self.reserved.contains(&hash(topic))
    }

    fn publish(&mut self, gossip: &mut Behaviour, ask: Ask<Publish>) {
        let Publish { topic, data } = ask.request.clone();
        if self.is_reserved(&topic) {
            return ask.reply(Err(PubsubError::Reserved { topic }));
        }
        if data.len() > MAX_MESSAGE_BYTES {
            let bytes = data.len();
            return ask.reply(Err(PubsubError::TooLarge { bytes, max: MAX_MESSAGE_BYTES }));
        }
        let published = gossip.publish(hash(&topic), data.0);
        if published.is_ok() {
            self.stats.published += 1;
        }
        ask.reply(published.map(|id| Published { id: id.to_string() }).map_err(|e| match e {
            PublishError::NoPeersSubscribedToTopic => PubsubError::NoPeers { topic },
            PublishError::AllQueuesFull(_) => PubsubError::Busy { topic },
            other => PubsubError::Unpublishable { reason: other.to_string() },
        }));
    }

    fn subscribe(&mut self, gossip: &mut Behaviour, open: Open<Subscribe>) {
        let topic = open.request.topic.clone();
        if self.is_reserved(&topic) {
            return open.refuse(PubsubError::Reserved { topic });
        }
        let hash = hash(&topic);
        let readers = self.readers.get(&hash).map_or(0, Vec::len);
        if readers >= MAX_READERS || (readers == 0 && self.readers.len() >= MAX_TOPICS) {
            return open.refuse(PubsubError::TooManyTopics { max: MAX_TOPICS });
        }
        let ident = IdentTopic::new(topic.as_str());
        if let Err(refused) = gossip.subscribe(&ident) {
            return open.refuse(PubsubError::Unpublishable { reason: refused.to_string() });
        }
        if let Err(reason) = gossip.set_topic_params(ident, topic_scoring()) {
            tracing::warn!(%topic, reason, "topic is not scored");
        }
        let (_, sink) = open.accept();
        self.watch(sink.clone(), hash.clone());
        self.readers.entry(hash).or_default().push(sink);
    }

    fn validate(&mut self, open: Open<Validate>) {
        let topic = open.request.topic.clone();
        if self.is_reserved(&topic) {
            return open.refuse(PubsubError::Reserved { topic });
        }
        let hash = hash(&topic);
        if self.validators.get(&hash).is_some_and(|sink| !sink.is_closed()) {
            return open.refuse(PubsubError::ValidatorTaken { topic });
        }
        if self.validators.len() >= MAX_TOPICS {
            return open.refuse(PubsubError::TooManyTopics { max: MAX_TOPICS });
        }
        let (_, sink) = open.accept();
        self.watch(sink.clone(), hash.clone());
        self.validators.insert(hash, sink);
    }

    fn open_events(&mut self, open: Open<Events>) {
        self.events.retain(|sink| !sink.is_closed());
        if self.events.len() >= MAX_READERS {
            return open.refuse(PubsubError::TooManyTopics { max: MAX_READERS });
        }
        self.events.push(open.accept().1);
    }

    fn watch<T: Send + 'static>(&self, sink: Sink<T>, topic: TopicHash) {
        self.gone.push(
            async move {
                sink.closed().await;
                topic
            }
            .boxed(),
        );
    }

    fn list(&self, gossip: &Behaviour, ask: Ask<GetTopics>) {
        let mut topics: BTreeMap<String, TopicSummary> = BTreeMap::new();
        let ours = gossip.topics().map(|topic| (topic, true, 0));
        let theirs =
            gossip.all_peers().flat_map(|(_, topics)| topics).map(|topic| (topic, false, 1));
        let others = ours.chain(theirs).filter(|(topic, ..)| !self.reserved.contains(topic));
        for (topic, subscribed, peers) in others {
            let name = topic.as_str().to_owned();
            let summary = topics.entry(name.clone()).or_insert_with(|| TopicSummary {
                topic: name,
                subscribed: false,
                peers: 0,
                mesh: gossip.mesh_peers(topic).count(),
            });
            summary.subscribed |= subscribed;
            summary.peers += peers;
        }
        ask.reply(Ok(topics.into_values().collect()));
    }

    /// Ready when a reader of a topic has gone; call [`Topics::on_gone`] with it.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<TopicHash> {
        match self.gone.poll_next_unpin(cx) {
            Poll::Ready(Some(topic)) => Poll::Ready(topic),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Leaves the topic if nobody here reads it any more.
    pub(crate) fn on_gone(&mut self, gossip: &mut Behaviour, topic: &TopicHash) {
        if self.validators.get(topic).is_some_and(Sink::is_closed) {
            self.validators.remove(topic);
        }
        let Some(readers) = self.readers.get_mut(topic) else { return };
        readers.retain(|sink| !sink.is_closed());
        if readers.is_empty() {
            self.readers.remove(topic);
            gossip.unsubscribe(&IdentTopic::new(topic.as_str()));
        }
    }

    fn show_stats(&self, ask: Ask<GetStats>) {
        ask.reply(Ok(self.stats));
    }

    /// The counts since the start.
    pub(crate) fn stats(&self) -> Stats {
        self.stats
    }

    /// Takes an event of gossipsub.
    pub(crate) fn on_event(
        &mut self,
        gossip: &mut Behaviour,
        event: gossipsub::Event,
        now: Instant,
    ) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                self.on_message(gossip, propagation_source, message_id, message, now);
            }
            gossipsub::Event::Subscribed { peer_id, topic, .. } => self.on_joined(peer_id, topic),
            gossipsub::Event::Unsubscribed { peer_id, topic } => self.on_left(peer_id, &topic),
            gossipsub::Event::GossipsubNotSupported { peer_id } => {
                tracing::debug!(peer = %peer_id, "peer does not speak gossipsub");
            }
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                tracing::debug!(peer = %peer_id, ?failed_messages, "peer is slow");
            }
        }
    }

    fn on_message(
        &mut self,
        gossip: &mut Behaviour,
        via: PeerId,
        id: MessageId,
        message: gossipsub::Message,
        now: Instant,
    ) {
        let validator = self.validators.get(&message.topic);
        let parts = (Topic::new(message.topic.as_str()), message.source);
        let (Ok(topic), Some(from)) = parts else {
            return self.finish(gossip, &id, &via, Verdict::Reject, None);
        };
        let seq = message.sequence_number.unwrap_or_default();
        let message = Message { topic, from, seq, data: Payload(message.data.into()) };
        let Some(validator) = validator else {
            return self.finish(gossip, &id, &via, Verdict::Accept, Some(message));
        };
        let candidate = Candidate { id: self.next_candidate, via, message: message.clone() };
        if self.waiting.len() >= MAX_WAITING || validator.try_put(candidate).is_err() {
            return self.finish(gossip, &id, &via, Verdict::Ignore, None);
        }
        let until = now + Duration::from_secs(VERDICT_SECONDS);
        self.waiting.insert(self.next_candidate, Waiting { id, via, message, until });
        self.next_candidate += 1;
    }

    fn on_verdict(&mut self, gossip: &mut Behaviour, ask: Ask<GiveVerdict>) {
        let GiveVerdict { candidate, verdict } = ask.request;
        let Some(waiting) = self.waiting.remove(&candidate) else {
            return ask.reply(Err(PubsubError::TooLate { candidate }));
        };
        self.finish(gossip, &waiting.id, &waiting.via, verdict, Some(waiting.message));
        ask.reply(Ok(()));
    }

    /// Tells gossipsub the verdict and delivers what was accepted.
    fn finish(
        &mut self,
        gossip: &mut Behaviour,
        id: &MessageId,
        via: &PeerId,
        verdict: Verdict,
        message: Option<Message>,
    ) {
        let (acceptance, count) = match verdict {
            Verdict::Accept => (MessageAcceptance::Accept, &mut self.stats.accepted),
            Verdict::Reject => (MessageAcceptance::Reject, &mut self.stats.rejected),
            Verdict::Ignore => (MessageAcceptance::Ignore, &mut self.stats.ignored),
        };
        *count += 1;
        gossip.report_message_validation_result(id, via, acceptance);
        if let (Verdict::Accept, Some(message)) = (verdict, message) {
            self.deliver(&message);
        }
    }

    fn deliver(&mut self, message: &Message) {
        for sink in self.readers.get(&hash(&message.topic)).into_iter().flatten() {
            if !sink.has_room() {
                self.stats.missed += 1;
            }
            sink.offer(message.clone());
        }
    }

    fn on_joined(&mut self, peer: PeerId, topic: TopicHash) {
        let name = topic.as_str().to_owned();
        if self.members.entry(peer).or_default().insert(topic) {
            self.tell(&Event::Joined { peer, topic: name });
        }
    }

    fn on_left(&mut self, peer: PeerId, topic: &TopicHash) {
        if self.members.get_mut(&peer).is_some_and(|topics| topics.remove(topic)) {
            self.tell(&Event::Left { peer, topic: topic.as_str().to_owned() });
        }
    }

    /// The last connection to a peer is gone, and with it its subscriptions.
    pub(crate) fn on_disconnected(&mut self, peer: PeerId) {
        for topic in self.members.remove(&peer).into_iter().flatten() {
            self.tell(&Event::Left { peer, topic: topic.as_str().to_owned() });
        }
    }

    fn tell(&mut self, event: &Event) {
        self.events.retain(|sink| sink.offer(event.clone()));
    }

    /// When the next candidate runs out.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|(_, waiting)| waiting.until)
    }

    /// Ignores the candidates whose time is over.
    pub(crate) fn on_time(&mut self, gossip: &mut Behaviour, now: Instant) {
        while let Some(first) = self.waiting.first_entry().filter(|first| first.get().until <= now)
        {
            let waiting = first.remove();
            self.finish(gossip, &waiting.id, &waiting.via, Verdict::Ignore, None);
        }
    }
}

fn members(gossip: &Behaviour, ask: Ask<Members>) {
    let hash = hash(&ask.request.topic);
    let subscribed = gossip.all_peers().filter(|(_, topics)| topics.contains(&&hash));
    let peers = subscribed.map(|(peer, _)| *peer).collect();
    let mesh = gossip.mesh_peers(&hash).copied().collect();
    ask.reply(Ok(TopicPeers { peers, mesh }));
}
