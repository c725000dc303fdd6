//! Noise, and TLS for those who do not speak it. Noise comes first because with the read-ahead
//! buffer it is the faster of the two here.

use std::future::Future;

use futures::{
    AsyncRead, AsyncWrite,
    future::{BoxFuture, Either},
};
use libp2p::{
    PeerId,
    core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
    identity, noise, tls,
};

use super::TransportError;

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

type Output<C> = (PeerId, Either<noise::Output<C>, tls::TlsStream<C>>);

impl Security {
    pub(crate) fn new(keys: &identity::Keypair) -> Result<Self, TransportError> {
        Ok(Self { noise: noise::Config::new(keys)?, tls: tls::Config::new(keys)? })
    }
}

fn noise_output<C>((peer, io): (PeerId, noise::Output<C>)) -> Output<C> {
    (peer, Either::Left(io))
}

fn tls_output<C>((peer, io): (PeerId, tls::TlsStream<C>)) -> Output<C> {
    (peer, Either::Right(io))
}

/// Which of the two a negotiated protocol name means.
fn is_noise(security: &noise::Config, name: &str) -> bool {
    security.protocol_info().any(|noise| noise == name)
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = std::vec::IntoIter<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        let names: Vec<_> = self.noise.protocol_info().chain(self.tls.protocol_info()).collect();
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
