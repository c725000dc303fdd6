//! What scripts read and people see of values, versions and changes.

use peerage_api::{
    kv::{Event, Op, Value, ValueKind, Version},
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
    old: Option<serde_json::Value>,
    old_type: Option<ValueKind>,
    revision: Revision,
    author: Author,
    updated_ms: UnixMillis,
    remote: bool,
}

impl<'a> Change<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        Self {
            seq: event.seq,
            op: event.op,
            key: &event.key,
            value: event.value.as_ref().map(bare),
            kind: event.value.as_ref().map(Value::kind),
            old: event.old.as_ref().map(bare),
            old_type: event.old.as_ref().map(Value::kind),
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
pub(super) fn verb(op: Op) -> &'static str {
    match op {
        Op::Put => "put",
        Op::Delete => "delete",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use peerage_api::types::Hlc;
    use serde_json::json;

    use super::*;

    pub(in super::super) fn event(value: Option<Value>, old: Option<Value>) -> Event {
        Event {
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
                "seq": 7, "op": "put", "key": "a", "value": null, "type": "json", "old": "AP8=",
                "old_type": "bytes", "revision": "000000000000000501010101", "author": author,
                "updated_ms": 9, "remote": true,
            })
        );
        assert!(author.starts_with("12D3KooW"), "{author}");
        let gone = serde_json::to_value(Change::of(&event(None, None))).unwrap();
        assert_eq!(gone["op"], "delete");
        for name in ["value", "type", "old", "old_type"] {
            assert_eq!(gone.get(name), Some(&json!(null)), "{name}");
        }
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
