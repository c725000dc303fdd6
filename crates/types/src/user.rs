//! Who a person is on the network.

use std::{fmt, str::FromStr};

use bech32::{Bech32m, Hrp, primitives::decode::CheckedHrpstring};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What every user id begins with, before the separator `1`.
const HRP: Hrp = Hrp::parse_unchecked("user");

/// A user: an Ed25519 public key, 32 bytes. As text `user1…`, 63 characters of
/// [Bech32m](https://github.com/bitcoin/bips/blob/master/bip-0350.mediawiki).
///
/// Never shortened where anything is decided by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub [u8; 32]);

/// Text that is no user id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a user id: copy it whole, it begins with `user1`")]
pub struct UserIdError {
    /// What was given, up to 80 characters of it.
    text: String,
}

impl UserId {
    /// The public key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HRP, &self.0).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UserId {
    type Err = UserIdError;

    fn from_str(text: &str) -> Result<Self, UserIdError> {
        decode(HRP, text)
            .map(Self)
            .ok_or_else(|| UserIdError { text: text.chars().take(80).collect() })
    }
}

/// 32 bytes under the prefix; nothing else.
pub(crate) fn decode(hrp: Hrp, text: &str) -> Option<[u8; 32]> {
    let parsed = CheckedHrpstring::new::<Bech32m>(text).ok()?;
    let mut bytes = parsed.byte_iter();
    let mut key = [0; 32];
    (parsed.hrp() == hrp && bytes.len() == key.len()).then_some(())?;
    key.iter_mut().zip(&mut bytes).for_each(|(to, from)| *to = from);
    Some(key)
}

// Text for people, bytes for the wire and the store.
impl Serialize for UserId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = UserId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a user id")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<UserId, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<UserId, E> {
                let wrong = |_| E::invalid_length(bytes.len(), &self);
                bytes.try_into().map(UserId).map_err(wrong)
            }
        }

        match deserializer.is_human_readable() {
            true => deserializer.deserialize_str(Visitor),
            false => deserializer.deserialize_bytes(Visitor),
        }
    }
}

impl JsonSchema for UserId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "UserId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^user1[02-9ac-hj-np-z]{58}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_user_survives_and_a_wrong_letter_is_noticed() {
        let user = UserId([7; 32]);
        let text = user.to_string();
        assert!(text.starts_with("user1"));
        assert_eq!(text.len(), 63);
        assert_eq!(text.parse(), Ok(user));
        assert_eq!(text.to_uppercase().parse(), Ok(user), "as in a QR code");
        for at in 5..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
            assert!(String::from_utf8(wrong).unwrap().parse::<UserId>().is_err(), "at {at}");
        }
        for wrong in ["", "user1", "alice", &text[..62], &format!("{text}q")] {
            assert!(wrong.parse::<UserId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn json_has_text() {
        let json = serde_json::to_string(&UserId([0; 32])).unwrap();
        assert_eq!(serde_json::from_str::<UserId>(&json).unwrap(), UserId([0; 32]));
        assert!(serde_json::from_str::<UserId>("\"user1qqqq\"").is_err());
    }
}
