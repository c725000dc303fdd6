//! Nouns of the replicated key-value store: spaces, authors, clocks and revisions.

use std::{fmt, str::FromStr};

use bech32::{Bech32m, Hrp};
use data_encoding::HEXLOWER;
use libp2p_identity::PeerId;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{UnixMillis, UserId, user::decode};

/// What every space id begins with, before the separator `1`.
const HRP: Hrp = Hrp::parse_unchecked("space");

/// A space: the Ed25519 public key of its owner's key for it, 32 bytes. As text `space1…`, 64
/// characters of [Bech32m](https://github.com/bitcoin/bips/blob/master/bip-0350.mediawiki).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId(pub [u8; 32]);

/// A space as it is named in questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Space {
    /// The one that belongs to the network: every member may write. As text `default`.
    #[default]
    Default,
    /// One that somebody owns.
    Owned(SpaceId),
}

/// Who has signed an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Author {
    /// A node, by its Ed25519 public key. As text its peer id, `12D3KooW…`.
    Node([u8; 32]),
    /// A user. As text `user1…`.
    User(UserId),
}

/// Text that names no space, author or revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct KvNameError {
    /// What was given, up to 80 characters of it.
    text: String,
    /// What was expected, with what it begins with.
    what: &'static str,
}

impl KvNameError {
    fn new(text: &str, what: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), what }
    }
}

/// What the peer id of an Ed25519 key begins with: identity multihash of a protobuf of 36 bytes.
const ED25519_PEER: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl Author {
    /// The public key with which it signs.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        match self {
            Self::Node(key) | Self::User(UserId(key)) => key,
        }
    }

    /// A node by its peer id; `None` unless its key is Ed25519, as that of every Peerage node is.
    #[must_use]
    pub fn of_peer(peer: &PeerId) -> Option<Self> {
        let key = peer.to_bytes().strip_prefix(&ED25519_PEER)?.try_into().ok()?;
        Some(Self::Node(key))
    }

    /// The peer, if it is a node.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        match self {
            Self::Node(key) => PeerId::from_bytes(&[&ED25519_PEER[..], key].concat()).ok(),
            Self::User(_) => None,
        }
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HRP, &self.0).map_err(|_| fmt::Error)
    }
}

impl FromStr for SpaceId {
    type Err = KvNameError;

    fn from_str(text: &str) -> Result<Self, KvNameError> {
        let wrong = || KvNameError::new(text, "a space id: copy it whole, it begins with `space1`");
        decode(HRP, text).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Owned(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl FromStr for Space {
    type Err = KvNameError;

    fn from_str(text: &str) -> Result<Self, KvNameError> {
        let wrong = |_| KvNameError::new(text, "a space: give `default` or an id, `space1…`");
        if text == "default" {
            return Ok(Self::Default);
        }
        text.parse().map(Self::Owned).map_err(wrong)
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.peer()) {
            (Self::User(user), _) => fmt::Display::fmt(user, f),
            (Self::Node(_), Some(peer)) => fmt::Display::fmt(&peer, f),
            (Self::Node(key), None) => f.write_str(&HEXLOWER.encode(key)),
        }
    }
}

impl FromStr for Author {
    type Err = KvNameError;

    fn from_str(text: &str) -> Result<Self, KvNameError> {
        let peer = |text: &str| text.parse().ok().and_then(|peer| Self::of_peer(&peer));
        let author = text.parse().ok().map(Self::User).or_else(|| peer(text));
        author.ok_or_else(|| KvNameError::new(text, "a peer id or a user id"))
    }
}

/// A hybrid logical clock: 48 bits of milliseconds since 1970 and a 16-bit counter. Its order is
/// that of the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The latest there can be.
    pub const MAX: Self = Self(u64::MAX);

    /// A reading; milliseconds beyond 48 bits (the year 10889) are capped.
    #[must_use]
    pub fn new(at: UnixMillis, counter: u16) -> Self {
        Self(at.0.min((1 << 48) - 1) << 16 | u64::from(counter))
    }

    /// The wall-clock part.
    #[must_use]
    pub fn at(self) -> UnixMillis {
        UnixMillis(self.0 >> 16)
    }

    /// The counter part.
    #[must_use]
    pub fn counter(self) -> u16 {
        (self.0 & 0xffff) as u16
    }
}

impl fmt::Debug for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.at().0, self.counter())
    }
}

/// Names one version of an entry, the same on every replica: 24 hexadecimal digits, of which 16 are
/// the clock and 8 the beginning of the fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// When it was written.
    pub hlc: Hlc,
    /// The beginning of its fingerprint.
    pub mark: [u8; 4],
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:08x}", self.hlc.0, u32::from_be_bytes(self.mark))
    }
}

impl FromStr for Revision {
    type Err = KvNameError;

    fn from_str(text: &str) -> Result<Self, KvNameError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let bytes: Option<[u8; 12]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| {
            KvNameError::new(text, "a revision: 24 hexadecimal digits, as `kv get` shows them")
        })?;
        let (hlc, mark) = bytes.split_first_chunk::<8>().expect("12 bytes");
        let mark = mark.try_into().expect("4 bytes");
        Ok(Self { hlc: Hlc(u64::from_be_bytes(*hlc)), mark })
    }
}

/// What an entry must be for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// There must be none. As text `none`.
    Absent,
    /// It must be at this revision.
    At(Revision),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::At(revision) => fmt::Display::fmt(revision, f),
        }
    }
}

impl FromStr for Expected {
    type Err = KvNameError;

    fn from_str(text: &str) -> Result<Self, KvNameError> {
        match text {
            "none" | "0" => Ok(Self::Absent),
            text => text.parse().map(Self::At),
        }
    }
}

macro_rules! as_text {
    ($($name:ident $title:literal;)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string" })
            }
        }
    )*};
}

as_text! {
    SpaceId "SpaceId";
    Space "Space";
    Author "Author";
    Revision "Revision";
    Expected "Expected";
}

impl fmt::Debug for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_survives_as_text() {
        let space = SpaceId([9; 32]);
        assert_eq!(space.to_string().parse(), Ok(space));
        assert_eq!(space.to_string().parse(), Ok(Space::Owned(space)));
        assert_eq!("default".parse(), Ok(Space::Default));
        assert!("settings".parse::<Space>().is_err());
        let peer: PeerId = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
        let node = Author::of_peer(&peer).unwrap();
        assert_eq!((node.peer(), node.to_string().parse()), (Some(peer), Ok(node)));
        let user = Author::User(UserId([3; 32]));
        assert_eq!(user.to_string().parse(), Ok(user));
        assert!("nobody".parse::<Author>().is_err());
        let revision = Revision { hlc: Hlc::new(UnixMillis(1_800_000_000_000), 7), mark: [1; 4] };
        assert_eq!(revision.to_string().parse(), Ok(Expected::At(revision)));
        assert_eq!("none".parse(), Ok(Expected::Absent));
        assert!("12".parse::<Expected>().is_err());
    }

    #[test]
    fn clocks_are_ordered_by_time_and_then_by_counter() {
        let at = |ms, counter| Hlc::new(UnixMillis(ms), counter);
        assert!(at(1, u16::MAX) < at(2, 0));
        assert!(at(2, 0) < at(2, 1));
        assert_eq!((at(5, 6).at(), at(5, 6).counter()), (UnixMillis(5), 6));
        assert_eq!(at(u64::MAX, u16::MAX), Hlc::MAX);
    }
}
