use std::io;

use libp2p_core::transport::TransportError;
use libp2p_swarm::DialError;

use super::{address, peer};
use crate::{
    address::{Reach, check, counted_ip, reach, split},
    outcome::{Failure, error_words},
};

#[test]
fn the_peer_id_at_the_end_comes_off_and_a_relays_stays() {
    let (p, relay) = (peer(1), peer(2));
    for (given, bare, named) in [
        (format!("/ip4/1.2.3.4/tcp/1/p2p/{p}"), "/ip4/1.2.3.4/tcp/1".to_owned(), Some(p)),
        ("/ip4/1.2.3.4/tcp/1".to_owned(), "/ip4/1.2.3.4/tcp/1".to_owned(), None),
        (
            format!("/ip4/1.2.3.4/tcp/1/p2p/{relay}/p2p-circuit"),
            format!("/ip4/1.2.3.4/tcp/1/p2p/{relay}/p2p-circuit"),
            None,
        ),
        (
            format!("/ip4/1.2.3.4/tcp/1/p2p/{relay}/p2p-circuit/p2p/{p}"),
            format!("/ip4/1.2.3.4/tcp/1/p2p/{relay}/p2p-circuit"),
            Some(p),
        ),
    ] {
        assert_eq!(split(&address(&given)), (address(&bare), named));
    }
}

#[test]
fn what_cannot_be_dialled_is_refused_with_a_reason() {
    let relay = peer(2);
    for good in [
        "/ip4/1.2.3.4/tcp/1",
        "/ip6/2600::1/udp/1/quic-v1",
        "/dns4/example.org/tcp/443/wss",
        "/dns/example.org/tcp/443/tls/ws",
        "/dnsaddr/example.org",
        "/memory/7",
        &format!("/ip4/1.2.3.4/udp/9/quic-v1/p2p/{relay}/p2p-circuit"),
    ] {
        assert_eq!(check(&address(good)), Ok(()), "{good}");
    }
    for (bad, word) in [
        ("/ip4/0.0.0.0/tcp/1", "no host"),
        ("/ip4/224.0.0.1/tcp/1", "no host"),
        ("/ip4/1.2.3.4/tcp/0", "port 0"),
        ("/ip4/1.2.3.4", "neither"),
        ("/ip4/1.2.3.4/udp/1", "quic-v1"),
        ("/ip4/1.2.3.4/udp/1/quic", "quic-v1"),
        ("/ip4/1.2.3.4/udp/1/quic-v1/webtransport", "no such transport"),
        ("/ip4/1.2.3.4/tcp/1/p2p-circuit", "no relay"),
        ("/tcp/1", "begins"),
    ] {
        let reason = check(&address(bad)).unwrap_err();
        assert!(reason.contains(word), "{bad}: {reason}");
    }
}

#[test]
fn addresses_are_believed_by_how_far_they_reach() {
    for (text, expected) in [
        ("/ip4/127.0.0.1/tcp/1", Some(Reach::Loopback)),
        ("/ip4/10.1.2.3/tcp/1", Some(Reach::Private)),
        ("/ip4/100.64.0.1/tcp/1", Some(Reach::Private)),
        ("/ip4/169.254.1.1/tcp/1", Some(Reach::Private)),
        ("/ip4/8.8.8.8/tcp/1", Some(Reach::Global)),
        ("/ip4/11.0.0.1/tcp/1", Some(Reach::Global)),
        ("/ip6/::1/tcp/1", Some(Reach::Loopback)),
        ("/ip6/::ffff:10.0.0.1/tcp/1", Some(Reach::Private)),
        ("/ip6/fe80::1/tcp/1", Some(Reach::Private)),
        ("/ip6/fd00::1/tcp/1", Some(Reach::Private)),
        ("/ip6/2600::1/tcp/1", Some(Reach::Global)),
        ("/dns4/LOCALHOST/tcp/1", Some(Reach::Loopback)),
        ("/dns4/printer/tcp/1", Some(Reach::Private)),
        ("/dns4/example.org/tcp/1", Some(Reach::Global)),
        ("/memory/1", Some(Reach::Loopback)),
        ("/ip4/0.0.0.0/tcp/1", None),
        ("/ip6/ff02::1/tcp/1", None),
    ] {
        assert_eq!(reach(&address(text)), expected, "{text}");
    }
}

#[test]
fn connections_are_counted_by_ipv4_address_and_ipv6_network() {
    let counted = |text: &str, exempt| counted_ip(&address(text), exempt).map(|ip| ip.to_string());
    assert_eq!(counted("/ip4/8.8.8.8/tcp/1", true).as_deref(), Some("8.8.8.8"));
    assert_eq!(counted("/ip6/2600::a:b:c:d/tcp/1", true).as_deref(), Some("2600::"));
    assert_eq!(counted("/ip6/::ffff:8.8.8.8/tcp/1", true).as_deref(), Some("8.8.8.8"));
    assert_eq!(counted("/ip4/10.0.0.1/tcp/1", true), None);
    assert_eq!(counted("/ip4/10.0.0.1/tcp/1", false).as_deref(), Some("10.0.0.1"));
    assert_eq!(counted("/ip4/127.0.0.1/tcp/1", false), None);
    let relayed = format!("/ip4/8.8.8.8/tcp/1/p2p/{}/p2p-circuit", peer(1));
    assert_eq!(counted(&relayed, false), None);
}

#[test]
fn a_failed_dial_says_what_the_transport_said() {
    let refused = io::Error::from_raw_os_error(111);
    let nested = io::Error::other(io::Error::other(refused));
    assert_eq!(error_words(&nested), "connection refused");
    let only_text = io::Error::other("dial: Connection refused (os error 111)");
    assert_eq!(error_words(&only_text), "connection refused");
    let timeout: TransportError<io::Error> =
        TransportError::Other(io::Error::other("Timeout has been reached"));
    let with_id = address(&format!("/ip4/1.2.3.4/tcp/1/p2p/{}", peer(1)));
    let unsupported = TransportError::MultiaddrNotSupported(with_id.clone());
    let error = DialError::Transport(vec![(with_id.clone(), timeout), (with_id, unsupported)]);
    let Failure::Tried(tried) = Failure::of(&error) else { panic!("{error}") };
    let bare = address("/ip4/1.2.3.4/tcp/1");
    assert_eq!(tried[0], (bare.clone(), "no answer in time".to_owned()));
    assert_eq!(tried[1], (bare, "no transport for this address".to_owned()));
}

#[test]
fn what_is_no_handshake_asks_for_the_network_key() {
    let of = |error| {
        let at = address("/ip4/1.2.3.4/tcp/1");
        let error = DialError::Transport(vec![(at, TransportError::Other(error))]);
        let Failure::Tried(tried) = Failure::of(&error) else { panic!("{error}") };
        tried[0].1.clone()
    };
    let hint = "is it a node of this network, with the same network key?";
    assert!(of(io::Error::other("Maximum frame length exceeded")).ends_with(hint));
    assert!(of(io::ErrorKind::UnexpectedEof.into()).ends_with(hint));
    assert_eq!(of(io::ErrorKind::ConnectionRefused.into()), "connection refused");
}
