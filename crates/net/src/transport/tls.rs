//! TLS 1.3 as the [libp2p specification][spec] has it, with the cipher this CPU is fastest at.
//!
//! `libp2p-tls` prefers ChaCha20 everywhere and leaves no choice, so the handshake is set up here;
//! certificates are its own, made and checked by `libp2p_tls::certificate`. Every connection
//! presents and checks one: nothing is resumed.
//!
//! [spec]: https://github.com/libp2p/specs/blob/master/tls/tls.md

use std::{
    io, iter,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use futures::{AsyncRead, AsyncWrite, future::BoxFuture};
use futures_rustls::{
    TlsAcceptor, TlsConnector, TlsStream,
    rustls::{
        CipherSuite, ClientConfig, CommonState, ServerConfig,
        client::Resumption,
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::ServerName,
        server::NoServerSessionStorage,
        sign::{CertifiedKey, SingleCertAndKey},
        version::TLS13,
    },
};
use libp2p::{
    PeerId,
    core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
    identity,
    tls::certificate::{self, GenError, ParseError},
};

mod verifier;

use verifier::Verifier;

const PROTOCOL: &str = "/tls/1.0.0";
const ALPN: &[u8] = b"libp2p";

/// How a handshake fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpgradeError {
    /// The connection broke, or one side refused the other.
    #[error(transparent)]
    Handshake(#[from] io::Error),
    /// The certificate does not prove who the peer is.
    #[error("the peer's certificate is not valid: {0}")]
    Certificate(#[from] ParseError),
    /// The peer presented no certificate, or several.
    #[error("the peer did not present exactly one certificate")]
    NotOneCertificate,
}

/// One certificate for all connections, dialled and accepted.
#[derive(Clone)]
pub(crate) struct Config {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

impl Config {
    pub(crate) fn new(keys: &identity::Keypair) -> Result<Self, GenError> {
        let provider = provider(&preference());
        let (certificate, key) = certificate::generate(keys)?;
        let key = provider.key_provider.load_private_key(key).expect("an ECDSA key just made");
        Ok(Self::with(CertifiedKey::new(vec![certificate], key), provider))
    }

    fn with(identity: CertifiedKey, provider: CryptoProvider) -> Self {
        // Not by rustls' own ways to set a certificate, which refuse the libp2p extension.
        let identity = Arc::new(SingleCertAndKey::from(identity));
        let provider = Arc::new(provider);

        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has suites for TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier))
            .with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(&identity));
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();

        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has suites for TLS 1.3")
            .with_client_cert_verifier(Arc::new(Verifier))
            .with_cert_resolver(identity);
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        // The peer's order seldom says anything about its CPU: `libp2p-tls` has only one.
        server.ignore_client_order = true;

        Self { connector: Arc::new(client).into(), acceptor: Arc::new(server).into() }
    }
}

/// Whether the CPU has instructions for AES-GCM; without, ChaCha20 is several times as fast.
pub(crate) fn has_aes() -> bool {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    return is_x86_feature_detected!("aes") && is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    return false;
}

/// The suites of TLS 1.3, best first.
fn preference() -> [CipherSuite; 3] {
    let mut suites = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    if !has_aes() {
        suites.rotate_right(1);
    }
    suites
}

/// The backend that QUIC has as well, with only these suites, in this order.
fn provider(suites: &[CipherSuite]) -> CryptoProvider {
    let all = aws_lc_rs::default_provider();
    let find = |wanted: &CipherSuite| all.cipher_suites.iter().find(|s| s.suite() == *wanted);
    CryptoProvider { cipher_suites: suites.iter().filter_map(find).copied().collect(), ..all }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(PROTOCOL)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<C> for Config {
    type Output = (PeerId, TlsStream<C>);
    type Error = UpgradeError;
    type Future = BoxFuture<'static, Result<Self::Output, UpgradeError>>;

    fn upgrade_inbound(self, io: C, _: &'static str) -> Self::Future {
        Box::pin(async move {
            let stream = self.acceptor.accept(io).await?;
            Ok((remote_peer(stream.get_ref().1)?, stream.into()))
        })
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<C> for Config {
    type Output = (PeerId, TlsStream<C>);
    type Error = UpgradeError;
    type Future = BoxFuture<'static, Result<Self::Output, UpgradeError>>;

    fn upgrade_outbound(self, io: C, _: &'static str) -> Self::Future {
        // An IP address is never sent as a server name, and the specification forbids to send any.
        let nobody = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into());
        Box::pin(async move {
            let stream = self.connector.connect(nobody, io).await?;
            Ok((remote_peer(stream.get_ref().1)?, stream.into()))
        })
    }
}

/// Whom the certificate names. Whether that is who was dialled, the swarm checks.
fn remote_peer(session: &CommonState) -> Result<PeerId, UpgradeError> {
    let Some([certificate]) = session.peer_certificates() else {
        return Err(UpgradeError::NotOneCertificate);
    };
    let peer = certificate::parse(certificate)?.peer_id();
    let suite = session.negotiated_cipher_suite().map(|s| s.suite());
    tracing::debug!(%peer, ?suite, "connection secured by TLS");
    Ok(peer)
}

#[cfg(test)]
mod tests;
