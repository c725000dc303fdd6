//! Block and allow lists.

use std::time::Instant;

use libp2p_swarm::{DialError, ListenError, SwarmEvent};
use peerage_api::peers::{Allow, Block, Command, Connect, GetLists, PeersError, Unblock};
use peerage_peers::{Behaviour, Config, Denied};
use peerage_store::{BookSnapshot, Store};

use crate::network::{Peers, ask, established, listen, node, node_on, run, wait};

/// Why the next incoming connection is refused.
async fn refusal(swarm: &mut Peers) -> Denied {
    wait(swarm, |event| match event {
        SwarmEvent::IncomingConnectionError { error: ListenError::Denied { cause }, .. } => {
            Some(cause.downcast_ref::<Denied>().cloned().expect("typed"))
        }
        _ => None,
    })
    .await
}

#[tokio::test]
async fn the_lists_survive_a_restart() {
    let store = Store::in_memory();
    let mut a = node_on(&store, BookSnapshot::default(), |_| {});
    let (own, peer, friend) = (*a.local_peer_id(), *node(|_| {}).local_peer_id(), own_id());
    ask(&mut a, Block { peer }, Command::Block).await.unwrap();
    ask(&mut a, Allow { peer: friend, allowed: true }, Command::Allow).await.unwrap();
    drop(a);

    let book = store.book().load().await.unwrap();
    let again = Behaviour::new(Config::new(own), &store, book, Instant::now());
    assert!(again.is_blocked(&peer) && !again.is_blocked(&friend));
    assert!(again.is_blocked(&own_id()), "there is an allow list and it is not on it");

    let book = store.book().load().await.unwrap();
    let mut a = node_on(&store, book, |_| {});
    let lists = ask(&mut a, GetLists {}, Command::GetLists).await.unwrap();
    assert_eq!((lists.blocked, lists.allowed), (vec![peer], vec![friend]));
    ask(&mut a, Unblock { peer }, Command::Unblock).await.unwrap();
    ask(&mut a, Allow { peer: friend, allowed: false }, Command::Allow).await.unwrap();
    assert_eq!(store.book().load().await.unwrap().blocked, []);
    assert!(!a.behaviour().is_blocked(&peer));
}

fn own_id() -> libp2p_identity::PeerId {
    libp2p_identity::PeerId::random()
}

#[tokio::test]
async fn a_blocked_peer_is_refused_in_both_directions_and_its_connection_closed() {
    let (mut a, mut b) = (node(|_| {}), node(|c| c.autodial.target_peers = 0));
    let (at_a, at_b) = (listen(&mut a).await, listen(&mut b).await);
    let peer = *b.local_peer_id();
    let named = at_b.clone().with_p2p(peer).unwrap();
    let connect = || Connect { peer: Some(peer), addresses: vec![at_b.clone()] };
    let (come, gone) = (tokio::sync::oneshot::channel::<()>(), tokio::sync::oneshot::channel());
    tokio::spawn(async move {
        use futures::StreamExt;
        let mut come = Some(come.1);
        let mut gone = Some(gone.0);
        loop {
            tokio::select! {
                Ok(()) = async { come.as_mut().expect("guarded").await }, if come.is_some() => {
                    come = None;
                    b.dial(at_a.clone()).unwrap();
                }
                event = b.select_next_some() => {
                    if matches!(event, SwarmEvent::ConnectionClosed { .. }) {
                        gone.take().map(|gone| gone.send(()));
                    }
                }
            }
        }
    });
    ask(&mut a, connect(), Command::Connect).await.unwrap();
    ask(&mut a, Block { peer }, Command::Block).await.unwrap();
    if a.behaviour().connected_len() > 0 {
        wait(&mut a, |event| match event {
            SwarmEvent::ConnectionClosed { .. } => Some(()),
            _ => None,
        })
        .await;
    }
    gone.1.await.unwrap();

    let error = ask(&mut a, connect(), Command::Connect).await.unwrap_err();
    assert_eq!(error, PeersError::Blocked { peer });
    let DialError::Denied { cause } = a.dial(named).unwrap_err() else { panic!() };
    assert_eq!(cause.downcast::<Denied>().unwrap(), Denied::Blocked { peer });
    come.0.send(()).unwrap();
    assert_eq!(refusal(&mut a).await, Denied::Blocked { peer });

    ask(&mut a, Unblock { peer }, Command::Unblock).await.unwrap();
    ask(&mut a, connect(), Command::Connect).await.unwrap();
}

#[tokio::test]
async fn while_there_is_an_allow_list_only_its_peers_connect() {
    let (mut a, mut friend, mut stranger) = (node(|_| {}), node(|_| {}), node(|_| {}));
    let place = listen(&mut a).await;
    let (friend_id, stranger_id) = (*friend.local_peer_id(), *stranger.local_peer_id());
    ask(&mut a, Allow { peer: friend_id, allowed: true }, Command::Allow).await.unwrap();
    stranger.dial(place.clone()).unwrap();
    run(stranger);
    assert_eq!(refusal(&mut a).await, Denied::NotAllowed { peer: stranger_id });
    friend.dial(place).unwrap();
    run(friend);
    assert_eq!(established(&mut a).await, friend_id);
}
