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
use crate::settings;

/// Offers both, or one as the settings say; the peer's choice decides.
#[derive(Clone)]
pub(crate) struct Security {
    noise: noise::Config,
    tls: tls::Config,
    offered: settings::Security,
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
    pub(crate) fn new(
        keys: &identity::Keypair,
        offered: settings::Security,
    ) -> Result<Self, TransportError> {
        Ok(Self { noise: noise::Config::new(keys)?, tls: tls::Config::new(keys)?, offered })
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
        let (tls, noise) = (self.tls.protocol_info(), self.noise.protocol_info());
        let names: Vec<_> = match self.offered {
            settings::Security::Both if tls::has_aes() => tls.chain(noise).collect(),
            settings::Security::Both => noise.chain(tls).collect(),
            settings::Security::Noise => noise.collect(),
            settings::Security::Tls => tls.collect(),
        };
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
        swarm::{self, DialError, SwarmEvent, dummy},
        tcp, yamux,
    };

    use super::*;
    use crate::settings::Security::{Both, Noise, Tls};

    fn offers(offered: settings::Security) -> Vec<&'static str> {
        let keys = identity::Keypair::generate_ed25519();
        Security::new(&keys, offered).unwrap().protocol_info().collect()
    }

    #[test]
    fn only_what_the_settings_say_is_offered() {
        assert_eq!(offers(Noise), ["/noise"]);
        assert_eq!(offers(Tls), ["/tls/1.0.0"]);
    }

    #[test]
    fn the_faster_one_is_offered_first() {
        let mut names = offers(Both);
        if !tls::has_aes() {
            names.reverse();
        }
        assert_eq!(names, ["/tls/1.0.0", "/noise"]);
    }

    fn ours(offered: settings::Security) -> Swarm<dummy::Behaviour> {
        let keys = identity::Keypair::generate_ed25519();
        let (connections, _) = crate::transport::all(&keys, None, offered).unwrap();
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

    /// Until both have the connection, or the dialler knows why there is none.
    async fn connect(
        mut dialler: Swarm<dummy::Behaviour>,
        mut listener: Swarm<dummy::Behaviour>,
    ) -> Result<(), DialError> {
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
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_peer_that_has_only_noise_is_served() {
        connect(ours(Both), noise_only()).await.unwrap();
        connect(noise_only(), ours(Both)).await.unwrap();
        connect(ours(Both), ours(Both)).await.unwrap();
    }

    #[tokio::test]
    async fn a_node_with_one_protocol_meets_only_who_has_it() {
        connect(ours(Tls), ours(Both)).await.unwrap();
        connect(ours(Both), ours(Tls)).await.unwrap();
        connect(ours(Noise), noise_only()).await.unwrap();
        connect(ours(Tls), noise_only()).await.unwrap_err();
        connect(noise_only(), ours(Tls)).await.unwrap_err();
    }
}
