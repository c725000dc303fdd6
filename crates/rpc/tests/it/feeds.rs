//! Feeds: items and notices arrive, nothing is lost silently, each end notices the other's.

use std::time::Duration;

use peerage_api::{
    Feeding, LinkError,
    node::{Event, NodeError},
    pubsub::PubsubError,
    types::{Namespace, Topic},
};

use crate::daemon::{Daemon, asked};

fn numbered(n: u64) -> Event {
    Event::ListenerClosed {
        address: format!("/memory/{}", n + 1).parse().unwrap(),
        reason: n.to_string(),
    }
}

fn number(event: &Event) -> u64 {
    match event {
        Event::ListenerClosed { reason, .. } => reason.parse().unwrap(),
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test]
async fn items_arrive_in_order_and_then_the_end() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let (events, sink) =
        tokio::join!(node.events(), async { asked!(daemon, Node::Events).accept().1 });
    let mut events = events.unwrap();
    for n in 0..3 {
        assert!(sink.put(numbered(n)).await);
    }
    drop(sink);
    for n in 0..3 {
        assert_eq!(events.next().await, Some(Feeding::Item(numbered(n))));
    }
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_slow_reader_misses_nothing_silently_and_holds_up_no_calls() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let (events, sink) =
        tokio::join!(node.events(), async { asked!(daemon, Node::Events).accept().1 });
    let mut events = events.unwrap();
    // More than all queues and socket buffers on the way can hold.
    let (done, mut told) = tokio::sync::oneshot::channel::<()>();
    let (full, overflowed) = tokio::sync::oneshot::channel::<()>();
    let offering = tokio::spawn(async move {
        let mut full = Some(full);
        let mut n = 0;
        while told.try_recv().is_err() {
            sink.offer(numbered(n));
            n += 1;
            if n == 50_000 {
                full.take().map(|full| full.send(()));
            }
            tokio::task::yield_now().await;
        }
    });
    overflowed.await.unwrap();
    let (metrics, ()) = tokio::join!(node.metrics(), async {
        asked!(daemon, Node::Metrics).reply(Ok("quick".into()));
    });
    assert_eq!(metrics.unwrap(), "quick");

    let (mut expected, mut lagged) = (0, 0);
    while lagged == 0 || expected < 50_000 {
        match events.next().await.unwrap() {
            Feeding::Lagged(missed) => {
                lagged += missed;
                expected += missed;
            }
            Feeding::Item(event) => {
                assert_eq!(number(&event), expected, "an item was lost without a notice");
                expected += 1;
            }
        }
    }
    done.send(()).unwrap();
    offering.await.unwrap();
}

#[tokio::test]
async fn dropping_a_feed_reaches_the_node_though_no_item_comes() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let pubsub = node.pubsub();
    let topic = Topic::new("quiet").unwrap();
    let (messages, sink) = tokio::join!(pubsub.subscribe(topic.clone()), async {
        let (request, sink) = asked!(daemon, Pubsub::Subscribe).accept();
        assert_eq!(request.topic, topic);
        sink
    });
    drop(messages.unwrap());
    sink.closed().await;
}

#[tokio::test]
async fn a_feed_outlives_the_handle_it_came_from() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let (events, sink) =
        tokio::join!(node.events(), async { asked!(daemon, Node::Events).accept().1 });
    let mut events = events.unwrap();
    drop(node);
    sink.put(numbered(7)).await;
    assert_eq!(events.item().await, Some(numbered(7)));
}

#[tokio::test]
async fn a_refused_feed_is_the_typed_error() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let pubsub = node.pubsub();
    let error = PubsubError::TooManyTopics { max: 100 };
    let (messages, ()) = tokio::join!(pubsub.subscribe(Topic::new("t").unwrap()), async {
        asked!(daemon, Pubsub::Subscribe).refuse(error.clone());
    });
    assert_eq!(messages.unwrap_err(), error);

    drop(daemon.commands);
    let gone = node.events().await.unwrap_err();
    assert_eq!(gone, NodeError::Link(LinkError::Stopped));
}

#[tokio::test]
async fn a_feed_that_ends_by_itself_ends_here_too() {
    let mut daemon = Daemon::start().await;
    let discovery = daemon.node().await.discovery();
    let (found, sink) = tokio::join!(discovery.find(Namespace::new("n").unwrap()), async {
        asked!(daemon, Discovery::Find).accept().1
    });
    drop(sink);
    assert_eq!(found.unwrap().next().await, None);
}

#[tokio::test]
async fn a_reader_that_stalls_cannot_hold_up_the_stop() {
    let mut daemon = Daemon::start().await;
    let node = daemon.node().await;
    let (events, sink) =
        tokio::join!(node.events(), async { asked!(daemon, Node::Events).accept().1 });
    let _unread = events.unwrap();
    for n in 0..50_000 {
        sink.offer(numbered(n));
        tokio::task::yield_now().await;
    }
    let stop = tokio::time::timeout(Duration::from_secs(30), daemon.server.stop());
    stop.await.expect("stop is bounded");
    sink.closed().await;
}
