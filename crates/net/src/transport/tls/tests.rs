use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use futures_rustls::rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use libp2p::{
    Swarm, Transport,
    core::{
        multiaddr::Protocol,
        transport::{
            DialOpts, ListenerId, MemoryTransport, PortUse, TransportEvent, memory::Channel,
        },
    },
    identity::Keypair,
    swarm::{self, DialError, SwarmEvent, dial_opts, dummy},
    tls as upstream,
};

use super::*;

type Io = Channel<Vec<u8>>;
type Outcome<E> = Result<(PeerId, TlsStream<Io>), E>;

/// The ends of the dialler and of the listener.
async fn connected() -> (Io, Io) {
    let mut transport = MemoryTransport::default();
    transport.listen_on(ListenerId::next(), Protocol::Memory(0).into()).unwrap();
    let mut transport = transport.boxed();
    let Some(TransportEvent::NewAddress { listen_addr, .. }) = transport.next().await else {
        panic!("the listener has no address")
    };
    let opts = DialOpts { role: libp2p::core::Endpoint::Dialer, port_use: PortUse::Reuse };
    let dialled = transport.dial(listen_addr, opts).unwrap();
    let accepted = async {
        loop {
            if let Some(TransportEvent::Incoming { upgrade, .. }) = transport.next().await {
                return upgrade.await.unwrap();
            }
        }
    };
    let (dialled, accepted) = future::join(dialled, accepted).await;
    (dialled.unwrap(), accepted)
}

/// What the dialler and what the listener get.
async fn handshake<D, L>(dialler: D, listener: L) -> (Outcome<D::Error>, Outcome<L::Error>)
where
    D: OutboundConnectionUpgrade<Io, Info = &'static str, Output = (PeerId, TlsStream<Io>)>,
    L: InboundConnectionUpgrade<Io, Info = &'static str, Output = (PeerId, TlsStream<Io>)>,
{
    let (dialled, accepted) = connected().await;
    let dialled = dialler.upgrade_outbound(dialled, PROTOCOL);
    let accepted = listener.upgrade_inbound(accepted, PROTOCOL);
    future::join(dialled, accepted).await
}

/// Sends more than a record from one to the other.
async fn pass(from: &mut TlsStream<Io>, to: &mut TlsStream<Io>) {
    let sent: Vec<u8> = (0..100_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let sending = async {
        from.write_all(&sent).await.unwrap();
        from.flush().await.unwrap();
    };
    let mut got = vec![0; sent.len()];
    future::join(sending, async { to.read_exact(&mut got).await.unwrap() }).await;
    assert_eq!(got, sent);
}

/// Does a handshake that must succeed, sends bytes both ways and returns the suite.
async fn suite<D, L>(dialler: (D, PeerId), listener: (L, PeerId)) -> CipherSuite
where
    D: OutboundConnectionUpgrade<Io, Info = &'static str, Output = (PeerId, TlsStream<Io>)>,
    L: InboundConnectionUpgrade<Io, Info = &'static str, Output = (PeerId, TlsStream<Io>)>,
    D::Error: std::fmt::Debug,
    L::Error: std::fmt::Debug,
{
    let (dialled, accepted) = handshake(dialler.0, listener.0).await;
    let ((seen_by_dialler, mut dialled), (seen_by_listener, mut accepted)) =
        (dialled.unwrap(), accepted.unwrap());
    assert_eq!((seen_by_dialler, seen_by_listener), (listener.1, dialler.1));
    pass(&mut dialled, &mut accepted).await;
    pass(&mut accepted, &mut dialled).await;
    let (_, session) = dialled.get_ref();
    assert_eq!(session.alpn_protocol(), Some(ALPN));
    session.negotiated_cipher_suite().unwrap().suite()
}

fn ours() -> (Config, PeerId) {
    let keys = Keypair::generate_ed25519();
    (Config::new(&keys).unwrap(), keys.public().to_peer_id())
}

fn theirs() -> (upstream::Config, PeerId) {
    let keys = Keypair::generate_ed25519();
    (upstream::Config::new(&keys).unwrap(), keys.public().to_peer_id())
}

/// One that knows only this suite.
fn only(suite: CipherSuite) -> (Config, PeerId) {
    let keys = Keypair::generate_ed25519();
    let identity = Forged::for_peer(&keys).certified();
    (Config::with(identity, provider(&[suite])), keys.public().to_peer_id())
}

#[tokio::test]
async fn two_of_ours_know_each_other_and_use_the_fastest_cipher() {
    assert_eq!(suite(ours(), ours()).await, preference()[0]);
}

#[tokio::test]
async fn libp2p_tls_is_understood_and_takes_our_cipher_whoever_dials() {
    assert_eq!(suite(ours(), theirs()).await, preference()[0]);
    assert_eq!(suite(theirs(), ours()).await, preference()[0]);
}

#[tokio::test]
async fn a_peer_with_any_one_suite_is_served() {
    for lone in preference() {
        assert_eq!(suite(ours(), only(lone)).await, lone);
        assert_eq!(suite(only(lone), ours()).await, lone);
    }
}

#[test]
fn aes_comes_first_where_the_cpu_has_it() {
    let fast = preference()[0] == CipherSuite::TLS13_AES_128_GCM_SHA256;
    assert_eq!(fast, has_aes());
    assert_eq!(provider(&preference()).cipher_suites.len(), 3);
}

/// A certificate with every freedom a liar has.
struct Forged {
    peer: Keypair,
    signer: Keypair,
    years: [i32; 2],
    copies: usize,
    /// Presents the certificate without having its key.
    stolen: bool,
}

impl Forged {
    fn for_peer(peer: &Keypair) -> Self {
        Self {
            peer: peer.clone(),
            signer: peer.clone(),
            years: [2000, 3000],
            copies: 1,
            stolen: false,
        }
    }

    fn certified(&self) -> CertifiedKey {
        let key = rcgen::KeyPair::generate().unwrap();
        let [from, until] = self.years;
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.custom_extensions.push(self.extension(&key));
        let certificate: CertificateDer<'_> = params.self_signed(&key).unwrap().into();
        let key = if self.stolen { rcgen::KeyPair::generate().unwrap() } else { key };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = provider(&preference()).key_provider.load_private_key(key).unwrap();
        CertifiedKey::new(vec![certificate; self.copies], key)
    }

    /// `SEQUENCE { OCTET STRING public key, OCTET STRING signature }`.
    fn extension(&self, key: &rcgen::KeyPair) -> rcgen::CustomExtension {
        let message = [b"libp2p-tls-handshake:", &*key.public_key_der()].concat();
        let mut content = Vec::new();
        let parts = [self.peer.public().encode_protobuf(), self.signer.sign(&message).unwrap()];
        for part in parts {
            content.extend([4, u8::try_from(part.len()).unwrap()]);
            content.extend(part);
        }
        content.splice(0..0, [0x30, u8::try_from(content.len()).unwrap()]);
        let id = [1, 3, 6, 1, 4, 1, 53594, 1, 1];
        let mut extension = rcgen::CustomExtension::from_oid_content(&id, content);
        extension.set_criticality(true);
        extension
    }

    /// How we refuse it when it is dialled and when it dials.
    async fn refusals(&self) -> [String; 2] {
        let config = || Config::with(self.certified(), provider(&preference()));
        let (dialled, _) = handshake(ours().0, config()).await;
        let (_, accepted) = handshake(config(), ours().0).await;
        [dialled, accepted].map(|outcome| outcome.map(|(peer, _)| peer).unwrap_err().to_string())
    }
}

fn all_say(refusals: &[String], reason: &str) {
    for refusal in refusals {
        assert!(refusal.contains(reason), "{refusal} and not {reason}");
    }
}

#[tokio::test]
async fn a_certificate_in_anothers_name_is_refused() {
    let signer = Keypair::generate_ed25519();
    let forged = Forged { signer, ..Forged::for_peer(&Keypair::generate_ed25519()) };
    all_say(&forged.refusals().await, "UnknownIssuer");
}

#[tokio::test]
async fn a_certificate_of_the_past_or_the_future_is_refused() {
    for years in [[1970, 1975], [2990, 3000]] {
        let forged = Forged { years, ..Forged::for_peer(&Keypair::generate_ed25519()) };
        all_say(&forged.refusals().await, "InvalidCertValidity");
    }
}

#[tokio::test]
async fn more_than_one_certificate_is_refused() {
    let forged = Forged { copies: 2, ..Forged::for_peer(&Keypair::generate_ed25519()) };
    all_say(&forged.refusals().await, "more than one certificate");
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let forged = Forged { stolen: true, ..Forged::for_peer(&Keypair::generate_ed25519()) };
    all_say(&forged.refusals().await, "BadSignature");
}

#[test]
fn a_changed_byte_anywhere_in_what_a_certificate_says_is_refused() {
    let (certificate, _) = certificate::generate(&Keypair::generate_ed25519()).unwrap();
    let verify = |der: &[u8]| {
        let leaf = CertificateDer::from(der);
        Verifier.verify_client_cert(&leaf, &[], UnixTime::now())
    };
    verify(&certificate).unwrap();
    // The signed part is the first element of the outer sequence; both lengths take two bytes.
    let signed = 8 + usize::from(u16::from_be_bytes([certificate[6], certificate[7]]));
    for at in 0..signed {
        let mut changed = certificate.to_vec();
        changed[at] ^= 1;
        assert!(verify(&changed).is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn a_dialler_without_certificate_is_refused() {
    let (dialled, accepted) = connected().await;
    let anonymous = ClientConfig::builder_with_provider(provider(&preference()).into())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier))
        .with_no_client_auth();
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
    let dialling = TlsConnector::from(Arc::new(anonymous)).connect(name, dialled);
    let accepting = ours().0.upgrade_inbound(accepted, PROTOCOL);
    let (_, accepted) = future::join(dialling, accepting).await;
    let refusal = accepted.map(|(peer, _)| peer).unwrap_err().to_string();
    all_say(&[refusal], "peer sent no certificates");
}

#[tokio::test]
async fn whoever_is_not_the_one_dialled_is_refused() {
    let swarm = || {
        let keys = Keypair::generate_ed25519();
        let (connections, _) = crate::transport::all(&keys, None, Default::default()).unwrap();
        let config = swarm::Config::with_tokio_executor();
        Swarm::new(connections, dummy::Behaviour, keys.public().to_peer_id(), config)
    };
    let (mut us, mut other, expected) = (swarm(), swarm(), PeerId::random());
    other.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = other.select_next_some().await {
            break address;
        }
    };
    us.dial(dial_opts::DialOpts::peer_id(expected).addresses(vec![address]).build()).unwrap();
    let error = loop {
        tokio::select! {
            event = us.select_next_some() => match event {
                SwarmEvent::OutgoingConnectionError { error, .. } => break error,
                SwarmEvent::ConnectionEstablished { .. } => panic!("connected"),
                _ => {}
            },
            _ = other.select_next_some() => {}
        }
    };
    let obtained = *other.local_peer_id();
    assert!(matches!(error, DialError::WrongPeerId { obtained: who, .. } if who == obtained));
}
