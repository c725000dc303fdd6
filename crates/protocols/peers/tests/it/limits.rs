//! Limits on incoming connections, as the swarm asks about them.

use std::time::Instant;

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionId, FromSwarm, ListenError, NetworkBehaviour, SwarmEvent,
    behaviour::ListenFailure,
    dial_opts::{DialOpts, PeerCondition},
};
use peerage_peers::{Behaviour, Config, Denied};
use peerage_store::{BookSnapshot, Store};

use crate::network::{listen, node, run, wait};

fn at(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

#[test]
fn an_ip_address_gets_its_share_and_what_failed_is_given_back() {
    let config = Config { max_connections_per_ip: 2, ..Config::new(PeerId::random()) };
    let store = Store::in_memory();
    let mut peers = Behaviour::new(config, &store, BookSnapshot::default(), Instant::now());
    let local = at("/ip4/11.0.0.1/tcp/4001");
    let incoming = |peers: &mut Behaviour, number, from: &str| {
        let id = ConnectionId::new_unchecked(number);
        let verdict = peers.handle_pending_inbound_connection(id, &local, &at(from));
        verdict.map_err(|denied| denied.downcast::<Denied>().expect("typed"))
    };
    let flooder = "/ip4/203.0.112.1/tcp/1";
    assert_eq!(incoming(&mut peers, 1, flooder), Ok(()));
    assert_eq!(incoming(&mut peers, 2, flooder), Ok(()));
    let full = Denied::IpFull { ip: "203.0.112.1".parse().unwrap(), max: 2 };
    assert_eq!(incoming(&mut peers, 3, flooder), Err(full));
    assert_eq!(incoming(&mut peers, 4, "/ip4/203.0.112.2/tcp/1"), Ok(()));
    for number in 10..40 {
        assert_eq!(incoming(&mut peers, number, "/ip4/127.0.0.1/tcp/1"), Ok(()));
        assert_eq!(incoming(&mut peers, 100 + number, "/ip4/192.168.0.9/tcp/1"), Ok(()));
    }
    peers.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
        local_addr: &at("/ip4/11.0.0.1/tcp/4001"),
        send_back_addr: &at(flooder),
        error: &ListenError::Aborted,
        connection_id: ConnectionId::new_unchecked(1),
        peer_id: None,
    }));
    assert_eq!(incoming(&mut peers, 5, flooder), Ok(()));
}

#[tokio::test]
async fn a_peer_gets_three_connections() {
    let (mut a, mut b) = (node(|c| c.max_connections_per_peer = 9), node(|_| {}));
    let (place, peer) = (listen(&mut b).await, *b.local_peer_id());
    for _ in 0..4 {
        let opts = DialOpts::peer_id(peer).addresses(vec![place.clone()]);
        a.dial(opts.condition(PeerCondition::Always).build()).unwrap();
    }
    run(a);
    let denied = wait(&mut b, |event| match event {
        SwarmEvent::IncomingConnectionError { error: ListenError::Denied { cause }, .. } => {
            Some(cause.downcast_ref::<Denied>().cloned().expect("typed"))
        }
        _ => None,
    })
    .await;
    assert!(matches!(denied, Denied::PeerFull { max: 3, .. }), "{denied}");
    assert_eq!(b.behaviour().connections_len(), 3);
}
