//! Tickets: content and who has it, as text that survives being read aloud or typed.
//!
//! [Bech32m](https://github.com/bitcoin/bips/blob/master/bip-0350.mediawiki) with the prefix
//! `peeragefile`, at most 1023 characters, over
//!
//! ```text
//! version  u8    1
//! rest     CBOR  [root, kind, size, bytes, files, name, file, [[peer, [address, …]], …]]
//! ```
//!
//! Root, peers and addresses are byte strings in their binary forms; `file` is that of
//! [`Content`], or null. The CBOR is in its shortest form, as that of frames.

use bech32::{Bech32m, Hrp, primitives::decode::CheckedHrpstring};
use peerage_types::{ContentHash, Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use super::frames::{Content, FileMode, FrameError, Kind};

/// What every ticket begins with.
pub const PREFIX: &str = "peeragefile";
/// Nodes that a ticket names at most.
pub const MAX_PEERS: usize = 8;
/// Addresses of each.
pub const MAX_ADDRESSES: usize = 6;

const VERSION: u8 = 1;
/// Longest text: what Bech32m can protect.
const MAX_CHARS: usize = 1023;

/// Content and nodes that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What.
    pub content: Content,
    /// Who has it, and where they may be reached.
    pub peers: Vec<(PeerId, Vec<Multiaddr>)>,
}

/// Everything without names of fields: a ticket should be short.
#[derive(Serialize, Deserialize)]
struct Body(ContentHash, Kind, u64, u64, u64, String, Option<FileMode>, Vec<(Blob, Vec<Blob>)>);

impl Body {
    fn encode(&self) -> Vec<u8> {
        cbor4ii::serde::to_vec(vec![VERSION], self).expect("these types have a CBOR form")
    }
}

/// A byte string, rather than a list of numbers.
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }
        from.deserialize_bytes(Visitor)
    }
}

/// Text that is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// A character is wrong or missing.
    #[error("a character is wrong or missing")]
    Checksum,
    /// It is something else in Bech32m.
    #[error("it is for {0:?}, not for files")]
    Prefix(String),
    /// Of a version to come.
    #[error("it is of version {0}, which this program does not know")]
    Version(u8),
    /// The inside cannot be read.
    #[error("its inside cannot be read")]
    Malformed,
    /// What it describes is not well formed.
    #[error(transparent)]
    Content(#[from] FrameError),
}

impl Ticket {
    /// The ticket as text. Addresses, then peers, that do not fit are left out, last ones first;
    /// the first peer stays.
    ///
    /// # Panics
    /// Never: the description of content and one peer fit.
    #[must_use]
    pub fn encode(&self) -> String {
        let hrp = Hrp::parse(PREFIX).expect("a valid prefix");
        let mut peers = self.peers.clone();
        peers.truncate(MAX_PEERS);
        peers.iter_mut().for_each(|(_, addresses)| addresses.truncate(MAX_ADDRESSES));
        loop {
            let bytes = body(&self.content, &peers);
            let text = bech32::encode::<Bech32m>(hrp, &bytes);
            if let Ok(text) = text {
                return text;
            }
            let longest = peers.iter().map(|(_, a)| a.len()).max().unwrap_or(0);
            let last = peers.iter().rposition(|(_, a)| a.len() == longest);
            match last.filter(|_| longest > 1 || peers.len() == 1) {
                Some(at) => _ = peers[at].1.pop(),
                None => _ = peers.pop(),
            }
        }
    }

    /// Reads a ticket, in either case and with space around it.
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
        let bytes: Vec<u8> = checked.byte_iter().collect();
        let body: Body = match bytes.split_first() {
            Some((&VERSION, rest)) => {
                cbor4ii::serde::from_slice(rest).map_err(|_| TicketError::Malformed)?
            }
            Some((other, _)) => return Err(TicketError::Version(*other)),
            None => return Err(TicketError::Malformed),
        };
        // Nothing is hidden in it.
        if body.encode() != bytes {
            return Err(TicketError::Malformed);
        }
        let Body(root, kind, size, bytes, files, name, file, peers) = body;
        let content = Content { root, kind, size, bytes, files, name, file };
        content.check()?;
        if peers.len() > MAX_PEERS {
            return Err(TicketError::Malformed);
        }
        let peers = peers.into_iter().map(|(peer, addresses)| {
            let peer = PeerId::from_bytes(&peer.0).map_err(|_| TicketError::Malformed)?;
            if addresses.len() > MAX_ADDRESSES {
                return Err(TicketError::Malformed);
            }
            // An address of a kind to come is no reason to refuse the others.
            let addresses = addresses.into_iter().filter_map(|a| Multiaddr::try_from(a.0).ok());
            Ok((peer, addresses.collect()))
        });
        Ok(Self { content, peers: peers.collect::<Result<_, _>>()? })
    }
}

fn body(content: &Content, peers: &[(PeerId, Vec<Multiaddr>)]) -> Vec<u8> {
    let blob = |address: &Multiaddr| Blob(address.to_vec());
    let peers = peers
        .iter()
        .map(|(peer, addresses)| (Blob(peer.to_bytes()), addresses.iter().map(blob).collect()));
    let Content { root, kind, size, bytes, files, name, file } = content.clone();
    Body(root, kind, size, bytes, files, name, file, peers.collect()).encode()
}
