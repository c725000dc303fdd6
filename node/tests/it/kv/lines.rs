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
    for part in ["line 10003", "no `value`", "--skip 10000"] {
        assert!(stopped.stderr.contains(part), "{stopped:?}");
    }
    assert_eq!(count(&sandbox), 10_000);
    sandbox.write("lines", &lines.replace("{\"key\":\"k\"}", ""));
    let told = kv(&sandbox, &["import", file, "--skip", "10000"]);
    assert_eq!((&told["written"], &told["lines"]), (&json!(5), &json!(10_006)));
    assert_eq!(count(&sandbox), 10_005);
    let first = fed(&sandbox, &["import"], b"no json\n");
    let said = String::from_utf8(first.stderr).unwrap();
    assert!(said.contains("line 1:") && said.contains("nothing was written"), "{said}");
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
