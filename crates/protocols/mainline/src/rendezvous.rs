//! Where nodes of a kind meet: an infohash, and for Peerage's own namespaces the name behind it.

use std::fmt;

use data_encoding::HEXLOWER;
use peerage_types::Namespace;
use sha1::{Digest as _, Sha1};

/// A key of BEP 5, 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Infohash(pub [u8; 20]);

impl Infohash {
    /// SHA-1 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha1::digest(bytes).into())
    }
}

impl fmt::Display for Infohash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Infohash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What nodes announce themselves under and are looked up by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendezvous {
    infohash: Infohash,
    namespace: Option<Namespace>,
}

impl Rendezvous {
    /// A namespace of Peerage: its infohash is SHA-1 of the name, and the name opens its slots.
    #[must_use]
    pub fn namespace(namespace: Namespace) -> Self {
        let infohash = Infohash::of(namespace.as_str().as_bytes());
        Self { infohash, namespace: Some(namespace) }
    }

    /// Where librats 1.x meets: `SHA1("{name}_peer_discovery_v{version}")`. Announcements only.
    #[must_use]
    pub fn librats_1(name: &str, version: &str) -> Self {
        Self::bare(Infohash::of(format!("{name}_peer_discovery_v{version}").as_bytes()))
    }

    /// Where librats 2.x meets: `SHA1(protocol)`, such as `librats/1.0`. Announcements only.
    #[must_use]
    pub fn librats_2(protocol: &str) -> Self {
        Self::bare(Infohash::of(protocol.as_bytes()))
    }

    /// An infohash of which nothing else is known. Announcements only.
    #[must_use]
    pub fn bare(infohash: Infohash) -> Self {
        Self { infohash, namespace: None }
    }

    /// The key for announcements.
    #[must_use]
    pub fn infohash(&self) -> Infohash {
        self.infohash
    }

    /// The name whose slots hold signed records.
    #[must_use]
    pub fn name(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infohashes_are_those_of_librats() {
        for (rendezvous, expected) in [
            (Rendezvous::librats_1("rats", "1.0"), "e468163e069b85b3a5acbcba1e72c0efdbcdbd76"),
            (Rendezvous::librats_2("librats/1.0"), "930ae231c686ebedbbf10d22a620b640d5b49705"),
        ] {
            assert_eq!(rendezvous.infohash().to_string(), expected);
            assert_eq!(rendezvous.name(), None, "no slots under a key that others use");
        }
    }

    #[test]
    fn the_infohash_of_a_namespace_is_sha1_of_its_name() {
        let met = Rendezvous::namespace("abc".parse().expect("a namespace"));
        assert_eq!(met.infohash().to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
