//! Asking: request, respond, reply, refuse.

use std::time::Duration;

use peerage_api::{
    Failure,
    exchange::{ExchangeError, MAX_REASON_BYTES},
};

use crate::support::*;

#[tokio::test]
async fn a_request_is_answered_or_refused_by_the_one_responder() {
    let (a, b) = (Node::new().await, Node::new().await);
    a.connect(&b).await;
    let mut requests = b.exchange.respond(kind("sum")).await.unwrap();
    let taken = b.exchange.respond(kind("sum")).await.unwrap_err();
    assert_eq!(taken, ExchangeError::ResponderTaken { kind: kind("sum") });

    let responder = async {
        let asked = requests.item().await.unwrap();
        assert_eq!((asked.peer, asked.body, asked.deadline_ms), (a.peer, "1+1".into(), 3_600_000));
        b.exchange.reply(asked.id, "2").await.unwrap();
        let twice = b.exchange.reply(asked.id, "3").await;
        assert_eq!(twice, Err(ExchangeError::TooLate { request: asked.id }));

        let asked = requests.item().await.unwrap();
        let long = format!("no division{}é", "!".repeat(MAX_REASON_BYTES - 12));
        b.exchange.refuse(asked.id, long).await.unwrap();
    };
    let asker = async {
        let ask = |body| a.exchange.request(b.peer, kind("sum"), body, HOUR);
        assert_eq!(ask("1+1").await, Ok("2".into()));
        // What does not fit is cut off between two characters.
        let reason = format!("no division{}", "!".repeat(MAX_REASON_BYTES - 12));
        assert_eq!(ask("1/0").await, Err(ExchangeError::Refused { peer: b.peer, reason }));
    };
    tokio::join!(responder, asker);

    drop(requests);
    let gone = a.exchange.request(b.peer, kind("sum"), "", HOUR).await;
    assert_eq!(gone, Err(ExchangeError::NoResponder { peer: b.peer, kind: kind("sum") }));
    let _another = b.exchange.respond(kind("sum")).await.unwrap();
}

#[tokio::test]
async fn a_request_without_answer_ends_at_its_deadline() {
    let (a, b) = (Node::new().await, Node::new().await);
    a.connect(&b).await;
    let mut requests = b.exchange.respond(kind("slow")).await.unwrap();
    let deadline = Duration::from_millis(50);
    let late = a.exchange.request(b.peer, kind("slow"), "", deadline).await.unwrap_err();
    assert_eq!(late, ExchangeError::TimedOut { peer: b.peer, deadline_ms: 50 });
    assert!(late.is_timeout());
    assert_eq!(requests.item().await.unwrap().deadline_ms, 50);
}

#[tokio::test]
async fn a_peer_that_disconnects_breaks_the_requests_it_was_asked() {
    let (a, b) = (Node::new().await, Node::new().await);
    a.connect(&b).await;
    let mut requests = b.exchange.respond(kind("ask")).await.unwrap();
    let asker = a.exchange.request(b.peer, kind("ask"), "", HOUR);
    let leaver = async {
        let asked = requests.item().await.unwrap();
        b.disconnect(a.peer).await;
        asked.id
    };
    let (answer, request) = tokio::join!(asker, leaver);
    assert_eq!(answer, Err(ExchangeError::Broken { peer: b.peer }));
    a.wait(b.peer, <[_]>::is_empty).await;
    let gone = a.exchange.send(b.peer, kind("x"), "", false).await;
    assert_eq!(gone, Err(ExchangeError::NotConnected { peer: b.peer }));

    // The same handle works again as soon as there is a connection.
    a.connect(&b).await;
    let answer = tokio::join!(a.exchange.request(b.peer, kind("ask"), "", HOUR), async {
        let asked = requests.item().await.unwrap();
        b.exchange.reply(asked.id, "again").await.unwrap();
    });
    assert_eq!(answer.0, Ok("again".into()));
    let late = b.exchange.reply(request, "too late").await;
    assert_eq!(late, Err(ExchangeError::TooLate { request }));
}

#[tokio::test]
async fn many_requests_at_once_get_their_own_answers() {
    let (a, b) = (Node::new().await, Node::new().await);
    a.connect(&b).await;
    let mut requests = b.exchange.respond(kind("echo")).await.unwrap();
    tokio::spawn(async move {
        while let Some(asked) = requests.item().await {
            let exchange = b.exchange.clone();
            tokio::spawn(async move { exchange.reply(asked.id, asked.body.data.0).await.unwrap() });
        }
    });
    let asks = (0..200).map(|n| {
        let (exchange, peer) = (a.exchange.clone(), b.peer);
        async move {
            let body = n.to_string();
            let answer = exchange.request(peer, kind("echo"), body.clone(), HOUR).await;
            assert_eq!(answer, Ok(body.into()));
        }
    });
    futures::future::join_all(asks).await;
}
