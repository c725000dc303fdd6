//! Peers that do what no correct node does.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use peerage_api::{
    Failure,
    exchange::{ExchangeError, MAX_BODY_BYTES},
};
use peerage_dialog::{DialogError, Side};
use peerage_exchange::Misbehaviour;
use peerage_wire::exchange::{Encoding, Frame, FrameError, Id, Refusal, decode};
use tokio::sync::mpsc;

use crate::support::*;

/// The outcome of the next dialog of a raw peer.
async fn finished(swarm: &mut libp2p::Swarm<Raw>) -> Result<(), DialogError> {
    loop {
        if let SwarmEvent::Behaviour(outcome) = swarm.select_next_some().await {
            return outcome;
        }
    }
}

async fn assert_reset_after(bytes: Vec<u8>, expected: FrameError) {
    let mut node = Node::new().await;
    let mut raw = Raw::dialling(&node).await;
    let peer = *raw.local_peer_id();
    raw.behaviour_mut().open(node.peer, async move |mut stream| {
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        let end = stream.read(&mut [0]).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    });
    finished(&mut raw).await.unwrap();
    assert_eq!(node.misbehaved.recv().await.unwrap(), (peer, Misbehaviour::Frame(expected)));

    // The node and even the connection go on.
    let mut items = node.exchange.subscribe([kind("x")]).await.unwrap();
    raw.behaviour_mut().open(node.peer, async |mut stream| {
        stream.write_all(&[6, 1, 0, 0, 1, b'x', b'!']).await.unwrap();
        stream.close().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    });
    finished(&mut raw).await.unwrap();
    assert_eq!(items.item().await.unwrap().body, "!".into());
}

#[tokio::test]
async fn bytes_that_are_no_frame_reset_the_stream_and_are_told() {
    assert_reset_after(b"\x04\xffgarbage".to_vec(), FrameError::Tag(0xff)).await;
}

#[tokio::test]
async fn a_frame_that_is_too_long_resets_the_stream_before_it_has_arrived() {
    let len = 2 * MAX_BODY_BYTES;
    assert_reset_after(vec![0x80, 0x80, 0x80, 0x01], FrameError::TooLong { len: len as u64 }).await;
}

#[tokio::test]
async fn a_third_stream_of_the_same_peer_is_refused() {
    let node = Node::new().await;
    let mut raw = Raw::dialling(&node).await;
    let (opened, mut open) = mpsc::channel(4);
    for _ in 0..2 {
        let opened = opened.clone();
        raw.behaviour_mut().open(node.peer, async move |mut stream| {
            // Acked by nobody, so the refusal proves that the stream is served or waits its turn.
            stream.write_all(&[6, 1, 1, 0, 1, b'x', b'!']).await.unwrap();
            stream.flush().await.unwrap();
            opened.send(()).await.unwrap();
            std::future::pending::<()>().await;
        });
        tokio::select! {
            _ = finished(&mut raw) => panic!("refused"),
            opened = open.recv() => opened.unwrap(),
        }
    }
    raw.behaviour_mut().open(node.peer, async |mut stream| {
        assert!(stream.read(&mut [0]).await.is_err());
    });
    let refused = finished(&mut raw).await;
    assert!(matches!(refused, Err(DialogError::Busy { by: Side::Remote })), "{refused:?}");
}

#[tokio::test]
async fn a_flood_of_requests_is_bounded_and_refused_as_busy() {
    const FLOOD: u64 = 2000;
    let node = Node::new().await;
    let mut requests = node.exchange.respond(kind("ask")).await.unwrap();
    let mut raw = Raw::dialling(&node).await;
    let (counted, mut count) = mpsc::channel(1);
    raw.behaviour_mut().open(node.peer, async move |stream| {
        let (mut reader, mut writer) = stream.split();
        let flood = async {
            for id in 1..=FLOOD {
                let mut bytes = bytes::BytesMut::new();
                let request = Frame::Request {
                    id: Id::new(id).unwrap(),
                    deadline_ms: 3_600_000,
                    kind: kind("ask"),
                    encoding: Encoding::Bytes,
                    body: bytes::Bytes::new(),
                };
                request.encode(&mut bytes);
                writer.write_all(&bytes).await.unwrap();
            }
            writer.flush().await.unwrap();
        };
        let read = async {
            let (mut buffer, mut busy, mut landing) = (bytes::BytesMut::new(), 0, [0; 1024]);
            loop {
                while let Some(frame) = decode(&mut buffer).unwrap() {
                    assert!(matches!(frame, Frame::Refusal { code: Refusal::Busy, .. }));
                    busy += 1;
                }
                if busy == FLOOD - peerage_exchange::MAX_WAITING_PER_STREAM as u64 {
                    return counted.send(busy).await.unwrap();
                }
                let read = reader.read(&mut landing).await.unwrap();
                buffer.extend_from_slice(&landing[..read]);
            }
        };
        futures::join!(flood, read);
    });
    tokio::select! {
        outcome = finished(&mut raw) => outcome.unwrap(),
        busy = count.recv() => assert!(busy.is_some()),
    }
    let mut shown = 0;
    while shown < peerage_exchange::MAX_WAITING_PER_STREAM {
        requests.item().await.unwrap();
        shown += 1;
    }
}

#[tokio::test]
async fn a_peer_that_refuses_our_stream_is_told_to_the_caller_as_worth_a_retry() {
    let node = Node::new().await;
    let serve: Serve = |dialogs, inbound, _| dialogs.refuse(inbound);
    let (peer, _heard) = Raw::dialled_by(&node, &[protocol()], serve).await;
    let refused = node.exchange.request(peer, kind("x"), "", HOUR).await;
    // The refusal may come before the request is on the stream, or after.
    let refused = refused.unwrap_err();
    assert!(matches!(refused, ExchangeError::Busy { .. } | ExchangeError::Broken { .. }));
    assert!(refused.is_retryable());
}

#[tokio::test]
async fn a_peer_that_answers_what_it_was_not_asked_is_told() {
    let mut node = Node::new().await;
    let serve: Serve = |dialogs, inbound, _| {
        dialogs.serve(inbound, async |mut stream| {
            let mut ack = bytes::BytesMut::new();
            Frame::Ack { id: Id::new(77).unwrap() }.encode(&mut ack);
            stream.write_all(&ack).await.unwrap();
            stream.flush().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
    };
    let (peer, _heard) = Raw::dialled_by(&node, &[protocol()], serve).await;
    let broken = node.exchange.request(peer, kind("x"), "", HOUR).await;
    assert_eq!(broken, Err(ExchangeError::Broken { peer }));
    let told = node.misbehaved.recv().await.unwrap();
    assert_eq!(told, (peer, Misbehaviour::Answer { id: 77 }));
}

#[tokio::test]
async fn a_peer_that_never_reads_holds_no_more_than_the_outbox() {
    let node = Node::new().await;
    let serve: Serve = |dialogs, inbound, heard| {
        let heard = heard.clone();
        dialogs.serve(inbound, async move |stream| {
            heard.send(Vec::new()).await.unwrap();
            std::future::pending::<()>().await;
            drop(stream);
        });
    };
    let (peer, _heard) = Raw::dialled_by(&node, &[protocol()], serve).await;
    let body = bytes::Bytes::from(vec![0; MAX_BODY_BYTES]);
    let mut sent = 0;
    // A broadcast never waits: it misses once the outbox is full.
    loop {
        let outcome = node.exchange.broadcast(kind("x"), body.clone()).await.unwrap();
        if outcome.missed == 1 {
            break;
        }
        sent += 1;
        assert!(sent <= 64, "more than any window holds");
    }
    assert_eq!(node.exchange.stats().await.unwrap().peers, 1);
    node.disconnect(peer).await;
    let gone = node.exchange.send(peer, kind("x"), "", false).await;
    assert_eq!(gone, Err(ExchangeError::NotConnected { peer }));
}
