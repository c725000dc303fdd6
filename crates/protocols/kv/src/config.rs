//! What a behaviour is told.

use peerage_types::Network;

use crate::Signer;

/// What a behaviour is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Only members of this network are talked to.
    pub network: Network,
    /// The node.
    pub local: Signer,
}
