//! Bytes that people and scripts can read when they happen to be text.

use std::fmt;

use bytes::Bytes;
use data_encoding::BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes of an application. As JSON: a string when they are UTF-8, else `{"base64": "…"}`.
#[derive(Clone, PartialEq, Eq, Hash, Default, JsonSchema)]
#[schemars(with = "Json")]
pub struct Payload(pub Bytes);

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "neither a string nor {\"base64\": \"…\"}")]
enum Json {
    Text(String),
    Binary { base64: String },
}

impl Payload {
    /// The bytes as text, if they are UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Into<Bytes>> From<T> for Payload {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.as_text() {
            Some(text) => to.serialize_str(text),
            None => Json::Binary { base64: BASE64.encode(&self.0) }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Json::deserialize(from)? {
            Json::Text(text) => Ok(Self(text.into())),
            Json::Binary { base64 } => {
                let bytes = BASE64.decode(base64.as_bytes()).map_err(D::Error::custom)?;
                Ok(Self(bytes.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_readable_and_bytes_survive() {
        for (bytes, json) in [
            (&b"hello"[..], r#""hello""#),
            (&[0xff, 0x00][..], r#"{"base64":"/wA="}"#),
            (&b""[..], r#""""#),
        ] {
            let payload = Payload(Bytes::copy_from_slice(bytes));
            assert_eq!(serde_json::to_string(&payload).unwrap(), json);
            assert_eq!(serde_json::from_str::<Payload>(json).unwrap(), payload);
        }
    }

    #[test]
    fn what_is_no_payload_is_told_in_terms_of_json() {
        let error = serde_json::from_str::<Payload>(r#"{"text":"hello"}"#).unwrap_err();
        assert!(error.to_string().starts_with("neither a string nor {\"base64\""), "{error}");
    }
}
