//! What carries connections: TCP, WebSocket, QUIC, relay circuits, and names resolved by DNS.

use std::{io, time::Duration};

use libp2p::{
    PeerId, Transport as _, core,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade},
    dns, identity, noise, pnet, quic, relay, tcp, tls, websocket, yamux,
};

mod read_ahead;
mod security;

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
    Tls(#[from] tls::certificate::GenError),
    /// The system's name resolution cannot be used.
    #[error("the system's DNS settings cannot be used: {0}")]
    Dns(#[from] io::Error),
}

/// Every transport over one identity, behind DNS, and the behaviour of the relay client.
///
/// With a network key only TCP and WebSocket remain: QUIC has no place for it.
pub(crate) fn all(
    keys: &identity::Keypair,
    network_key: Option<pnet::PreSharedKey>,
) -> Result<(Connections, relay::client::Behaviour), TransportError> {
    let security = Security::new(keys)?;
    let (circuits, relay_client) = relay::client::new(keys.public().to_peer_id());
    let circuits = secure(circuits, security.clone());
    let tcp = secure(shared_key(tcp_sockets(), network_key), security.clone());
    let web = secure(shared_key(websocket::Config::new(tcp_sockets()), network_key), security);
    let streams = web.or_transport(tcp).map(|either, _| either.into_inner()).boxed();
    let direct = if network_key.is_some() {
        streams
    } else {
        let quic = quic::tokio::Transport::new(quic::Config::new(keys))
            .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
        quic.or_transport(streams).map(|either, _| either.into_inner()).boxed()
    };
    let named = dns::tokio::Transport::system(direct)?.boxed();
    let all = circuits.or_transport(named).map(|either, _| either.into_inner()).boxed();
    Ok((all, relay_client))
}

fn tcp_sockets() -> tcp::tokio::Transport {
    tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
}

/// Puts a transport behind the network key, where there is one.
fn shared_key<T>(
    transport: T,
    key: Option<pnet::PreSharedKey>,
) -> impl core::Transport<
    Output = impl futures::AsyncRead + futures::AsyncWrite + Unpin + Send + 'static,
    Error = impl std::error::Error + Send + Sync + 'static,
    ListenerUpgrade = impl Send,
    Dial = impl Send,
> + Send
+ Unpin
+ 'static
where
    T: core::Transport + Send + Unpin + 'static,
    T::Output: futures::AsyncRead + futures::AsyncWrite + Unpin + Send + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    use futures::future::Either;
    transport.and_then(move |stream, _| async move {
        let stream = ReadAhead::new(stream);
        match key {
            None => Ok(Either::Left(stream)),
            Some(key) => pnet::PnetConfig::new(key).handshake(stream).await.map(Either::Right),
        }
    })
}

/// Noise or TLS, then yamux.
fn secure<T>(transport: T, security: Security) -> Connections
where
    T: core::Transport + Send + Unpin + 'static,
    T::Output: futures::AsyncRead + futures::AsyncWrite + Unpin + Send + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    let mut muxing = yamux::Config::default();
    muxing.set_max_num_streams(MAX_SUBSTREAMS);
    transport
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(security)
        .multiplex(muxing)
        .timeout(SETUP_TIMEOUT)
        .boxed()
}
