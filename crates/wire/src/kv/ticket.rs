//! Tickets: a way into a space and who has it, as text that survives being read aloud or typed.
//!
//! [Bech32m](https://github.com/bitcoin/bips/blob/master/bip-0350.mediawiki) with the prefix
//! `peeragespace`, at most 1023 characters, over
//!
//! ```text
//! version  u8    1
//! space    32
//! holder   kind u8 (1 node, 2 user, 3 whoever has the ticket), 32: to whom the last grant was given,
//!          by its public key; of kind 3 the secret key
//! name     length u8, UTF-8 without control characters
//! grants   count u8 (1 to 4), from the key of the space to the holder, each
//!          (to kind u8, to 32: not of the last), rights u8, given u64, expiry u64, nonce 8,
//!          length u16 and what its prefix adds to the one before, signature 64
//! peers    count u8 (up to 8), each length u8, peer id, count u8 (up to 6) of addresses, each
//!          length u16, address
//! ```
//!
//! Space, issuer and parent of a grant follow from the one before it: three grants and an address fit.

mod body;

use std::fmt;

use bech32::{Bech32m, Hrp, primitives::decode::CheckedHrpstring};
use ed25519_dalek::SigningKey;
use peerage_types::{Author, Multiaddr, PeerId, SpaceId};
use zeroize::Zeroizing;

use super::grant::{Grant, Grantee, RecordError, Signed};

pub(crate) use body::Body;

/// What every ticket begins with.
pub const PREFIX: &str = "peeragespace";
/// Longest name in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Grants from the key of a space to whom they let in, at most.
pub const MAX_LINKS: usize = 4;
/// Nodes that a ticket names at most.
pub const MAX_PEERS: usize = 8;
/// Addresses of each.
pub const MAX_ADDRESSES: usize = 6;

/// Longest text: what Bech32m can protect.
const MAX_CHARS: usize = 1023;

/// To whom the last grant of a ticket was given.
#[derive(Clone, PartialEq, Eq)]
pub enum Holder {
    /// A node or a user, who alone can use the ticket.
    Named(Author),
    /// Whoever has the ticket may pass its grant on with this key, once or often: a secret.
    Anyone(SigningKey),
}

impl Holder {
    /// As it is in the grant.
    #[must_use]
    pub fn grantee(&self) -> Grantee {
        match self {
            Self::Named(author) => (*author).into(),
            Self::Anyone(key) => Grantee::Invite(key.verifying_key().to_bytes()),
        }
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.grantee(), f)
    }
}

/// A way into a space.
#[derive(Clone, PartialEq, Eq)]
pub struct SpaceTicket {
    /// The space.
    pub space: SpaceId,
    /// How who invites calls it; up to [`MAX_NAME_BYTES`].
    pub name: String,
    /// To whom the last grant was given.
    pub holder: Holder,
    /// From the key of the space to the holder, each derived from the one before.
    pub grants: Vec<Signed<Grant>>,
    /// Who has the space, and where they may be reached.
    pub peers: Vec<(PeerId, Vec<Multiaddr>)>,
}

impl fmt::Debug for SpaceTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpaceTicket")
            .field("space", &self.space)
            .field("name", &self.name)
            .field("holder", &self.holder)
            .field("grants", &self.grants)
            .field("peers", &self.peers)
            .finish()
    }
}

/// Text that is no ticket, or a ticket that has no text. Never repeats the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// A character is wrong or missing.
    #[error("a character is wrong or missing")]
    Checksum,
    /// It is something else in Bech32m.
    #[error("it is for {0:?}, not for a space")]
    Prefix(String),
    /// Of a version to come.
    #[error("it is of version {0}, which this program does not know")]
    Version(u8),
    /// The inside cannot be read.
    #[error("its inside cannot be read")]
    Malformed,
    /// A grant in it is not valid.
    #[error(transparent)]
    Grant(#[from] RecordError),
    /// Its grants do not lead from the space to the holder.
    #[error("its grants do not lead from the space to its holder")]
    Chain,
    /// It does not fit: the prefix of its grant, or its chain of grants, is too long.
    #[error("it does not fit into a text; shorten the prefix or let the owner make it")]
    TooLong,
}

impl SpaceTicket {
    /// The ticket as text, a secret if it is for anyone. Addresses, then peers, that do not fit are left out, last ones
    /// first.
    ///
    /// # Errors
    /// [`TicketError::Chain`], [`TicketError::Malformed`] when the name breaks its bound,
    /// [`TicketError::TooLong`].
    pub fn encode(&self) -> Result<String, TicketError> {
        let hrp = Hrp::parse(PREFIX).expect("a valid prefix");
        let mut body = self.body()?;
        loop {
            if let Ok(text) = bech32::encode::<Bech32m>(hrp, &body.encode()) {
                return Ok(text);
            }
            body.shorten()?;
        }
    }

    /// Reads a ticket, in either case and with space around it, and verifies its grants. That none
    /// exceeds the one before is for [the set of grants](super::grant) of the reader to check.
    ///
    /// # Errors
    /// [`TicketError`], which says what is wrong with it.
    pub fn decode(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > MAX_CHARS {
            return Err(TicketError::Checksum);
        }
        let checked = CheckedHrpstring::new::<Bech32m>(text).map_err(|_| TicketError::Checksum)?;
        let prefix = checked.hrp().to_lowercase();
        if prefix != PREFIX {
            return Err(TicketError::Prefix(prefix));
        }
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(checked.byte_iter().collect());
        Self::open(Body::decode(&bytes)?)
    }

    fn body(&self) -> Result<Body, TicketError> {
        if !name_fits(&self.name) {
            return Err(TicketError::Malformed);
        }
        let parents = std::iter::once(None).chain(self.grants.iter().map(Some));
        let follows = |(grant, parent): (&Signed<Grant>, Option<&Signed<Grant>>)| {
            let issuer = parent.map_or(&self.space.0, |parent| parent.to.key());
            let prefix = parent.map_or("", |parent| &parent.prefix);
            grant.space == self.space
                && grant.issuer == *issuer
                && grant.parent == parent.map(Signed::id)
                && grant.prefix.starts_with(prefix)
        };
        let holder = self.holder.grantee();
        let leads = self.grants.iter().zip(parents).all(follows)
            && self.grants.len() <= MAX_LINKS
            && self.grants.last().is_some_and(|last| last.to == holder);
        leads.then(|| Body::new(self)).ok_or(TicketError::Chain)
    }

    pub(crate) fn open(body: Body) -> Result<Self, TicketError> {
        let Body { space, holder, name, links, peers } = body;
        let join = |(grant, signature)| Signed::join(grant, signature);
        let grants = links.into_iter().map(join).collect::<Result<_, _>>()?;
        let peers = peers.into_iter().map(|(peer, addresses)| {
            let peer = PeerId::from_bytes(&peer).map_err(|_| TicketError::Malformed)?;
            // An address of a kind to come is no reason to refuse the others.
            let addresses = addresses.into_iter().filter_map(|a| Multiaddr::try_from(a).ok());
            Ok((peer, addresses.collect()))
        });
        let peers = peers.collect::<Result<_, TicketError>>()?;
        Ok(Self { space, name, holder, grants, peers })
    }
}

/// Whether others can be shown the name.
fn name_fits(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control)
}
