//! Keeps a connection open, or lets go of it. Opens no streams.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p_core::upgrade::DeniedUpgrade;
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol, handler::ConnectionEvent,
};

/// Whether the connection is to be kept while nothing happens on it.
///
/// Turning it off does not break streams: the swarm closes the connection once all of them have
/// ended and its idle timeout has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Keep it.
    Open,
    /// Let it go when it is idle.
    WhileUsed,
}

/// The handler of [`Behaviour`](crate::Behaviour).
#[derive(Debug)]
pub struct Handler {
    keep: Keep,
}

impl Handler {
    pub(crate) fn new() -> Self {
        Self { keep: Keep::Open }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Keep;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.keep == Keep::Open
    }

    fn on_behaviour_event(&mut self, keep: Keep) {
        self.keep = keep;
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        Poll::Pending
    }

    fn on_connection_event(&mut self, _: ConnectionEvent<DeniedUpgrade, DeniedUpgrade>) {}
}
