//! Names of content and of transfers.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Text that is not an identifier in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind} of {digits} hexadecimal digits")]
pub struct HexError {
    /// What was expected, such as `a BLAKE3 hash`.
    kind: &'static str,
    /// How many digits it has.
    digits: usize,
    /// What was given.
    text: String,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident[$len:literal] $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                let mut bytes = [0; $len];
                match decode(text, &mut bytes) {
                    Some(()) => Ok(Self(bytes)),
                    None => Err(HexError {
                        kind: $kind,
                        digits: 2 * $len,
                        text: text.chars().take(80).collect(),
                    }),
                }
            }
        }

        // Hexadecimal for people, bytes for the wire and the store.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match serializer.is_human_readable() {
                    true => serializer.collect_str(self),
                    false => serializer.serialize_bytes(&self.0),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($kind)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        let wrong = |_| E::invalid_length(bytes.len(), &self);
                        bytes.try_into().map($name).map_err(wrong)
                    }
                }

                match deserializer.is_human_readable() {
                    true => deserializer.deserialize_str(Visitor),
                    false => deserializer.deserialize_bytes(Visitor),
                }
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let pattern = format!("^[0-9a-f]{{{}}}$", 2 * $len);
                schemars::json_schema!({ "type": "string", "pattern": pattern })
            }
        }
    };
}

hex_id! {
    /// The BLAKE3 hash of some content: what `b3sum` prints for a file.
    ContentHash[32] "a BLAKE3 hash"
}

hex_id! {
    /// Names a transfer on both of its sides; chosen at random by who starts it.
    TransferId[8] "a transfer id"
}

/// Exactly so many bytes, in lower or upper case.
fn decode(text: &str, bytes: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_hexadecimal_of_the_exact_length() {
        let id: TransferId = "00ff10Ab00000001".parse().unwrap();
        assert_eq!(id.to_string(), "00ff10ab00000001");
        for wrong in
            ["", "00ff", "00ff10ab000000011", "00ff10ab0000000g", "+0ff10ab00000001", "äää"]
        {
            assert!(wrong.parse::<TransferId>().is_err(), "{wrong}");
        }
        let error = "zz".parse::<ContentHash>().unwrap_err().to_string();
        assert_eq!(error, "\"zz\" is not a BLAKE3 hash of 64 hexadecimal digits");
    }

    #[test]
    fn json_has_text() {
        let hash = ContentHash([7; 32]);
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, format!("\"{}\"", "07".repeat(32)));
        assert_eq!(serde_json::from_str::<ContentHash>(&json).unwrap(), hash);
        assert!(serde_json::from_str::<ContentHash>("\"07\"").is_err());
    }
}
