//! A swarm exactly as rust-libp2p's own builder makes it, to compare this node with.
//!
//! It speaks nothing but the link protocol and is used by `peerage bench link` alone.

use std::future::pending;

use futures::StreamExt as _;
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};
use peerage_api::{
    Ask,
    peers::{Command, Measure, Measured, PeersError},
};
use peerage_link as link;
use peerage_types::Network;

/// How the comparison cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// The swarm cannot be built or does not listen.
    #[error("the plain swarm does not start: {0}")]
    Start(String),
    /// The other side cannot be reached.
    #[error("the plain swarm does not connect: {0}")]
    Dial(String),
    /// The measurement failed.
    #[error(transparent)]
    Measure(Box<PeersError>),
}

fn start_error(error: impl ToString) -> PlainError {
    PlainError::Start(error.to_string())
}

fn swarm() -> Result<Swarm<link::Behaviour>, PlainError> {
    let builder = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .map_err(start_error)?
        .with_quic()
        .with_behaviour(|_| link::Behaviour::new(&Network::default()))
        .map_err(start_error)?;
    Ok(builder.build())
}

/// Listens at `address`, tells where it is reached and serves until the future is dropped.
///
/// # Errors
/// [`PlainError::Start`].
pub async fn serve(address: Multiaddr, ready: impl FnOnce(Multiaddr)) -> Result<(), PlainError> {
    let mut swarm = swarm()?;
    swarm.listen_on(address).map_err(start_error)?;
    let mut ready = Some(ready);
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await
            && let Some(ready) = ready.take()
        {
            let local = *swarm.local_peer_id();
            ready(address.with_p2p(local).unwrap_or_else(|address| address));
        }
    }
}

/// Connects to a node or a plain swarm at `address` and measures the path, `bytes` each way.
///
/// # Errors
/// [`PlainError`].
pub async fn measure(address: Multiaddr, bytes: u64) -> Result<Vec<Measured>, PlainError> {
    let mut swarm = swarm()?;
    swarm.dial(address).map_err(|e| PlainError::Dial(e.to_string()))?;
    let peer = connected(&mut swarm).await?;
    let (ask, answer) = Ask::new(Measure { peer, bytes });
    swarm.behaviour_mut().on_command(Command::Measure(ask));
    let driving = async {
        while swarm.next().await.is_some() {}
        pending().await
    };
    tokio::select! {
        answer = answer => {
            answer.map_err(start_error)?.map_err(|e| PlainError::Measure(Box::new(e)))
        }
        () = driving => unreachable!("it never ends"),
    }
}

async fn connected(swarm: &mut Swarm<link::Behaviour>) -> Result<PeerId, PlainError> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => return Ok(peer_id),
            SwarmEvent::OutgoingConnectionError { error, .. } => {
                return Err(PlainError::Dial(error.to_string()));
            }
            _ => {}
        }
    }
}
