//! The inside of a ticket, before anything in it is verified.

use ed25519_dalek::SigningKey;
use peerage_types::{Author, Multiaddr, PeerId, SpaceId, UnixMillis};
use zeroize::Zeroizing;

use super::{Holder, MAX_ADDRESSES, MAX_LINKS, MAX_PEERS, SpaceTicket, TicketError, name_fits};
use crate::kv::{
    grant::{Grant, GrantId, Grantee, MAX_PREFIX_BYTES, Rights, Signed, take_text},
    proof::expiry,
    take,
};

const VERSION: u8 = 1;
/// A longer address does not fit into any ticket.
const MAX_ADDRESS_BYTES: usize = 512;
/// More than the longest form there is before addresses are left out, so that the secret in it is not
/// left behind in memory when it grows: 131 + 4 × 124 + 1024 + 8 × (68 + 6 × 514) bytes.
const CAPACITY: usize = 32 << 10;

/// A peer id and addresses in their binary forms.
type Peer = (Vec<u8>, Vec<Vec<u8>>);

/// What a ticket says.
pub(crate) struct Body {
    pub(super) space: SpaceId,
    pub(super) holder: Holder,
    pub(super) name: String,
    /// With what shall be their signatures.
    pub(super) links: Vec<(Grant, [u8; 64])>,
    pub(super) peers: Vec<Peer>,
}

impl Body {
    /// Of a ticket whose grants lead to its holder.
    pub(super) fn new(ticket: &SpaceTicket) -> Self {
        let peer = |(peer, addresses): &(PeerId, Vec<Multiaddr>)| {
            let addresses = addresses.iter().map(Multiaddr::to_vec);
            let addresses = addresses.filter(|address| address.len() <= MAX_ADDRESS_BYTES);
            (peer.to_bytes(), addresses.take(MAX_ADDRESSES).collect())
        };
        Self {
            space: ticket.space,
            holder: ticket.holder.clone(),
            name: ticket.name.clone(),
            links: ticket.grants.iter().map(|it| ((**it).clone(), *it.signature())).collect(),
            peers: ticket.peers.iter().take(MAX_PEERS).map(peer).collect(),
        }
    }

    /// Leaves out an address or, if each peer has only one left, a peer.
    pub(super) fn shorten(&mut self) -> Result<(), TicketError> {
        let longest = self.peers.iter().map(|(_, a)| a.len()).max().ok_or(TicketError::TooLong)?;
        let last = self.peers.iter().rposition(|(_, a)| a.len() == longest);
        match last.filter(|_| longest > 1 || (longest == 1 && self.peers.len() == 1)) {
            Some(at) => _ = self.peers[at].1.pop(),
            None => _ = self.peers.pop(),
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(CAPACITY));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.space.0);
        put_holder(&mut bytes, &self.holder);
        bytes.push(self.name.len() as u8);
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.push(self.links.len() as u8);
        let mut parent = 0;
        for (number, (grant, signature)) in self.links.iter().enumerate() {
            if number + 1 < self.links.len() {
                bytes.push(grant.to.kind());
                bytes.extend_from_slice(grant.to.key());
            }
            put_terms(&mut bytes, grant, &grant.prefix[parent..]);
            bytes.extend_from_slice(signature);
            parent = grant.prefix.len();
        }
        put_peers(&mut bytes, &self.peers);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TicketError> {
        match bytes.split_first() {
            Some((&VERSION, mut rest)) => {
                Self::take(&mut rest).filter(|_| rest.is_empty()).ok_or(TicketError::Malformed)
            }
            Some((other, _)) => Err(TicketError::Version(*other)),
            None => Err(TicketError::Malformed),
        }
    }

    fn take(body: &mut &[u8]) -> Option<Self> {
        let space = SpaceId(take(body)?);
        let holder = take_holder(body)?;
        let [len] = take(body)?;
        let name =
            String::from_utf8(take_bytes(body, len.into())?).ok().filter(|n| name_fits(n))?;
        let count = take_count(body, MAX_LINKS).filter(|count| *count > 0)?;
        let mut links: Vec<(Grant, [u8; 64])> = Vec::with_capacity(count);
        for left in (0..count).rev() {
            let to = match left {
                0 => holder.grantee(),
                _ => Grantee::new(take::<1>(body)?[0], take(body)?)?,
            };
            let grant = take_link(body, space, to, links.last().map(|(grant, _)| grant))?;
            links.push((grant, take(body)?));
        }
        Some(Self { space, holder, name, links, peers: take_peers(body)? })
    }
}

fn put_holder(bytes: &mut Vec<u8>, holder: &Holder) {
    bytes.push(holder.grantee().kind());
    match holder {
        Holder::Named(author) => bytes.extend_from_slice(author.key()),
        Holder::Anyone(key) => bytes.extend_from_slice(key.as_bytes()),
    }
}

fn take_holder(body: &mut &[u8]) -> Option<Holder> {
    let [kind] = take(body)?;
    let key = Zeroizing::new(take(body)?);
    Some(match Grantee::new(kind, *key)? {
        Grantee::Invite(_) => Holder::Anyone(SigningKey::from_bytes(&key)),
        Grantee::Node(key) => Holder::Named(Author::Node(key)),
        Grantee::User(user) => Holder::Named(Author::User(user)),
    })
}

/// What a grant says beyond space, grantee, issuer and parent; `suffix` is what its prefix adds.
fn put_terms(bytes: &mut Vec<u8>, grant: &Grant, suffix: &str) {
    bytes.push(grant.rights as u8);
    bytes.extend_from_slice(&grant.at.0.to_be_bytes());
    bytes.extend_from_slice(&grant.expires.map_or(0, |at| at.0).to_be_bytes());
    bytes.extend_from_slice(&grant.nonce);
    bytes.extend_from_slice(&(suffix.len() as u16).to_be_bytes());
    bytes.extend_from_slice(suffix.as_bytes());
}

fn take_link(
    body: &mut &[u8],
    space: SpaceId,
    to: Grantee,
    parent: Option<&Grant>,
) -> Option<Grant> {
    let rights = Rights::from_byte(take::<1>(body)?[0])?;
    let at = UnixMillis(u64::from_be_bytes(take(body)?));
    let expires = expiry(take(body)?);
    let nonce = take(body)?;
    let prefix = parent.map_or(String::new(), |parent| parent.prefix.clone()) + &take_text(body)?;
    let issuer = parent.map_or(space.0, |parent| *parent.to.key());
    let parent: Option<GrantId> = parent.map(Signed::id_of);
    let fits = prefix.len() <= MAX_PREFIX_BYTES;
    fits.then_some(Grant { space, to, issuer, rights, prefix, at, expires, parent, nonce })
}

fn put_peers(bytes: &mut Vec<u8>, peers: &[Peer]) {
    bytes.push(peers.len() as u8);
    for (peer, addresses) in peers {
        // A peer id has at most 66 bytes.
        bytes.push(peer.len() as u8);
        bytes.extend_from_slice(peer);
        bytes.push(addresses.len() as u8);
        for address in addresses {
            bytes.extend_from_slice(&(address.len() as u16).to_be_bytes());
            bytes.extend_from_slice(address);
        }
    }
}

fn take_peers(body: &mut &[u8]) -> Option<Vec<Peer>> {
    let count = take_count(body, MAX_PEERS)?;
    let mut peers = Vec::with_capacity(count);
    for _ in 0..count {
        let [len] = take(body)?;
        let peer = take_bytes(body, len.into())?;
        let count = take_count(body, MAX_ADDRESSES)?;
        let addresses = (0..count).map(|_| take_address(body)).collect::<Option<_>>()?;
        peers.push((peer, addresses));
    }
    Some(peers)
}

fn take_address(body: &mut &[u8]) -> Option<Vec<u8>> {
    let len = u16::from_be_bytes(take(body)?);
    take_bytes(body, len.into())
}

fn take_count(body: &mut &[u8], max: usize) -> Option<usize> {
    let [count] = take(body)?;
    Some(usize::from(count)).filter(|count| *count <= max)
}

fn take_bytes(body: &mut &[u8], len: usize) -> Option<Vec<u8>> {
    let (bytes, rest) = body.split_at_checked(len)?;
    *body = rest;
    Some(bytes.to_vec())
}
