use peerage_introductions::Event;
use peerage_types::Network;

use crate::support::{Node, within};

const CHESS: [u8; 20] = [1; 20];
const GO: [u8; 20] = [2; 20];

/// A and B know only C.
async fn three() -> (Node, Node, Node) {
    let (mut a, mut b, mut c) = (Node::new().await, Node::new().await, Node::new().await);
    b.connect(&mut c).await;
    a.connect(&mut c).await;
    (a, b, c)
}

#[tokio::test]
async fn two_nodes_that_know_only_a_third_meet_through_it() {
    let (mut a, mut b, _c) = three().await;
    let wanted = b.peer;
    let addresses = a
        .event("that A hears of B", |event| match event {
            Event::Introduced { peer, addresses, nearby: true } if peer == wanted => {
                Some(addresses)
            }
            _ => None,
        })
        .await;
    assert!(addresses.contains(&b.address), "{addresses:?}");
    a.connect(&mut b).await;
}

#[tokio::test]
async fn a_search_finds_who_belongs_to_the_namespace_and_ends() {
    let (mut a, b, c) = three().await;
    b.run(|swarm| swarm.behaviour_mut().join(CHESS)).await;
    c.run(|swarm| swarm.behaviour_mut().join(GO)).await;
    // The word of it has to reach C first, which happens soon by itself.
    let wanted = b.peer;
    let found = async {
        for search in 0.. {
            a.run(move |swarm| swarm.behaviour_mut().find(search, CHESS)).await;
            let mut found = Vec::new();
            while let Some(peer) = a
                .event("the end of a search", |event| match event {
                    Event::Found { search: of, peer, .. } if of == search => Some(Some(peer)),
                    Event::Searched { search: of } if of == search => Some(None),
                    _ => None,
                })
                .await
            {
                found.push(peer);
            }
            if !found.is_empty() {
                return found;
            }
            tokio::task::yield_now().await;
        }
        unreachable!()
    };
    assert_eq!(within("that B is found", found).await, [wanted], "and not C");
}

#[tokio::test]
async fn a_node_without_peers_searches_in_vain_at_once() {
    let mut a = Node::new().await;
    a.run(|swarm| swarm.behaviour_mut().find(7, CHESS)).await;
    a.event("the end", |event| matches!(event, Event::Searched { search: 7 }).then_some(())).await;
}

#[tokio::test]
async fn nodes_of_another_network_are_not_introduced() {
    let mut ours = Node::new().await;
    let mut theirs = Node::of(Network::new("elsewhere").unwrap()).await;
    let mut third = Node::new().await;
    theirs.connect(&mut ours).await;
    third.connect(&mut ours).await;
    let known = third.peer;
    ours.run(move |swarm| swarm.behaviour_mut().find(1, CHESS)).await;
    ours.event("the end", |event| matches!(event, Event::Searched { .. }).then_some(())).await;
    assert_eq!(ours.ask(|behaviour| behaviour.known()).await, 1, "{known} and not {}", theirs.peer);
}
