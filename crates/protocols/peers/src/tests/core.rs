use std::{
    io,
    time::{Duration, Instant},
};

use libp2p_core::{Multiaddr, transport::TransportError};
use libp2p_identity::PeerId;
use libp2p_swarm::{CloseConnection, ConnectionError, DialError, NotifyHandler, ToSwarm};
use peerage_api::{
    Ask,
    peers::{Block, Command, Connect, PeersError, Protect, Source},
};
use peerage_store::BookSnapshot;

use super::{accepted, address, dialled, id, ms, peer, public, secs, sorted, start};
use crate::{
    Config, Event, Keep,
    address::Reach,
    peers::{Now, Peers},
    pool::Told,
};

fn at(now: Instant) -> Now {
    Now { at: now, wall: ms(1) }
}

fn core(configure: impl FnOnce(&mut Config), now: Instant) -> Peers {
    let mut config = Config::new(sorted(0..9)[0]);
    configure(&mut config);
    Peers::new(config, BookSnapshot::default(), at(now))
}

fn told(member: bool) -> Told {
    Told { agent: "x/1".into(), protocols: vec![], member }
}

fn orders(core: &mut Peers) -> Vec<ToSwarm<Event, Keep>> {
    core.outbox.drain(..).collect()
}

/// Who is dialled by these orders.
fn dials(orders: &[ToSwarm<Event, Keep>]) -> Vec<Option<PeerId>> {
    let dial = |order: &ToSwarm<Event, Keep>| match order {
        ToSwarm::Dial { opts } => Some(opts.get_peer_id()),
        _ => None,
    };
    orders.iter().filter_map(dial).collect()
}

#[test]
fn nothing_is_due_while_nothing_happens() {
    let now = start();
    let mut core = core(|_| {}, now);
    let other = sorted(0..9)[1];
    core.on_established(id(1), other, &accepted(public(1)), &[], at(now));
    core.on_identified(other, told(true), &[public(1)], at(now));
    assert_eq!(core.tick(at(now)), None, "no timer: an idle node costs no CPU");
    assert!(orders(&mut core).is_empty());
}

#[test]
fn a_node_that_lost_everybody_goes_through_its_book_again() {
    let now = start();
    let mut core = core(|_| {}, now);
    let other = sorted(0..9)[1];
    core.on_established(id(1), other, &dialled(public(1)), &[], at(now));
    core.on_closed(id(1), other, Some(&ConnectionError::KeepAliveTimeout), at(now));
    let due = core.tick(at(now)).unwrap();
    assert_eq!(due, now + secs(120));
    core.tick(at(due));
    assert_eq!(dials(&orders(&mut core)), [Some(other)]);
}

#[test]
fn a_neighbour_that_did_not_answer_at_first_is_dialled_again() {
    let now = start();
    let mut core = core(|config| config.allow_private = true, now);
    let [near, far] = [sorted(0..9)[1], sorted(0..9)[2]];
    core.on_discovered(near, vec![public(1)], Source::Mdns, at(now));
    core.on_discovered(far, vec![public(2)], Source::Kad, at(now));
    let mut dialled = Vec::new();
    for step in 0..400 {
        let now = at(now + Duration::from_millis(100 * step));
        core.tick(now);
        for order in orders(&mut core) {
            let ToSwarm::Dial { opts } = order else { continue };
            let peer = opts.get_peer_id().unwrap();
            dialled.push(peer);
            let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
            let address = if peer == near { public(1) } else { public(2) };
            let error = DialError::Transport(vec![(address, TransportError::Other(refused))]);
            core.on_dial_failure(opts.connection_id(), Some(peer), &error, now);
        }
    }
    let count = |peer| dialled.iter().filter(|p| **p == peer).count();
    assert_eq!(count(far), 1, "what others say of it is not believed twice");
    assert!(count(near) >= 5, "dialled {} times in 40 s", count(near));
}

#[test]
fn the_retired_connection_is_kept_again_when_the_better_one_is_gone() {
    let now = start();
    let mut core = core(|_| {}, now);
    let other = sorted(0..9)[1];
    core.on_established(id(1), other, &accepted(public(1)), &[], at(now));
    core.on_established(id(2), other, &dialled(public(1)), &[], at(now));
    core.tick(at(now + secs(2)));
    let notified = |core: &mut Peers| {
        let notified = |order| match order {
            ToSwarm::NotifyHandler { handler: NotifyHandler::One(id), event, .. } => {
                Some((id, event))
            }
            _ => None,
        };
        orders(core).into_iter().find_map(notified)
    };
    assert_eq!(notified(&mut core), Some((id(1), Keep::WhileUsed)));
    core.on_closed(id(2), other, None, at(now + secs(3)));
    assert_eq!(notified(&mut core), Some((id(1), Keep::Open)));
}

#[test]
fn strangers_addresses_are_believed_by_how_they_reach_us() {
    let now = start();
    let (loopback, private, global) =
        (address("/ip4/127.0.0.1/tcp/1"), address("/ip4/10.0.0.2/tcp/1"), public(1));
    let listen = [loopback.clone(), private.clone(), global.clone(), address("/ip4/0.0.0.0/tcp/1")];
    let believed = |from: &Multiaddr, allow: bool| {
        let mut core = core(|config| config.allow_private = allow, now);
        core.on_established(id(1), peer(50), &accepted(from.clone()), &[], at(now));
        core.on_identified(peer(50), told(true), &listen, at(now));
        core.book.addresses_of(&peer(50))
    };
    assert_eq!(believed(&global, false), std::slice::from_ref(&global));
    assert_eq!(believed(&private, false), [private.clone(), global.clone()]);
    assert_eq!(believed(&loopback, false), [loopback.clone(), private.clone(), global.clone()]);
    assert_eq!(believed(&global, true), [loopback.clone(), private.clone(), global.clone()]);

    let found = |source| {
        let mut core = core(|_| {}, now);
        core.on_discovered(peer(50), listen.to_vec(), source, at(now));
        core.book.addresses_of(&peer(50)).len()
    };
    assert_eq!([Source::Kad, Source::Mdns, Source::Manual].map(found), [1, 2, 3]);
    let introduced = |least| {
        let mut core = core(|_| {}, now);
        core.on_found(peer(50), &listen, Source::Pex, least, at(now));
        assert!([Source::Pex].iter().eq(core.sources(&peer(50)).iter()));
        core.book.addresses_of(&peer(50)).len()
    };
    assert_eq!([Reach::Global, Reach::Private].map(introduced), [1, 2], "far and near");
    let mut core = core(|_| {}, now);
    let named = public(1).with_p2p(peer(51)).unwrap();
    core.on_discovered(peer(50), vec![named], Source::Kad, at(now));
    assert!(core.book.addresses_of(&peer(50)).is_empty(), "an address of somebody else");
}

#[test]
fn a_block_closes_what_there_is_and_answers_who_waits() {
    let now = start();
    let mut core = core(|_| {}, now);
    let (ask, mut connect) = Ask::new(Connect { peer: Some(peer(50)), addresses: vec![public(1)] });
    core.on_command(Command::Connect(ask), at(now));
    let (ask, _answer) = Ask::new(Block { peer: peer(50) });
    core.on_command(Command::Block(ask), at(now));
    let orders = orders(&mut core);
    let [
        ToSwarm::Dial { .. },
        ToSwarm::CloseConnection { peer_id, connection: CloseConnection::All },
    ] = &orders[..]
    else {
        panic!("{orders:?}")
    };
    assert_eq!(*peer_id, peer(50));
    assert_eq!(connect.try_recv().unwrap(), Err(PeersError::Blocked { peer: peer(50) }));
    assert_eq!(core.saves.len(), 1, "and it is to be saved");
    assert!(core.admit(id(1), peer(50)).is_err() && core.admit(id(1), peer(51)).is_ok());
}

#[test]
fn a_relayed_connection_does_not_keep_a_user_from_a_direct_address() {
    let now = start();
    let mut core = core(|config| config.allow_private = true, now);
    let [relay, other] = [sorted(0..9)[1], sorted(0..9)[2]];
    let circuit = address(&format!("/ip4/11.0.0.9/tcp/1/p2p/{relay}/p2p-circuit"));
    core.on_established(id(1), other, &dialled(circuit.clone()), &[], at(now));
    let mut connect = |addresses| {
        let (ask, mut answer) = Ask::new(Connect { peer: Some(other), addresses });
        core.on_command(Command::Connect(ask), at(now));
        (answer.try_recv().is_ok(), dials(&orders(&mut core)).len())
    };
    assert_eq!(connect(vec![]), (true, 0));
    assert_eq!(connect(vec![circuit]), (true, 0));
    assert_eq!(connect(vec![public(1)]), (false, 1));
}

#[test]
fn a_protected_foreigner_stays_and_a_bootstrap_peer_cannot_be_forgotten() {
    let now = start();
    let bootstrap = public(9).with_p2p(peer(60)).unwrap();
    let mut core = core(|config| config.bootstrap = vec![bootstrap], now);
    core.on_established(id(1), peer(50), &accepted(public(1)), &[], at(now));
    core.on_identified(peer(50), told(false), &[], at(now));
    for peer in [peer(50), peer(60)] {
        let (ask, _) = Ask::new(Protect { peer, protected: true });
        core.on_command(Command::Protect(ask), at(now));
    }
    core.tick(at(now + secs(61)));
    assert_eq!(core.pool.peers[&peer(50)].keep, Keep::Open);
    for peer in [peer(50), peer(60)] {
        let (ask, _) = Ask::new(Protect { peer, protected: false });
        core.on_command(Command::Protect(ask), at(now));
    }
    core.tick(at(now + secs(62)));
    assert_eq!(core.pool.peers[&peer(50)].keep, Keep::WhileUsed);
    assert!(core.redials.keeps(&peer(60)) && !core.redials.keeps(&peer(50)));
}

#[test]
fn a_stopping_node_dials_nobody() {
    let now = start();
    let bootstrap = public(9).with_p2p(peer(60)).unwrap();
    let mut core = core(|config| config.bootstrap = vec![bootstrap], now);
    core.shutdown(at(now));
    assert_eq!(core.tick(at(now)), None);
    assert!(orders(&mut core).is_empty());
    assert!(core.admit_dial(id(1), Some(peer(60))).is_err());
}
