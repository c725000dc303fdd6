//! The key-value store on one node.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Output, Stdio},
};

use serde_json::{Value, json};

use crate::sandbox::{Finished, Sandbox, fields};

mod lines;
mod spaces;
mod together;

/// The fields of an entry in JSON.
const ENTRY: [&str; 8] =
    ["author", "expires_ms", "key", "revision", "seq", "type", "updated_ms", "value"];

/// A command of `kv` that must succeed; what it printed as JSON.
fn kv(sandbox: &Sandbox, args: &[&str]) -> Value {
    sandbox.json(&[&["kv"], args].concat())
}

/// The same as people see it.
fn text(sandbox: &Sandbox, args: &[&str]) -> String {
    let finished = sandbox.run(&[&["kv"], args].concat());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

/// Exit code and typed code of a command that fails.
fn failure(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, String) {
    let finished = sandbox.run(&[&["kv"], args, &["--json"]].concat());
    (finished.code, finished.error_code())
}

fn failed(code: &str) -> (Option<i32>, String) {
    (Some(1), code.to_owned())
}

/// Runs a command with that on stdin.
fn fed(sandbox: &Sandbox, args: &[&str], input: &[u8]) -> Output {
    let mut command = sandbox.command(&[&["kv"], args].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn keys(listed: &Value) -> Vec<&str> {
    listed.as_array().unwrap().iter().map(|entry| entry["key"].as_str().unwrap()).collect()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn values_of_every_type_are_put_and_read_as_they_were() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    let put = kv(&sandbox, &["put", "motd", "Tea at four"]);
    assert_eq!(fields(&put), ["key", "revision", "seq", "set"]);
    let entry = kv(&sandbox, &["get", "motd"]);
    assert_eq!(fields(&entry), ENTRY);
    assert_eq!((&entry["value"], &entry["type"]), (&"Tea at four".into(), &"string".into()));
    assert_eq!((&entry["author"], &entry["revision"]), (&daemon.id().into(), &put["revision"]));

    for (kind, value, expected, shown) in [
        ("int", "-5", json!(-5), "-5\n"),
        ("float", "2", json!(2.0), "2.0\n"),
        ("bytes", "é", json!("w6k="), "é"),
        ("json", "{\"b\": [1, null]}", json!({ "b": [1, null] }), "{\"b\":[1,null]}\n"),
        ("string", "", json!(""), ""),
    ] {
        kv(&sandbox, &["put", "k", value, "--type", kind]);
        let entry = kv(&sandbox, &["get", "k"]);
        assert_eq!((&entry["value"], &entry["type"]), (&expected, &kind.into()));
        assert_eq!(text(&sandbox, &["get", "k"]), shown);
        assert_eq!(text(&sandbox, &["get", "k", "--raw"]), shown.trim_end());
    }
    let about = sandbox.run(&["kv", "get", "motd", "-v"]);
    assert_eq!(about.stdout, "Tea at four\n");
    assert!(about.stderr.contains(put["revision"].as_str().unwrap()), "{about:?}");
    assert_eq!(failure(&sandbox, &["get", "nothing"]), failed("not_found"));
    let wrong = failure(&sandbox, &["put", "k", "1.5", "--type", "int"]);
    assert_eq!(wrong, (Some(2), "bad_value".to_owned()));
}

#[test]
fn bytes_go_through_stdin_files_and_pipes_untouched() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    // Above what is kept with its entry.
    let large: Vec<u8> = (0..200_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let put = fed(&sandbox, &["put", "large", "--type", "bytes"], &large);
    assert_eq!(put.status.code(), Some(0), "{put:?}");
    let get = || sandbox.command(&["kv", "get", "large", "--raw"]).output().unwrap().stdout;
    assert!(get() == large);
    fs::write(sandbox.home.path().join("file"), b"\xff\x00\n").unwrap();
    kv(&sandbox, &["put", "large", "--type", "bytes", "--file", "file"]);
    assert_eq!(get(), b"\xff\x00\n");
    assert_eq!(fed(&sandbox, &["put", "t", "-"], b"a\n").status.code(), Some(0));
    assert_eq!(kv(&sandbox, &["get", "t"])["value"], "a\n");
    assert_eq!(fed(&sandbox, &["put", "t"], b"\xff").status.code(), Some(1));
    let missing = sandbox.run(&["kv", "put", "t", "--file", "none"]);
    assert!(missing.code == Some(1) && missing.stderr.contains("none"), "{missing:?}");
}

#[test]
fn a_write_at_another_revision_is_a_conflict() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let first = kv(&sandbox, &["put", "k", "1", "--create"])["revision"].clone();
    let first = first.as_str().unwrap();
    let again = sandbox.run(&["kv", "put", "k", "2", "--if-revision", "none", "--json"]);
    assert_eq!((again.code, again.error_code().as_str()), (Some(1), "conflict"));
    assert_eq!(again.json()["error"]["found"], first);
    assert_eq!(failure(&sandbox, &["put", "k", "2", "--create"]), failed("conflict"));
    kv(&sandbox, &["put", "k", "2", "--if-revision", first]);
    let stale = ["del", "k", "--if-revision", first];
    assert_eq!(failure(&sandbox, &stale), failed("conflict"));
    assert_eq!(kv(&sandbox, &["get", "k"])["value"], "2");
}

#[test]
fn what_is_deleted_keeps_its_history_and_what_is_purged_does_not() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    for value in ["1", "2"] {
        kv(&sandbox, &["put", "k", value, "--type", "int"]);
    }
    assert_eq!(kv(&sandbox, &["del", "k"])["deleted"], true);
    assert_eq!(failure(&sandbox, &["get", "k"]), failed("not_found"));
    assert_eq!(failure(&sandbox, &["del", "k"]), failed("not_found"));
    let history = kv(&sandbox, &["history", "k"]);
    let told: Vec<_> =
        history.as_array().unwrap().iter().map(|v| (&v["op"], &v["value"])).collect();
    let (put, delete) = (json!("put"), json!("delete"));
    assert_eq!(told, [(&delete, &json!(null)), (&put, &json!(2)), (&put, &json!(1))]);
    assert_eq!(
        fields(&history[0]),
        ["author", "expired", "op", "revision", "seq", "size", "type", "updated_ms", "value"]
    );
    assert!(text(&sandbox, &["history", "k"]).starts_with("SEQ"));

    let stats = kv(&sandbox, &["stats"]);
    assert_eq!((&stats["entries"], &stats["tombstones"]), (&json!(0), &json!(1)));
    kv(&sandbox, &["put", "k", "3"]);
    assert_eq!(kv(&sandbox, &["purge", "k"])["purged"], true);
    assert_eq!(failure(&sandbox, &["purge", "k"]), failed("not_found"));
    let never = sandbox.run(&["kv", "purge", "never"]);
    assert!(never.code == Some(1) && never.stderr.contains("no key \"never\""), "{never:?}");
    assert_eq!(failure(&sandbox, &["get", "k"]), failed("not_found"));
    let left = sandbox.run(&["kv", "history", "k", "--json"]);
    assert!(!left.stdout.contains("\"3\"") && !left.stdout.contains("\"put\""), "{left:?}");
}

#[test]
fn an_entry_with_a_time_to_live_is_gone_after_it() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    kv(&sandbox, &["put", "day", "x", "--ttl", "1d"]);
    let day = kv(&sandbox, &["get", "day"]);
    let [written, expires] = ["updated_ms", "expires_ms"].map(|name| day[name].as_u64().unwrap());
    assert!((86_399_000..=86_401_000).contains(&(expires - written)), "{day}");
    let watch = sandbox.spawn(&["kv", "watch", "soon", "--json"]);
    watch.message("watching");
    kv(&sandbox, &["put", "soon", "x", "--ttl", "1"]);
    sandbox.until(&["kv", "ls"], |listed| keys(listed) == ["day"]);
    assert_eq!(failure(&sandbox, &["get", "soon"]), failed("not_found"));
    let told: Vec<Value> =
        [watch.line(), watch.line()].iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((&told[0]["op"], &told[0]["expired"]), (&json!("put"), &json!(false)));
    assert_eq!((&told[1]["op"], &told[1]["expired"]), (&json!("delete"), &json!(true)));
    assert_eq!((&told[1]["key"], &told[1]["old"]), (&json!("soon"), &json!("x")));
    let history = kv(&sandbox, &["history", "soon"]);
    assert_eq!((&history[0]["expired"], &history[1]["value"]), (&json!(true), &json!(null)));
}

#[test]
fn entries_are_listed_by_prefix_and_range_page_after_page() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let line = |n: u32| format!("{{\"key\":\"n/{n:05}\",\"value\":{n}}}\n");
    let many: String = (0..2500).map(line).collect();
    assert_eq!(fed(&sandbox, &["import"], many.as_bytes()).status.code(), Some(0));
    kv(&sandbox, &["put", "a", "x\u{1b}"]);
    let all = kv(&sandbox, &["ls"]);
    assert_eq!((all.as_array().unwrap().len(), &all[0]["key"]), (2501, &json!("a")));
    assert_eq!(fields(&all[0]), ENTRY);
    let listed = kv(&sandbox, &["ls", "n/024"]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[99]["value"]), (100, &json!(2499)));
    let range = kv(&sandbox, &["ls", "--from", "n/00001", "--to", "n/00003"]);
    assert_eq!(keys(&range), ["n/00001", "n/00002"]);
    let both = kv(&sandbox, &["ls", "n/", "--to", "n/00001"]);
    assert_eq!(keys(&both), ["n/00000"]);
    let some = sandbox.run(&["kv", "ls", "--limit", "1500", "--keys-only"]);
    assert_eq!(some.stdout.lines().count(), 1500);
    assert!(some.stderr.contains("there are more") && some.stderr.contains("--after='n/01498'"));
    let rest = kv(&sandbox, &["ls", "--after", "n/01498", "--limit", "1500"]);
    assert_eq!((keys(&rest).len(), keys(&rest)[0]), (1001, "n/01499"));
    assert_eq!(kv(&sandbox, &["ls", "a", "--keys-only"]), json!(["a"]));
    let table = text(&sandbox, &["ls", "a"]);
    assert!(table.starts_with("KEY") && table.contains("x\\u{1b}"), "{table}");
    assert_eq!(kv(&sandbox, &["ls", "none"]), json!([]));
}

#[test]
fn a_watch_goes_on_from_a_number_also_after_a_restart() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    kv(&sandbox, &["put", "a/1", "1", "--type", "int"]);
    kv(&sandbox, &["put", "b", "elsewhere"]);
    kv(&sandbox, &["put", "a/1", "2", "--type", "int"]);
    let watch = |from: &str, count: &str| {
        let args = ["kv", "watch", "a/", "--from", from, "--count", count, "--json"];
        json_lines(&sandbox.run(&args).stdout)
    };
    let told = watch("0", "2");
    assert_eq!(
        fields(&told[0]),
        [
            "author",
            "expired",
            "hash",
            "key",
            "old",
            "old_omitted",
            "old_size",
            "old_type",
            "omitted",
            "op",
            "remote",
            "revision",
            "seq",
            "size",
            "type",
            "updated_ms",
            "value"
        ]
    );
    let of = |line: &Value| (line["value"].clone(), line["old"].clone(), line["remote"].clone());
    assert_eq!(of(&told[0]), (json!(1), json!(null), json!(false)));
    assert_eq!(of(&told[1]), (json!(2), json!(1), json!(false)));
    assert_eq!((&told[1]["author"], &told[1]["old_type"]), (&json!(daemon.id()), &json!("int")));
    let last = told[1]["seq"].to_string();

    let live = sandbox.spawn(&["kv", "watch", "a/", "--from", &last, "--json"]);
    live.message("watching");
    kv(&sandbox, &["del", "a/1"]);
    let gone: Value = serde_json::from_str(&live.line()).unwrap();
    assert_eq!(
        (&gone["op"], &gone["value"], &gone["old"]),
        (&json!("delete"), &json!(null), &json!(2))
    );
    daemon.kill();
    let (status, _, messages) = live.end();
    assert_eq!(status.code(), Some(1), "{messages:?}");
    let _daemon = sandbox.up(&[]);
    kv(&sandbox, &["put", "a/2", "3", "--type", "int"]);
    let after = watch(&last, "2");
    assert_eq!(after[0], gone, "the same as it was told then");
    assert_eq!((&after[1]["key"], &after[1]["value"]), (&json!("a/2"), &json!(3)));
    let ahead = failure(&sandbox, &["watch", "--from", "1000000"]);
    assert_eq!(ahead, failed("ahead"));
}

#[test]
fn a_watch_tells_what_a_large_value_is_and_fetches_it_if_asked() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    for byte in [b"x", b"y"] {
        let value = byte.repeat(200_000);
        assert_eq!(fed(&sandbox, &["put", "large"], &value).status.code(), Some(0));
    }
    let watch = |more: &[&str]| {
        let args = [&["kv", "watch", "--from", "0", "--count", "2"], more].concat();
        sandbox.run(&args).stdout
    };
    let told = json_lines(&watch(&["--json"]));
    let of = |line: &Value, names: [&str; 4]| names.map(|name| line[name].clone());
    let names = ["value", "type", "size", "omitted"];
    assert_eq!(of(&told[0], names), [json!(null), json!("string"), json!(200_000), json!("gone")]);
    assert_eq!(of(&told[1], names), [json!(null), json!("string"), json!(200_000), json!("large")]);
    let hash = blake3::hash(&b"y".repeat(200_000)).to_hex();
    assert_eq!((&told[1]["hash"], &told[1]["old_size"]), (&json!(hash.as_str()), &json!(200_000)));
    let told = json_lines(&watch(&["--json", "--large"]));
    assert_eq!((&told[0]["omitted"], &told[1]["omitted"]), (&json!("gone"), &json!(null)));
    assert_eq!(told[1]["value"], "y".repeat(200_000));
    let shown = watch(&[]);
    assert!(shown.contains(&format!("large = (string, 200.0 kB, hash {}…)", &hash[..16])));
    assert!(!shown.contains("overwritten"), "{shown}");
}

#[test]
fn an_author_that_has_its_half_is_told_what_to_raise() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&["--max-space-bytes", "1048576"]);
    let full = fed(&sandbox, &["put", "k", "--type", "bytes"], &[1; 600_000]);
    let told = String::from_utf8(full.stderr).unwrap();
    for part in ["524288 bytes of one author, half of all 1048576", "--max-space-bytes 2097152"] {
        assert!(told.contains(part), "no {part}: {told}");
    }
}

#[test]
fn an_export_to_a_file_is_its_owners_alone() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    kv(&sandbox, &["put", "k", "v"]);
    let told = kv(&sandbox, &["export", "all.jsonl"]);
    let path = sandbox.home.path().join("all.jsonl");
    assert_eq!((&told["written"], &told["file"]), (&json!(1), &json!(path.to_str().unwrap())));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(told["bytes"], path.metadata().unwrap().len());
    let missing = Finished::of(&[], sandbox.command(&["kv", "export", "no/x"]).output().unwrap());
    assert!(missing.code == Some(1) && missing.stderr.contains("no/x"), "{missing:?}");
}
