//! TLS and Noise. The faster one comes first: TLS where the CPU has instructions for AES, which Noise
//! does not use; elsewhere Noise, as a peer with AES would choose that for TLS.

use std::future::Future;

use futures::{
    AsyncRead, AsyncWrite,
    future::{BoxFuture, Either},
};
use futures_rustls::TlsStream;
use libp2p::{
    PeerId,
    core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
    identity, noise,
};

use super::{TransportError, gather::Gather, tls};

/// Offers both; the peer's choice decides.
#[derive(Clone)]
pub(crate) struct Security {
    noise: noise::Config,
    tls: tls::Config,
}

/// How a handshake fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error(transparent)]
    Noise(#[from] noise::Error),
    #[error(transparent)]
    Tls(#[from] tls::UpgradeError),
}

type Output<C> = (PeerId, Either<noise::Output<C>, Gather<TlsStream<C>>>);

impl Security {
    pub(crate) fn new(keys: &identity::Keypair) -> Result<Self, TransportError> {
        Ok(Self { noise: noise::Config::new(keys)?, tls: tls::Config::new(keys)? })
    }
}

fn noise_output<C>((peer, io): (PeerId, noise::Output<C>)) -> Output<C> {
    (peer, Either::Left(io))
}

fn tls_output<C>((peer, io): (PeerId, TlsStream<C>)) -> Output<C> {
    (peer, Either::Right(Gather::new(io)))
}

/// Which of the two a negotiated protocol name means.
fn is_noise(security: &noise::Config, name: &str) -> bool {
    security.protocol_info().any(|noise| noise == name)
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = std::vec::IntoIter<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        let mut names: Vec<_> =
            self.tls.protocol_info().chain(self.noise.protocol_info()).collect();
        if !tls::has_aes() {
            names.reverse();
        }
        names.into_iter()
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = Output<C>;
    type Error = HandshakeError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, io: C, name: &'static str) -> Self::Future {
        if is_noise(&self.noise, name) {
            boxed(self.noise.upgrade_inbound(io, name), noise_output)
        } else {
            boxed(self.tls.upgrade_inbound(io, name), tls_output)
        }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> OutboundConnectionUpgrade<C> for Security {
    type Output = Output<C>;
    type Error = HandshakeError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, io: C, name: &'static str) -> Self::Future {
        if is_noise(&self.noise, name) {
            boxed(self.noise.upgrade_outbound(io, name), noise_output)
        } else {
            boxed(self.tls.upgrade_outbound(io, name), tls_output)
        }
    }
}

fn boxed<O: 'static, E, C>(
    handshake: impl Future<Output = Result<O, E>> + Send + 'static,
    output: fn(O) -> Output<C>,
) -> BoxFuture<'static, Result<Output<C>, HandshakeError>>
where
    HandshakeError: From<E>,
    C: 'static,
{
    Box::pin(async move { Ok(output(handshake.await?)) })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use libp2p::{
        Swarm, SwarmBuilder,
        swarm::{self, SwarmEvent, dummy},
        tcp, yamux,
    };

    use super::*;

    #[test]
    fn the_faster_one_is_offered_first() {
        let security = Security::new(&identity::Keypair::generate_ed25519()).unwrap();
        let mut names: Vec<_> = security.protocol_info().collect();
        if !tls::has_aes() {
            names.reverse();
        }
        assert_eq!(names, ["/tls/1.0.0", "/noise"]);
    }

    fn ours() -> Swarm<dummy::Behaviour> {
        let keys = identity::Keypair::generate_ed25519();
        let (connections, _) = crate::transport::all(&keys, None).unwrap();
        let config = swarm::Config::with_tokio_executor();
        Swarm::new(connections, dummy::Behaviour, keys.public().to_peer_id(), config)
    }

    fn noise_only() -> Swarm<dummy::Behaviour> {
        SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::new(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| dummy::Behaviour)
            .unwrap()
            .build()
    }

    /// Until both have the connection.
    async fn connect(mut dialler: Swarm<dummy::Behaviour>, mut listener: Swarm<dummy::Behaviour>) {
        listener.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let mut connected = 0;
        while connected < 2 {
            let event = tokio::select! {
                event = listener.select_next_some() => event,
                event = dialler.select_next_some() => event,
            };
            match event {
                SwarmEvent::NewListenAddr { address, .. } => dialler.dial(address).unwrap(),
                SwarmEvent::ConnectionEstablished { .. } => connected += 1,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_has_only_noise_is_served() {
        connect(ours(), noise_only()).await;
        connect(noise_only(), ours()).await;
        connect(ours(), ours()).await;
    }
}
