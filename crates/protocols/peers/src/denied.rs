//! Why a connection was refused here.

use std::net::IpAddr;

use libp2p_identity::PeerId;

/// The cause inside a [`ConnectionDenied`](libp2p_swarm::ConnectionDenied) of this behaviour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// On the block list.
    #[error("{peer} is blocked here")]
    Blocked {
        /// Who.
        peer: PeerId,
    },
    /// There is an allow list and the peer is not on it.
    #[error("{peer} is not on the allow list")]
    NotAllowed {
        /// Who.
        peer: PeerId,
    },
    /// Every connection slot of this node is taken.
    #[error("this node has its {max} connections")]
    Full {
        /// The limit.
        max: usize,
    },
    /// The peer has all the connections it may have.
    #[error("{peer} has its {max} connections")]
    PeerFull {
        /// Who.
        peer: PeerId,
        /// The limit.
        max: usize,
    },
    /// The address has all the incoming connections it may have.
    #[error("{ip} has its {max} connections")]
    IpFull {
        /// The IPv4 address, or the first of the IPv6 /64.
        ip: IpAddr,
        /// The limit.
        max: usize,
    },
    /// Too many connections are being made at this moment.
    #[error("{max} connections are being made already")]
    Pending {
        /// The limit.
        max: usize,
    },
    /// The node is shutting down.
    #[error("this node is shutting down")]
    Stopping,
}
