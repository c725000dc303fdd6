//! Export and import.

use std::{io::Write, process::Stdio, thread};

use serde_json::{Value, json};

use super::{fed, json_lines, keys, kv, text};
use crate::sandbox::{Finished, Sandbox};

/// The number of entries.
fn count(sandbox: &Sandbox) -> u64 {
    kv(sandbox, &["stats"])["entries"].as_u64().unwrap()
}

fn line(n: u64) -> String {
    format!("{{\"key\":\"n/{n:06}\",\"value\":{n}}}\n")
}

#[test]
fn what_one_node_exports_another_imports_the_same() {
    let (ada, ben) = (Sandbox::new(), Sandbox::new());
    let _daemons = [ada.up(&[]), ben.up(&["--network", "elsewhere"])];
    for (key, value, kind) in [
        ("s", "line\n\u{1b}é", "string"),
        ("i", "-9223372036854775808", "int"),
        ("f", "1", "float"),
        ("b", "é", "bytes"),
        ("j", "[1,\"x\",null]", "json"),
        ("other/s", "x", "string"),
    ] {
        kv(&ada, &["put", key, value, "--type", kind]);
    }
    kv(&ada, &["put", "day", "x", "--ttl", "1d"]);
    let exported = text(&ada, &["export"]);
    assert_eq!(json_lines(&exported).len(), 7);
    let imported = fed(&ben, &["import", "--json"], exported.as_bytes());
    let told = Finished::of(&[], imported).json();
    assert_eq!(
        (&told["written"], &told["batches"], &told["lines"]),
        (&json!(7), &json!(1), &json!(7))
    );
    let bare = |sandbox: &Sandbox| {
        let mut lines = json_lines(&text(sandbox, &["export"]));
        // Told as what is left of it, a time to live ends at most a moment later.
        lines.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("expires_ms")));
        lines
    };
    assert_eq!(bare(&ada), bare(&ben));
    assert!(kv(&ben, &["get", "day"])["expires_ms"].is_u64());

    let other = json_lines(&text(&ada, &["export", "--prefix", "other/"]));
    assert_eq!(other, [json!({ "key": "other/s", "type": "string", "value": "x" })]);
    fed(&ben, &["import", "--prefix", "of ada/"], exported.as_bytes());
    assert_eq!(kv(&ben, &["ls", "of ada/"]).as_array().unwrap().len(), 7);
    let listed: String =
        kv(&ada, &["ls"]).as_array().unwrap().iter().map(|entry| format!("{entry}\n")).collect();
    assert_eq!(fed(&ben, &["import"], listed.as_bytes()).status.code(), Some(0), "{listed}");
}

#[test]
fn a_bad_line_is_named_and_what_came_before_its_batch_is_kept() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let mut lines: String = (1..=10_002).map(line).collect();
    lines.push_str("{\"key\":\"k\"}\n");
    lines.extend((10_003..=10_005).map(line));
    let file = sandbox.write("lines", &lines);
    let file = file.to_str().unwrap();
    let stopped = sandbox.run(&["kv", "import", file, "--json"]);
    assert_eq!((stopped.code, stopped.error_code().as_str()), (Some(1), "bad_line"), "{stopped:?}");
    let error = &stopped.json()["error"];
    assert_eq!(
        [&error["line"], &error["written"], &error["skip"]],
        [&json!(10_003), &json!(10_000), &json!(10_000)]
    );
    for part in ["line 10003: there is no `value`", "and nothing behind it", "--skip 10000"] {
        assert!(stopped.stderr.contains(part), "{stopped:?}");
    }
    assert_eq!(count(&sandbox), 10_000);
    sandbox.write("lines", &lines.replace("{\"key\":\"k\"}", ""));
    let told = kv(&sandbox, &["import", file, "--skip", "10000"]);
    assert_eq!((&told["written"], &told["lines"]), (&json!(5), &json!(10_006)));
    assert_eq!(count(&sandbox), 10_005);
    let first = fed(&sandbox, &["import"], b"no json\n");
    let said = String::from_utf8(first.stderr).unwrap();
    assert!(said.contains("line 1, column 1:") && said.contains("nothing was written"), "{said}");
}

#[test]
fn a_killed_node_has_every_batch_that_an_import_was_told_of() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    let mut command = sandbox.command(&["kv", "import", "--json"]);
    let mut import = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = import.stdin.take().unwrap();
    // There is always more, so that the kill hits an import under way.
    let feeder =
        thread::spawn(move || (1..).find(|n| stdin.write_all(line(*n).as_bytes()).is_err()));
    sandbox.until(&["kv", "stats"], |stats| stats["entries"].as_u64().unwrap() >= 20_000);
    daemon.kill();
    let ended = Finished::of(&[], import.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let error = ended.json()["error"].clone();
    let [written, skip] = ["written", "skip"].map(|name| error[name].as_u64().unwrap());
    assert!(written >= 10_000 && written == skip && written % 10_000 == 0, "{ended:?}");
    assert!(ended.stderr.contains(&format!("--skip {skip}")), "{ended:?}");
    assert!(feeder.join().unwrap().is_some());

    let _daemon = sandbox.up(&[]);
    // The batch under way may be there, whole.
    let found = count(&sandbox);
    assert!(found == written || found == written + 10_000, "{found} after {written}");
    let (last, limit) = (format!("n/{written:06}"), "1");
    assert_eq!(kv(&sandbox, &["get", &last])["value"], json!(written));
    let listed = kv(&sandbox, &["ls", "--limit", limit]);
    assert_eq!(keys(&listed), ["n/000001"]);
    let values: Vec<Value> =
        json_lines(&text(&sandbox, &["export"])).iter().map(|line| line["value"].clone()).collect();
    assert!(values.iter().zip(1_u64..).all(|(value, n)| *value == json!(n)), "none is missing");
    let rest: String = (1..=written + 10_005).map(line).collect();
    let skip = skip.to_string();
    assert_eq!(fed(&sandbox, &["import", "--skip", &skip], rest.as_bytes()).status.code(), Some(0));
    assert_eq!(count(&sandbox), written + 10_005);
}

#[test]
fn what_a_line_says_is_kept_or_refused_and_the_place_is_told() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let import = |text: &str| Finished::of(&[], fed(&sandbox, &["import"], text.as_bytes()));
    for (bad, part) in [
        (r#"["k",5]"#, "line 2, column 1: no object"),
        (r#"{"key":"k","value":1,"ttl":"1h"}"#, "line 2, column 26: unknown field `ttl`"),
        (
            r#"{"key":"é","value":9223372036854775808}"#,
            "line 2, column 20: 9223372036854775808 is not an int",
        ),
        (
            r#"{"key":"k","value":{"a":99999999999999999999}}"#,
            "line 2, column 25: 99999999999999999999",
        ),
    ] {
        let told = import(&format!("{{\"key\":\"a\",\"value\":1}}\n{bad}\n"));
        assert_eq!((told.code, count(&sandbox)), (Some(1), 0), "{told:?}");
        assert!(told.stderr.contains(part), "no {part}: {told:?}");
        assert!(told.stderr.contains("nothing was written; import all of it again"), "{told:?}");
    }
    // A fraction that many parsers get wrong by its last bit.
    let kept = r#"{"key":"j","type":"json","value":[51.248178375505404,18446744073709551615]}"#;
    let told = import(kept);
    assert_eq!(
        (told.code, told.stdout.starts_with("wrote 1 entry in")),
        (Some(0), true),
        "{told:?}"
    );
    assert_eq!(
        text(&sandbox, &["export"]).trim_end().replace("\"key\":\"j\",", ""),
        kept.replace("\"key\":\"j\",", "")
    );
    let wrong = sandbox.run(&["kv", "put", "k", "[1,99999999999999999999]", "--type", "json"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("column 4: 9999"), "{wrong:?}");
}
