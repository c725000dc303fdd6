//! One line of JSON as `kv import` reads it: all that it says is heeded, or it is refused.

use std::fmt;

use peerage_api::{
    kv::{Value, ValueKind, Write},
    types::{KvKey, UnixMillis},
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;

use super::super::exact::{self, Wrong, place};

/// A line as it is read. What `kv get --json` and `kv ls --json` tell beside that is left alone;
/// anything else would be a wish that nobody heeds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct In<'a> {
    key: String,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(default, rename = "type")]
    kind: Option<ValueKind>,
    #[serde(default)]
    expires_ms: Option<UnixMillis>,
    #[serde(default, rename = "revision")]
    _revision: IgnoredAny,
    #[serde(default, rename = "author")]
    _author: IgnoredAny,
    #[serde(default, rename = "updated_ms")]
    _updated_ms: IgnoredAny,
    #[serde(default, rename = "seq")]
    _seq: IgnoredAny,
}

/// Tells a `null` from a value that is not there.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// What is wrong with a line. As text it follows the number of the line.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Bad {
    /// Where it begins, in characters from 1, unless it is about the whole.
    pub(in super::super) column: Option<usize>,
    problem: String,
}

impl Bad {
    pub(super) fn whole(problem: impl ToString) -> Self {
        Self { column: None, problem: problem.to_string() }
    }

    fn at(line: &str, Wrong { at, problem }: Wrong) -> Self {
        Self { column: Some(place(line, at).1), problem }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            Some(column) => write!(f, ", column {column}: {}", self.problem),
            None => write!(f, ": {}", self.problem),
        }
    }
}

/// What a line asks for; nothing if its time is over.
pub(super) fn read(line: &[u8], prefix: &str, now: UnixMillis) -> Result<Option<Write>, Bad> {
    let line = text_of(line)?;
    let placed = |wrong| Bad::at(line, wrong);
    let fields = fields(line).map_err(placed)?;
    let key = KvKey::new(&format!("{prefix}{}", fields.key)).map_err(Bad::whole)?;
    let raw = fields.value.ok_or_else(|| Bad::whole("there is no `value`"))?.get();
    // The value is a part of the line.
    let before = (raw.as_ptr() as usize).saturating_sub(line.as_ptr() as usize);
    let value = typed(fields.kind, raw)
        .map_err(|Wrong { at, problem }| placed(Wrong { at: before + at, problem }))?;
    let write = Write::put(key, value);
    match fields.expires_ms {
        Some(until) if until <= now => Ok(None),
        Some(until) => Ok(Some(write.expiring(until.since(now)))),
        None => Ok(Some(write)),
    }
}

/// A line without its end.
fn text_of(line: &[u8]) -> Result<&str, Bad> {
    let line = line.trim_ascii_end();
    str::from_utf8(line).map_err(|error| {
        let before = String::from_utf8_lossy(&line[..error.valid_up_to()]);
        let (at, problem) = (before.len(), "this is no UTF-8 text".to_owned());
        Bad::at(&before, Wrong { at, problem })
    })
}

/// The fields of a line, which must be an object: an array would be taken for one without names.
fn fields(line: &str) -> Result<In<'_>, Wrong> {
    let expected = r#"expected {"key":…,"value":…}, and "type" if need be"#;
    let at = line.len() - line.trim_ascii_start().len();
    match line[at..].starts_with('{') {
        true => serde_json::from_str(line).map_err(|error| known(Wrong::of(line, &error))),
        false => Err(Wrong { at, problem: format!("no object; {expected}") }),
    }
}

/// Of an unknown field the parser lists also those that are only passed over.
fn known(wrong: Wrong) -> Wrong {
    let Wrong { at, problem } = wrong;
    let problem = match problem.split_once(", expected one of") {
        Some((unknown, _)) if unknown.starts_with("unknown field") => {
            format!("{unknown}; a line has `key`, `value`, `type` and `expires_ms`")
        }
        _ => problem,
    };
    Wrong { at, problem }
}

/// A value from its JSON.
fn typed(kind: Option<ValueKind>, raw: &str) -> Result<Value, Wrong> {
    let wrong = |problem: String| Wrong { at: 0, problem };
    let is_not = |what: &str| wrong(format!("the value is {}, not {what}", named(raw)));
    let text = || serde_json::from_str::<String>(raw).map_err(|error| Wrong::of(raw, &error));
    match (kind.unwrap_or_else(|| kind_of(raw)), kind_of(raw)) {
        (ValueKind::Json, _) => exact::json(raw).map(Value::Json),
        (ValueKind::Int, ValueKind::Int) => {
            raw.parse().map(Value::Int).map_err(|_| wrong(no_int(raw)))
        }
        (ValueKind::Float, ValueKind::Int | ValueKind::Float) => match raw.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(wrong("the number is too large for a float".to_owned())),
        },
        (ValueKind::String, ValueKind::String) => text().map(Value::String),
        (ValueKind::Bytes, ValueKind::String) => {
            let bytes = data_encoding::BASE64.decode(text()?.as_bytes());
            bytes.map(|bytes| Value::Bytes(bytes.into())).map_err(|e| wrong(format!("base64: {e}")))
        }
        (ValueKind::Int, _) => Err(is_not("an int of 64 bits")),
        (ValueKind::Float, _) => Err(is_not("a float")),
        (ValueKind::String, _) => Err(is_not("a string")),
        (ValueKind::Bytes, _) => Err(is_not("bytes as base64")),
    }
}

fn no_int(number: &str) -> String {
    format!(
        "{} is not an int of 64 bits, from -2^63 to 2^63-1; write it as a string, or with \
         \"type\":\"float\" if it may lose digits",
        exact::digits(number)
    )
}

/// The type of a value that comes without one.
fn kind_of(raw: &str) -> ValueKind {
    match raw.as_bytes().first() {
        Some(b'"') => ValueKind::String,
        Some(b'-' | b'0'..=b'9') if exact::is_whole(raw) => ValueKind::Int,
        Some(b'-' | b'0'..=b'9') => ValueKind::Float,
        _ => ValueKind::Json,
    }
}

fn named(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "true or false",
        Some(b'"') => "a string",
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        _ => "another number",
    }
}
