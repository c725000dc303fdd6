use std::time::{Duration, Instant};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use peerage_api::{
    Ask,
    peers::{Connect, Connected, PeersError},
};

use super::{peer, public, secs, start};
use crate::{
    connect::{Connects, Effect, Key, resolve},
    outcome::Failure,
};

type Answer = Result<Connected, PeersError>;

struct Caller(tokio::sync::oneshot::Receiver<Answer>);

impl Caller {
    fn answer(&mut self) -> Option<Answer> {
        self.0.try_recv().ok()
    }

    fn error(&mut self) -> PeersError {
        self.answer().expect("answered").expect_err("refused")
    }
}

fn request(peer: Option<PeerId>, addresses: &[Multiaddr]) -> Connect {
    Connect { peer, addresses: addresses.to_vec() }
}

fn connects() -> Connects {
    Connects::new(peer(0), secs(20), Duration::ZERO)
}

fn begin(
    connects: &mut Connects,
    peer: Option<PeerId>,
    given: &[Multiaddr],
    known: bool,
    now: Instant,
) -> (Caller, Vec<Effect>) {
    let (ask, answer) = Ask::new(request(peer, given));
    let effects = connects.begin(ask, peer, given.to_vec(), known, now);
    (Caller(answer), effects)
}

fn dial(effects: &[Effect]) -> ConnectionId {
    match effects {
        [Effect::Dial { opts, .. }] => opts.connection_id(),
        other => panic!("expected one dial, got {other:?}"),
    }
}

fn is_need(effects: &[Effect], peer: PeerId) -> bool {
    matches!(effects, [Effect::NeedAddresses { peer: wanted }] if *wanted == peer)
}

fn tried(addresses: &[u32]) -> Failure {
    Failure::Tried(addresses.iter().map(|a| (public(*a), "connection refused".into())).collect())
}

#[test]
fn a_request_names_one_peer_and_dialable_addresses() {
    let (own, p, q) = (peer(0), peer(1), peer(2));
    let with = |n: u32, p: PeerId| public(n).with_p2p(p).unwrap();
    let ok = |request: &Connect| resolve(request, &own);
    assert_eq!(ok(&request(Some(p), &[])), Ok((Some(p), vec![])));
    let named = request(None, &[with(1, p), public(2), with(1, p)]);
    assert_eq!(ok(&named), Ok((Some(p), vec![public(1), public(2)])), "the id counts for all");
    assert_eq!(ok(&request(None, &[public(3)])), Ok((None, vec![public(3)])));
    let only_id: Multiaddr = format!("/p2p/{p}").parse().unwrap();
    assert_eq!(ok(&request(None, &[only_id])), Ok((Some(p), vec![])));

    assert_eq!(ok(&request(Some(own), &[])), Err(PeersError::Own { peer: own }));
    assert_eq!(ok(&request(None, &[with(1, own)])), Err(PeersError::Own { peer: own }));
    for bad in [
        request(None, &[]),
        request(Some(p), &[with(1, q)]),
        request(None, &[with(1, p), with(2, q)]),
        request(None, &[super::address("/ip4/1.2.3.4/udp/5")]),
    ] {
        assert!(matches!(ok(&bad), Err(PeersError::BadAddress { .. })), "{bad:?}");
    }
    let many: Vec<_> = (0..17).map(public).collect();
    assert!(matches!(ok(&request(None, &many)), Err(PeersError::OutOfRange { .. })));
}

#[test]
fn several_callers_share_one_dial_and_all_are_answered() {
    let (mut connects, now, p) = (connects(), start(), peer(1));
    let (mut first, effects) = begin(&mut connects, Some(p), &[public(1)], false, now);
    let dial = dial(&effects);
    let (mut second, effects) = begin(&mut connects, Some(p), &[], true, now);
    assert!(effects.is_empty());
    connects.on_established(dial, p, &public(1), now);
    for caller in [&mut first, &mut second] {
        let connected = caller.answer().unwrap().unwrap();
        assert_eq!((connected.peer_id, connected.already), (p, false));
        assert_eq!(connected.address.to_string(), public(1).to_string());
    }
    assert_eq!(connects.len(), 0);
}

#[test]
fn an_address_that_a_later_caller_names_is_dialled_when_the_others_failed() {
    let (mut connects, now, p) = (connects(), start(), peer(1));
    let (mut first, effects) = begin(&mut connects, Some(p), &[public(1)], false, now);
    let (mut second, none) = begin(&mut connects, Some(p), &[public(1), public(2)], false, now);
    assert!(none.is_empty());
    let id = dial(&effects);
    let effects = connects.on_failed(&Key::Peer(p), id, tried(&[1]), vec![], now);
    let id = dial(&effects);
    assert!(first.answer().is_none());
    connects.on_established(id, p, &public(2), now);
    assert!(first.answer().unwrap().is_ok() && second.answer().unwrap().is_ok());
}

#[test]
fn what_each_address_said_is_in_the_error() {
    let (mut connects, now, p) = (connects(), start(), peer(1));
    let (mut caller, effects) = begin(&mut connects, Some(p), &[public(1)], false, now);
    let none = connects.on_failed(&Key::Peer(p), dial(&effects), tried(&[1]), vec![], now);
    assert!(none.is_empty(), "the caller named the addresses: discovery is not asked");
    let said = vec![format!("{}: connection refused", public(1))];
    assert_eq!(caller.error(), PeersError::Unreachable { target: p.to_string(), tried: said });
}

#[test]
fn a_peer_without_addresses_is_looked_up_for_a_bounded_time() {
    let (mut connects, now, p) = (connects(), start(), peer(1));
    let (mut caller, effects) = begin(&mut connects, Some(p), &[], false, now);
    assert!(is_need(&effects, p));
    assert_eq!(connects.next_due(), Some(now + secs(20)));
    connects.tick(now + secs(19));
    assert!(caller.answer().is_none());
    connects.tick(now + secs(20));
    assert_eq!(caller.error(), PeersError::NoAddress { peer: p });

    let (mut caller, _) = begin(&mut connects, Some(p), &[], false, now);
    connects.on_addresses_missing(p);
    assert_eq!(caller.error(), PeersError::NoAddress { peer: p });
}

#[test]
fn a_stale_book_leads_to_discovery_and_fresh_addresses_are_dialled() {
    let (mut connects, now, p) = (connects(), start(), peer(1));
    let (mut caller, effects) = begin(&mut connects, Some(p), &[], true, now);
    let id = dial(&effects);
    let effects = connects.on_failed(&Key::Peer(p), id, tried(&[1]), vec![], now);
    assert!(is_need(&effects, p));
    assert!(connects.on_addresses(p, &[public(1)]).is_empty(), "that one was tried");
    let effects = connects.on_addresses(p, &[public(1), public(2)]);
    let id = dial(&effects);
    connects.on_failed(&Key::Peer(p), id, tried(&[2]), vec![], now);
    let PeersError::Unreachable { tried, .. } = caller.error() else { panic!() };
    assert_eq!(tried.len(), 2, "asked once only, and all is told: {tried:?}");
}

#[test]
fn one_wrong_peer_does_not_spoil_the_other_addresses() {
    let (mut connects, now, p, stranger) = (connects(), start(), peer(1), peer(7));
    let given = [public(1), public(2), public(3)];
    let (mut caller, effects) = begin(&mut connects, Some(p), &given, false, now);
    let wrong = |address| Failure::Wrong { address: public(address), found: stranger };
    let effects = connects.on_failed(&Key::Peer(p), dial(&effects), wrong(1), vec![], now);
    let effects = connects.on_failed(&Key::Peer(p), dial(&effects), wrong(2), vec![], now);
    connects.on_established(dial(&effects), p, &public(3), now);
    assert!(caller.answer().unwrap().is_ok());

    let (mut caller, effects) = begin(&mut connects, Some(p), &[public(1)], false, now);
    let id = dial(&effects);
    assert!(connects.on_failed(&Key::Peer(p), id, wrong(1), vec![], now).is_empty());
    let address = public(1).to_string();
    assert_eq!(caller.error(), PeersError::WrongPeer { address, expected: p, found: stranger });
}

#[test]
fn whoever_answers_first_at_the_addresses_counts() {
    let (mut connects, now) = (connects(), start());
    let (mut caller, effects) = begin(&mut connects, None, &[public(1), public(2)], false, now);
    let ids: Vec<_> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Dial { opts, .. } => opts.connection_id(),
            Effect::NeedAddresses { .. } => panic!(),
        })
        .collect();
    let key = Key::Addresses(vec![public(1), public(2)]);
    assert!(connects.on_failed(&key, ids[0], tried(&[1]), vec![], now).is_empty());
    assert!(caller.answer().is_none());
    connects.on_established(ids[1], peer(5), &public(2), now);
    assert_eq!(caller.answer().unwrap().unwrap().peer_id, peer(5));
}

#[test]
fn our_own_listen_address_is_ourselves() {
    let (mut connects, now) = (connects(), start());
    let (mut caller, effects) = begin(&mut connects, None, &[public(1)], false, now);
    let key = Key::Addresses(vec![public(1)]);
    connects.on_failed(&key, dial(&effects), Failure::NoAddress, vec![], now);
    assert_eq!(caller.error(), PeersError::Own { peer: peer(0) });
}

#[test]
fn callers_that_have_gone_are_forgotten() {
    let (mut connects, now, p) = (connects(), start(), peer(1));
    let (caller, _) = begin(&mut connects, Some(p), &[], false, now);
    drop(caller);
    connects.tick(now);
    assert_eq!((connects.len(), connects.next_due()), (0, None));
}

#[test]
fn callers_and_targets_are_bounded() {
    let (mut connects, now) = (connects(), start());
    let mut callers: Vec<_> =
        (0..64).map(|_| begin(&mut connects, Some(peer(1)), &[], false, now).0).collect();
    let (mut extra, _) = begin(&mut connects, Some(peer(1)), &[], false, now);
    assert!(matches!(extra.error(), PeersError::Refused { .. }));
    for _ in 1..256 {
        callers.push(begin(&mut connects, Some(PeerId::random()), &[], false, now).0);
    }
    let (mut extra, _) = begin(&mut connects, Some(PeerId::random()), &[], false, now);
    assert!(matches!(extra.error(), PeersError::Refused { .. }));
}

#[test]
fn a_connection_counts_once_the_peer_told_who_it_is_or_some_time_passed() {
    let (now, p) = (start(), peer(1));
    let settling = || {
        let mut connects = Connects::new(peer(0), secs(20), secs(1));
        let (mut caller, effects) = begin(&mut connects, Some(p), &[public(1)], false, now);
        connects.on_established(dial(&effects), p, &public(1), now);
        assert!(caller.answer().is_none());
        (connects, caller, dial(&effects))
    };
    let (mut connects, mut caller, _) = settling();
    connects.on_identified(p);
    assert!(caller.answer().unwrap().is_ok());

    let (mut connects, mut caller, _) = settling();
    assert_eq!(connects.next_due(), Some(now + secs(1)));
    connects.tick(now + secs(1));
    assert!(caller.answer().unwrap().is_ok());

    let (mut connects, mut caller, id) = settling();
    connects.on_closed(id, Some(super::id(usize::MAX)));
    assert!(caller.answer().is_none(), "another connection stands");
    connects.on_closed(super::id(usize::MAX), None);
    assert!(matches!(caller.error(), PeersError::Refused { .. }));
}
