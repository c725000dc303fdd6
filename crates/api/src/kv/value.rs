//! Values and their types.

use std::fmt;

use bytes::Bytes;
use data_encoding::BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A value of the key-value store. As JSON `{"type": "int", "value": 5}`; bytes are base64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum Value {
    /// UTF-8 text.
    String(String),
    /// A 64-bit signed integer.
    Int(i64),
    /// A 64-bit floating-point number; finite.
    Float(f64),
    /// Bytes.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    Bytes(#[schemars(with = "String")] Bytes),
    /// A JSON document, kept in its compact form: its numbers are those of `serde_json`, so that whole
    /// ones beyond 64 bits become floats, and of a name that comes twice the last one stays.
    Json(serde_json::Value),
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as the variants of `Value`")]
pub enum ValueKind {
    String,
    Int,
    Float,
    Bytes,
    Json,
}

impl Value {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::String(_) => ValueKind::String,
            Self::Int(_) => ValueKind::Int,
            Self::Float(_) => ValueKind::Float,
            Self::Bytes(_) => ValueKind::Bytes,
            Self::Json(_) => ValueKind::Json,
        }
    }

    /// The bytes that are hashed, stored and sent: text, JSON and bytes as they are, numbers as 8
    /// bytes, big-endian.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::String(text) => Bytes::copy_from_slice(text.as_bytes()),
            Self::Int(number) => Bytes::copy_from_slice(&number.to_be_bytes()),
            Self::Float(number) => Bytes::copy_from_slice(&number.to_be_bytes()),
            Self::Bytes(bytes) => bytes.clone(),
            Self::Json(json) => json.to_string().into(),
        }
    }

    /// The value again; `None` when the bytes are none of that type.
    #[must_use]
    pub fn from_bytes(kind: ValueKind, bytes: &Bytes) -> Option<Self> {
        match kind {
            ValueKind::Bytes => Some(Self::Bytes(bytes.clone())),
            _ => Self::copied(kind, bytes),
        }
    }

    /// The value of bytes that are somebody else's; `None` when they are none of that type.
    #[must_use]
    pub fn copied(kind: ValueKind, bytes: &[u8]) -> Option<Self> {
        let number = || bytes.try_into().ok();
        match kind {
            ValueKind::String => str::from_utf8(bytes).ok().map(|text| Self::String(text.into())),
            ValueKind::Int => number().map(i64::from_be_bytes).map(Self::Int),
            ValueKind::Float => number()
                .map(f64::from_be_bytes)
                .filter(|number| number.is_finite())
                .map(Self::Float),
            ValueKind::Bytes => Some(Self::Bytes(Bytes::copy_from_slice(bytes))),
            ValueKind::Json => serde_json::from_slice(bytes).ok().map(Self::Json),
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bytes => "bytes",
            Self::Json => "json",
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        Self::Json(json)
    }
}

fn to_base64<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&BASE64.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(from)?;
    BASE64.decode(text.as_bytes()).map(Bytes::from).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_as_bytes_and_as_json() {
        let document = serde_json::json!({ "a": [1, null, "ü"] });
        for (value, json) in [
            (Value::from("text"), r#"{"type":"string","value":"text"}"#),
            (Value::from(i64::MIN), r#"{"type":"int","value":-9223372036854775808}"#),
            (Value::from(0.1), r#"{"type":"float","value":0.1}"#),
            (Value::from(Bytes::from_static(&[0, 255])), r#"{"type":"bytes","value":"AP8="}"#),
            (Value::from(document), r#"{"type":"json","value":{"a":[1,null,"ü"]}}"#),
        ] {
            assert_eq!(Value::from_bytes(value.kind(), &value.to_bytes()), Some(value.clone()));
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<Value>(json).unwrap(), value);
        }
    }

    #[test]
    fn bytes_of_another_type_are_no_value() {
        let short = Bytes::from_static(b"\xff");
        for kind in [ValueKind::String, ValueKind::Int, ValueKind::Float, ValueKind::Json] {
            assert_eq!(Value::from_bytes(kind, &short), None, "{kind}");
        }
        let nan = Bytes::copy_from_slice(&f64::NAN.to_be_bytes());
        assert_eq!(Value::from_bytes(ValueKind::Float, &nan), None);
    }
}
