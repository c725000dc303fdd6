//! Whom a node stays connected to, through how many connections, and what it remembers.

use std::time::{Duration, Instant};

use libp2p_swarm::{
    SwarmEvent,
    dial_opts::{DialOpts, PeerCondition},
};
use peerage_api::peers::{Command, Connect, Protect};
use peerage_peers::Event;
use peerage_store::{BookSnapshot, Store};

use crate::network::{
    Peers, ask, established, hasty_node, listen, node, node_on, run, run_both, wait,
};

async fn connection(swarm: &mut Peers, made: bool) {
    wait(swarm, |event| match event {
        SwarmEvent::ConnectionEstablished { .. } if made => Some(()),
        SwarmEvent::ConnectionClosed { num_established: 0, .. } if !made => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn a_bootstrap_peer_is_dialled_and_comes_back_after_a_drop() {
    let mut server = node(|_| {});
    let place = listen(&mut server).await;
    let named = place.clone().with_p2p(*server.local_peer_id()).unwrap();
    run(server);
    // One knows whom to expect, the other only where.
    for bootstrap in [named, place] {
        let mut client = node(|config| config.bootstrap = vec![bootstrap]);
        for _ in 0..2 {
            connection(&mut client, true).await;
            let peer = *client.behaviour().connected().next().unwrap();
            client.disconnect_peer_id(peer).unwrap();
            connection(&mut client, false).await;
        }
        connection(&mut client, true).await;
    }
}

#[tokio::test]
async fn a_peer_that_becomes_protected_comes_back_too() {
    let (mut a, mut b) = (node(|c| c.autodial.target_peers = 0), node(|_| {}));
    let (addresses, peer) = (vec![listen(&mut b).await], *b.local_peer_id());
    run(b);
    let connect = Connect { peer: Some(peer), addresses };
    ask(&mut a, connect, Command::Connect).await.unwrap();
    ask(&mut a, Protect { peer, protected: true }, Command::Protect).await.unwrap();
    assert!(a.behaviour().is_protected(&peer));
    a.disconnect_peer_id(peer).unwrap();
    connection(&mut a, false).await;
    connection(&mut a, true).await;
}

#[tokio::test]
async fn two_simultaneous_dials_end_as_one_connection_on_both_sides() {
    let quick = |c: &mut peerage_peers::Config| {
        c.prune_grace = Duration::from_millis(50);
        c.drain_timeout = Duration::from_millis(50);
    };
    let (mut a, mut b) = (node(quick), node(quick));
    let (at_a, at_b) = (listen(&mut a).await, listen(&mut b).await);
    let (id_a, id_b) = (*a.local_peer_id(), *b.local_peer_id());
    let dial = |peer, place| {
        DialOpts::peer_id(peer).addresses(vec![place]).condition(PeerCondition::Always).build()
    };
    a.dial(dial(id_b, at_b)).unwrap();
    b.dial(dial(id_a, at_a)).unwrap();
    let connections = |swarm: &Peers| swarm.behaviour().connections_len();
    run_both(&mut a, &mut b, |a, b| connections(a) == 2 && connections(b) == 2).await;
    run_both(&mut a, &mut b, |a, b| {
        assert!(connections(a) > 0 && connections(b) > 0, "one stays at any time");
        connections(a) == 1 && connections(b) == 1
    })
    .await;
}

#[tokio::test]
async fn the_superseded_connection_is_told_of_and_closes_when_it_is_idle() {
    let quick = |c: &mut peerage_peers::Config| c.prune_grace = Duration::from_millis(50);
    let (mut a, mut b) = (hasty_node(quick), hasty_node(quick));
    if a.local_peer_id() > b.local_peer_id() {
        std::mem::swap(&mut a, &mut b);
    }
    let (place, peer) = (listen(&mut b).await, *b.local_peer_id());
    for _ in 0..2 {
        let opts = DialOpts::peer_id(peer).addresses(vec![place.clone()]);
        a.dial(opts.condition(PeerCondition::Always).build()).unwrap();
    }
    run(b);
    let retired = wait(&mut a, |event| match event {
        SwarmEvent::Behaviour(Event::Retired { connection, .. }) => Some(*connection),
        _ => None,
    })
    .await;
    let closed = wait(&mut a, |event| match event {
        SwarmEvent::ConnectionClosed { connection_id, num_established, .. } => {
            Some((*connection_id, *num_established))
        }
        _ => None,
    });
    assert_eq!(closed.await, (retired, 1));
}

#[tokio::test]
async fn a_foreigner_is_let_go_and_a_member_is_not() {
    let brief = |c: &mut peerage_peers::Config| {
        c.idle_grace = Duration::ZERO;
        c.autodial.target_peers = 0;
    };
    let (mut a, mut member, mut foreigner) =
        (hasty_node(brief), hasty_node(|_| {}), hasty_node(|_| {}));
    let mut foreign_id = None;
    for (node, is_member) in [(&mut member, true), (&mut foreigner, false)] {
        let place = listen(node).await;
        let id = *node.local_peer_id();
        run(std::mem::replace(node, hasty_node(|_| {})));
        a.dial(DialOpts::peer_id(id).addresses(vec![place]).build()).unwrap();
        connection(&mut a, true).await;
        a.behaviour_mut().on_identified(id, "x/1", &[], &[], is_member, Instant::now());
        foreign_id = Some(id);
    }
    let gone = wait(&mut a, |event| match event {
        SwarmEvent::ConnectionClosed { peer_id, .. } => Some(*peer_id),
        _ => None,
    })
    .await;
    assert_eq!(Some(gone), foreign_id);
    assert_eq!(a.behaviour().connected_len(), 1);
}

#[tokio::test]
async fn the_book_survives_a_restart_and_is_dialled_from() {
    let store = Store::in_memory();
    let mut server = node(|_| {});
    let (place, id) = (listen(&mut server).await, *server.local_peer_id());
    run(server);
    let mut client = node_on(&store, BookSnapshot::default(), |_| {});
    let connect = Connect { peer: Some(id), addresses: vec![place.clone()] };
    ask(&mut client, connect, Command::Connect).await.unwrap();
    client.behaviour_mut().on_identified(id, "x/1", &[], &[], true, Instant::now());
    client.behaviour_mut().shutdown();
    drop(client);
    store.flush().await.unwrap();

    let book = store.book().load().await.unwrap();
    let mut again = node_on(&store, book, |_| {});
    assert_eq!(again.behaviour().addresses_of(&id), [place]);
    assert_eq!(established(&mut again).await, id, "one of the best of the book");
}
