//! What scripts read and people see of values, versions and changes.

use peerage_api::{
    kv::{About, Event, Op, Value, ValueKind, Version},
    types::{Author, KvKey, Revision, UnixMillis},
};
use serde::Serialize;

use crate::output::{printable, short};

/// A line of `kv watch`.
#[derive(Debug, Serialize)]
pub(super) struct Change<'a> {
    seq: u64,
    op: Op,
    key: &'a KvKey,
    value: Option<serde_json::Value>,
    #[serde(rename = "type")]
    kind: Option<ValueKind>,
    size: Option<u64>,
    hash: Option<&'a str>,
    /// Why there is no value, if there should be one.
    omitted: Option<Omitted>,
    old: Option<serde_json::Value>,
    old_type: Option<ValueKind>,
    old_size: Option<u64>,
    old_omitted: Option<Omitted>,
    expired: bool,
    revision: Revision,
    author: Author,
    updated_ms: UnixMillis,
    remote: bool,
}

/// Why a value is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Omitted {
    /// It is too large to be sent along, but still there.
    Large,
    /// It is no longer kept.
    Gone,
}

impl Omitted {
    /// Nothing if the value is there, or there was none.
    pub(super) fn of(value: Option<&Value>, about: Option<&About>) -> Option<Self> {
        let about = about.filter(|_| value.is_none())?;
        Some(if about.current { Self::Large } else { Self::Gone })
    }
}

impl<'a> Change<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        let (about, before) = (event.about.as_ref(), event.old_about.as_ref());
        Self {
            seq: event.seq,
            op: event.op,
            key: &event.key,
            value: event.value.as_ref().map(bare),
            kind: about.map(|about| about.kind),
            size: about.map(|about| about.size),
            hash: about.map(|about| about.hash.as_str()),
            omitted: Omitted::of(event.value.as_ref(), about),
            old: event.old.as_ref().map(bare),
            old_type: before.map(|before| before.kind),
            old_size: before.map(|before| before.size),
            old_omitted: Omitted::of(event.old.as_ref(), before),
            expired: event.expired,
            revision: event.revision,
            author: event.author,
            updated_ms: event.updated_ms,
            remote: event.remote,
        }
    }
}

/// An item of `kv history`.
#[derive(Debug, Serialize)]
pub(super) struct Former {
    op: Op,
    value: Option<serde_json::Value>,
    #[serde(rename = "type")]
    kind: Option<ValueKind>,
    size: u64,
    expired: bool,
    revision: Revision,
    author: Author,
    updated_ms: UnixMillis,
    seq: u64,
}

impl Former {
    pub(super) fn of(version: &Version) -> Self {
        Self {
            op: version.op,
            value: version.value.as_ref().map(bare),
            kind: version.value.as_ref().map(Value::kind),
            size: version.size,
            expired: version.expired,
            revision: version.revision,
            author: version.author,
            updated_ms: version.updated_ms,
            seq: version.seq,
        }
    }
}

/// A value without its type; bytes are base64.
fn bare(value: &Value) -> serde_json::Value {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Bytes(bytes) => data_encoding::BASE64.encode(bytes).into(),
        Value::Json(json) => json.clone(),
    }
}

/// A value as text; `None` for bytes.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bytes(_) => None,
        Value::Int(_) | Value::Float(_) | Value::Json(_) => Some(bare(value).to_string()),
    }
}

/// A value in a table or a line: its beginning and its end, without anything that plays with the
/// terminal.
pub(super) fn brief(value: &Value, width: usize) -> String {
    match (value, text(value)) {
        (_, Some(text)) => printable(&short(&text, width)),
        (value, None) => format!("({} bytes)", value.to_bytes().len()),
    }
}

/// Characters of an author or a peer in a table: enough of the end, where ids differ.
const ID_WIDTH: usize = 16;

/// An author in a table.
pub(super) fn who(author: &impl ToString) -> String {
    short(&author.to_string(), ID_WIDTH)
}

/// What happened, in a word.
pub(super) fn verb(op: Op, expired: bool) -> &'static str {
    match (op, expired) {
        (_, true) => "expired",
        (Op::Put, false) => "put",
        (Op::Delete, false) => "delete",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use peerage_api::types::Hlc;
    use serde_json::json;

    use super::*;

    pub(in super::super) fn about(value: &Value, current: bool) -> About {
        let (kind, bytes) = (value.kind(), value.to_bytes());
        let (size, hash) = (bytes.len() as u64, blake3::hash(&bytes).to_hex().to_string());
        About { kind, size, hash, current }
    }

    pub(in super::super) fn event(value: Option<Value>, old: Option<Value>) -> Event {
        Event {
            about: value.as_ref().map(|value| about(value, true)),
            old_about: old.as_ref().map(|old| about(old, false)),
            expired: false,
            seq: 7,
            op: if value.is_some() { Op::Put } else { Op::Delete },
            key: KvKey::new("a").unwrap(),
            value,
            old,
            revision: Revision { hlc: Hlc(5), mark: [1; 4] },
            author: Author::Node([2; 32]),
            updated_ms: UnixMillis(9),
            remote: true,
        }
    }

    #[test]
    fn a_line_of_a_watch_has_every_field_of_the_contract_in_every_case() {
        let old = Value::Bytes(vec![0, 255].into());
        let put = event(Some(Value::Json(json!(null))), Some(old));
        let line = serde_json::to_value(Change::of(&put)).unwrap();
        let author = put.author.to_string();
        assert_eq!(
            line,
            json!({
                "seq": 7, "op": "put", "key": "a", "value": null, "type": "json", "size": 4,
                "hash": blake3::hash(b"null").to_hex().as_str(), "omitted": null, "old": "AP8=",
                "old_type": "bytes", "old_size": 2, "old_omitted": null, "expired": false,
                "revision": "000000000000000501010101", "author": author, "updated_ms": 9,
                "remote": true,
            })
        );
        assert!(author.starts_with("12D3KooW"), "{author}");
        let gone = serde_json::to_value(Change::of(&event(None, None))).unwrap();
        assert_eq!(gone["op"], "delete");
        for name in [
            "value",
            "type",
            "size",
            "hash",
            "omitted",
            "old",
            "old_type",
            "old_size",
            "old_omitted",
        ] {
            assert_eq!(gone.get(name), Some(&json!(null)), "{name}");
        }
    }

    #[test]
    fn a_value_that_is_not_told_is_told_as_such_with_its_size() {
        let large = Value::from("x".repeat(70_000));
        let put = Event {
            about: Some(about(&large, true)),
            old_about: Some(about(&large, false)),
            op: Op::Put,
            ..event(None, None)
        };
        let line = serde_json::to_value(Change::of(&put)).unwrap();
        let of = |name: &str| line[name].clone();
        assert_eq!(
            (of("type"), of("size"), of("omitted")),
            ("string".into(), 70_000.into(), "large".into())
        );
        assert_eq!((of("old_size"), of("old_omitted")), (70_000.into(), "gone".into()));
        let ended = Event { expired: true, ..event(None, Some(Value::Int(1))) };
        let line = serde_json::to_value(Change::of(&ended)).unwrap();
        assert_eq!(
            (&line["op"], &line["expired"], &line["old"]),
            (&json!("delete"), &json!(true), &json!(1))
        );
    }

    #[test]
    fn a_value_is_text_unless_it_is_bytes() {
        for (value, shown) in [
            (Value::from("a\u{1b}\nb"), "a\\u{1b}\\nb"),
            (Value::Int(-5), "-5"),
            (Value::Float(1.0), "1.0"),
            (Value::Float(1e300), "1e+300"),
            (Value::Json(json!({ "a": [1, "b"] })), "{\"a\":[1,\"b\"]}"),
            (Value::Bytes(vec![0; 3].into()), "(3 bytes)"),
        ] {
            assert_eq!(brief(&value, 40), shown);
        }
        assert_eq!(brief(&Value::from("x".repeat(50)), 10).chars().count(), 10);
    }
}
