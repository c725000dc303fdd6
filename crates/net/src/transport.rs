//! What carries connections: TCP, WebSocket, QUIC, relay circuits, and names resolved by DNS.

use std::{io, time::Duration};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    PeerId, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade},
    dns, identity, noise, pnet, quic, relay, tcp, tls as libp2p_tls, websocket, yamux,
};

mod gather;
mod read_ahead;
mod security;
mod tls;

use crate::settings;
use read_ahead::ReadAhead;
use security::Security;

/// Name resolution, dialling, security and multiplexing together may take this long.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Substreams of a connection, both sides together. Each costs about 2 KiB: 1 MiB a connection.
const MAX_SUBSTREAMS: usize = 512;

/// Connections as the swarm takes them.
pub(crate) type Connections = Boxed<(PeerId, StreamMuxerBox)>;

/// How a transport cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The key cannot be used for Noise.
    #[error("the identity key cannot be used for Noise: {0}")]
    Noise(#[from] noise::Error),
    /// The key cannot be used for TLS.
    #[error("the identity key cannot be used for TLS: {0}")]
    Tls(#[from] libp2p_tls::certificate::GenError),
    /// The system's name resolution cannot be used.
    #[error("the system's DNS settings cannot be used: {0}")]
    Dns(#[from] io::Error),
}

/// Bytes both ways. Erased, so that handshake and muxing are compiled once and not per transport.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}
type Raw = Box<dyn Duplex>;

/// Every transport over one identity, behind DNS, and the behaviour of the relay client.
///
/// With a network key only TCP and WebSocket remain: QUIC has no place for it.
pub(crate) fn all(
    keys: &identity::Keypair,
    network_key: Option<pnet::PreSharedKey>,
    offered: settings::Security,
) -> Result<(Connections, relay::client::Behaviour), TransportError> {
    let security = Security::new(keys, offered)?;
    let (circuits, relay_client) = relay::client::new(keys.public().to_peer_id());
    let circuits = circuits.map(|stream, _| Box::new(stream) as Raw).boxed();
    let tcp = shared_key(tcp_sockets(), network_key);
    let web = shared_key(websocket::Config::new(tcp_sockets()), network_key);
    // WebSocket before TCP, which would take its addresses and ignore their end.
    let streams = web.or_transport(tcp).map(|stream, _| stream.into_inner()).boxed();
    let streams = secure(streams, security.clone());
    let direct = if network_key.is_some() {
        streams
    } else {
        let quic = quic::tokio::Transport::new(quic::Config::new(keys))
            .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
        quic.or_transport(streams).map(|either, _| either.into_inner()).boxed()
    };
    let named = dns::tokio::Transport::system(direct)?;
    let all = secure(circuits, security).or_transport(named).map(|either, _| either.into_inner());
    Ok((all.boxed(), relay_client))
}

fn tcp_sockets() -> tcp::tokio::Transport {
    tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
}

/// Puts a transport behind the network key, where there is one.
fn shared_key<T>(transport: T, key: Option<pnet::PreSharedKey>) -> Boxed<Raw>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let raw = transport.map(|stream, _| Box::new(ReadAhead::new(stream)) as Raw).boxed();
    let Some(key) = key else { return raw };
    let keyed = raw.and_then(move |stream, _| async move {
        let stream = pnet::PnetConfig::new(key).handshake(stream).await?;
        Ok::<_, pnet::PnetError>(Box::new(stream) as Raw)
    });
    keyed.boxed()
}

/// TLS or Noise, then yamux.
fn secure(transport: Boxed<Raw>, security: Security) -> Connections {
    let mut muxing = yamux::Config::default();
    muxing.set_max_num_streams(MAX_SUBSTREAMS);
    transport
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(security)
        .multiplex(muxing)
        .timeout(SETUP_TIMEOUT)
        .boxed()
}
