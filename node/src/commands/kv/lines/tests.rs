use peerage_api::types::{Author, Hlc, Revision};
use serde_json::{Value as Json, json};

use super::*;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn value(line: &str) -> Result<Value, String> {
    match read(line.as_bytes(), "", NOW).map_err(|bad| bad.to_string())? {
        Some(Write::Put { value, .. }) => Ok(value),
        other => panic!("{other:?}"),
    }
}

fn batches(text: &[u8], skip: u64) -> (Vec<Batch>, Option<(u64, String)>) {
    let (mut lines, mut found) = (Batches::new(text, "p/".into(), skip), vec![]);
    loop {
        match lines.next(NOW) {
            Ok(Some(batch)) => found.push(batch),
            Ok(None) => return (found, None),
            Err(Stuck::Line { number, bad }) => return (found, Some((number, bad.to_string()))),
            Err(Stuck::Source(error)) => panic!("{error}"),
        }
    }
}

fn numbered(count: usize) -> Vec<u8> {
    let line = |n| format!("{{\"key\":\"{n}\",\"value\":{n}}}\n");
    (1..=count).map(line).collect::<String>().into_bytes()
}

#[test]
fn a_value_without_a_type_is_what_its_json_says() {
    for (text, expected) in [
        (r#""5""#, Value::from("5")),
        ("5", Value::Int(5)),
        ("-9223372036854775808", Value::Int(i64::MIN)),
        ("9223372036854775807", Value::Int(i64::MAX)),
        ("51.24817837550540", Value::Float(51.248_178_375_505_4)),
        ("5.0", Value::Float(5.0)),
        ("null", Value::Json(Json::Null)),
        ("true", Value::Json(json!(true))),
        ("[1,{}]", Value::Json(json!([1, {}]))),
    ] {
        assert_eq!(value(&format!(r#"{{"key":"k","value":{text}}}"#)), Ok(expected), "{text}");
    }
}

#[test]
fn a_type_is_kept_to() {
    for (kind, text, expected) in [
        ("float", "5", Value::Float(5.0)),
        ("float", "9223372036854775808", Value::Float(9_223_372_036_854_775_808.0)),
        ("json", "5", Value::Json(json!(5))),
        ("json", r#""x""#, Value::Json(json!("x"))),
        ("bytes", r#""AP8=""#, Value::Bytes(vec![0, 255].into())),
        ("string", r#""é""#, Value::from("é")),
    ] {
        let line = format!(r#"{{"type":"{kind}","key":"k","value":{text},"seq":1}}"#);
        assert_eq!(value(&line), Ok(expected), "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_line_is_told() {
    let long = format!(r#"{{"key":"{}","value":1}}"#, "k".repeat(1025));
    for (line, part) in [
        ("{", "column 2: EOF"),
        ("[1]", "column 1: no object; expected {\"key\""),
        (r#" ["k",5]"#, "column 2: no object; expected {\"key\""),
        ("{\"key\":\"é\",\"value\":x}\r\n", "column 20: expected value"),
        (r#"{"value":1}"#, "missing field `key`"),
        (r#"{"key":"k","value":1,"ttl":"1h"}"#, "column 26: unknown field `ttl`; a line has `key`"),
        (r#"{"key":"k","value":1,"value":2}"#, "duplicate field `value`"),
        (
            r#"{"key":"é","value":9223372036854775808}"#,
            "column 20: 9223372036854775808 is not an int",
        ),
        (r#"{"key":"k","value":1e999}"#, "too large for a float"),
        (
            r#"{"key":"k","value":[1, 18446744073709551616]}"#,
            "column 24: 18446744073709551616 does",
        ),
        (r#"{"key":"k","value":"\ud800"}"#, "column 27: "),
        (r#"{"key":"k"}"#, "no `value`"),
        (r#"{"key":"","value":1}"#, "the key is empty"),
        (r#"{"key":"a\u0000","value":1}"#, "NUL"),
        (r#"{"key":"k","value":1,"type":"blob"}"#, "unknown variant `blob`"),
        (r#"{"key":"k","value":"1","type":"int"}"#, "a string, not an int"),
        (r#"{"key":"k","value":1.5,"type":"int"}"#, "another number, not an int"),
        (r#"{"key":"k","value":[],"type":"float"}"#, "an array, not a float"),
        (r#"{"key":"k","value":1,"type":"string"}"#, "not a string"),
        (r#"{"key":"k","value":1,"type":"bytes"}"#, "not bytes as base64"),
        (r#"{"key":"k","value":"A","type":"bytes"}"#, "base64: "),
        (long.as_str(), "1025 bytes long"),
    ] {
        let problem = read(line.as_bytes(), "", NOW).unwrap_err().to_string();
        assert!(problem.contains(part), "{line}: {problem}");
        assert!(!problem.contains("at line"), "{problem}");
    }
    let problem = read(b"{\"key\":\"\xff\",\"value\":1}", "", NOW).unwrap_err();
    assert_eq!(problem.to_string(), ", column 9: this is no UTF-8 text");
}

#[test]
fn what_is_exported_is_imported_the_same() {
    let entry = |value, expires_ms| Entry {
        key: KvKey::new("a/\u{1b}é").unwrap(),
        value,
        revision: Revision { hlc: Hlc(5), mark: [1; 4] },
        author: Author::Node([2; 32]),
        updated_ms: UnixMillis(1),
        expires_ms,
        seq: 1,
    };
    for original in [
        Value::from("x\n"),
        Value::Int(i64::MAX),
        Value::Float(1.0),
        Value::Float(1e300),
        Value::Bytes(vec![0, 255].into()),
        Value::Json(json!("text")),
        Value::Json(Json::Null),
    ] {
        let mut line = Vec::new();
        write(&mut line, &entry(original.clone(), None)).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let expected = Write::put(KvKey::new("p/a/\u{1b}é").unwrap(), original);
        assert_eq!(read(&line, "p/", NOW), Ok(Some(expected)));
    }
    let mut line = Vec::new();
    write(&mut line, &entry(Value::Int(1), Some(UnixMillis(NOW.0 + 500)))).unwrap();
    let Ok(Some(Write::Put { ttl_ms, .. })) = read(&line, "", NOW) else { panic!("{line:?}") };
    assert_eq!(ttl_ms, Some(500));
    assert_eq!(read(&line, "", UnixMillis(NOW.0 + 500)), Ok(None));
}

#[test]
fn batches_end_at_a_number_of_lines() {
    let text = numbered(MAX_BATCH * 2 + 1);
    let (found, stuck) = batches(&text, 0);
    assert!(stuck.is_none());
    let shape: Vec<_> = found.iter().map(|batch| (batch.writes.len(), batch.last)).collect();
    assert_eq!(shape, [(10_000, 10_000), (10_000, 20_000), (1, 20_001)]);
    assert_eq!(found[2].read, text.len() as u64);
    assert_eq!(found[2].writes[0].key().as_str(), "p/20001");
}

#[test]
fn batches_end_at_a_number_of_bytes_and_a_larger_line_is_one_by_itself() {
    let line =
        |n: usize, size: usize| format!("{{\"key\":\"{n}\",\"value\":\"{}\"}}\n", "x".repeat(size));
    let text = [line(1, 5 << 20), line(2, 5 << 20), line(3, 9 << 20), line(4, 1), line(5, 1)];
    let (found, stuck) = batches(text.concat().as_bytes(), 0);
    assert!(stuck.is_none());
    let shape: Vec<_> = found.iter().map(|batch| (batch.writes.len(), batch.last)).collect();
    assert_eq!(shape, [(1, 1), (1, 2), (1, 3), (2, 5)]);
    let sum: usize = found[3].writes.iter().map(json_size).sum();
    assert!(sum < 300, "{sum}");
}

#[test]
fn a_bad_line_stops_before_its_batch_and_is_named_by_its_number() {
    let mut text = numbered(10_500);
    text.extend(b"{\"key\":1}\n");
    text.extend(numbered(3));
    let (found, stuck) = batches(&text, 0);
    assert_eq!((found.len(), found[0].last), (1, 10_000));
    assert_eq!(stuck.map(|(number, _)| number), Some(10_501));
}

#[test]
fn skipped_and_blank_lines_count_as_lines_and_are_not_read() {
    let text = b"no json\n\n{\"key\":\"a\",\"value\":1}\n  \n{\"key\":\"b\",\"value\":2}";
    let (found, stuck) = batches(text, 1);
    assert!(stuck.is_none(), "{stuck:?}");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].writes.len(), found[0].last, found[0].expired), (2, 5, 0));
    let (found, stuck) = batches(text, 0);
    assert_eq!((found.len(), stuck.unwrap().0), (0, 1));
    assert_eq!(batches(b"", 0), (vec![], None));
    let (found, _) = batches(text, 100);
    assert_eq!((found[0].writes.len(), found[0].last), (0, 5));
}

#[test]
fn entries_whose_time_is_over_are_counted_and_left_out() {
    let text = br#"{"key":"a","value":1,"expires_ms":5}"#;
    let (found, _) = batches(text, 0);
    assert_eq!((found[0].writes.len(), found[0].expired, found[0].last), (0, 1, 1));
}
