//! The addresses of one peer, in the format of pkarr: a mutable item without salt under the peer's
//! own Ed25519 key, whose value is a DNS reply with TXT records `_dnsaddr.<key in z-base-32>`, each
//! `dnsaddr=<multiaddr that ends in /p2p/PEER>` (<https://github.com/multiformats/multiaddr>).
//! The item's sequence number is the time in microseconds of Unix time.

use std::{net::Ipv4Addr, time::Duration};

use data_encoding::{Encoding, Specification};
use multiaddr::Protocol;
use peerage_types::{Multiaddr, PeerId, UnixMillis};
use simple_dns::{
    CLASS, CharacterString, Name, Packet, ResourceRecord,
    rdata::{RData, TXT},
};

use super::{MAX_VALUE_BYTES, peer_of};

/// Addresses that are read from a packet and at most written to one.
pub const MAX_ADDRESSES: usize = 8;
/// Items older than this are ignored, whoever offers them. They are renewed every hour.
pub const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// By how much the clock of the author may be ahead.
pub const MAX_SKEW: Duration = Duration::from_secs(3600);

/// How long resolvers may keep what they read, in seconds: it is renewed every hour.
const TTL_SECONDS: u32 = 3600;
const LABEL: &str = "_dnsaddr";
const ATTRIBUTE: &[u8] = b"dnsaddr=";

/// The sequence number of an item that is signed now.
#[must_use]
pub fn seq_at(now: UnixMillis) -> i64 {
    i64::try_from(now.0.saturating_mul(1000)).unwrap_or(i64::MAX)
}

/// Whether an item with this sequence number is neither old nor from the future.
#[must_use]
pub fn is_current(seq: i64, now: UnixMillis) -> bool {
    let Ok(micros) = u64::try_from(seq) else { return false };
    let signed_at = UnixMillis(micros / 1000);
    signed_at <= now.plus(MAX_SKEW) && now.since(signed_at) <= MAX_AGE
}

/// The value of the item of the peer with `key`: the first of the addresses that fit. `/p2p/PEER` is
/// added to those without; those that end in another peer are left out.
#[must_use]
pub fn encode(key: &[u8; 32], addresses: &[Multiaddr]) -> Option<Vec<u8>> {
    let peer = peer_of(key);
    let texts: Vec<String> = addresses
        .iter()
        .filter_map(|address| address.clone().with_p2p(peer).ok())
        .map(|address| format!("dnsaddr={address}"))
        .filter(|text| text.len() <= usize::from(u8::MAX))
        .take(MAX_ADDRESSES)
        .collect();
    (1..=texts.len()).rev().find_map(|count| build(key, &texts[..count]))
}

fn build(key: &[u8; 32], texts: &[String]) -> Option<Vec<u8>> {
    let owner = owner(key)?;
    let mut packet = Packet::new_reply(0);
    for text in texts {
        let mut txt = TXT::new();
        txt.add_char_string(CharacterString::new(text.as_bytes()).ok()?);
        let record =
            ResourceRecord::new(Name::new(&owner).ok()?, CLASS::IN, TTL_SECONDS, RData::TXT(txt));
        packet.answers.push(record);
    }
    packet.build_bytes_vec_compressed().ok().filter(|bytes| bytes.len() <= MAX_VALUE_BYTES)
}

/// The addresses in the value of the item of the peer with `key`, whose signature was verified. Each
/// ends in `/p2p/PEER`; what is not of this peer or of this format is passed over.
#[must_use]
pub fn decode(key: &[u8; 32], value: &[u8]) -> Vec<Multiaddr> {
    let (Some(owner), peer) = (owner(key), peer_of(key)) else { return Vec::new() };
    if value.len() > MAX_VALUE_BYTES {
        return Vec::new();
    }
    let (Ok(packet), Ok(owner)) = (Packet::parse(value), Name::new(&owner)) else {
        return Vec::new();
    };
    let records = packet.answers.iter().filter(|record| record.name == owner);
    let mut addresses = Vec::new();
    for record in records {
        if let RData::TXT(txt) = &record.rdata
            && let Some(address) = address_in(txt, peer)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

fn address_in(txt: &TXT<'_>, peer: PeerId) -> Option<Multiaddr> {
    let text = String::try_from(txt.clone()).ok()?;
    let text = text.as_bytes().strip_prefix(ATTRIBUTE)?;
    let address: Multiaddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    let last = address.iter().last()?;
    let named = matches!(address.iter().next()?, Protocol::Ip4(ip) if ip != Ipv4Addr::UNSPECIFIED)
        || matches!(
            address.iter().next()?,
            Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)
        );
    (last == Protocol::P2p(peer) && named).then_some(address)
}

/// The name of the records. z-base-32 is what pkarr writes keys in.
fn owner(key: &[u8; 32]) -> Option<String> {
    let mut alphabet = Specification::new();
    alphabet.symbols.push_str("ybndrfg8ejkmcpqxot1uwisza345h769");
    let encoding: Encoding = alphabet.encoding().ok()?;
    Some(format!("{LABEL}.{}", encoding.encode(key)))
}
